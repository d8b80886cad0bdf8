"""State of a session that is or was followed, and of the process that was named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents.base import Agent, Session
from agent_pipes.sessions.session_reader import SessionReader

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


CHILD_CLOCK_SLACK_S = 0.5
"""Seconds by which a child's session may have begun before we read the clock."""


TICK_INTERVAL_S = 1.0
"""Seconds between two ticks of a live session, whatever else is read meanwhile."""


MAX_ENDED_SESSIONS = 10_000
"""Sessions remembered after their end, to notice that they are resumed."""


@dataclass(slots=True)
class Given:
    """The agent's process, if the user has named it (`how` is "given") or we have started it."""

    process: "Identity"
    how: str


@dataclass(slots=True, eq=False)
class FollowedSession:
    """A session that is followed.

    is_new:       True if it began after us, so that it is live from its first event.
    is_named:     True if the user chose this very recording of the session.
    process:      its process, None while unknown.
    unused_since: monotonic seconds since when no process has had it open, None if one may.
    next_tick:    monotonic seconds.
    """

    reader: SessionReader
    is_new: bool
    is_named: bool
    process: "Identity | None" = None
    files: set[Path] = field(default_factory=set)
    unused_since: float | None = None
    next_tick: float = 0.0

    @property
    def session(self) -> Session:
        """The session as discovered."""
        return self.reader.session

    @property
    def agent(self) -> Agent:
        """The agent whose format the session has."""
        return self.reader.agent

    def is_tick_due(self, now: float) -> bool:
        """Return True once a second, by monotonic `now`, while the session is live."""
        if self.reader.history or now < self.next_tick:
            return False
        self.next_tick = now + TICK_INTERVAL_S
        return True


@dataclass(slots=True)
class EndedSession:
    """A session that was followed: its process and its last change (seconds since the epoch)."""

    process: "Identity | None"
    modified: float

    @staticmethod
    def of(followed: FollowedSession) -> "EndedSession":
        """Return what is remembered of a session that is not followed any more."""
        try:
            modified = followed.session.path.stat().st_mtime
        except OSError:
            modified = 0.0
        return EndedSession(followed.process, modified)
