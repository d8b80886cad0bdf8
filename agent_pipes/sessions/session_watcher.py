"""Sessions that may have started or changed, reported by inotify on the folders of all agents.

Without inotify, or after its queue has overflowed, all sessions are listed instead. What a scan
costs depends on the sessions that have changed, not on how many there are.
"""

import select
import time
from collections.abc import Iterator
from pathlib import Path

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.folders import entries_of
from agent_pipes.agents.registry import every_agent
from agent_pipes.sessions import discovery
from agent_pipes.sessions.files import inotify

CANDIDATE_S = 60.0
"""Seconds for which a changed session is a candidate: its process may become known later."""

MIN_LISTING_INTERVAL_S = 60.0
"""Seconds between two listings of all sessions at least, while inotify reports all changes."""

LISTING_SHARE = 1000
"""The next listing begins at least this many listing durations later: 0.1 % of a core."""

POLL_SHARE = 20
"""The same without inotify: 5 % of a core, and MAX_POLL_INTERVAL_S at most."""

POLL_INTERVAL_S = 1.0
MAX_POLL_INTERVAL_S = 5.0

MAX_WATCHED_FOLDERS = 4096
"""Folders that are watched; sessions in others are found by the next listing."""


class SessionWatcher:
    """Keeps the sessions that a follower may have to take up.

    poll: do without inotify.

    changed: names of the agents that have had changes since the last call of `candidates`.
    """

    def __init__(self, *, poll: bool = False) -> None:
        self.changed: set[str] = set()
        self._watches = None if poll else _watches()
        self._folders: dict[str, Agent] = {}
        # Folders of sessions; other watched ones are ancestors of folders that do not exist yet.
        self._own: set[str] = set()
        self._awaited: dict[str, set[str]] = {}
        self._is_complete = False
        self._recent: dict[Path, tuple[Session, float]] = {}
        self._next_listing = 0.0

    def fileno(self) -> int:
        """Return the file descriptor that is readable when something has changed, or -1."""
        return self._watches.fd if self._watches else -1

    def has_changes(self) -> bool:
        """Return True if inotify has something to report."""
        return self._watches is not None and bool(select.select([self._watches.fd], [], [], 0)[0])

    @property
    def is_complete(self) -> bool:
        """True if inotify reports every change."""
        return self._watches is not None and self._is_complete

    def candidates(self) -> list[Session]:
        """Return sessions that have changed lately or may be live, the last changed first."""
        now = time.monotonic()
        self.changed = set()
        for agent, path in self._changes():
            self.changed.add(agent.name)
            found = agent.sessions_at(path)
            for session in agent.sessions() if found is None else found:
                self._recent[session.path] = session, now
        if now >= self._next_listing:
            self._list(now)
        self._recent = {
            path: (session, since)
            for path, (session, since) in self._recent.items()
            if now - since < CANDIDATE_S
        }
        return discovery.once(session for session, _ in self._recent.values())

    def close(self) -> None:
        """Watch nothing any more."""
        if self._watches:
            self._watches.close()
            self._watches = None

    def _list(self, now: float) -> None:
        """List the sessions of all agents, and watch their folders before."""
        self._is_complete = self._watches is not None
        # Until a change may have been missed, inotify reports each other session that grows.
        missed = bool(self._folders)
        for agent in every_agent():
            self.changed.add(agent.name)
            for folder in agent.session_folders():
                self._watch(agent, folder.path, folder.depth)
            look_at_all = missed or not self._is_complete
            recent = agent.recent_sessions if look_at_all else agent.maybe_live_sessions
            for session in recent(time.time() - discovery.RECENT_S):
                self._recent[session.path] = session, now
        discovery.report_unreadable_folders()
        took = time.monotonic() - now
        if self.is_complete:
            self._next_listing = now + max(MIN_LISTING_INTERVAL_S, LISTING_SHARE * took)
        else:
            self._next_listing = now + min(
                MAX_POLL_INTERVAL_S, max(POLL_INTERVAL_S, POLL_SHARE * took)
            )

    def _watch(self, agent: Agent, folder: Path, depth: int) -> None:
        """Watch a folder and those in it; one that does not exist yet by its parent."""
        if self._watches is None:
            return
        for each, below in [(folder, depth), *_folders_in(folder, depth)]:
            self._own.add(str(each))
            if len(self._folders) >= MAX_WATCHED_FOLDERS and str(each) not in self._folders:
                self._is_complete = False
                return
            self._put(agent, each, below)

    def _put(self, agent: Agent, folder: Path, depth: int) -> None:
        assert self._watches is not None
        name = str(folder)
        try:
            if inotify.remote(name):
                self._is_complete = False
                return
            self._watches.put(name, name, inotify.OF_SESSIONS)
            self._folders[name] = agent
        except (FileNotFoundError, NotADirectoryError):
            # The nearest ancestor reports that it appears, and nothing else.
            if folder.parent != folder:
                self._awaited.setdefault(str(folder.parent), set()).add(folder.name)
                if str(folder.parent) not in self._folders:
                    self._put(agent, folder.parent, depth + 1)
        except OSError:
            self._is_complete = False

    def _changes(self) -> Iterator[tuple[Agent, Path]]:
        """Yield the changed paths, each once. Sets the next listing if they are not known."""
        seen: set[tuple[str, str]] = set()
        for owner, mask, entry in self._watches.events() if self._watches else ():
            if not isinstance(owner, str) or owner not in self._folders:
                self._next_listing = 0.0
                continue
            agent = self._folders[owner]
            if entry and owner in self._awaited and owner not in self._own:
                if entry in self._awaited[owner]:
                    self._next_listing = 0.0
                continue
            if mask & (inotify.IGNORED | inotify.DELETE_SELF | inotify.MOVE_SELF):
                del self._folders[owner]
                self._next_listing = 0.0
            elif mask & inotify.ISDIR and mask & inotify.ENTRIES:
                # Files may have been created in the new folder before it is watched.
                self._next_listing = 0.0
            elif entry and (owner, entry) not in seen:
                seen.add((owner, entry))
                yield agent, Path(owner, entry)


def _watches() -> inotify.Watches | None:
    try:
        return inotify.Watches()
    except OSError:
        return None


def _folders_in(folder: Path, depth: int) -> Iterator[tuple[Path, int]]:
    """Yield the folders in `folder`, `depth` levels deep, and the levels below each."""
    if depth:
        for each in entries_of(folder):
            if each.is_dir(follow_symlinks=False):
                yield Path(each.path), depth - 1
                yield from _folders_in(Path(each.path), depth - 1)
