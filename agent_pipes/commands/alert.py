"""trace-alert: tells people of violations, on stderr, in a file, over a webhook, by a program of theirs."""

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_pipes.core.bounded import remember
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import DURATION, Option
from agent_pipes.core.stderr import say, shown, warn, warning_head

if TYPE_CHECKING:
    from agent_pipes.alert.delivery import Outbox
    from agent_pipes.alert.http import Endpoint

SINKS = ("terminal", "file", "webhook", "exec")

SESSIONS = 10_000
"""Sessions of which it is remembered when they began."""

LONGEST = 500
"""Characters of a message that are told; what an agent wrote may be of any length."""

PAGE = 4096
"""Bytes that the kernel writes at once, whatever happens to the writer meanwhile; and those of the longest line."""

PATIENCE = 0.2
"""Seconds that a line waits for another breaker that is writing in the same alert file."""


class AlertFile:
    """A file that alerts are appended to: one write a line, private to its owner, never through a symbolic link.

    A writer that is killed may have its write cut short, but only where one page of the file ends and the next begins.
    No line lies across such a place: what is left of a page is filled with a blank line first. Meanwhile no other
    breaker appends, or the line would lie elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed = False

    def write(self, line: bytes) -> None:
        """Append the line. A full disk or a forbidden place is said once, and tried again with the next line."""
        try:
            self._append(line)
        except OSError as error:
            if not self.failed:
                warn(
                    f"cannot write to {self.path}: {error.strerror}; the alert was: {line.decode(errors='replace').rstrip()}"
                )
            self.failed = True

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not to wait for the reader of a pipe that somebody has put in its place.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        try:
            self._wait_for_others(fd)
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            # After a write that the disk cut short, the next line begins a line of its own.
            whole = b"\n" + bounded(line) if torn else bounded(line)
            left = PAGE - size % PAGE
            if left < len(whole):
                os.write(fd, b" " * (left - 1) + b"\n")
                whole = bounded(line)
            if os.write(fd, whole) < len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        self.failed = False

    def _wait_for_others(self, fd: int) -> None:
        """Until no other breaker is writing there; one that has been stopped just then is not waited for long."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                # A file system without locks.
                return


def bounded(line: bytes) -> bytes:
    """The line, cut where it would not fit into a page."""
    return (
        line
        if len(line) <= PAGE
        else line[: PAGE - 4].decode(errors="ignore").encode() + "…\n".encode()
    )


def default_file() -> Path:
    """`alerts.log` in the store in use: $AGENT_TRACE_DIR, else .agent-traces here."""
    return Path(os.environ.get("AGENT_TRACE_DIR") or ".agent-traces") / "alerts.log"


class Started:
    """When each session began, so that a line can say how far into it something happened."""

    def __init__(self, times: dict[str, float] | None = None) -> None:
        """`times` holds what becomes known."""
        self.times = {} if times is None else times

    def see(self, event: Event) -> None:
        session = event.session
        if session not in self.times and session and event.time:
            remember(self.times, session, event.time, SESSIONS)

    def since(self, session: str, now: float) -> str:
        """`+1:05`, `+2:00:30`: how long the session had run then."""
        seconds = max(0, int(now - self.times.get(session, now)))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"+{hours}:{minutes:02}:{seconds:02}" if hours else f"+{minutes}:{seconds:02}"


def watcher_name(event: Event) -> str:
    return f"{event.text('watcher')[:40].capitalize() or 'Unknown'}Watcher"


def line_of(event: Event, kills: bool) -> str:
    """What people read of a violation, or of what became of a process."""
    if event.type == "kill":
        process = f"process {event.data.get('pid')}"
        told = {
            "terminated": f"✅ ended {process}",
            "killed": f"✅ ended {process} (it had to be killed)",
            "interrupted": f"✅ interrupted the session in {process}",
            "not_running": f"✅ {process} had ended already",
            "dry_run": f"⚠️  would have ended {process} (dry run)",
        }.get(event.text("outcome"), f"❌ could NOT end {process}")
        return f"{told}: {event.text('reason')[:LONGEST]}"
    stops = event.data.get("level") != "warning" and ends(event, kills)
    message = f"{watcher_name(event)}: {event.text('message')[:LONGEST]}"
    return f"❌ {message} — killing session" if stops else f"⚠️  {message}"


