"""One line per violation or kill, as people read it, and the sinks that it goes to."""

from collections.abc import Iterable
from typing import NamedTuple

from agent_pipes.alert.options import SINKS
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import tilde
from agent_pipes.core.event import STAND_IN_PREFIX, Event

MAX_SESSIONS = 10_000
"""Sessions whose start and names are kept."""

SHORT_ID_CHARS = 8

KILLING = " — killing session"
"""End of the line of a violation that a kill follows."""

MAX_MESSAGE_CHARS = 500
MAX_WATCHER_CHARS = 40


Cause = tuple[str, str]
"""Watcher and message of the violation that a kill follows."""

NO_CAUSE = ("", "")


class SessionClock:
    """Start time of each session, in seconds since the epoch."""

    def __init__(self) -> None:
        self.times: BoundedDict[str, float] = BoundedDict(MAX_SESSIONS)

    def see(self, event: Event) -> None:
        """Record the time of a session's first event."""
        session = event.session
        if session not in self.times and session and event.time:
            self.times[session] = event.time

    def since(self, session: str, now: float) -> str:
        """Return `+1:05` or `+2:00:30`, the time from the session's start to `now`."""
        minutes, seconds = divmod(max(0, int(now - self.times.get(session, now))), 60)
        hours, minutes = divmod(minutes, 60)
        return f"+{hours}:{minutes:02}:{seconds:02}" if hours else f"+{minutes}:{seconds:02}"


class Names(NamedTuple):
    """Agent and directory of a session, as its start says; "" if unknown."""

    agent: str = ""
    cwd: str = ""


class SessionNames:
    """Names of the sessions of a stream, for messages.

    several: more than one session was seen, so a message must name its own.
    """

    def __init__(self) -> None:
        self._names: BoundedDict[str, Names] = BoundedDict(MAX_SESSIONS)
        self._first = ""
        self.several = False

    def see(self, event: Event) -> None:
        """Record the names in a session's start."""
        session = event.session
        if session and session != self._first and not session.startswith(STAND_IN_PREFIX):
            self.several = bool(self._first)
            self._first = self._first or session
        if event.type == "session_start":
            self._names[session] = Names(event.text("agent"), event.text("cwd"))

    def names(self, session: str) -> Names:
        """Return a session's agent and directory."""
        return self._names.get(session) or Names()

    def describe(self, session: str) -> str:
        """Return `claude in ~/proj, 4e19aab4`."""
        names = self.names(session)
        place = f" in {tilde(names.cwd)}" if names.cwd else ""
        return f"{names.agent or 'session'}{place}, {session[:SHORT_ID_CHARS]}"


class Causes:
    """Violations of a stream, for the kills that they cause."""

    def __init__(self) -> None:
        self._causes: BoundedDict[str, Cause] = BoundedDict(MAX_SESSIONS)

    def see(self, event: Event) -> None:
        """Record a violation."""
        if event.type == "violation" and event.id:
            self._causes[event.id] = (event.text("watcher"), event.text("message"))

    def cause(self, kill: Event) -> Cause:
        """Return watcher and message of the violation that caused a kill, "" if unknown."""
        return self._causes.get(kill.parent) or NO_CAUSE


def watcher_name(watcher: str) -> str:
    """Return `RetryWatcher` of `retry`."""
    return f"{watcher[:MAX_WATCHER_CHARS].capitalize() or 'Unknown'}Watcher"


def line_of(event: Event, kills: bool, agent: str = "", cause: Cause = NO_CAUSE) -> str:
    """Return the line of a violation or a kill.

    kills: a trace-kill is in the pipeline.
    agent: name of the session's agent.
    cause: watcher and message of the violation that a kill follows.
    """
    if event.type == "kill":
        return _line_of_kill(event, agent, cause)
    if event.type == "waiting":
        return f"⏳ {agent or 'the agent'} {event.text('message')}"
    message = f"{watcher_name(event.text('watcher'))}: {event.text('message')[:MAX_MESSAGE_CHARS]}"
    if calls_for_kill(event, kills):
        return f"❌ {message}{KILLING}"
    return f"⚠️  {message}"


def _line_of_kill(event: Event, agent: str, cause: Cause) -> str:
    pid, signal = event.data.get("pid"), event.text("signal")
    who = f"{agent or 'agent'} (pid {pid})"
    named = f"{agent or 'agent'} (pid {pid}, {signal and f'SIG{signal}'})" if signal else who
    reason = event.text("reason")[:MAX_MESSAGE_CHARS]
    outcome = {
        "terminated": f"killed {named}",
        "killed": f"killed {who}, SIGKILL was needed",
        "interrupted": f"interrupted the session of {who}",
        "not_running": f"{who} had already exited before it could be killed",
        "paused": f"paused {who}",
        "continued": f"continued {who}",
        "dry_run": f"would have killed {who} (dry run)",
    }.get(event.text("outcome"), f"❌ could NOT kill {who}: {reason}")
    watcher, message = cause
    because = f"{watcher_name(watcher)}: {message[:MAX_MESSAGE_CHARS]}" if watcher else ""
    return f"{outcome} because: {because}" if because else outcome


def calls_for_kill(event: Event, kills: bool) -> bool:
    """Return True for a violation that is to end its session: by its `actions`, else by `kills`."""
    if event.type != "violation" or event.data.get("level") == "warning":
        return False
    actions = event.data.get("actions")
    return "kill" in actions if isinstance(actions, list) and actions else kills


def sinks_of(event: Event, to: tuple[str, ...]) -> Iterable[str]:
    """Return the sinks that act on the event: those in its `actions`, else `to`."""
    actions = event.data.get("actions")
    if event.type == "violation" and isinstance(actions, list) and actions:
        named = [sink for sink in SINKS if sink in actions]
        # A violation that only kills would leave its user with a dead agent and no reason.
        return named or ["terminal"]
    return to
