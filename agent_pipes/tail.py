"""trace-tail: the events of a session, from its start, then as it grows; from any supported agent, found by content."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from agent_pipes import choose
from agent_pipes.event import Event, objects, tick
from agent_pipes.filter import ENDED, UNREADABLE, Events, filter_command
from agent_pipes.follow import Follower
from agent_pipes.held import Held, Refused
from agent_pipes.options import DURATION, SIZE, written
from agent_pipes.process import Identity, alive, ancestors, identify
from agent_pipes.reading import Clock, Reading
from agent_pipes.sources import Session, Source
from agent_pipes.stream import Lines, Waiter, warn

SEARCH = 1.0
"""Seconds between two looks for a session that is not there yet, and for the process of one."""


class Watched:
    """A process whose end is waited for; nothing is ever sent to it here."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        try:
            self.held: Held | None = Held(identity, allowed=identity)
        except Refused:
            # Another user's, or gone by now: it can still be looked at.
            self.held = None

    def fileno(self) -> int:
        return self.held.fileno() if self.held else -1

    def gone(self) -> bool:
        return self.held.gone() if self.held else not alive(self.identity)

    def close(self) -> None:
        if self.held:
            self.held.close()


class Tail:
    """What is being followed: the sessions, their files, and the processes that write them."""

    def __init__(self, waiter: Waiter, *, poll: bool, max_line: int, options: dict[str, Any]) -> None:
        self.waiter = waiter
        self.clock = Clock()
        self.follower = Follower(poll=poll, max_line=max_line, warn=warn)
        self.options = options
        self.readings: dict[Path, Reading] = {}
        self.processes: dict[Path, Identity] = {}
        self.held: dict[Identity, Watched] = {}
        self.files: dict[Path, Reading] = {}
        self.seen: set[Path] = set()
        self.bad = 0

    def add(self, session: Session, source: Source | None = None, *, live: bool) -> Reading:
        """Begin to read a session, from its start."""
        reading = Reading(session, source or choose.source(session.agent), self.clock, live=live, **self.options)
        self.readings[session.path] = reading
        self.seen.add(session.path)
        self.list_files(reading)
        return reading

    def list_files(self, reading: Reading) -> None:
        """Follow the files that the session has grown meanwhile (its subagents')."""
        for path in reading.source.files(reading.session) or [reading.session.path]:
            if path not in self.files:
                self.files[path] = reading
                self.follower.add(path)

    def read(self) -> Iterator[Event]:
        """All that is there now."""
        for piece in self.follower.read():
            reading = self.files.get(piece.path)
            if reading:
                yield from reading.events(piece.path, piece.number, piece.lines)

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
            self.follower.remove(file)

    def hold(self, identity: Identity) -> Watched:
        """The process, held so that its end is noticed at once, and no later one is taken for it."""
        if identity not in self.held:
            self.held[identity] = Watched(identity)
            self.waiter.watch(self.held[identity].fileno())
        return self.held[identity]

    def watch(self, reading: Reading, identity: Identity, how: str) -> Iterator[Event]:
        """The session's process is known: say so, and be told when it has gone."""
        self.hold(identity)
        self.processes[reading.session.path] = identity
        yield reading.runs_in(identity, how, control=self.control(reading))

    def control(self, reading: Reading) -> Path | None:
        """The socket over which the session is ended, where its process serves others too."""
        return _control(reading.session)

    def gone(self, reading: Reading) -> bool:
        identity = self.processes.get(reading.session.path)
        return identity is not None and self.hold(identity).gone()


Find = Callable[[Tail], list[Session]]
"""What is to be followed beside what already is: asked once a second."""


def follow(tail: Tail, find: Find, *, endless: bool, given: Identity | None, how: str, wait: bool) -> Iterator[Event]:
    """Follow what `find` finds, until it has ended (`endless`: and whatever comes next).

    given: the process, where somebody has named it; `how` says who.
    wait:  for the first session, where there is none yet.
    """
    waiter = tail.waiter
    due = 0.0
    while not waiter.signal:
        ended = given is not None and tail.hold(given).gone()
        now = time.monotonic()
        if now >= due or ended:
            due = now + SEARCH
            for session in find(tail) if endless or not tail.seen else []:
                tail.add(session, live=True)
            for reading in list(tail.readings.values()):
                tail.list_files(reading)
                if not reading.history:
                    yield from _process(tail, reading, given, how)
                yield from _succeed(tail, reading)
        over = [reading for reading in tail.readings.values() if ended or tail.gone(reading)]
        yield from tail.read()
        for reading in list(tail.readings.values()):
            if reading.history:
                yield from _process(tail, reading, given, how)
                yield from reading.caught_up()
            if reading in over:
                yield from tail.drop(reading, "the process has ended")
            elif reading.ended:
                yield from tail.drop(reading, "")
        if not tail.readings and (ended or (not endless and (tail.seen or not wait))):
            return
        if not waiter.wait(tail.follower.fileno(), min(tail.follower.interval, waiter.interval)):
            yield tick(tail.clock.now())


