"""The `.agent-traces` store of agent-strace's hooks: `<id>/events.ndjson`, events as they are."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents import registry
from agent_pipes.agents.base import Session, SessionFolder
from agent_pipes.agents.fields import string, within
from agent_pipes.agents.folders import FolderCache
from agent_pipes.agents.native.translate import is_event
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import OURS
from agent_pipes.core.jsonl import Fields, objects, parse_line
from agent_pipes.core.lazy_regex import pattern

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

EVENTS, META = "events.ndjson", "meta.json"

HEAD = 16 << 10
"""Bytes read of a session's file, and of its meta.json, to learn its directory."""

REMEMBERED = 20_000
"""Sessions whose directory and start time are cached."""

_ID = pattern(r"[0-9a-f]{12}")


def recognises(record: Fields) -> bool:
    """Return True if this is an event as the store has them."""
    return (
        is_event(record)
        and record["event_type"] not in OURS
        and _ID.fullmatch(string(record, "event_id")) is not None
    )


def stores() -> list[Path]:
    """Return the folders of sessions.

    $AGENT_TRACE_DIR, else `.agent-traces` here; in it $AGENT_STRACE_WORKSPACE, else all workspaces.
    """
    base = Path(os.environ.get("AGENT_TRACE_DIR") or ".agent-traces").absolute()
    if name := os.environ.get("AGENT_STRACE_WORKSPACE"):
        return [base / "workspaces" / name]
    return [base, *_folders(base / "workspaces")]


def sessions() -> Iterator[Session]:
    for store in stores():
        for folder in _folders(store):
            path = folder / EVENTS
            with suppress(OSError):
                about = path.stat()
                if stat.S_ISREG(about.st_mode):
                    cwd, started = _begun(path, about.st_ino)
                    yield Session(
                        "store",
                        folder.name,
                        cwd or _directory(store),
                        path,
                        started,
                        about.st_mtime,
                    )


def session_folders() -> list[SessionFolder]:
    """Return the stores, in which each session has a folder."""
    return [SessionFolder(store, 1) for store in stores()]


def is_active(session: Session) -> bool:
    """Return True if the store marks the session as active, and no end of it is noted."""
    folder = session.path.parent
    if "ended_at" in _meta(folder):
        return False
    return any(
        _head(folder.parent / mark).strip() == os.fsencode(folder.name)
        for mark in _marks(folder.parent)
    )


def _find_marks(store: Path) -> list[str]:
    """Return the files that mark sessions as active."""
    marks = (".active-session", ".active-session.v2.")
    return [name for name in _names(store) if name == marks[0] or name.startswith(marks[1])]


_marks = FolderCache(_find_marks)


def process(session: Session) -> "Identity | None":
    """Return the live process: by Claude Code's registry, else the agent that a hook recorded.

    Of the two records in a store `attribution.pid` is that of a hook, which has ended.
    `attribution.agent_process`, which `agent-strace hook` writes, is the agent's, and believed as
    `processes.recorded_process` says. Of several sessions that name one process, it runs the one
    that was written last.
    """
    from agent_pipes.agents import processes

    start = _start(session.path)
    transcript = Path(string(start, "transcript_path"))
    if transcript.stem.startswith(session.path.parent.name):
        provider = string(start, "provider") or "claude"
        registered = Session(
            provider, transcript.stem, string(start, "cwd"), transcript, 0.0, session.modified
        )
        if (
            identity := registry.agent(provider).process(registered)
            if provider in registry.AGENTS
            else None
        ):
            return identity
    said = _noted(session.path)
    if not said:
        return None
    with suppress(OSError):
        attribution = within(_meta(session.path.parent), "attribution")
        agent = string(start, "provider") or string(attribution, "agent_provider")
        # Its place shows the directory of a store; elsewhere the store's own record has to do.
        directory = (
            _directory(session.path.parent.parent)
            or string(start, "cwd")
            or string(attribution, "working_dir")
        )
        if agent not in registry.AGENTS:
            return None
        identity = processes.recorded_process(
            registry.agent(agent), said, directory, session.path.stat().st_uid
        )
        if identity is None:
            return None
        modified = session.path.stat().st_mtime_ns
        others = (
            folder / EVENTS
            for folder in _folders(session.path.parent.parent)
            if folder != session.path.parent
        )
        if all(path.stat().st_mtime_ns <= modified for path in others if _noted(path) == said):
            return identity
    return None


def provider(session: Session) -> str:
    """Return the name of the agent whose session it is, "" if the store does not record it."""
    return string(_start(session.path), "provider") or string(
        within(_meta(session.path.parent), "attribution"), "agent_provider"
    )


def is_recorded_by_agent(session: Session) -> bool:
    """Return True if the session is one of an agent whose own files can be read."""
    parts = registry.AGENTS.get(provider(session))
    return parts is not None and parts.sessions


def has_work(session: Session) -> bool:
    """Return True if the store has more of the session than its start."""
    return _head(session.path).count(b"\n") > 1


_heads: BoundedDict[tuple[str, int], tuple[str, float]] = BoundedDict(REMEMBERED)


def _begun(path: Path, inode: int) -> tuple[str, float]:
    """Return the directory in which the session began, "" if unknown, and when."""
    key = (str(path), inode)
    if key not in _heads:
        first = _first_event(path)
        times = (_meta(path.parent).get("started_at"), first.get("timestamp"))
        started = next((float(time) for time in times if isinstance(time, (int, float))), 0.0)
        head = (string(_start(path), "cwd"), started)
        if not all(head):
            return head
        _heads[key] = head
    return _heads[key]


def _noted(path: Path) -> Fields:
    """Return the agent's process in meta.json, {} if there is none or the session has ended."""
    meta = _meta(path.parent)
    return {} if "ended_at" in meta else within(within(meta, "attribution"), "agent_process")


def _first_event(path: Path) -> Fields:
    """Return the first event of a session, {} if its file does not begin with one."""
    with suppress(ValueError):
        return next(iter(objects(_head(path).partition(b"\n")[0])), {})
    return {}


def _start(path: Path) -> Fields:
    """Return the data of the session's start, {} if its file does not begin with one."""
    for line in _head(path).splitlines()[:10]:
        with suppress(ValueError):
            for record in objects(line):
                data = record.get("data")
                if record.get("event_type") == "session_start" and type(data) is dict:
                    return data
    return {}


def _directory(store: Path) -> str:
    """Return the directory that a store belongs to, "" if it is not in its usual place."""
    place = store.parent.parent if store.parent.name == "workspaces" else store
    return str(place.parent) if place.name == ".agent-traces" else ""


def _meta(folder: Path) -> Fields:
    return parse_line(_head(folder / META)) or {}


def _head(path: Path) -> bytes:
    """Return the head of a file. A FIFO that somebody put there is not waited for."""
    try:
        with open(
            path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
        ) as file:
            return file.read(HEAD) or b""
    except OSError:
        return b""


def _folders(folder: Path) -> list[Path]:
    return [
        folder / name
        for name in sorted(_names(folder))
        if not name.startswith(".") and (folder / name).is_dir()
    ]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
