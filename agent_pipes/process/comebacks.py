"""Killed sessions that come back: restarted by a supervisor, with the same ID or another."""

from typing import NamedTuple

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.process.kill_target import KillTarget

RETURN_WINDOW_S = 60.0
"""Seconds after a kill in which a session that is alive again has come back by itself."""

REPORTED_RESTARTS = 3
"""Restarts of an agent under new session IDs after which they are reported, once."""

MAX_KILLED = 10_000


class Killed(NamedTuple):
    """A killed session: the violation, the PID, and the time of the kill in the stream."""

    trigger: Event
    pid: int
    time: float


class Restarts:
    """Sessions of one agent in one directory that have started since one was killed there."""

    __slots__ = ("count", "latest", "sessions")

    def __init__(self, session: str, now: float) -> None:
        self.count = 0
        self.latest = now
        self.sessions = {session}


class Comebacks:
    """Remembers kills of sessions that no person sits at: only these come back by themselves."""

    def __init__(self) -> None:
        self._killed: BoundedDict[str, Killed] = BoundedDict(MAX_KILLED)
        self._places: BoundedDict[tuple[str, str], Restarts] = BoundedDict(MAX_KILLED)

    def add(self, target: KillTarget, now: float) -> bool:
        """Remember a kill; return False for a session that does not come back by itself."""
        if target.trigger is None or not target.is_unattended:
            return False
        self._killed.renew(target.trigger.session, Killed(target.trigger, target.pid, now))
        if target.place:
            self._places.renew(target.place, Restarts(target.trigger.session, now))
        return True

    def forget(self, session: str) -> None:
        """Take a session for wanted again: a person has prompted it."""
        self._killed.pop(session, None)

    def returned(self, event: Event, now: float) -> Killed | None:
        """Return the kill of the session that a `process` event shows to be alive again."""
        killed = self._killed.get(event.session)
        if killed is None or event.data.get("pid") in (killed.pid, None):
            return None
        if now - killed.time > RETURN_WINDOW_S:
            self.forget(event.session)
            return None
        return killed

    def started(self, target: KillTarget, session: str, now: float) -> None:
        """Count a session with another ID that starts where one was killed; report several once."""
        place = target.place
        restarts = self._places.get(place) if place else None
        if place is None or restarts is None or session in restarts.sessions or target.is_attended:
            return
        if now - restarts.latest > RETURN_WINDOW_S:
            del self._places[place]
            return
        restarts.sessions.add(session)
        restarts.count += 1
        restarts.latest = now
        if restarts.count == REPORTED_RESTARTS:
            agent, cwd = place
            warn(
                f"{agent} in {cwd} was restarted {restarts.count} times since it was killed: "
                "each is a new session, whose limits begin anew; stop what restarts it"
            )
