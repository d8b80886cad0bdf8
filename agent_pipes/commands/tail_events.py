"""The events that trace-tail prints: of stored sessions, of live ones, of standard input."""

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import NAMES
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.client_figures import with_figures
from agent_pipes.core.display import format_duration
from agent_pipes.core.event import tick
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events
from agent_pipes.core.resumption import with_resumptions
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Reader, Waiter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.catch_up import CatchUp
from agent_pipes.sessions.command_session import CommandSession
from agent_pipes.sessions.files.followed_file import CHUNK_BYTES, LineSplitter
from agent_pipes.sessions.followed_session import Given
from agent_pipes.sessions.selection import (
    NO_SESSION_OF_COMMAND,
    EveryLive,
    LiveHere,
    OfChild,
    OneSession,
    Selection,
)
from agent_pipes.sessions.session_follower import SessionFollower
from agent_pipes.sessions.session_reader import Clock, SessionReader, read_session

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


def events_of(
    waiter: Waiter,
    session: str | None = None,
    follow: bool = False,
    no_follow: bool = False,
    every: bool = False,
    wait: bool = False,
    since: float | None = None,
    pid: int | None = None,
    form: str | None = None,
    max_result: int = 4096,
    max_line: int = 64 << 20,
    recorded: bool = False,
    only: tuple[str, ...] | None = None,
    poll: bool = False,
    child: "Identity | None" = None,
) -> Events:
    """Yield the events of the sessions that the options choose."""
    if since is not None and not (no_follow and every):
        raise click.UsageError("--since needs --no-follow --all")
    if follow and no_follow:
        raise click.UsageError("-f and --no-follow exclude each other")
    given = Given(child, "child") if child else _given(pid)
    options: dict[str, Any] = {"max_result": max_result, "recorded": recorded, "only": only}
    agent = agent_named(form) if form else None
    if session == "-" or (session is None and not every and not child and _is_redirected()):
        return (yield from _read_pipe(waiter, agent, max_line, options))
    if no_follow:
        chosen = _recorded(since) if every else [_chosen(session, agent)]
        status = yield from _read_stored(chosen, agent, max_line, options)
        return ExitStatus.UNREADABLE if every and discovery.unreadable_folders() else status
    follower = SessionFollower(
        waiter,
        _selection(session, agent, every=every, wait=wait, child=child),
        poll=poll,
        max_line=max_line,
        given=given,
        agent=agent,
        options=options,
        linger=lambda: waiter.linger_s,
    )
    events = follower.follow()
    command = CommandSession(child, lambda: follower.has_begun) if child else None
    if command:
        events = command.watch(events)
    try:
        yield from with_figures(with_resumptions(events))
    finally:
        follower.close()
    if command and not (follower.has_begun or command.reported):
        warn(NO_SESSION_OF_COMMAND)
    missed = follower.bad or (every and discovery.unreadable_folders())
    return ExitStatus.UNREADABLE if missed else ExitStatus.OK


def read_stream(waiter: Waiter) -> Events:
    """Yield the events on standard input, with marks around those from before the start."""
    reader = Reader(waiter)
    yield from CatchUp(Clock()).mark(reader)
    return ExitStatus.UNREADABLE if reader.bad else ExitStatus.OK


def _selection(
    text: str | None, agent: Agent | None, *, every: bool, wait: bool, child: "Identity | None"
) -> Selection:
    """Return which sessions to follow. Raise click.UsageError if the named one is not found."""
    if child:
        return OfChild(child)
    if every:
        return EveryLive()
    if text is None and (wait or any(map(discovery.is_live, discovery.sessions_here()))):
        return LiveHere(waits=wait)
    return OneSession(_chosen(text, agent), waits=wait)


def _read_stored(
    chosen: list[Session], agent: Agent | None, max_line: int, options: dict[str, Any]
) -> Events:
    """Yield the events of stored sessions, one after the other."""
    clock = Clock()
    bad = 0
    for session in chosen:
        bad += yield from read_session(session, agent, clock=clock, max_line=max_line, **options)
    return ExitStatus.UNREADABLE if bad else ExitStatus.OK


def _read_pipe(
    waiter: Waiter, agent: Agent | None, max_line: int, options: dict[str, Any]
) -> Events:
    """Yield the events of an agent's JSON on standard input, in the format of its first lines."""
    clock = Clock()
    reader: SessionReader | None = None
    splitter = LineSplitter("standard input", max_line, warn)
    held: list[bytes] = []
    at_end = False
    while not at_end and not waiter.signal:
        if not waiter.wait(0):
            yield tick(clock.now())
            continue
        data = os.read(0, CHUNK_BYTES)
        at_end = not data
        number = splitter.number
        lines = splitter.feed(data) if data else [splitter.rest()]
        if reader is None:
            held += lines
            agent = agent or discovery.format_of_lines(held)
            if agent is None and len(held) < discovery.SNIFFED_LINES and not at_end:
                continue
            if agent is None and not any(line.strip() for line in held):
                return ExitStatus.OK
            number, lines = 1, held
            reader = _pipe_reader(agent or _unknown_format(), clock, options)
        yield from reader.events("standard input", number, lines)
    if reader is None:
        return ExitStatus.OK
    yield from reader.rest()
    return ExitStatus.UNREADABLE if reader.bad else ExitStatus.OK


def _pipe_reader(agent: Agent, clock: Clock, options: dict[str, Any]) -> SessionReader:
    session = discovery.session_of_file(Path("standard input"), agent)
    return SessionReader(session, agent, clock, live=False, **options)


def _unknown_format() -> Agent:
    raise click.UsageError(
        f"standard input is in no known format; known are {', '.join(NAMES)} (--format forces one)"
    )


def _is_redirected() -> bool:
    """Return True if standard input is a file (`< FILE`), which is to be read then."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        return False


def _given(pid: int | None) -> Given | None:
    if pid is None:
        return None
    from agent_pipes.process.table import identify

    process = identify(pid)
    if process is None:
        raise click.UsageError(f"--pid {pid}: no such process")
    return Given(process, "given")


def _recorded(since: float | None) -> list[Session]:
    """Return the sessions that changed after `since` (seconds since the epoch), oldest first."""
    return discovery.sessions(since=since or 0.0)[::-1]


def _chosen(text: str | None, agent: Agent | None) -> Session:
    """Return the session that is meant; report on stderr which one if it was not named."""
    if text is not None:
        return discovery.named(text, agent)
    mine = discovery.sessions_here()
    if not mine:
        raise discovery.no_session_here()
    age = format_duration(max(0.0, round(time.time() - mine[0].modified)))
    warn(
        f"{discovery.describe(mine[0])}: the newest session of this directory; "
        "it may not be live, "
        f"changed {age} ago"
    )
    return mine[0]