def ends(event: Event, kills: bool) -> bool:
    """Whether the violation ends its session: what it names as its actions says, else whether a trace-kill stands there."""
    actions = event.data.get("actions")
    return "kill" in actions if isinstance(actions, list) and actions else kills


def sinks_of(event: Event, to: tuple[str, ...]) -> Iterable[str]:
    """Which sinks act on it: those that the violation names, else those that we were given."""
    actions = event.data.get("actions")
    if event.type == "violation" and isinstance(actions, list) and actions:
        named = [sink for sink in SINKS if sink in actions]
        # What kills without a word would leave its user with a dead agent and no reason.
        return named or ["terminal"]
    return to


FORMS = ("json", "slack", "discord", "teams", "pagerduty")
"""What a webhook may be told in: `telling.payloads` has the words."""

KEY = "AGENT_PIPES_PAGERDUTY_KEY"

MISSING = {
    "webhook": "a violation is to go to a webhook, and none is configured: set $AGENT_PIPES_WEBHOOK",
    "exec": "a violation is to go to a program, and none was given: see --exec",
}


class ProgramCommand(click.ParamType):  # type: ignore[type-arg]
    """A command that can be run: a missing one is found before anything begins."""

    name = "CMD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from agent_pipes.alert.exec_sink import words_of

        try:
            words_of(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return value


def default_sinks(
    webhook: str | None, form: str | None, program: str | None = None
) -> tuple[str, ...]:
    """Where it is told if nobody says where: on the terminal, and wherever else there is somebody to take it."""
    return (
        "terminal",
        *(("webhook",) if webhook or form == "pagerduty" else ()),
        *(("exec",) if program else ()),
    )


def outboxes(
    to: Iterable[str],
    webhook: str | None = None,
    form: str | None = None,
    allow_http: bool = False,
    every: float = 0.0,
    program: str | None = None,
) -> "dict[str, Outbox]":
    """Whoever else is to be told, by the sink's name; nothing of it has begun. Raises click.UsageError for what cannot be used."""
    boxes: dict[str, Outbox] = {}
    if webhook is not None or form == "pagerduty":
        boxes["webhook"] = _webhook(webhook, form, allow_http, every)
    elif "webhook" in to:
        raise click.UsageError(
            "--to webhook: no URL; give it in $AGENT_PIPES_WEBHOOK, the config's webhook.url, or --webhook"
        )
    if program is not None:
        boxes["exec"] = _exec(program)
    elif "exec" in to:
        raise click.UsageError(
            "--to exec: no command; give it by --exec (of agent-strace watch: --alert-exec)"
        )
    return boxes


def _exec(program: str) -> "Outbox":
    from agent_pipes.alert.delivery import Outbox
    from agent_pipes.alert.exec_sink import WORKERS, Program, words_of

    runs = Program(words_of(program))
    return Outbox(runs.name, runs, workers=WORKERS, abandon=runs.abandon)


def _webhook(webhook: str | None, form: str | None, allow_http: bool, every: float) -> "Outbox":
    from agent_pipes.alert.batching import Joined
    from agent_pipes.alert.delivery import Outbox
    from agent_pipes.alert.formats import PAGERDUTY, form_for, payload
    from agent_pipes.alert.http import Endpoint, Sender

    endpoint = Endpoint(PAGERDUTY if webhook is None else webhook, allow_http=allow_http)
    form = form or form_for(endpoint.host)
    sender = Sender(endpoint, payload(form, _routing_key(endpoint) if form == "pagerduty" else ""))
    # PagerDuty joins what belongs together itself, and resolves each by itself.
    return Outbox(
        "the webhook", sender, waiting=Joined(every) if every and form != "pagerduty" else None
    )


def _routing_key(endpoint: "Endpoint") -> str:
    from agent_pipes.alert.formats import PAGERDUTY_HOSTS
    from agent_pipes.alert.http import LOCAL

    # The URL may stand in a file that an agent can write; the key stands in no file.
    if endpoint.host not in (*PAGERDUTY_HOSTS, *LOCAL):
        raise click.UsageError(
            f"PagerDuty's routing key goes to no other host than {' and '.join(PAGERDUTY_HOSTS)}"
        )
    key = os.environ.get(KEY, "").strip()
    if not re.fullmatch("[!-~]{32}", key):
        raise click.UsageError(f"PagerDuty's routing key, of 32 characters, is expected in ${KEY}")
    return key


@filter_command("trace-alert", sees=frozenset({"violation", "kill"}))
@click.option(
    "--to",
    cls=Option,
    flag="--alert",
    multiple=True,
    type=click.Choice(SINKS),
    help="Tell it here; may be given again. [default: terminal]",
)
@click.option(
    "--file",
    "file",
    cls=Option,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of `--to file`. [default: alerts.log in the store]",
)
@click.option(
    "--webhook",
    cls=Option,
    flag="--webhook",
    key="webhook.url",
    envvar="AGENT_PIPES_WEBHOOK",
    help="The URL of `--to webhook`; a secret: better in $AGENT_PIPES_WEBHOOK.",
)
@click.option(
    "--format",
    "form",
    cls=Option,
    flag="--webhook-format",
    key="webhook.format",
    type=click.Choice(FORMS),
    help="What the webhook takes. [default: told by the URL's host, else json]",
)
@click.option(
    "--every",
    cls=Option,
    flag="--webhook-every",
    key="webhook.every",
    type=DURATION,
    default="off",
    help="Join what comes within this time into one message to the webhook. [default: off]",
)
@click.option(
    "--exec",
    "program",
    cls=Option,
    flag="--alert-exec",
    type=ProgramCommand(),
    help="Run this with each alert on its stdin, without a shell: `--to exec`.",
)
@click.option(
    "--allow-http", is_flag=True, help="Let the URL be http: also where it is not this machine."
)
@click.option(
    "--watcher",
    "watchers",
    cls=Option,
    key="webhook.events",
    multiple=True,
    help="Only violations of this watcher go to the webhook; may be given again.",
)
@click.option(
    "--drain",
    cls=Option,
    type=DURATION,
    default="10s",
    show_default=True,
    help="How long to go on delivering at the end.",
)
@click.option(
    "--kills",
    is_flag=True,
    help="Say of a violation that it ends the session: a trace-kill stands in this pipeline.",
)
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
    boxes = outboxes(to, webhook, form, allow_http, every, program)
    if boxes:
        from agent_pipes.alert.batching import Alert
        from agent_pipes.alert.delivery import close_all
    log = AlertFile(file or default_file())
    started = Started(known)
    undelivered = False
    try:
        for event in events:
            started.see(event)
            if event.type in ("violation", "kill"):
                line = line_of(event, kills)
                for sink in sinks_of(event, to):
                    if sink == "terminal":
                        # What became of the process, trace-kill has told the same people itself.
                        if event.type == "violation":
                            say(
                                f"{warning_head()}{started.since(event.session, event.time)}  {line}"
                            )
                    elif sink == "file":
                        log.write(
                            f"{event.time:.3f} {shown(event.session)} {started.since(event.session, event.time)}  {shown(line)}\n".encode()
                        )
                    elif sink not in boxes:
                        undelivered = True
                        warn(MISSING[sink])
                    elif (
                        sink == "exec"
                        or not watchers
                        or event.type == "kill"
                        or event.text("watcher") in watchers
                    ):
                        boxes[sink].put(Alert(event, shown(line)))
            yield event
    finally:
        if boxes:
            with suppress(Exception):
                undelivered = not close_all(boxes.values(), drain) or undelivered
    return ExitStatus.UNREADABLE if undelivered else ExitStatus.OK


main = alert.main
