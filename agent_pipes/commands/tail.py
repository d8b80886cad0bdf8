"""trace-tail: the events of a session, from its start, then as it grows; from any supported agent, found by content."""

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import NAMES, agent
from agent_pipes.commands.completion import complete_session
from agent_pipes.core.display import format_duration
from agent_pipes.core.event import tick
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.jsonl import objects
from agent_pipes.core.options import DURATION, SIZE
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Lines, Waiter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_follower import (
    UNWATCHED,
    Find,
    Tail,
    control_of,
    follow,
    read_once,
)
from agent_pipes.sessions.session_reader import Clock, Reading

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


def read_pipe(waiter: Waiter, source: Agent | None, options: dict[str, Any]) -> Events:
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
            if source is None and len(held) < discovery.SNIFFED:
                continue
            lines = held
            reading = Reading(
                _session(Path("standard input"), source or _unknown()),
                source or _unknown(),
                clock,
                live=False,
                **options,
            )
        yield from reading.events("standard input", number, lines)
        number += len(lines)
    if reading is None and any(line.strip() for line in held):
        _unknown()
    if reading is None:
        return ExitStatus.OK
    yield from reading.rest()
    return ExitStatus.UNREADABLE if reading.bad else ExitStatus.OK


def _format(lines: list[bytes]) -> Agent | None:
    for line in lines:
        try:
            for record in objects(line):
                if source := discovery.recognised(record):
                    return source
        except ValueError:
            continue
    return None


def _unknown() -> Agent:
    raise click.UsageError(
        f"standard input is in no known format; known are {', '.join(NAMES)} (--format forces one)"
    )


def _session(path: Path, source: Agent) -> Session:
    """The session that a file holds, as its source lists it, or as far as the file itself tells."""
    real = Path(os.path.realpath(path))
    for session in source.sessions():
        if session.path == path or Path(os.path.realpath(session.path)) == real:
            return session
    name = path.parent.name if path.name == "events.ndjson" else path.stem
    return Session(source.name, name, "", path, 0.0, 0.0)


@filter_command("trace-tail", reads=False)
@click.argument(
    "session", required=False, metavar="[SESSION|FILE|-]", shell_complete=complete_session
)
@click.option("--no-follow", is_flag=True, help="End where the session's files end now.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="All live sessions of this machine, and each new one as it starts; with --no-follow, all there are.",
)
@click.option(
    "--wait", is_flag=True, help="Wait for the next session of this directory, if none is live."
)
@click.option(
    "--since",
    type=DURATION,
    help="With --no-follow --all: only sessions that changed within this time.",
)
@click.option("--pid", type=click.IntRange(min=2), help="The agent's process; end when it does.")
@click.option(
    "--format",
    "form",
    type=click.Choice(NAMES),
    help="Read this format, whatever the content looks like.",
)
@click.option(
    "--max-result",
    type=SIZE,
    default="4096",
    show_default=True,
    help="Longest part of a result that an event carries.",
)
@click.option(
    "--max-line",
    type=SIZE,
    default="64M",
    show_default=True,
    help="Longest line that is read; a longer one is skipped, and said.",
)
@click.option(
    "--recorded",
    is_flag=True,
    help="Leave recorded token counts as they are, also where they are placeholders.",
)
@click.option(
    "--poll",
    is_flag=True,
    help="Look at the files twenty times a second instead of being told of changes.",
)
def tail(
    waiter: Waiter,
    session: str | None = None,
    no_follow: bool = False,
    every: bool = False,
    wait: bool = False,
    since: float | None = None,
    pid: int | None = None,
    form: str | None = None,
    max_result: int = 4096,
    max_line: int = 64 << 20,
    recorded: bool = False,
    poll: bool = False,
    child: "Identity | None" = None,
) -> Events:
    """Write the events of an agent's session, from its start, then as it grows.

    Without an argument: the live session of this directory, else its newest. SESSION is the beginning of a session's
    id, or an agent's name; FILE a session's file; - reads an agent's own JSON output from standard input.
    """
    if since is not None and not (no_follow and every):
        raise click.UsageError(
            "--since chooses among recorded sessions: it needs --no-follow --all"
        )
    given = child or _given(pid)
    options: dict[str, Any] = {"max_result": max_result, "recorded": recorded}
    source = agent(form) if form else None
    if session == "-" or (session is None and not every and not child and _redirected()):
        return (yield from read_pipe(waiter, source, options))
    reader = Tail(
        waiter,
        poll=poll,
        once=no_follow,
        max_line=max_line,
        options=options,
        child=child is not None,
    )
    try:
        if child:
            yield from follow(
                reader,
                lambda tail: _of_child(tail, child),
                endless=True,
                given=child,
                how="child",
                wait=True,
            )
            if not reader.seen:
                warn(UNWATCHED)
        elif no_follow:
            chosen = _recorded(since) if every else [_chosen(session, source)]
            yield from read_once(reader, chosen, source)
        elif every:
            yield from follow(
                reader, _every_live, endless=True, given=given, how="given", wait=True
            )
        else:
            find = (
                _waited_for(reader) if wait and session is None else _just(_chosen(session, source))
            )
            yield from follow(reader, find, endless=False, given=given, how="given", wait=wait)
    finally:
        reader.follower.close()
    return ExitStatus.UNREADABLE if reader.bad else ExitStatus.OK


