"""Location of Codex's sessions, and the process that runs one."""

import os
import stat
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agent_pipes.agents.base import Session, SessionFolder
from agent_pipes.agents.codex.place import home, socket_path
from agent_pipes.agents.fields import string, time_of, within
from agent_pipes.agents.folders import FolderCache, entries_of
from agent_pipes.agents.ttl_cache import Look, lately
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields, objects
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.process.open_files import holders, open_files
from agent_pipes.process.table import Identity, command_line

HEAD = 4 << 20
"""Bytes of a rollout's first line that are read.

It holds the instructions and the tools, mostly 30 kB.
"""

REMEMBERED = 20_000
"""Rollouts whose first line is not read again."""

LONG_AGO = 86_400.0
"""Seconds since its last change after which a session is not scanned for, if scans are slow."""

_ARCHIVE = "archived_sessions"
_NAME = pattern(r"rollout-.*\.jsonl")


@dataclass(frozen=True, slots=True)
class Meta:
    """Contents of a rollout's head.

    id:      the thread's own.
    session: the id of the session: the thread's own, or that of the thread that a subagent works
             for.
    parent:  the thread that spawned it, "" for none.
    child:   it is a subagent's.
    role:    what kind of subagent, "" if unknown.
    started: seconds since the epoch, 0.0 where unknown.
    """

    id: str
    session: str
    parent: str
    child: bool
    role: str
    cwd: str
    started: float

    @staticmethod
    def of(payload: Fields) -> "Meta":
        """Return the head in the payload of a `session_meta`."""
        source = within(payload, "source")
        spawn = within(within(source, "subagent"), "thread_spawn")
        parent = string(payload, "parent_thread_id") or string(spawn, "parent_thread_id")
        own = string(payload, "id") or string(payload, "session_id")
        child = (
            bool(parent) or "subagent" in source or string(payload, "thread_source") == "subagent"
        )
        session = (string(payload, "session_id") or parent or own) if child else own
        role = (
            string(payload, "agent_role")
            or string(spawn, "agent_role")
            or string(spawn, "agent_nickname")
        )
        return Meta(
            own, session, parent, child, role, string(payload, "cwd"), time_of(payload, 0.0)
        )


def sessions(since: float = 0.0) -> Iterator[Session]:
    """Every session there is a rollout of, the one that changed last first.

    Subagents are part of theirs. Rollouts that last changed before `since` (seconds since the
    epoch) are left out unless a process has them open.
    """
    for path, modified in _rollouts(home() / "sessions", home() / _ARCHIVE, since=since):
        meta = _meta(path)
        if meta and not meta.child:
            yield Session("codex", meta.id, meta.cwd, path, meta.started, modified)


def session_folders() -> list[SessionFolder]:
    """Return the folders of rollouts: one for each day, and the archive."""
    return [SessionFolder(home() / "sessions", 3), SessionFolder(home() / _ARCHIVE, 0)]


def sessions_at(path: Path) -> list[Session]:
    """Return the session of a rollout."""
    if _NAME.fullmatch(path.name):
        with suppress(OSError):
            meta, modified = _meta(path), path.stat().st_mtime
            if meta and not meta.child:
                return [Session("codex", meta.id, meta.cwd, path, meta.started, modified)]
    return []


def files(session: Session) -> list[Path]:
    """Return the session's rollout, then those of its subagents, in the order of their names.

    They lie in the folders of the days on which they were spawned, which are days on which the
    session was worked in.
    """
    try:
        modified = max(session.modified, session.path.stat().st_mtime)
    except OSError:
        modified = session.modified
    folders = _days(session.started, modified) if session.started else []
    if session.path.parent.name == _ARCHIVE:
        folders.append(session.path.parent)
    found = [child for folder in folders for child in _children(folder)]
    family = {session.id}
    for _, meta in sorted(found, key=lambda each: each[0].name):
        if meta.session == session.id or meta.parent in family:
            family.add(meta.id)
    return [
        session.path,
        *sorted((path for path, meta in found if meta.id in family), key=lambda path: path.name),
    ]


def folders(session: Session) -> list[Path]:
    """Return the folder of its subagents' new rollouts: that of the day."""
    return [home() / "sessions" / datetime.now().strftime("%Y/%m/%d")]


def process(session: Session) -> Identity | None:
    """Return the process that holds the rollout, or its writer's lock, open to write.

    None if there is not exactly one, or if it serves several sessions and cannot
    be told to end one of them: a signal would end them all.
    """
    identity = _holder(session)
    if identity and _is_shared(identity) and not _daemons_socket():
        return None
    return identity


