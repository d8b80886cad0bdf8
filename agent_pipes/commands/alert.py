"""trace-alert: report violations on stderr, to a file, a webhook or a program."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from agent_pipes.alert.alert_file import AlertFile, default_file
from agent_pipes.alert.lines import (
    KILLING,
    Causes,
    SessionClock,
    SessionNames,
    calls_for_kill,
    line_of,
    sinks_of,
)
from agent_pipes.alert.options import add_options
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import escape
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import prefix, warn, write_line

if TYPE_CHECKING:
    from agent_pipes.alert.delivery import DeliveryQueue
    from agent_pipes.detect.waits import Waits

MAX_KILLS, MAX_HELD = 1000, 100
"""Sessions that are being killed, and alerts of each that wait for the report."""

NOT_CONFIGURED = {
    "webhook": "a violation should be sent to a webhook, but none is configured: "
    "set $AGENT_PIPES_WEBHOOK",
    "exec": "a violation should be passed to a program, but none is configured: see --exec",
}


def _waits() -> "Waits":
    from agent_pipes.detect.waits import Waits

    return Waits()


def default_sinks(
    webhook: str | None, form: str | None, program: str | None = None
) -> tuple[str, ...]:
    """Return the sinks used if none is named: the terminal, and those that are configured."""
    return (
        "terminal",
        *(("webhook",) if webhook or form == "pagerduty" else ()),
        *(("exec",) if program else ()),
    )


def iso_time(seconds: float) -> str:
    """Return a time in ISO 8601, local time with its zone."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


class Alerter:
    """Sends violations and kills to their sinks.

    to:       sinks of the violations that name none.
    kills:    a trace-kill is in the pipeline.
    queues:   delivery queues of the webhook and the program, those in use.
    watchers: names of those whose violations go to the webhook, whatever their own sinks.
    on:       what is reported, of alert.options.OCCASIONS.
    holds:    print no other alert between a violation that kills and the report of the kill, which
              trace-kill writes before the event comes here.
    failed:   a sink could not be used.
    """

    def __init__(
        self,
        file: AlertFile,
        queues: "dict[str, DeliveryQueue]",
        to: tuple[str, ...],
        kills: bool,
        watchers: tuple[str, ...],
        on: tuple[str, ...] = (),
        holds: bool = False,
    ) -> None:
        self.file = file
        self.queues = queues
        self.to = to
        self.kills = kills
        self.watchers = watchers
        self.on = {occasion for each in on for occasion in each.split(",")} or {"violation"}
        self.waits = _waits() if "waiting" in self.on else None
        self.holds = holds
        self._held: BoundedDict[str, list[str]] = BoundedDict(MAX_KILLS)
        self.failed = False
        self.clock = SessionClock()
        self.names = SessionNames()
        self.causes = Causes()

    def see(self, event: Event) -> None:
        """Send the event if it is a violation or a kill; remember what messages need of others."""
        self.clock.see(event)
        self.names.see(event)
        self.causes.see(event)
        if event.type in ("violation", "kill"):
            if "violation" in self.on:
                self._send(event)
        elif self.waits:
            for wait in self.waits.see(event):
                self._send(wait)

    def _send(self, event: Event) -> None:
        agent = self.names.names(event.session).agent
        cause = self.causes.cause(event)
        line = line_of(event, self.kills, agent=agent, cause=cause)
        for sink in self._sinks(event, cause[0]):
            if sink == "terminal":
                self._print(event, line)
            elif sink == "file":
                self._append(event, line)
            elif sink in self.queues:
                self._queue(sink, event, line, cause)
            else:
                self.failed = True
                warn(NOT_CONFIGURED[sink])

    def _sinks(self, event: Event, cause: str) -> list[str]:
        """Return the sinks of the event; `cause` is the watcher that a kill is due to."""
        sinks = list(sinks_of(event, self.to))
        if not self.watchers or event.type == "waiting":
            return sinks
        watcher = cause if event.type == "kill" else event.text("watcher")
        sinks = [sink for sink in sinks if sink != "webhook"]
        wanted = watcher in self.watchers or (event.type == "kill" and not watcher)
        return [*sinks, "webhook"] if wanted and "webhook" in self.queues else sinks

    def _print(self, event: Event, line: str) -> None:
        # trace-kill reports a kill on the same stderr itself.
        if event.type == "kill":
            self._release(event.session)
            return
        who = f" ({self.names.describe(event.session)})" if self.names.several else ""
        since = self.clock.since(event.session, event.time)
        start = f"{prefix()}{since}  "
        held = self._held.get(event.session)
        if held is not None and len(held) < MAX_HELD:
            held.append(f"{start}{line.removesuffix(KILLING)}{who}")
            return
        write_line(f"{start}{line}{who}")
        if self.holds and calls_for_kill(event, self.kills):
            self._held[event.session] = []

    def _release(self, session: str) -> None:
        """Print the alerts that waited for the report of a kill."""
        for text in self._held.pop(session, []):
            write_line(text)

    def _append(self, event: Event, line: str) -> None:
        since = self.clock.since(event.session, event.time)
        who = self.names.describe(event.session)
        text = f"{iso_time(event.time)} {event.session} {since}  {line} ({who})"
        self.file.write(f"{escape(text)}\n".encode())
        self.failed = self.failed or self.file.failed

    def _queue(self, sink: str, event: Event, line: str, cause: tuple[str, str]) -> None:
        from agent_pipes.alert.batching import AlertMessage

        names = self.names.names(event.session)
        self.queues[sink].put(AlertMessage(event, escape(line), names.agent, names.cwd, cause))

    def close(self, drain_s: float) -> None:
        """Print what was held, and deliver what is queued, for `drain_s` seconds at most."""
        for session in list(self._held):
            self._release(session)
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
    program_option: str = "--exec",
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

    return delivery_queues(to, webhook, form, allow_http, every, program, program_option)


@filter_command("trace-alert")
@add_options
def alert(
    events: Iterable[Event],
    to: tuple[str, ...] = (),
    file: str | None = None,
    webhook: str | None = None,
    form: str | None = None,
    every: float = 0.0,
    program: str | None = None,
    allow_http: bool = False,
    watchers: tuple[str, ...] = (),
    drain: float = 10.0,
    kills: bool = False,
    on: tuple[str, ...] = (),
    holds: bool = False,
) -> Events:
    """Report violations, kills and waits: on stderr, to a file, a webhook or a program."""
    to = to or default_sinks(webhook, form, program)
    queues = start_queues(to, webhook, form, allow_http, every, program)
    alerter = Alerter(AlertFile(file or default_file()), queues, to, kills, watchers, on, holds)
    try:
        for event in events:
            alerter.see(event)
            yield event
    finally:
        alerter.close(drain)
    return ExitStatus.UNREADABLE if alerter.failed else ExitStatus.OK


main = alert.main