def _redirected() -> bool:
    """Whether standard input is a file (`< FILE`): then that is what is to be read."""
    try:
        return stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        return False


def _given(pid: int | None) -> "Identity | None":
    if pid is None:
        return None
    from agent_pipes.process.table import identify

    identity = identify(pid)
    if identity is None:
        raise click.UsageError(f"--pid {pid}: no such process")
    return identity


def _just(session: Session) -> Find:
    return lambda tail: [] if session.path in tail.seen else [session]


def _recorded(since: float | None) -> list[Session]:
    oldest = time.time() - since if since else 0.0
    return [each for each in reversed(discovery.sessions()) if each.modified >= oldest]


def _chosen(text: str | None, source: Agent | None) -> Session:
    """The session that is meant, said on stderr where it was not named outright."""
    if text is not None:
        path = Path(text)
        if path.is_dir():
            path = path / "events.ndjson"
        if path.exists() and not path.is_file():
            raise click.UsageError(
                f"{path}: no regular file; what a pipe brings is read from standard input: trace-tail -"
            )
        if path.exists():
            return _session(path, source or discovery.format_of(path))
        if os.sep in text:
            raise click.UsageError(f"{text}: no such file")
        return discovery.named(text)
    cwd = os.getcwd()
    mine = [each for each in discovery.sessions() if discovery.here(each, cwd)]
    live = [each for each in mine if discovery.is_live(each)]
    if not mine:
        raise click.UsageError(
            "no session was found in this directory; start an agent here, wait for it with --wait, or name a session (trace-list)"
        )
    chosen = (live or mine)[0]
    age = format_duration(max(0.0, round(time.time() - chosen.modified)))
    why = "the live session" if live else "the newest session, not known to be live,"
    warn(f"{discovery.describe(chosen)}: {why} of this directory, changed {age} ago")
    for other in live[1:]:
        warn(f"also live here and not followed: {discovery.describe(other)} (--all follows all)")
    return chosen


def _waited_for(tail: Tail) -> Find:
    """The live session of this directory, or the first to become so, or to grow, from now on."""
    began = tail.clock.now()
    cwd = os.getcwd()
    said = False

    def find(tail: Tail) -> list[Session]:
        nonlocal said
        mine = [
            each
            for each in discovery.sessions()
            if discovery.here(each, cwd) and each.path not in tail.seen
        ]
        fit = [each for each in mine if each.modified >= began or tail.is_live(each)]
        if not fit and not said and not tail.seen:
            said = True
            warn("no live session in this directory yet: waiting for one")
        return fit[:1]

    return find


def _every_live(tail: Tail) -> list[Session]:
    return [
        each for each in discovery.sessions() if each.path not in tail.seen and tail.is_live(each)
    ]


def _of_child(tail: Tail, child: "Identity") -> list[Session]:
    """The sessions that `child`, or a process it has started, has opened: new ones, or old ones taken up again."""
    from agent_pipes.process.table import ancestors

    found = []
    for session in discovery.sessions():
        if session.modified < tail.since or session.path in tail.seen:
            continue
        process = discovery.process_of(session)
        if process and not control_of(session):
            # What its parent has left behind comes to us, who are the nearest subreaper.
            if process == child or {child.pid, os.getpid()} & {
                each.pid for each in ancestors(process.pid)
            }:
                found.append(session)
        elif discovery.here(session, os.getcwd()) and tail.is_new(session):
            found.append(session)
    return found


main = tail.main