def control_socket(session: Session) -> Path | None:
    """Return the control socket, if the session's process is the daemon that serves several."""
    identity = _holder(session)
    return _daemons_socket() if identity and _is_shared(identity) else None


def is_active(session: Session) -> bool:
    """Return True if a process works in the session, even one that cannot be ended."""
    return _holder(session) is not None


def is_closed(session: Session) -> bool:
    """Return True if it is certain that no process works in the session.

    A thread that is loaded has its rollout open.

    A run closes it when its turn is over. Its process goes on for some seconds, and nothing tells
    any more that it is its.
    """
    with suppress(OSError):
        return not any(holders(path, writing=True) for path in _held(session))
    return False


def _held(session: Session) -> tuple[Path, Path]:
    return session.path, home() / "thread-writer-locks" / f"{session.id}.lock"


_open = Look(open_files)


def _holder(session: Session) -> Identity | None:
    for path in _held(session):
        with suppress(OSError):
            if not lately(session.modified) and not _may_be_open(path.stat(), _open(home())):
                continue
            found = holders(path, writing=True)
            if found:
                return found[0] if len(found) == 1 else None
    return None


def _may_be_open(file: os.stat_result, found: Set[tuple[int, int]] | None) -> bool:
    """Return True if a process seems to have the file open.

    found: device and inode of each open file; None if each file takes a scan of its own. An old
    one is taken to be closed then.
    """
    if found is None:
        return file.st_mtime > time.time() - LONG_AGO
    return (file.st_dev, file.st_ino) in found


_SERVERS = frozenset({"app-server", "mcp-server"})


def is_codex(arguments: Sequence[str]) -> bool:
    """Return True if a command line is Codex's own program, running one session."""
    return os.path.basename(arguments[0]) == "codex" and _SERVERS.isdisjoint(arguments[1:])


def _is_shared(identity: Identity) -> bool:
    return not _SERVERS.isdisjoint(command_line(identity.pid)[1:])


def _daemons_socket() -> Path | None:
    path = socket_path()
    with suppress(OSError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return path
    return None


def _rollouts(*folders: Path, since: float = 0.0) -> list[tuple[Path, float]]:
    """Return the rollouts in and below these folders with their last changes, newest first.

    Those that last changed before `since` are left out unless a process has them open.
    """
    found: list[tuple[Path, float]] = []
    now_open = _open(home()) if since else None
    queue = [os.fspath(folder) for folder in folders]
    for folder in queue:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
                    elif _NAME.fullmatch(entry.name) and entry.is_file():
                        file = entry.stat()
                        if file.st_mtime >= since or _may_be_open(file, now_open):
                            found.append((Path(entry.path), file.st_mtime))
    return sorted(found, key=lambda each: (-each[1], each[0]))


def _find_children(folder: Path) -> list[tuple[Path, Meta]]:
    """Return the subagents' rollouts in a folder."""
    return [(path, meta) for path, _ in _rollouts(folder) if (meta := _meta(path)) and meta.child]


_children = FolderCache(_find_children)


def _days(first: float, last: float) -> list[Path]:
    """Return the folders of the days from `first` to `last` that exist.

    They are named in local time, and the time zone may have changed.
    """
    base, day = home() / "sessions", timedelta(days=1)
    begin = f"{base}/{datetime.fromtimestamp(first) - day:%Y/%m/%d}"
    end = f"{base}/{datetime.fromtimestamp(max(first, last)) + day:%Y/%m/%d}"
    found = [base]
    for _ in ("years", "months", "days"):
        inner = [each for folder in found for each in _folders_in(folder)]
        found = [
            each for each in inner if begin[: len(str(each))] <= str(each) <= end[: len(str(each))]
        ]
    return found


_folders_in = FolderCache(
    lambda folder: [
        Path(each.path) for each in entries_of(folder) if each.is_dir(follow_symlinks=False)
    ]
)


_metas: BoundedDict[Path, Meta] = BoundedDict(REMEMBERED)


def _meta(path: Path) -> Meta | None:
    """Return the head of a rollout; None while its first line is incomplete."""
    meta = _metas.get(path)
    if meta is None:
        try:
            with path.open("rb") as file:
                line = file.readline(HEAD)
            record = next(objects(line), {}) if line.endswith(b"\n") else {}
        except (OSError, ValueError):
            return None
        payload = record.get("payload")
        if record.get("type") != "session_meta" or type(payload) is not dict:
            return None
        meta = Meta.of(payload)
        _metas[path] = meta
    return meta
