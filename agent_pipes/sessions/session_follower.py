"""Following live sessions: their files as they grow and the processes that write them.

`SessionFollower.follow` is the loop that every live command runs.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, tick
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Waiter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.files.file_follower import FileFollower
from agent_pipes.sessions.followed_session import (
    CHILD_CLOCK_SLACK_S,
    MAX_ENDED_SESSIONS,
    EndedSession,
    FollowedSession,
    Given,
)
from agent_pipes.sessions.own_recordings import OwnRecordings
from agent_pipes.sessions.selection import Selection
from agent_pipes.sessions.session_reader import MAX_LINE_BYTES, Clock, SessionReader
from agent_pipes.sessions.session_watcher import SessionWatcher

if TYPE_CHECKING:
    from agent_pipes.process.exit_watch import ExitWatch
    from agent_pipes.process.table import Identity

SCAN_INTERVAL_S = 1.0
"""Seconds between two scans for sessions and for the processes of those followed."""

SETTLED_SCAN_INTERVAL_S = 2.0
"""The same once nothing has happened for ABANDONED_S: an idle follower sleeps for as long."""

FIRST_SCAN_INTERVAL_S = 0.1
"""Seconds between two scans while something happens and no process is known yet."""

LISTING_INTERVAL_S = 60.0
"""Seconds between two listings of a session's files, which inotify reports as they appear."""

ABANDONED_S = 5.0
"""Seconds without a process after which a session is taken to be over; processes are not looked
for any longer after a change, because each look reads /proc."""


