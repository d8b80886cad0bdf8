"""trace-kill: kill the agent and every process it has started on a violation."""

import signal as signals
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import unbroken
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus, worst
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import DURATION, Option
from agent_pipes.core.stderr import defer, warn, write_line
from agent_pipes.core.stream import Waiter

if TYPE_CHECKING:
    from agent_pipes.process.follow_up import FollowUp
    from agent_pipes.process.killer import Killer
    from agent_pipes.process.table import Identity


MAX_TRIGGERS = 1_000
"""Violations that are kept for the kills that they bring about."""

RECENT_S = 7 * 86400.0
"""Seconds since its last change within which a session without a registry may be live."""

STEPS = frozenset({"pause", "kill"})
"""Actions of a violation that trace-kill carries out."""


class SignalName(click.ParamType):  # type: ignore[type-arg]
    """Signal by name (`TERM`, `SIGINT`) or number."""

    name = "SIGNAL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).upper()
        try:
            return (
                signals.Signals(int(text))
                if text.isdigit()
                else signals.Signals["SIG" + text.removeprefix("SIG")]
            )
        except (KeyError, ValueError):
            self.fail(f"expected a signal such as TERM, INT or 9, not {value!r}.", param, ctx)


@filter_command("trace-kill", must_run=True)
@click.option(
    "--pid",
    cls=Option,
    type=int,
    metavar="PID",
    help="PID of the agent, if the stream does not name it.",
)
@click.option(
    "--signal",
    cls=Option,
    type=SignalName(),
    default="TERM",
    show_default=True,
    help="First signal to send; STOP pauses the agent.",
)
@click.option(
    "--kill-after",
    cls=Option,
    type=DURATION,
    default="10s",
    show_default=True,
    help="Time from the first signal to SIGKILL; 'off' for never.",
)
@click.option(
    "--dry-run",
    cls=Option,
    is_flag=True,
    flag="--dry-run",
    help="Only print what would be killed.",
)
@click.option(
    "--then",
    cls=Option,
    flag="--then",
    metavar="COMMAND",
    help="Program to run after a kill, without a shell; it gets the facts as JSON on stdin.",
)
@click.option(
    "--local",
    is_flag=True,
    help="Read violations of any machine, and kill for those whose session is live here.",
)
@click.option(
    "--stale",
    cls=Option,
    type=DURATION,
    default="5m",
    show_default=True,
    help="With --local: do not kill for violations older than this; 'off' for no limit.",
)
def kill(
    events: Iterable[Event],
    waiter: Waiter,
    pid: int | None = None,
    signal: int = signals.SIGTERM,
    kill_after: float = 10.0,
    dry_run: bool = False,
    then: str | None = None,
    local: bool = False,
    stale: float = 300.0,
    shows_cause: bool = True,
) -> Events:
    """Kill the agent and every process that it has started on a violation.

    The process is named by `process` events in the stream, or by --pid. It gets SIGTERM, then
    SIGKILL, and its end is confirmed. Exit status 124: the agent was killed. 125: it should have
    been, and was not.
    """
    from agent_pipes.process.handle import self_test
    from agent_pipes.process.killer import Killer

    if local and pid is not None:
        raise click.UsageError("--pid and --local exclude each other")
    if problem := self_test():
        warn(f"no process can be killed here: {problem}")
    options: dict[str, Any] = {
        "pid": _identity(pid),
        "signal": signal,
        "kill_after": kill_after,
        "dry_run": dry_run,
        "interrupt": _interrupt,
        "shows_cause": shows_cause,
    }
    if local:
        from agent_pipes.process.local_killer import LocalKiller

        killer: Killer = LocalKiller(waiter, lookup=_local_process, stale_s=stale, **options)
    else:
        killer = Killer(waiter, **options)
    aftermath = Aftermath(then)
    is_empty = True
    try:
        for event in events:
            is_empty = is_empty and event.type == "tick"
            aftermath.see(event)
            yield from aftermath.of(_pass_on(event, killer))
            if killer.given and killer.given.finished and not killer.given.is_paused:
                break
        yield from aftermath.of(killer.finish())
    finally:
        for _ in aftermath.of(killer.hurry()):
            pass
        aftermath.finish()
    if is_empty:
        warn("the stream ended without any event: nothing was watched")
        return ExitStatus.BROKE_OFF if pid or local else ExitStatus.OK
    return worst((killer.status, _report_left(killer)))


