"""Sessions that hooks record in the store, and that their agents record themselves."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents.base import Session
from agent_pipes.agents.fields import stored_as
from agent_pipes.agents.registry import STORE
from agent_pipes.agents.store.sessions import has_work, is_recorded_by_agent
from agent_pipes.core.bounded import BoundedDict

if TYPE_CHECKING:
    from agent_pipes.sessions.followed_session import FollowedSession

TIMEOUT_S = 5.0
"""Seconds after its first work in which the agent creates the session's file."""

MAX_HELD_SESSIONS = 1000


class OwnRecordings:
    """Decides which sessions in the store are left to the agents' own recordings of them.

    A hook records the start of a session before the agent creates its file. Read as two sessions,
    it would be counted twice, and its cost estimated, because hooks record no usage.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: BoundedDict[Path, float] = BoundedDict(MAX_HELD_SESSIONS)

    def covers(self, session: Session, followed: Mapping[Path, "FollowedSession"]) -> bool:
        """Return True if the agent's own recording of `session` is followed or may yet appear.

        An agent that keeps no session never creates a file: the store's is used then.
        """
        if session.agent != STORE:
            return False
        if any(
            stored_as(each.session.id) == session.id and path.exists()
            for path, each in followed.items()
            if each.session.agent != STORE
        ):
            return True
        if not is_recorded_by_agent(session):
            return False
        now = self._clock()
        return not has_work(session) or now - self._held.setdefault(session.path, now) < TIMEOUT_S