def _process(tail: Tail, reading: Reading, given: Identity | None, how: str) -> Iterator[Event]:
    """Say which process the session runs in, as soon as it is known."""
    if reading.session.path in tail.processes:
        return
    if given and not tail.control(reading):
        yield from tail.watch(reading, given, how)
    elif identity := reading.source.process(reading.session):
        yield from tail.watch(reading, identity, getattr(reading.source, "HOW", "registry"))


def _succeed(tail: Tail, reading: Reading) -> Iterator[Event]:
    """Go over to the session that the same process has opened since (/clear, /resume, /branch)."""
    successor = getattr(reading.source, "successor", None)
    session: Session | None = successor(reading.session) if successor else None
    if session and session.path not in tail.seen:
        warn(f"session {reading.id} goes on as {session.id}")
        tail.add(session, live=True)
        yield from tail.drop(reading, f"goes on as {session.id}")


def read_once(tail: Tail, sessions: list[Session], source: Source | None) -> Iterator[Event]:
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


def read_pipe(waiter: Waiter, source: Source | None, options: dict[str, Any]) -> Events:
    """An agent's own JSON from standard input, in whatever known format its first lines are."""
    clock = Clock()
    reading: Reading | None = None
    held: list[bytes] = []
    number = 1
    for lines in Lines(waiter):
        if lines is None:
            yield tick(clock.now())
            continue
        if reading is None:
            held += lines
            source = source or _format(held)
            if source is None and len(held) < choose.SNIFFED:
                continue
            lines = held
            reading = Reading(_session(Path("standard input"), source or _unknown()), source or _unknown(), clock, live=False, **options)
        yield from reading.events("standard input", number, lines)
        number += len(lines)
    if reading is None and any(line.strip() for line in held):
        _unknown()
    if reading is None:
        return ENDED
    yield from reading.rest()
    return UNREADABLE if reading.bad else ENDED


def _format(lines: list[bytes]) -> Source | None:
    for line in lines:
        try:
            for record in objects(line):
                if source := choose.recognised(record):
                    return source
        except ValueError:
            continue
    return None


def _unknown() -> Source:
    raise click.UsageError(f"standard input is in no known format; known are {', '.join(choose.NAMES)} (--format forces one)")


def _session(path: Path, source: Source) -> Session:
    """The session that a file holds, as its source lists it, or as far as the file itself tells."""
    real = Path(os.path.realpath(path))
    for session in source.sessions():
        if session.path == path or Path(os.path.realpath(session.path)) == real:
            return session
    name = path.parent.name if path.name == "events.ndjson" else path.stem
    return Session(source.NAME, name, "", path, 0.0, 0.0)


@filter_command("trace-tail", reads=False)
@click.argument("session", required=False, metavar="[SESSION|FILE|-]")
@click.option("--no-follow", is_flag=True, help="End where the session's files end now.")
@click.option("--all", "every", is_flag=True, help="All live sessions of this machine, and each new one as it starts; with --no-follow, all there are.")
@click.option("--wait", is_flag=True, help="Wait for the next session of this directory, if none is live.")
@click.option("--since", type=DURATION, help="With --no-follow --all: only sessions that changed within this time.")
@click.option("--pid", type=click.IntRange(min=2), help="The agent's process; end when it does.")
@click.option("--format", "form", type=click.Choice(choose.NAMES), help="Read this format, whatever the content looks like.")
@click.option("--max-result", type=SIZE, default="4096", show_default=True, help="Longest part of a result that an event carries.")
@click.option("--max-line", type=SIZE, default="64M", show_default=True, help="Longest line that is read; a longer one is skipped, and said.")
@click.option("--recorded", is_flag=True, help="Leave recorded token counts as they are, also where they are placeholders.")
@click.option("--poll", is_flag=True, help="Look at the files twenty times a second instead of being told of changes.")
def tail(
    waiter: Waiter, session: str | None = None, no_follow: bool = False, every: bool = False, wait: bool = False,
    since: float | None = None, pid: int | None = None, form: str | None = None, max_result: int = 4096,
    max_line: int = 64 << 20, recorded: bool = False, poll: bool = False, child: Identity | None = None,
) -> Events:
    """Write the events of an agent's session, from its start, then as it grows.

    Without an argument: the live session of this directory, else its newest. SESSION is the beginning of a session's
    id, or an agent's name; FILE a session's file; - reads an agent's own JSON output from standard input.
    """
    if since is not None and not (no_follow and every):
        raise click.UsageError("--since chooses among recorded sessions: it needs --no-follow --all")
    given = child or _given(pid)
    options: dict[str, Any] = {"max_result": max_result, "recorded": recorded}
    source = choose.source(form) if form else None
    if session == "-" or (session is None and not every and not child and _redirected()):
        return (yield from read_pipe(waiter, source, options))
    reader = Tail(waiter, poll=poll, max_line=max_line, options=options)
    try:
        if child:
            yield from follow(reader, lambda tail: _of_child(tail, child), endless=True, given=child, how="child", wait=True)
            if not reader.seen:
                warn("no session of the command was seen: nothing was watched")
        elif no_follow:
            chosen = _recorded(since) if every else [_chosen(session, source)]
            yield from read_once(reader, chosen, source)
        elif every:
            yield from follow(reader, _every_live, endless=True, given=given, how="given", wait=True)
        else:
            find = _waited_for(reader) if wait and session is None else _just(_chosen(session, source))
            yield from follow(reader, find, endless=False, given=given, how="given", wait=wait)
    finally:
        reader.follower.close()
    return UNREADABLE if reader.bad else ENDED