def _pass_on(event: Event, killer: "Killer") -> Iterator[Event]:
    """Act on an event, then yield it and the kills that it brought about."""
    # A reader that has stopped reading must not delay the kill, and what is reported of the
    # violation comes before what became of the agent.
    with defer() as reports:
        kills = list(killer.trip(event) if _trips(event) else killer.see(event))
    yield event
    for report in reports:
        write_line(report)
    yield from kills
    if event.type == "session_end":
        killer.forget(event.session)


def _report_left(killer: "Killer") -> ExitStatus:
    """Report the agents that are paused or run unwatched from now on; return the exit status."""
    status = ExitStatus.OK
    for target in killer.targets():
        if target.at_risk:
            status = ExitStatus.BROKE_OFF
            warn(f"the stream ended, but process {target.pid} is running: nothing watches it now")
    for target in killer.targets():
        if target.is_paused:
            status = ExitStatus.KILLED
            warn(
                f"process {target.pid} is still paused; to continue it: "
                f"{unbroken(target.resume_command)}"
            )
    return status


class Aftermath:
    """Runs the command of --then, if there is one, after each kill."""

    def __init__(self, command: str | None) -> None:
        """Split the command. Raises click.UsageError if it cannot be run."""
        self._follow_up: FollowUp | None = None
        if command is None:
            return
        from agent_pipes.alert.options import split_command
        from agent_pipes.commands.briefing import Briefings
        from agent_pipes.process import follow_up

        try:
            self._follow_up = follow_up.FollowUp(split_command(command))
        except ValueError as error:
            raise click.UsageError(f"--then: {error}") from None
        self._briefings = Briefings()
        self._triggers: BoundedDict[str, Event] = BoundedDict(MAX_TRIGGERS)

    def see(self, event: Event) -> None:
        """Record the facts for the command."""
        if self._follow_up:
            self._briefings.see(event)
            if event.type == "violation":
                self._triggers[event.id] = event

    def of(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield `events`, and start the command after each kill that was more than a trial."""
        for event in events:
            yield event
            if self._follow_up and event.type == "kill" and event.text("outcome") != "dry_run":
                trigger = self._triggers.get(event.parent)
                briefing = self._briefings.of(event, trigger)
                self._follow_up.start(briefing | {"hint": _hint(trigger)})

    def finish(self) -> None:
        """Wait for the command."""
        if self._follow_up:
            self._follow_up.finish()


def _hint(trigger: Event | None) -> str:
    from agent_pipes.commands.nudge import text_of

    return text_of(trigger) if trigger else ""


def _trips(event: Event) -> bool:
    """Return True for a violation that is more than a warning and names no other action."""
    if event.type != "violation" or event.data.get("level") == "warning":
        return False
    actions = event.data.get("actions")
    return not (isinstance(actions, list) and actions) or not STEPS.isdisjoint(actions)


def _interrupt(control: str, session: str) -> str:
    """Interrupt a session over its agent's control socket; return what was interrupted."""
    from pathlib import Path

    from agent_pipes.agents.base import InterruptError as Refusal
    from agent_pipes.agents.registry import interrupt
    from agent_pipes.process.killer import InterruptError

    try:
        was_running = interrupt(Path(control), session)
    except Refusal as error:
        raise InterruptError(str(error)) from None
    return "its turn was interrupted" if was_running else "no turn was running any more"


def _local_process(session: str) -> Event | None:
    """Return the `process` event of a session that is live on this machine, else None."""
    from agent_pipes.agents.registry import every_agent
    from agent_pipes.sessions.session_reader import Clock, SessionReader

    for agent in every_agent():
        for found in agent.maybe_live_sessions(time.time() - RECENT_S):
            if found.id == session and (process := agent.process(found)):
                reader = SessionReader(found, agent, Clock(), live=False)
                control = agent.control_socket(found)
                return next(
                    iter(reader.set_process(process, agent.process_found_by, control)), None
                )
    return None


def _identity(pid: int | None) -> "Identity | None":
    """Return the process that --pid names, or raise click.UsageError."""
    from agent_pipes.process.table import identify

    if pid is None:
        return None
    if pid <= 1:
        raise click.UsageError(f"--pid {pid}: a PID is at least 2")
    identity = identify(pid)
    if identity is None:
        raise click.UsageError(f"--pid {pid}: no such process")
    return identity


main = kill.main
