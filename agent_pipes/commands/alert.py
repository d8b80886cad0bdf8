"""trace-alert: report violations on stderr, to a file, a webhook or a program."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.alert.alert_file import AlertFile, default_file
from agent_pipes.alert.lines import SessionClock, line_of, sinks_of
from agent_pipes.alert.options import add_options
from agent_pipes.core.display import escape
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import prefix, warn, write_line

if TYPE_CHECKING:
    from agent_pipes.alert.delivery import DeliveryQueue

NOT_CONFIGURED = {
    "webhook": "a violation is to go to a webhook, and none is configured: "
    "set $AGENT_PIPES_WEBHOOK",
    "exec": "a violation is to go to a program, and none was given: see --exec",
}


def default_sinks(
    webhook: str | None, form: str | None, program: str | None = None
) -> tuple[str, ...]:
    """Return the sinks used if none is named: the terminal, and those that are configured."""
    return (
        "terminal",
        *(("webhook",) if webhook or form == "pagerduty" else ()),
        *(("exec",) if program else ()),
    )


class Alerter:
    """Sends one violation or kill to its sinks.

    queues:   delivery queues of the webhook and the program, those in use.
    watchers: names of those whose violations go to the webhook; empty for all.
    failed:   a sink could not be used.
    """

    def __init__(
        self, file: AlertFile, queues: "dict[str, DeliveryQueue]", watchers: tuple[str, ...]
    ) -> None:
        self.file = file
        self.queues = queues
        self.watchers = watchers
        self.failed = False

    def send(self, event: Event, line: str, since: str, sinks: Iterable[str]) -> None:
        """Send the event, whose line is `line`; `since` is the time since its session's start."""
        for sink in sinks:
            if sink == "terminal":
                # trace-kill reports a kill on the same stderr itself.
                if event.type == "violation":
                    write_line(f"{prefix()}{since}  {line}")
            elif sink == "file":
                session = escape(event.session)
                text = f"{event.time:.3f} {session} {since}  {escape(line)}\n"
                self.file.write(text.encode())
            elif sink not in self.queues:
                self.failed = True
                warn(NOT_CONFIGURED[sink])
            elif sink == "exec" or self._for_webhook(event):
                from agent_pipes.alert.batching import AlertMessage

                self.queues[sink].put(AlertMessage(event, escape(line)))

    def _for_webhook(self, event: Event) -> bool:
        return not self.watchers or event.type == "kill" or event.text("watcher") in self.watchers

    def close(self, drain_s: float) -> None:
        """Deliver what is queued, for `drain_s` seconds at most."""
        if self.queues:
            from agent_pipes.alert.delivery import close_all

            with suppress(Exception):
                self.failed = not close_all(self.queues.values(), drain_s) or self.failed


def start_queues(
    to: Iterable[str],
    webhook: str | None = None,
    form: str | None = None,
    allow_http: bool = False,
    every: float = 0.0,
    program: str | None = None,
) -> "dict[str, DeliveryQueue]":
    """Return the delivery queues by sink; TLS is loaded only if there is one."""
    if (
        webhook is None
        and form != "pagerduty"
        and program is None
        and not {"webhook", "exec"} & {*to}
    ):
        return {}
    from agent_pipes.alert.sinks import delivery_queues

    return delivery_queues(to, webhook, form, allow_http, every, program)


@filter_command("trace-alert")
@add_options
def alert(
    events: Iterable[Event],
    to: tuple[str, ...] = (),
    file: Path | None = None,
    webhook: str | None = None,
    form: str | None = None,
    every: float = 0.0,
    program: str | None = None,
    allow_http: bool = False,
    watchers: tuple[str, ...] = (),
    drain: float = 10.0,
    kills: bool = False,
    known: dict[str, float] | None = None,
) -> Events:
    """Tell people of violations, and of what became of the agent: on stderr, in a file, over a webhook, by a program."""
    to = to or default_sinks(webhook, form, program)
    queues = start_queues(to, webhook, form, allow_http, every, program)
    alerter = Alerter(AlertFile(file or default_file()), queues, watchers)
    clock = SessionClock(known)
    try:
        for event in events:
            clock.see(event)
            if event.type in ("violation", "kill"):
                since = clock.since(event.session, event.time)
                alerter.send(event, line_of(event, kills), since, sinks_of(event, to))
            yield event
    finally:
        alerter.close(drain)
    return ExitStatus.UNREADABLE if alerter.failed else ExitStatus.OK


main = alert.main
