"""Selection of sessions to follow: a named one, those of this directory, of a child, or all."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent_pipes.agents.base import Session
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.stderr import warn
from agent_pipes.sessions import discovery
from agent_pipes.sessions.unseen_agents import UnseenAgents

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

NO_SESSION_OF_COMMAND = "COMMAND has shown no agent session: nothing was watched"

CLOCK_TOLERANCE_S = 1.0
"""Difference between the kernel's time of a process's start and the clock of its files."""

MAX_REPORTED = 1000
"""Live sessions of other directories that are remembered as reported."""

UNUSED_S = 60.0
"""Seconds after its last change from which on a session that is not live is not checked again."""


class Followed(Protocol):
    """The follower's side of a selection: which sessions it has followed, and since when."""

    since: float

    def candidates(self) -> list[Session]:
        """Return the sessions that have changed lately or may be live, the last changed first."""

    def processes(self) -> "list[tuple[str, Identity | None]]":
        """Return agent and process of each session that is followed."""

    @property
    def has_begun(self) -> bool:
        """True if a session is followed or was."""

    def is_wanted(self, session: Session) -> bool:
        """Return False if the session is followed, or has ended and was not resumed since."""

    def has_ended(self, session: Session) -> bool:
        """Return True if the session was followed and has ended."""

    def is_new(self, session: Session) -> bool:
        """Return True if the session began after this process."""


class Selection:
    """Finds sessions to follow; asked at intervals.

    endless: sessions are waited for even after all that were found have ended.
    waits:   the first session is waited for.
    """

    endless = False
    waits = False

    def find(self, followed: Followed) -> Iterable[Session]:
        """Return sessions that are to be followed from now on."""
        raise NotImplementedError


class OneSession(Selection):
    """One session that is known from the start."""

    def __init__(self, session: Session, *, waits: bool = False) -> None:
        self.waits = waits
        self._session = session

    def find(self, followed: Followed) -> Iterable[Session]:
        """Return the session, once."""
        return [] if followed.has_begun else [self._session]


class _LiveSessions(Selection):
    """Remembers which sessions are not live: each check scans all processes."""

    def __init__(self) -> None:
        self._unused: dict[Path, float] = {}

    def is_live(self, session: Session, now: float) -> bool:
        """Return True if a process works in the session, as far as can be known."""
        if self._unused.get(session.path) == session.modified < now - UNUSED_S:
            return False
        live = discovery.is_live(session)
        if not live:
            self._unused[session.path] = session.modified
        return live


class LiveHere(_LiveSessions):
    """The live sessions of this directory, and each that starts or grows here.

    A session of a parent directory, up to the root of the repository, is one of this directory.

    waits: the first is waited for.
    """

    def __init__(self, *, waits: bool = False) -> None:
        super().__init__()
        self.waits = waits
        self._directories = discovery.project_directories(os.getcwd())
        self._reported = False
        self._beside: BoundedDict[Path, None] = BoundedDict(MAX_REPORTED)
        self._unseen = UnseenAgents(self._directories)

    def find(self, followed: Followed) -> Iterable[Session]:
        """Return the sessions of this directory that are live or have grown, and not followed."""
        self._report_others(followed)
        self._unseen.report(followed.processes())
        found = [
            each
            for each in followed.candidates()
            if discovery.is_in(each, self._directories) and self._is_chosen(each, followed)
        ]
        if not found and not self._reported and not followed.has_begun:
            self._reported = True
            elsewhere = discovery.live_elsewhere(self._live_ones(followed))
            warn(
                "no live session in this directory yet: waiting for one "
                f"(start an agent here, or use --all; Ctrl-C ends this){elsewhere}"
            )
        for session in found if not self.waits else ():
            warn(f"{discovery.describe(session)}: the live session of this directory")
        return found

    def _live_ones(self, followed: Followed) -> list[Session]:
        """Return live sessions of any directory that are not reported on their own."""
        return [
            each
            for each in followed.candidates()
            if each.path not in self._beside and self.is_live(each, followed.since)
        ]

    def _report_others(self, followed: Followed) -> None:
        """Report once each live session of this project that is not one of this directory."""
        for each in followed.candidates():
            if (
                each.path not in self._beside
                and not discovery.is_in(each, self._directories)
                and discovery.is_beside(each, os.getcwd())
                and self.is_live(each, followed.since)
            ):
                self._beside[each.path] = None
                warn(f"{discovery.describe(each)}: NOT watched from here; name it, or use --all")

    def _is_chosen(self, session: Session, followed: Followed) -> bool:
        if not followed.is_wanted(session):
            return False
        grown = session.modified >= followed.since and not followed.has_ended(session)
        return grown or self.is_live(session, followed.since)


class EveryLive(_LiveSessions):
    """All live sessions of this machine, and each that starts."""

    endless = True
    waits = True

    def __init__(self) -> None:
        super().__init__()
        self._reported = False

    def find(self, followed: Followed) -> Iterable[Session]:
        """Return the live sessions that are not followed yet."""
        found = [
            each
            for each in followed.candidates()
            if followed.is_wanted(each) and self.is_live(each, followed.since)
        ]
        if not (found or self._reported or followed.has_begun):
            self._reported = True
            warn("no session is live on this machine yet: waiting for one (Ctrl-C ends this)")
        return found


class OfChild(Selection):
    """The sessions that a process which we started, or a descendant of it, has opened."""

    endless = True
    waits = True

    def __init__(self, child: "Identity") -> None:
        from agent_pipes.process.table import began

        self._child = child
        self._earliest = began(child) - CLOCK_TOLERANCE_S
        self._directories = discovery.project_directories(os.getcwd())

    def find(self, followed: Followed) -> Iterable[Session]:
        """Return sessions that the child has begun or resumed."""
        return [
            each
            for each in followed.candidates()
            if each.modified >= followed.since
            and followed.is_wanted(each)
            and self._is_childs(each, followed)
        ]

    def _is_childs(self, session: Session, followed: Followed) -> bool:
        from agent_pipes.process.table import ancestors

        process = discovery.process_of(session)
        if process is None or discovery.control_socket(session):
            # A daemon runs the session, or no process is known yet.
            # The session may have begun before the follower, which starts after the child.
            is_new = followed.is_new(session) or session.started >= self._earliest
            return is_new and discovery.is_in(session, self._directories)
        # We are the nearest subreaper, so orphans of the child become children of ours.
        parents = {each.pid for each in ancestors(process.pid)}
        return process == self._child or not parents.isdisjoint({self._child.pid, os.getpid()})