def _redirected() -> bool:
    """Whether standard input is a file (`< FILE`): then that is what is to be read."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        return False


def _given(pid: int | None) -> Identity | None:
    if pid is None:
        return None
    identity = identify(pid)
    if identity is None:
        raise click.UsageError(f"--pid {pid}: no such process")
    return identity


def _just(session: Session) -> Find:
    return lambda tail: [] if session.path in tail.seen else [session]


def _recorded(since: float | None) -> list[Session]:
    oldest = time.time() - since if since else 0.0
    return [each for each in reversed(choose.sessions()) if each.modified >= oldest]


def _chosen(text: str | None, source: Source | None) -> Session:
    """The session that is meant, said on stderr where it was not named outright."""
    if text is not None:
        path = Path(text)
        if path.is_dir():
            path = path / "events.ndjson"
        if path.exists():
            return _session(path, source or choose.format_of(path))
        if os.sep in text:
            raise click.UsageError(f"{text}: no such file")
        return choose.named(text)
    cwd = os.getcwd()
    mine = [each for each in choose.sessions() if choose.here(each, cwd)]
    live = [each for each in mine if choose.is_live(each)]
    if not mine:
        raise click.UsageError("no session was found in this directory; start an agent here, wait for it with --wait, or name a session (trace-list)")
    chosen = (live or mine)[0]
    age = written(max(0.0, round(time.time() - chosen.modified)))
    why = "the live session" if live else "the newest session, not known to be live,"
    warn(f"{choose.describe(chosen)}: {why} of this directory, changed {age} ago")
    for other in live[1:]:
        warn(f"also live here and not followed: {choose.describe(other)} (--all follows all)")
    return chosen


def _waited_for(tail: Tail) -> Find:
    """The live session of this directory, or the first to become so, or to grow, from now on."""
    began = tail.clock.now()
    cwd = os.getcwd()
    said = False

    def find(tail: Tail) -> list[Session]:
        nonlocal said
        mine = [each for each in choose.sessions() if choose.here(each, cwd) and each.path not in tail.seen]
        fit = [each for each in mine if each.modified >= began or choose.is_live(each)]
        if not fit and not said:
            said = True
            warn("no live session in this directory yet: waiting for one")
        return fit[:1]

    return find


def _every_live(tail: Tail) -> list[Session]:
    return [each for each in choose.sessions() if each.path not in tail.seen and choose.is_live(each)]


def _of_child(tail: Tail, child: Identity) -> list[Session]:
    """The sessions that `child`, or a process it has started, has opened: new ones, or old ones taken up again."""
    # A client needs longer than this to open its session; what is older is another's.
    began = tail.clock.began - 0.5
    found = []
    for session in choose.sessions():
        if session.modified < began or session.path in tail.seen:
            continue
        process = choose.process_of(session)
        if process and not _control(session):
            # What its parent has left behind comes to us, who are the nearest subreaper.
            if process == child or {child.pid, os.getpid()} & {each.pid for each in ancestors(process.pid)}:
                found.append(session)
        elif choose.here(session, os.getcwd()) and session.started >= began:
            found.append(session)
    return found


def _control(session: Session) -> Path | None:
    control = getattr(choose.source(session.agent), "control", None)
    return control(session) if control else None


main = tail.main
