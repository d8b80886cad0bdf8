"""Following sessions: their files as they grow, and the processes that write them, until either ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import agent
from agent_pipes.core.event import Event, tick
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Waiter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.files.file_follower import Follower
from agent_pipes.sessions.session_reader import Clock, Reading

if TYPE_CHECKING:
    # What is only read has no process that is looked for.
    from agent_pipes.process.exit_watch import ExitWatch
    from agent_pipes.process.table import Identity

SEARCH, SOON = 1.0, 0.1
"""Seconds between two looks for sessions, and for the processes of those that are followed; the second until one is found,
where a look takes next to no time. A session in which no process works will have none later, either."""

SHARE = 20
"""A look is followed by a pause of so many times as long, if that is more: what waits must not cost anything."""

RARELY = 5.0
"""Seconds between two looks at most, however many sessions there are."""

SETTLED = 60.0
"""Seconds after its last change from which on a session that nobody works in is not asked about again until it changes."""

LEFT = 5.0
"""Seconds for which nobody may have worked in a session until it is taken to be over, or to be nobody's."""

UNWATCHED = "no session of the command was seen: nothing was watched"

AHEAD = 0.5
"""Seconds by which a command's session may have begun before we looked at the clock; no client opens one any sooner."""


class Tail:
    """What is being followed: the sessions, their files, and the processes that write them."""

    def __init__(
        self,
        waiter: Waiter,
        *,
        poll: bool,
        once: bool = False,
        max_line: int,
        options: dict[str, Any],
        child: bool = False,
    ) -> None:
        self.waiter = waiter
        self.clock = Clock()
        self.since = self.clock.began - (AHEAD if child else 0.0)
        self.follower = Follower(poll=poll, once=once, max_line=max_line, warn=warn)
        self.options = options
        self.readings: dict[Path, Reading] = {}
        self.processes: dict[Path, Identity] = {}
        self.held: dict[Identity, ExitWatch] = {}
        self.files: dict[Path, Reading] = {}
        self.documents: dict[Path, float] = {}
        self.folders: set[Path] = set()
        self.seen: set[Path] = set()
        self.found = False
        self._named: set[Path] = set()
        self._dead: dict[Path, float] = {}
        self._left: dict[Path, float] = {}
        self.bad = 0

    def add(self, session: Session, source: Agent | None = None, *, live: bool) -> Reading:
        """Begin to read a session, from its start."""
        reading = Reading(
            session,
            source or agent(session.agent),
            self.clock,
            live=live,
            **self.options,
        )
        self.readings[session.path] = reading
        self.seen.add(session.path)
        if live and discovery.told_by_its_agent(session):
            # It is followed all the same, so it was asked for by name.
            self._named.add(session.path)
        self.list_files(reading)
        return reading

    def successor(self, reading: Reading) -> Session | None:
        """The session that this one goes on as: the one that the same process has opened since (/clear, /resume, /branch),
        or the same one as its agent writes it, where hooks were quicker to write of it; None while it is this one."""
        if later := reading.source.successor(reading.session):
            return later
        return (
            None
            if reading.session.path in self._named
            else discovery.told_by_its_agent(reading.session)
        )

    def list_files(self, reading: Reading) -> None:
        """Follow the files that the session has grown meanwhile (its subagents')."""
        for path in reading.source.files(reading.session) or [reading.session.path]:
            if path not in self.files:
                self.files[path] = reading
                if discovery.is_document(path):
                    self.documents[path] = 0.0
                else:
                    self.follower.add(path)

    def watch_folders(self, reading: Reading) -> None:
        """Be told at once when another file of the session appears, where its source says in which folders that may be."""
        for folder in reading.source.folders(reading.session):
            if folder not in self.folders:
                self.folders.add(folder)
                self.follower.watch_directory(folder)

    def read(self) -> Iterator[Event]:
        """All that is there now."""
        yield from self._read()
        # What stands in a folder by the time that it is watched is not told of.
        while self.follower.directories_changed:
            self.follower.directories_changed = False
            before = len(self.files)
            for reading in self.readings.values():
                self.list_files(reading)
                self.watch_folders(reading)
            if len(self.files) > before:
                yield from self._read()

    def _read(self) -> Iterator[Event]:
        for piece in self.follower.read():
            reading = self.files.get(piece.path)
            if reading:
                yield from reading.events(piece.path, piece.number, piece.lines)
        for path, read_at in self.documents.items():
            with suppress(OSError):
                if (changed := path.stat().st_mtime) != read_at:
                    self.documents[path] = changed
                    yield from self.files[path].events(path, 1, [path.read_bytes()])

    def drop(self, reading: Reading, reason: str) -> Iterator[Event]:
        """The session is over: a last read, and its end."""
        self.list_files(reading)
        yield from self.read()
        yield from reading.rest()
        yield from reading.caught_up()
        yield from reading.over(reason)
        self.bad += reading.bad
        path = reading.session.path
        identity = self.processes.pop(path, None)
        if identity and identity not in self.processes.values():
            watched = self.held.pop(identity)
            self.waiter.forget(watched.fileno())
            watched.close()
        del self.readings[path]
        for file in [file for file, owner in self.files.items() if owner is reading]:
            del self.files[file]
            if self.documents.pop(file, None) is None:
                self.follower.remove(file)

    def hold(self, identity: "Identity") -> "ExitWatch":
        """The process, held so that its end is noticed at once, and no later one is taken for it."""
        if identity not in self.held:
            from agent_pipes.process.exit_watch import ExitWatch

            self.held[identity] = ExitWatch(identity)
            self.waiter.watch(self.held[identity].fileno())
        return self.held[identity]

    def watch(self, reading: Reading, identity: "Identity", how: str) -> Iterator[Event]:
        """The session's process is known: say so, and be told when it has gone."""
        self.hold(identity)
        self.found = True
        self.processes[reading.session.path] = identity
        yield reading.runs_in(identity, how, control=self.control(reading))

    def control(self, reading: Reading) -> Path | None:
        """The socket over which the session is ended, where its process serves others too."""
        return control_of(reading.session)

    def is_new(self, session: Session) -> bool:
        """Whether the session has begun since we did."""
        return session.started >= self.since

    def is_live(self, session: Session) -> bool:
        """Whether somebody works in the session, as far as can be told. Each answer is a look at all processes."""
        if self._dead.get(session.path) == session.modified < self.clock.now() - SETTLED:
            return False
        live = discovery.is_live(session)
        if not live:
            self._dead[session.path] = session.modified
        return live

    def lives(self, reading: Reading) -> bool:
        """Whether somebody works in the session that is followed, as far as can be told."""
        return reading.session.path in self.processes or discovery.is_live(reading.session)

    def is_left(self, reading: Reading) -> bool:
        """Whether it is sure that nobody works in the session any more, though its process was never known."""
        path = reading.session.path
        if (
            reading.history
            or path in self.processes
            or not reading.source.is_closed(reading.session)
        ):
            self._left.pop(path, None)
            return False
        now = time.monotonic()
        return now - self._left.setdefault(path, now) >= LEFT

    def gone(self, reading: Reading) -> bool:
        identity = self.processes.get(reading.session.path)
        return identity is not None and self.hold(identity).has_exited()


