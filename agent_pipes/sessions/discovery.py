"""Which session is meant: the live one of this directory, one that is named, or each as it comes."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_pipes.agents.base import Agent, Session, stored_as
from agent_pipes.agents.registry import NAMES, STORE, agent, every_agent
from agent_pipes.core.jsonl import Fields, objects

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

SNIFFED = 50
"""Lines of a file or pipe that are looked at to find its format."""


def recognised(record: Fields) -> Agent | None:
    """Return the agent in whose format `record` is."""
    return next((each for each in every_agent() if each.recognises(record)), None)


def format_of(path: Path) -> Agent:
    """Return the agent in whose format the file's first lines are.

    Raise click.UsageError if it is no agent's.
    """
    try:
        with path.open("rb") as file:
            head = [file.readline(64 << 20) for _ in range(SNIFFED)]
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    for line in (path.read_bytes(),) if is_document(path) else head:
        for record in _readable(line):
            if found := recognised(record):
                return found
    if not any(line.strip() for line in head):
        raise click.UsageError(
            f"{path}: empty: its format is not known yet; name it with --format {'|'.join(NAMES)}"
        )
    raise click.UsageError(
        f"{path}: not a session in a known format; known are {', '.join(NAMES)} (--format forces one)"
    )


def is_document(path: Path) -> bool:
    """Return True if the file is one JSON document instead of a line for each event."""
    return any(each.is_document(path) for each in every_agent())


def _readable(line: bytes) -> Iterator[Fields]:
    try:
        yield from objects(line)
    except ValueError:
        return


def sessions(names: Iterable[str] = NAMES) -> list[Session]:
    """What can be read on this machine, the one that changed last first.

    A session is there once: where its agent has written it itself, what the agent's hooks have written of it in the
    store is left out, as it has less.
    """
    found = [session for name in names for session in agent(name).sessions()]
    told = {stored_as(session.id): session.path for session in found if session.agent != STORE}
    once = [
        session
        for session in found
        if session.agent != STORE or session.id not in told or not told[session.id].exists()
    ]
    return sorted(once, key=lambda session: session.modified, reverse=True)


def told_by_its_agent(session: Session) -> Session | None:
    """The session as its agent writes it itself, where `session` is what the agent's hooks write of it; None where there is none."""
    if session.agent != STORE:
        return None
    from agent_pipes.agents.store import sessions as store_sessions

    own = [name for name in NAMES if name != STORE]
    if provider := store_sessions.provider(session):
        own = [provider] if provider in own else []
    # One that is known to run, but has written nothing, tells nothing yet, and may never.
    return next(
        (each for each in sessions(own) if stored_as(each.id) == session.id and each.path.exists()),
        None,
    )


def process_of(session: Session) -> "Identity | None":
    return agent(session.agent).process(session)


def is_live(session: Session) -> bool:
    """Whether somebody works in it now: its process is known, or its agent says so."""
    return process_of(session) is not None or is_active(session)


def is_active(session: Session) -> bool:
    """Whether its agent says that somebody works in it, though no process may be known."""
    return agent(session.agent).is_active(session)


def here(session: Session, directory: str) -> bool:
    """Whether the session works in `directory`."""
    return bool(session.cwd) and os.path.realpath(session.cwd) == os.path.realpath(directory)


def named(text: str) -> Session:
    """The session whose id, or whose agent's name, begins with `text`. Raises click.UsageError for none and for two."""
    fit = [each for each in sessions() if each.id.startswith(text)]
    if not fit:
        # Asked for by name, the store has every session that is in it.
        fit = sessions([name for name in NAMES if name.startswith(text)])
        live = [each for each in fit if is_live(each)]
        mine = [each for each in live or fit if here(each, os.getcwd())]
        fit = mine[:1] or live or fit[:1]
    if not fit:
        raise click.UsageError(
            f"no session or agent's name begins with {text!r}, and no file is called so; trace-list shows what there is"
        )
    if len({each.path for each in fit}) > 1:
        listed = "\n".join(f"  {describe(each)}" for each in fit[:10])
        raise click.UsageError(
            f"{len(fit)} sessions fit {text!r} equally well; say more of the id:\n{listed}"
        )
    return fit[0]


def describe(session: Session) -> str:
    return f"{session.agent} {session.id} in {session.cwd or 'an unknown directory'}"
