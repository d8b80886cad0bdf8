"""One line per violation or kill, as people read it, and the sinks that it goes to."""

from collections.abc import Iterable

from agent_pipes.alert.options import SINKS
from agent_pipes.core.bounded import remember
from agent_pipes.core.event import Event

MAX_SESSIONS = 10_000
"""Sessions whose start is kept."""

MAX_MESSAGE_CHARS = 500
MAX_WATCHER_CHARS = 40


class SessionClock:
    """Start time of each session, in seconds since the epoch."""

    def __init__(self, times: dict[str, float] | None = None) -> None:
        """Record the start times in `times`."""
        self.times = {} if times is None else times

    def see(self, event: Event) -> None:
        """Record the time of a session's first event."""
        session = event.session
        if session not in self.times and session and event.time:
            remember(self.times, session, event.time, MAX_SESSIONS)

    def since(self, session: str, now: float) -> str:
        """Return `+1:05` or `+2:00:30`, the time from the session's start to `now`."""
        minutes, seconds = divmod(max(0, int(now - self.times.get(session, now))), 60)
        hours, minutes = divmod(minutes, 60)
        return f"+{hours}:{minutes:02}:{seconds:02}" if hours else f"+{minutes}:{seconds:02}"


def watcher_name(event: Event) -> str:
    """Return `RetryWatcher` of a violation by `retry`."""
    return f"{event.text('watcher')[:MAX_WATCHER_CHARS].capitalize() or 'Unknown'}Watcher"


def line_of(event: Event, kills: bool) -> str:
    """Return the line of a violation or a kill. `kills`: a trace-kill is in the pipeline."""
    if event.type == "kill":
        process = f"process {event.data.get('pid')}"
        outcome = {
            "terminated": f"✅ ended {process}",
            "killed": f"✅ ended {process} (it had to be killed)",
            "interrupted": f"✅ interrupted the session in {process}",
            "not_running": f"✅ {process} had ended already",
            "dry_run": f"⚠️  would have ended {process} (dry run)",
        }.get(event.text("outcome"), f"❌ could NOT end {process}")
        return f"{outcome}: {event.text('reason')[:MAX_MESSAGE_CHARS]}"
    message = f"{watcher_name(event)}: {event.text('message')[:MAX_MESSAGE_CHARS]}"
    if event.data.get("level") != "warning" and calls_for_kill(event, kills):
        return f"❌ {message} — killing session"
    return f"⚠️  {message}"


def calls_for_kill(event: Event, kills: bool) -> bool:
    """Return True if the violation is to end its session: by its `actions`, else by `kills`."""
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