Find = Callable[[Tail], list[Session]]
"""What is to be followed beside what already is: asked once a second."""


def follow(
    tail: Tail, find: Find, *, endless: bool, given: "Identity | None", how: str, wait: bool
) -> Iterator[Event]:
    """Follow what `find` finds, until it has ended (`endless`: and whatever comes next).

    given: the process, where somebody has named it; `how` says who.
    wait:  for the first session, where there is none yet.
    """
    waiter = tail.waiter
    due = taken_up = 0.0
    while not waiter.signal:
        ended = given is not None and tail.hold(given).has_exited()
        now = time.monotonic()
        if now >= due or ended:
            # One that nobody may be working in is no reason to miss the one that comes.
            for session in find(tail) if endless or not tail.found else []:
                yield from _take_up(tail, session, given, how)
                taken_up = now
            for reading in list(tail.readings.values()):
                tail.list_files(reading)
                tail.watch_folders(reading)
                if not reading.history:
                    yield from _process(tail, reading, given, how)
                yield from _succeed(tail, reading, given, how)
                if tail.is_new(reading.session) and tail.is_left(reading):
                    yield from tail.drop(reading, "nobody works in it any more")
            looked = time.monotonic()
            soon = not tail.found and (not tail.readings or looked - taken_up < LEFT)
            due = looked + (min(SEARCH, max(SOON, SHARE * (looked - now))) if soon else SEARCH)
        over = [reading for reading in tail.readings.values() if ended or tail.gone(reading)]
        yield from tail.read()
        for reading in list(tail.readings.values()):
            if reading.history:
                yield from _process(tail, reading, given, how)
                yield from reading.caught_up()
            if reading in over:
                yield from tail.drop(reading, "the process has ended")
            elif reading.ended or (over and not endless and not tail.lives(reading)):
                yield from tail.drop(reading, "")
        if not tail.readings and (ended or (not endless and (tail.seen or not wait))):
            return
        if not waiter.wait(
            tail.follower.fileno(),
            min(tail.follower.interval, waiter.interval, max(0.0, due - now)),
        ):
            yield tick(tail.clock.now())


def pause(took: float, *, found: bool) -> float:
    """Seconds until the next look, after one that `took` so many."""
    return min(RARELY, max(SEARCH, SHARE * took)) if found else min(SEARCH, max(SOON, SHARE * took))


def _take_up(tail: Tail, session: Session, given: "Identity | None", how: str) -> Iterator[Event]:
    """Begin to follow a session. One that has begun since we did has no history: it is watched from its first event."""
    reading = tail.add(session, live=True)
    tail.watch_folders(reading)
    if tail.is_new(session):
        yield from _process(tail, reading, given, how)
        yield from reading.caught_up()


def _process(tail: Tail, reading: Reading, given: "Identity | None", how: str) -> Iterator[Event]:
    """Say which process the session runs in, as soon as it is known."""
    if reading.session.path in tail.processes:
        return
    if given and not tail.control(reading):
        yield from tail.watch(reading, given, how)
    elif identity := reading.source.process(reading.session):
        yield from tail.watch(reading, identity, reading.source.process_found_by)


def _succeed(tail: Tail, reading: Reading, given: "Identity | None", how: str) -> Iterator[Event]:
    """Go over to the session that this one goes on as."""
    session = tail.successor(reading)
    if session is None:
        return
    if session.path not in tail.seen:
        yield from _take_up(tail, session, given, how)
    if session.path in tail.readings:
        warn(f"session {reading.id} goes on as {session.id}")
        yield from tail.drop(reading, f"goes on as {session.id}")


def read_once(tail: Tail, sessions: list[Session], source: Agent | None) -> Iterator[Event]:
    """What stands in these sessions now."""
    for session in sessions:
        reading = tail.add(session, source, live=False)
        yield from tail.read()
        for piece in tail.follower.rest():
            yield from reading.events(piece.path, piece.number, piece.lines)
        yield from reading.rest()
        tail.bad += reading.bad
        reading.ended = True
        yield from tail.drop(reading, "")


def control_of(session: Session) -> Path | None:
    """The socket over which the session is ended, where its process serves others too."""
    return agent(session.agent).control_socket(session)
