"""Finding sessions: all that are stored on this machine, or the one that a user names."""

import errno
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent_pipes.agents import registry
from agent_pipes.agents.base import Agent, Session, SessionFolder
from agent_pipes.agents.fields import stored_as
from agent_pipes.agents.folders import entries_of
from agent_pipes.agents.registry import NAMES, STORE, every_agent
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.display import escape, unbroken
from agent_pipes.core.jsonl import Fields, objects
from agent_pipes.core.stderr import warn

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

SNIFFED_LINES = 50
"""Lines of a file or pipe in which its format is looked for."""

SNIFFED_BYTES = 4 << 20
"""Bytes of a file in which its format is looked for."""

MAX_CANDIDATES_SHOWN = 10

RECENT_S = 86_400.0
"""Seconds since its last change for which a session is listed although nothing says it is live."""


def recognised(record: Fields) -> Agent | None:
    """Return the agent in whose format `record` is.

    Raise click.UsageError if it is known that this format cannot be read.
    """
    agent = registry.recognised(record)
    if agent and agent.refusal:
        raise click.UsageError(f"{agent.refusal}; see agent-pipes(7) for those that can")
    return agent


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


def sessions(names: Iterable[str] = NAMES, since: float = 0.0) -> list[Session]:
    """Return the sessions on this machine, the one that changed last first.

    since: leave out those that last changed before, in seconds since the epoch.

    A session that hooks have recorded in the store is left out if the agent's own recording of it
    exists, which has more.
    """
    report_unreadable_folders(names)
    found = (each for name in names for each in agent_named(name).recent_sessions(since))
    return once(each for each in found if each.modified >= since)


def sessions_named(beginning: str) -> list[Session]:
    """Return the sessions whose id begins with `beginning`, the one that changed last first."""
    report_unreadable_folders()
    found = once(each for agent in every_agent() for each in agent.sessions_named(beginning))
    return [each for each in found if each.id.startswith(beginning)]


def live_sessions(names: Iterable[str]) -> list[Session]:
    """Return the live sessions, the one that changed last first."""
    since = time.time() - RECENT_S
    found = once(each for name in names for each in agent_named(name).maybe_live_sessions(since))
    return [each for each in found if is_live(each)]


def once(sessions: Iterable[Session]) -> list[Session]:
    """Return each session once, the one that changed last first.

    A session that hooks have recorded in the store is left out if the agent's own recording of it
    is among `sessions`, and exists.
    """
    found = list(sessions)
    own = {stored_as(session.id): session.path for session in found if session.agent != STORE}
    kept = [
        session
        for session in found
        if session.agent != STORE or session.id not in own or not own[session.id].exists()
    ]
    return sorted(kept, key=lambda session: session.modified, reverse=True)


_unreadable: dict[Path, str] = {}


def report_unreadable_folders(names: Iterable[str] = NAMES) -> None:
    """Report each folder of sessions that cannot be read, once."""
    for folder, reason in unreadable_folders(names).items():
        if _unreadable.get(folder) != reason:
            _unreadable[folder] = reason
            warn(f"{folder}: cannot read ({reason}); sessions in it are not found")


def unreadable_folders(names: Iterable[str] = NAMES) -> dict[Path, str]:
    """Return the folders of sessions that cannot be read, and why."""
    found: dict[Path, str] = {}
    for name in names:
        queue = list(agent_named(name).session_folders())
        for folder in queue:
            if not _is_readable(folder.path):
                found[folder.path] = os.strerror(errno.EACCES)
            elif folder.depth:
                queue += [
                    SessionFolder(Path(each.path), folder.depth - 1)
                    for each in entries_of(folder.path)
                    if each.is_dir(follow_symlinks=False)
                ]
    return found


def _is_readable(folder: Path) -> bool:
    """Return False if a folder exists, but may not be listed or entered."""
    return not os.path.lexists(folder) or os.access(
        folder, os.R_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
    )