class SessionFollower:
    """Follows the sessions that `selection` finds, until they end.

    given:   the agent's process, if it is known from the start; reading ends with it.
    agent:   the agent whose format the files have, if the user forces one.
    options: keyword arguments of SessionReader.
    linger:  called when no session is left: seconds for which to wait for one all the same.

    bad:   number of lines that could not be read.
    since: seconds since the epoch from which on a session is new.
    """

    def __init__(
        self,
        waiter: Waiter,
        selection: Selection,
        *,
        poll: bool = False,
        max_line: int = MAX_LINE_BYTES,
        given: Given | None = None,
        agent: Agent | None = None,
        options: dict[str, Any] | None = None,
        linger: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.clock = Clock()
        self.since = self.clock.began
        if given and given.how == "child":
            self.since -= CHILD_CLOCK_SLACK_S
        self.bad = 0
        self.sessions: dict[Path, FollowedSession] = {}
        self.ended: BoundedDict[Path, EndedSession] = BoundedDict(MAX_ENDED_SESSIONS)
        self._waiter = waiter
        self._selection = selection
        self._given = given
        self._agent = agent
        self._options = options or {}
        self._linger = linger
        self._watcher = SessionWatcher(poll=poll)
        self._candidates: list[Session] = []
        self._own_recordings = OwnRecordings()
        self._files = FileFollower(poll=poll, max_line=max_line, warn=warn)
        self._owners: dict[Path, FollowedSession] = {}
        self._folders: set[Path] = set()
        self._exit_watches: dict[Identity, ExitWatch] = {}
        self._process_found = False
        self._next_scan = self._next_listing = self._linger_until = 0.0
        self._last_begin = self._last_change = 0.0
        self._is_idle = False

    def follow(self) -> Iterator[Event]:
        """Yield the events of the selected sessions until the last has ended.

        An endless selection is followed until the process receives a signal or the given process
        has exited.
        """
        while not self._waiter.signal:
            given_exited = self._has_exited(self._given.process if self._given else None)
            if given_exited or self._is_scan_due():
                yield from self._scan()
            # Exits are noted before reading, so that the last lines of the process are read.
            exited = [
                each
                for each in self.sessions.values()
                if given_exited or self._has_exited(each.process)
            ]
            yield from self._read()
            yield from self._end_histories()
            yield from self._end_sessions(exited)
            if not self.sessions and (given_exited or self._is_done()):
                return
            yield from self._ticks()
            due = max(0.0, self._next_scan - time.monotonic())
            timeout = min(self._files.interval, self._waiter.interval, due)
            # What else wakes us is awaited by a later stage, which is woken by a tick for all.
            if not self._waiter.wait(self._files.fileno(), timeout):
                yield tick(self.clock.now())

    def close(self) -> None:
        """Release files, watches and process handles."""
        self._waiter.forget(self._watcher.fileno())
        self._watcher.close()
        self._files.close()
        for watch in self._exit_watches.values():
            watch.close()
        self._exit_watches.clear()

    def begin(self, session: Session) -> FollowedSession:
        """Begin to follow a session, from the start of its files."""
        agent = self._agent or agent_named(session.agent)
        reader = SessionReader(session, agent, self.clock, live=True, **self._options)
        followed = FollowedSession(
            reader,
            is_new=self.is_new(session) and session.path not in self.ended,
            is_named=discovery.own_recording(session) is not None,
        )
        self.sessions[session.path] = followed
        self._add_files(followed)
        self._watch_folders(followed)
        return followed

    def candidates(self) -> list[Session]:
        """Return the sessions that have changed lately or may be live, the last changed first."""
        return self._candidates

    def is_new(self, session: Session) -> bool:
        """Return True if the session began after this process."""
        return session.started >= self.since

    def is_wanted(self, session: Session) -> bool:
        """Return False if the session is followed, or has ended and was not resumed since."""
        if session.path in self.sessions or self._own_recordings.covers(session, self.sessions):
            return False
        ended = self.ended.get(session.path)
        return (
            ended is None
            or session.modified > ended.modified
            or discovery.process_of(session) not in (None, ended.process)
        )

    def has_ended(self, session: Session) -> bool:
        """Return True if the session was followed and has ended."""
        return session.path in self.ended

    def processes(self) -> "list[tuple[str, Identity | None]]":
        """Return agent and process of each session that is followed."""
        return [(each.agent.name, each.process) for each in self.sessions.values()]

    @property
    def has_begun(self) -> bool:
        """True if a session is followed or was."""
        return bool(self.sessions or self.ended)

    def is_abandoned(self, followed: FollowedSession) -> bool:
        """Return True if it is certain that the process of a session ended before it was known."""
        if (
            followed.reader.history
            or followed.process
            or not followed.agent.is_closed(followed.session)
        ):
            followed.unused_since = None
            return False
        now = time.monotonic()
        if followed.unused_since is None:
            followed.unused_since = now
        return now - followed.unused_since >= ABANDONED_S

    def _scan(self) -> Iterator[Event]:
        """Look for sessions, and for files, processes and successors of those that are followed."""
        now = time.monotonic()
        self._candidates = self._watcher.candidates()
        for session in self._selection.find(self):
            yield from self._begin_live(session)
            self._last_begin = now
        # Without inotify on its folders, new files of a session are found by listing them.
        list_files = self._files.fileno() < 0 or now >= self._next_listing
        if list_files:
            self._next_listing = now + LISTING_INTERVAL_S
        if list_files or self._watcher.changed or not self._watcher.is_complete:
            self._last_change = now
        for followed in list(self.sessions.values()):
            if list_files:
                self._add_files(followed)
                self._watch_folders(followed)
            if not followed.reader.history and now - self._last_change < ABANDONED_S:
                yield from self._find_process(followed)
            if followed.agent.name in self._watcher.changed or list_files:
                yield from followed.reader.set_state(followed.agent.state(followed.session))
                yield from self._go_to_successor(followed)
            if followed.is_new and self.is_abandoned(followed):
                yield from self._end(followed, "no process has it open any more")
        self._plan_scan(now)

    def _plan_scan(self, now: float) -> None:
        """Set when to scan next: soon while something happens and no process is known.

        While nothing is followed and nothing happens, the next change of any session wakes us.
        """
        self._is_idle = not self.sessions and not self._watcher.changed
        hurried = not self._process_found and now - self._last_begin < ABANDONED_S
        if hurried or (not self.sessions and self._watcher.changed):
            self._next_scan = now + FIRST_SCAN_INTERVAL_S
        else:
            settled = now - self._last_change >= ABANDONED_S
            self._next_scan = now + (SETTLED_SCAN_INTERVAL_S if settled else SCAN_INTERVAL_S)
        if self._is_idle:
            self._waiter.watch(self._watcher.fileno())
        else:
            self._waiter.forget(self._watcher.fileno())

    def _is_scan_due(self) -> bool:
        return time.monotonic() >= self._next_scan or (
            self._is_idle and self._watcher.has_changes()
        )

    def _read(self) -> Iterator[Event]:
        """Yield the events of all new lines, of files that have just appeared, too."""
        yield from self._read_files()
        # inotify does not report the entries that a directory had before it was watched.
        while self._files.directories_changed:
            self._files.directories_changed = False
            before = len(self._owners)
            for followed in self.sessions.values():
                self._add_files(followed)
                self._watch_folders(followed)
            if len(self._owners) > before:
                yield from self._read_files()

    def _end_histories(self) -> Iterator[Event]:
        for followed in list(self.sessions.values()):
            if followed.reader.history:
                yield from self._find_process(followed)
                yield from followed.reader.end_history()

    def _end_sessions(self, exited: list[FollowedSession]) -> Iterator[Event]:
        for followed in list(self.sessions.values()):
            if followed in exited:
                yield from self._end(followed, "the process has ended")
            elif followed.reader.ended or (
                exited
                and not self._selection.endless
                and followed.process is None
                and not discovery.is_live(followed.session)
            ):
                yield from self._end(followed, "")

    def _is_done(self) -> bool:
        """Return True if no further session is waited for."""
        if self._selection.endless or (self._selection.waits and not self.ended):
            return False
        now = time.monotonic()
        if self._linger_until == 0.0:
            self._linger_until = now + self._linger()
        return now >= self._linger_until

    def _ticks(self) -> Iterator[Event]:
        """Yield a tick of each live session whose last is a second ago."""
        now = time.monotonic()
        for followed in self.sessions.values():
            if followed.is_tick_due(now):
                yield tick(followed.reader.live_clock.now(), followed.reader.id)

    def _begin_live(self, session: Session) -> Iterator[Event]:
        """Begin a session; one that is new has no history: it is live from its first event."""
        self._linger_until = 0.0
        followed = self.begin(session)
        yield from self._find_process(followed)
        if followed.is_new:
            yield from followed.reader.end_history()

    def _end(self, followed: FollowedSession, reason: str) -> Iterator[Event]:
        """Read the session a last time and stop following it."""
        self._add_files(followed)
        yield from self._read()
        yield from followed.reader.rest()
        yield from followed.reader.end_history()
        yield from followed.reader.end(reason)
        self.bad += followed.reader.bad
        self._forget(followed)

    def _forget(self, followed: FollowedSession) -> None:
        """Release what is held for a session, and note how it was left."""
        path = followed.session.path
        del self.sessions[path]
        self.ended.pop(path, None)
        self.ended[path] = EndedSession.of(followed)
        for path in followed.files:
            del self._owners[path]
            self._files.remove(path)
        if followed.process and all(
            each.process != followed.process for each in self.sessions.values()
        ):
            self._release(followed.process)

    def _go_to_successor(self, followed: FollowedSession) -> Iterator[Event]:
        """Go on with the session that the same process has opened since (/clear, /resume, /branch).

        A session that hooks recorded is succeeded by the agent's own recording of it.
        """
        later = followed.agent.successor(followed.session)
        if later is None and not followed.is_named:
            later = discovery.own_recording(followed.session, self._candidates)
        if later is None:
            return
        if later.path not in self.sessions:
            yield from self._begin_live(later)
        warn(f"session {followed.reader.id} goes on as {later.id}")
        yield from self._end(followed, f"goes on as {later.id}")

    def _read_files(self) -> Iterator[Event]:
        for chunk in self._files.read():
            self._last_change = time.monotonic()
            if followed := self._owners.get(chunk.path):
                if chunk.restarted:
                    followed.reader.restart()
                    for path in followed.files - {chunk.path}:
                        self._files.restart(path)
                yield from followed.reader.events(chunk.path, chunk.number, chunk.lines)

    def _add_files(self, followed: FollowedSession) -> None:
        """Follow the files that have been added to the session (subagents')."""
        for path in followed.agent.files(followed.session) or [followed.session.path]:
            if path not in self._owners:
                self._owners[path] = followed
                followed.files.add(path)
                agent = followed.agent
                self._files.add(path, document=agent.is_document(path), rows=agent.row_reader(path))

    def _watch_folders(self, followed: FollowedSession) -> None:
        """Have new files of the session reported in the folders in which they may appear."""
        for folder in followed.agent.folders(followed.session):
            if folder not in self._folders:
                self._folders.add(folder)
                self._files.watch_directory(folder)

    def _find_process(self, followed: FollowedSession) -> Iterator[Event]:
        """Yield a `process` event once the session's process is known."""
        if followed.process:
            return
        agent, session = followed.agent, followed.session
        control: Path | None = None
        if self._given and not agent.control_socket(session):
            process, how = self._given.process, self._given.how
        elif found := agent.process(session):
            process, how = found, str(agent.process_found_by)
            control = agent.control_socket(session)
        else:
            return
        followed.process = process
        self._process_found = True
        self._watch_exit(process)
        yield from followed.reader.set_process(process, how, control)

    def _has_exited(self, process: "Identity | None") -> bool:
        return process is not None and self._watch_exit(process).has_exited()

    def _watch_exit(self, process: "Identity") -> "ExitWatch":
        """Return the watch that wakes us when the process exits."""
        if process not in self._exit_watches:
            from agent_pipes.process.exit_watch import ExitWatch

            watch = self._exit_watches[process] = ExitWatch(process)
            self._waiter.watch(watch.fileno())
        return self._exit_watches[process]

    def _release(self, process: "Identity") -> None:
        if watch := self._exit_watches.pop(process, None):
            self._waiter.forget(watch.fileno())
            watch.close()
