"""Finding sessions: all that are stored on this machine, or the one that a user names."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_pipes.agents.base import Agent, Session, stored_as
from agent_pipes.agents.registry import NAMES, STORE, every_agent
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.jsonl import Fields, objects

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

SNIFFED_LINES = 50
"""Lines of a file or pipe in which its format is looked for."""

SNIFFED_BYTES = 4 << 20
"""Bytes of a file in which its format is looked for."""

MAX_CANDIDATES_SHOWN = 10


def recognised(record: Fields) -> Agent | None:
    """Return the agent in whose format `record` is."""
    return next((each for each in every_agent() if each.recognises(record)), None)


def format_of_lines(lines: Iterable[bytes]) -> Agent | None:
    """Return the agent in whose format the first readable line is."""
    for line in lines:
        with suppress(ValueError):
            for record in objects(line):
                if found := recognised(record):
                    return found
    return None


def format_of(path: Path) -> Agent:
    """Return the agent in whose format the file's first lines are.

    Raise click.UsageError if it is no agent's.
    """
    try:
        with path.open("rb") as file:
            head = file.read(SNIFFED_BYTES)
            if is_document(path):
                head += file.read()
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    lines = [head] if is_document(path) else head.split(b"\n")[:SNIFFED_LINES]
    if found := format_of_lines(lines):
        return found
    if not head.strip():
        raise click.UsageError(
            f"{path}: empty: its format is not known yet; name it with --format {'|'.join(NAMES)}"
        )
    raise click.UsageError(
        f"{path}: not a session in a known format; known are {', '.join(NAMES)} "
        "(--format forces one)"
    )


def is_document(path: Path) -> bool:
    """Return True if the file is one JSON document instead of a line for each event."""
    return any(each.is_document(path) for each in every_agent())


def sessions(names: Iterable[str] = NAMES) -> list[Session]:
    """Return the sessions on this machine, the one that changed last first.

    A session that hooks have recorded in the store is left out if the agent's own recording of it
    exists, which has more.
    """
    found = [session for name in names for session in agent_named(name).sessions()]
    own = {stored_as(session.id): session.path for session in found if session.agent != STORE}
    once = [
        session
        for session in found
        if session.agent != STORE or session.id not in own or not own[session.id].exists()
    ]
    return sorted(once, key=lambda session: session.modified, reverse=True)


def own_recording(session: Session) -> Session | None:
    """Return the agent's own recording of a session that hooks recorded in the store, or None."""
    if session.agent != STORE:
        return None
    from agent_pipes.agents.store import sessions as store_sessions

    own = [name for name in NAMES if name != STORE]
    if provider := store_sessions.provider(session):
        own = [provider] if provider in own else []
    # A session that is known to run but has no file yet may never get one.
    return next(
        (each for each in sessions(own) if stored_as(each.id) == session.id and each.path.exists()),
        None,
    )


def process_of(session: Session) -> "Identity | None":
    """Return the live process of a session; None if it is not known for certain."""
    return agent_named(session.agent).process(session)


def is_active(session: Session) -> bool:
    """Return True if the agent records that somebody works in the session."""
    return agent_named(session.agent).is_active(session)


def is_live(session: Session) -> bool:
    """Return True if the session's process is known, or the agent says that it is active."""
    return process_of(session) is not None or is_active(session)


def control_socket(session: Session) -> Path | None:
    """Return the socket that ends the session, if its process serves other sessions too."""
    return agent_named(session.agent).control_socket(session)


def is_here(session: Session, directory: str) -> bool:
    """Return True if the session works in `directory`."""
    return bool(session.cwd) and os.path.realpath(session.cwd) == os.path.realpath(directory)


def session_of_file(path: Path, agent: Agent) -> Session:
    """Return the session stored in a file, as its agent lists it or as far as the path tells."""
    real = os.path.realpath(path)
    for session in agent.sessions():
        if session.path == path or os.path.realpath(session.path) == real:
            return session
    name = path.parent.name if path.name == "events.ndjson" else path.stem
    return Session(agent.name, name, "", path, 0.0, 0.0)


def named(text: str, agent: Agent | None = None) -> Session:
    """Return the session of a file, an id's beginning or the beginning of an agent's name.

    agent: the agent whose format a file has, if the user forces one.

    Raise click.UsageError for none and for several.
    """
    path = Path(text)
    if path.is_dir():
        path = path / "events.ndjson"
    if path.is_file():
        return session_of_file(path, agent or format_of(path))
    if path.exists():
        raise click.UsageError(
            f"{path}: no regular file; a pipe is read from standard input: trace-tail -"
        )
    if os.sep in text:
        raise click.UsageError(f"{text}: no such file")
    return by_id_or_agent(text)


def by_id_or_agent(text: str) -> Session:
    """Return the session whose id, or whose agent's name, begins with `text`.

    Raise click.UsageError for none and for several.
    """
    fit = [each for each in sessions() if each.id.startswith(text)]
    if not fit:
        # A named store shows sessions that are left out as double elsewhere.
        fit = sessions([name for name in NAMES if name.startswith(text)])
        live = [each for each in fit if is_live(each)]
        mine = [each for each in live or fit if is_here(each, os.getcwd())]
        fit = mine[:1] or live or fit[:1]
    if not fit:
        raise click.UsageError(
            f"no session or agent's name begins with {text!r}, and no file is called so; "
            "trace-list shows what there is"
        )
    if len({each.path for each in fit}) > 1:
        listed = "\n".join(f"  {describe(each)}" for each in fit[:MAX_CANDIDATES_SHOWN])
        raise click.UsageError(f"{text!r} fits {len(fit)} sessions; give more of the id:\n{listed}")
    return fit[0]


def describe(session: Session) -> str:
    """Return agent, id and directory of a session, for messages."""
    return f"{session.agent} {session.id} in {session.cwd or 'an unknown directory'}"