def own_recording(session: Session, among: Iterable[Session] | None = None) -> Session | None:
    """Return the agent's own recording of a session that hooks recorded in the store, or None.

    among: the sessions to look in, if not all.
    """
    if session.agent != STORE:
        return None
    from agent_pipes.agents.store import sessions as store_sessions

    own = [name for name in NAMES if name != STORE]
    if provider := store_sessions.provider(session):
        own = [provider] if provider in own else []
    # A session that is known to run but has no file yet may never get one.
    return next(
        (
            each
            for each in (sessions(own) if among is None else among)
            if each.agent in own and stored_as(each.id) == session.id and each.path.exists()
        ),
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


def project_directories(directory: str) -> frozenset[str]:
    """Return `directory` and its parents up to the root of the repository; itself without one.

    A session in any of them is one of this directory.
    """
    real = os.path.realpath(directory)
    found = [real]
    while not os.path.exists(os.path.join(found[-1], ".git")):
        parent = os.path.dirname(found[-1])
        if parent == found[-1]:
            return frozenset([real])
        found.append(parent)
    return frozenset(found)


def is_in(session: Session, directories: frozenset[str]) -> bool:
    """Return True if the session works in one of `directories`, which are real paths."""
    return bool(session.cwd) and _is_one_of(session.cwd, directories)


def _is_one_of(cwd: str, directories: frozenset[str]) -> bool:
    return os.path.realpath(cwd) in directories


def repository(directory: str) -> str:
    """Return the root of the repository that `directory` is in; worktrees have that of the main.

    "" without one.
    """
    root = os.path.realpath(directory)
    while not os.path.exists(os.path.join(root, ".git")):
        if (parent := os.path.dirname(root)) == root:
            return ""
        root = parent
    with suppress(OSError):
        line = Path(root, ".git").read_text(errors="replace")
        if (found := line.partition("gitdir:")[2].strip()) and "/worktrees/" in found:
            return os.path.dirname(os.path.join(root, found.rpartition("/worktrees/")[0]))
    return root


def is_beside(session: Session, directory: str) -> bool:
    """Return True if the session works below `directory`, or elsewhere in its repository."""
    if not session.cwd:
        return False
    here, there = os.path.realpath(directory), os.path.realpath(session.cwd)
    return there.startswith(here.rstrip("/") + "/") or (
        (found := repository(here)) != "" and found == repository(there)
    )


def sessions_here() -> list[Session]:
    """Return the sessions of the working directory, the one that changed last first."""
    directories = project_directories(os.getcwd())
    report_unreadable_folders()
    found = once(each for agent in every_agent() for each in agent.sessions_in(directories))
    # Resolving a path asks for the status of each part: once for thousands of sessions.
    here = {cwd for cwd in {each.cwd for each in found if each.cwd} if _is_one_of(cwd, directories)}
    return [each for each in found if each.cwd in here]


def session_of_file(path: Path, agent: Agent) -> Session:
    """Return the session stored in a file, as its agent lists it or as far as the path tells."""
    real = os.path.realpath(path)
    for session in _sessions_at(path, real, agent):
        if session.path == path or os.path.realpath(session.path) == real:
            return session
    name = path.parent.name if path.name == "events.ndjson" else path.stem
    return Session(agent.name, name, "", path, 0.0, 0.0)


def _sessions_at(path: Path, real: str, agent: Agent) -> Iterable[Session]:
    """Return the agent's sessions in one of its files; all if it cannot tell which these are."""
    for folder in agent.session_folders():
        for file, root in (
            (os.path.abspath(path), os.fspath(folder.path)),
            (real, os.path.realpath(folder.path)),
        ):
            if file.startswith(root + os.sep):
                found = agent.sessions_at(folder.path / file[len(root) + 1 :])
                return agent.sessions() if found is None else found
    return ()


def named(text: str, agent: Agent | None = None) -> Session:
    """Return the session of a file, an id's beginning or the beginning of an agent's name.

    agent: the agent whose format a file has, if the user forces one.

    Raise click.UsageError for none and for several.
    """
    path = Path(text)
    if path.is_dir():
        if not (path / "events.ndjson").is_file():
            return _newest_in(path)
        path = path / "events.ndjson"
    if path.is_file():
        return session_of_file(path, agent or format_of(path))
    if path.exists():
        raise click.UsageError(f"{path}: not a regular file; to read a pipe: trace-tail -")
    if os.sep in text:
        raise click.UsageError(f"{text}: no such file")
    return by_id_or_agent(text)


def _newest_in(directory: Path) -> Session:
    """Return the live session of a directory or a store, else its newest.

    Raise click.UsageError for none.
    """
    real = frozenset([os.path.realpath(directory)])
    mine = [each for each in sessions() if is_in(each, real)]
    if not mine and (stored := list(directory.glob("*/events.ndjson"))):
        newest = max(stored, key=lambda path: path.stat().st_mtime)
        return session_of_file(newest, agent_named(STORE))
    if not mine:
        raise click.UsageError(f"{directory}: no session in this directory")
    return next((each for each in mine if is_live(each)), mine[0])


def by_id_or_agent(text: str) -> Session:
    """Return the session whose id, or whose agent's name, begins with `text`.

    Raise click.UsageError for none and for several.
    """
    fit = sessions_named(text)
    # The store is asked for with the sessions that are left out as double elsewhere.
    if not fit and (names := [name for name in NAMES if name.startswith(text)]):
        return _of_agent(names)
    if not fit:
        raise click.UsageError(
            f"no session or agent's name begins with {text!r}, and there is no such file; "
            "trace-list lists the sessions"
        )
    if len({each.path for each in fit}) > 1:
        listed = "\n".join(f"  {describe(each)}" for each in fit[:MAX_CANDIDATES_SHOWN])
        raise click.UsageError(
            f"{text!r} matches {len(fit)} sessions; type more of the id:\n{listed}"
        )
    return fit[0]


def _of_agent(names: list[str]) -> Session:
    """Return the live session of these agents in this directory, else the newest here.

    Raise click.UsageError, which names those that are live elsewhere, if there is none here.
    """
    directories = project_directories(os.getcwd())
    every = sessions(names)
    mine = [each for each in every if is_in(each, directories)]
    if mine:
        return next((each for each in mine if is_live(each)), mine[0])
    agents = " or ".join(names)
    raise click.UsageError(f"no session of {agents} in this directory{_elsewhere(names)}")


def live_elsewhere(live: list[Session]) -> str:
    """Return the end of a message that names the sessions `live` of other directories."""
    listed = "\n".join(f"  {describe(each)}" for each in live[:MAX_CANDIDATES_SHOWN])
    return f"; live elsewhere, to be named by their ids:\n{listed}" if listed else ""


def _elsewhere(names: Iterable[str] = NAMES) -> str:
    """Return the end of a message that names live sessions, or how all sessions are listed."""
    return live_elsewhere(live_sessions(names)) or (
        f"; {unbroken('trace-list --all-dirs')} shows the sessions of all directories"
    )


def no_session_here() -> click.UsageError:
    """Return the error for a directory without sessions, with the live sessions of others."""
    return click.UsageError(
        "no session in this directory; start an agent here, or name a session; "
        f"{unbroken('trace-tail --wait')} waits for one{_elsewhere()}"
    )


def describe(session: Session) -> str:
    """Return agent, id and directory of a session, for messages."""
    return f"{session.agent} {session.id} in {escape(session.cwd) or 'an unknown directory'}"
