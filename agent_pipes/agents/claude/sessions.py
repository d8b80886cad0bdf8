"""Location of Claude Code's sessions, and the process that runs one."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent_pipes.agents.base import Session, SessionFolder
from agent_pipes.agents.claude.registry import (
    LiveSession,
    is_claude,
    is_claude_in,
    registry_entries,
    roots,
)
from agent_pipes.agents.fields import string, time_of
from agent_pipes.agents.folders import FolderCache, entries_of
from agent_pipes.agents.processes import executable
from agent_pipes.agents.ttl_cache import Look, lately
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import objects
from agent_pipes.process.table import (
    Identity,
    all_processes,
    began,
    command_line,
    cwd,
)

HEAD = 256 << 10
"""Bytes of a transcript that are read to learn where it was written."""

REMEMBERED = 20_000
"""Files and sessions whose unchanging facts are not looked up again."""


def sessions(
    since: float = 0.0,
    within: frozenset[str] = frozenset(),
    beginning: str = "",
    maybe_live: bool = False,
) -> Iterator[Session]:
    """Yield every transcript, and the live sessions that have written none yet.

    since:      leave out transcripts that last changed before, in seconds since the epoch.
    within:     leave out the projects that are in none of these directories, which are real paths.
    beginning:  leave out transcripts whose id begins otherwise.
    maybe_live: leave out transcripts beside a registry, which names the live ones.
    """
    names = frozenset(map(slug, within))
    live = {each.session: each for each in registry_entries()}
    for root in roots():
        if maybe_live and (root / "sessions").is_dir():
            continue
        for project in entries_of(root / "projects"):
            if within and project.name not in names and not _is_link_to(project.path, within):
                continue
            for path, about in _transcripts(project.path, since, beginning):
                with suppress(OSError):
                    session = _session(Path(path), about)
                    known = live.pop(session.id, None)
                    # A transcript does not tell its directory before its first lines.
                    yield _with_directory(session, known) if known else session
    for unwritten in live.values():
        yield _of_entry(unwritten)


def _is_link_to(project: str, directories: frozenset[str]) -> bool:
    """Return False if the project's directory is none of `directories`, as a transcript names it.

    The project has another name if the client was started in a directory by a symbolic link.
    """
    with suppress(OSError):
        for path, about in _transcripts(project):
            if directory := _head(Path(path), about).cwd:
                return os.path.realpath(directory) in directories
    return True


def sessions_in(directories: frozenset[str]) -> Iterator[Session]:
    """Yield the sessions of the projects that are in one of `directories`, and the live ones."""
    return sessions(within=directories)


def maybe_live_sessions(since: float) -> Iterator[Session]:
    """Yield the sessions of the registry; where a client has none, those that changed `since`."""
    return sessions(since, maybe_live=True)


def sessions_named(beginning: str) -> Iterator[Session]:
    """Yield the sessions whose id begins so, and the live ones."""
    return sessions(beginning=beginning)


def session_folders() -> list[SessionFolder]:
    """Return the folders of transcripts, and the registry."""
    return [
        folder
        for root in roots()
        for folder in (SessionFolder(root / "projects", 1), SessionFolder(root / "sessions", 0))
    ]


def sessions_at(path: Path) -> list[Session]:
    """Return the session of a transcript, or those of the registry if `path` is in it."""
    if path.parent.name == "sessions":
        return [_of_entry(live) for live in registry_entries()]
    if path.suffix != ".jsonl" or path.name.startswith("agent-"):
        return []
    with suppress(OSError):
        about = path.stat()
        if stat.S_ISREG(about.st_mode):
            return [_session(path, about)]
    return []


def _session(path: Path, about: os.stat_result) -> Session:
    """Return the session of a transcript. Raises OSError."""
    head = _head(path, about)
    return Session(
        "claude", path.name.removesuffix(".jsonl"), head.cwd, path, head.started, about.st_mtime
    )


def _of_entry(live: LiveSession) -> Session:
    """Return the session that a registry entry names, which may have no transcript yet."""
    path = _transcript_of(live, live.root / "projects" / slug(live.cwd))
    with suppress(OSError):
        return _with_directory(_session(path, path.stat()), live)
    return Session("claude", live.session, live.cwd, path, live.started, live.modified)


def _transcript_of(live: LiveSession, project: Path) -> Path:
    """Return the transcript in this project, where the process began, else that in another one.

    A process has left its project if /resume was given a session of another one.
    """
    path = project / f"{live.session}.jsonl"
    if path.exists():
        return path
    return min(live.root.glob(f"projects/*/{live.session}.jsonl"), default=path)


def _with_directory(session: Session, live: LiveSession) -> Session:
    return session if session.cwd else session._replace(cwd=live.cwd, started=live.started)


def files(session: Session) -> list[Path]:
    """Return the session's transcript, then those of its subagents.

    They are below it, or beside it as version 2.0 wrote them.
    """
    beneath = session.path.with_suffix("") / "subagents"
    return [
        session.path,
        *sorted(_beneath(beneath)),
        *(path for path, of in _beside(session.path.parent) if of == session.id),
    ]


def folders(session: Session) -> list[Path]:
    """Return the folders in which files of subagents may appear."""
    beneath = session.path.with_suffix("") / "subagents"
    return [beneath, *_folders(beneath), session.path.parent]


def process(session: Session) -> Identity | None:
    """Return the process of the session: the one whose registry entry names it.

    Anyone who may write in the registry can write another's number there, so an entry is believed
    only when its file bears the number, and the process of that number runs, began when the entry
    says, is of the user who owns the file, is Claude Code by its program, and works in the entry's
    directory, which is the session's or lies in it (a worktree does). Two such entries for one
    session are none.

    Before March 2026 there was no registry. Where there still is none, the session that was written
    last in its project is taken to be that of the one Claude Code that works in its directory, if
    it was written since that began.
    """
    with suppress(OSError):
        found = {
            live.identity for live in registry_entries(session.id) if _within(live.cwd, session.cwd)
        }
        identity = found.pop() if len(found) == 1 else None if found else _unregistered(session)
        if identity:
            _ran[session.id] = identity
        return identity
    return None


_ran: BoundedDict[str, Identity] = BoundedDict(REMEMBERED)
"""The process that was last seen to run a session.

What tells, later, that it runs another one now.
"""


def successor(session: Session) -> Session | None:
    """Return the session that the process has opened since (/clear, /resume, /branch), if any.

    It is known only of a session whose process was: `process` must have found it.
    """
    identity = _ran.get(session.id)
    for live in registry_entries() if identity else ():
        if live.identity == identity and live.session != session.id:
            path = _transcript_of(live, session.path.parent)
            return Session("claude", live.session, live.cwd, path, live.started, live.modified)
    return None


def slug(directory: str) -> str:
    """Return the name of a project's folder.

    What is no ASCII letter or digit becomes `-`; a name of more than 200 is cut and a hash follows.

    Both count UTF-16 code units. The hash is Java's of the whole path, in base 36.
    """
    raw = directory.encode("utf-16-le", errors="surrogatepass")
    units = [int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw), 2)]
    name = "".join(chr(unit) if unit < 128 and chr(unit).isalnum() else "-" for unit in units)
    if len(name) <= 200:
        return name
    hashed = 0
    for unit in units:
        hashed = (31 * hashed + unit) & 0xFFFFFFFF
    number = abs(hashed - (1 << 32) if hashed >= 1 << 31 else hashed)
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"{name[:200]}-{digits or '0'}"


def _within(directory: str, session: str) -> bool:
    """Return True if `directory` is the session's or in it, or the session's is unknown."""
    if not session:
        return True
    outer = os.path.realpath(session)
    return os.path.commonpath([outer, os.path.realpath(directory)]) == outer


def _directories() -> set[str]:
    """Return the directories that a Claude Code works in."""
    pids = [pid for pid in all_processes() if is_claude(executable(pid), command_line(pid))]
    return {os.path.realpath(where) for pid in pids if (where := cwd(pid))}


_worked_in = Look(_directories)


def _unregistered(session: Session) -> Identity | None:
    if not session.cwd or not (
        lately(session.modified) or os.path.realpath(session.cwd) in _worked_in(None)
    ):
        return None
    project = session.path.parent
    root = next((root for root in roots() if root / "projects" == project.parent), None)
    if root is None or (root / "sessions").is_dir():
        return None
    changed = {path: about.st_mtime for path, about in _transcripts(str(project))}
    modified = changed.get(str(session.path))
    if modified is None or modified < max(changed.values()):
        return None
    owner = session.path.stat().st_uid
    fit = [
        row.identity
        for row in all_processes().values()
        if is_claude_in(row.pid, session.cwd, owner)
    ]
    return fit[0] if len(fit) == 1 and began(fit[0]) <= modified else None


@dataclass(frozen=True, slots=True)
class _Head:
    """Contents of a transcript's first lines."""

    session: str
    cwd: str
    started: float


_heads: BoundedDict[tuple[str, int], _Head] = BoundedDict(REMEMBERED)


def _head(path: Path, about: os.stat_result) -> _Head:
    """Return the head of a transcript.

    It is cached once it has the directory, because it does not change then.
    """
    key = (str(path), about.st_ino)
    head = _heads.get(key)
    if head is None:
        head = _read_head(path)
        if head.cwd:
            _heads[key] = head
    return head


def _read_head(path: Path) -> _Head:
    session, started = "", 0.0
    left = HEAD
    with path.open("rb") as file:
        while left > 0 and (line := file.readline(left)):
            left -= len(line)
            with suppress(ValueError):
                for record in objects(line):
                    started = started or time_of(record, 0.0)
                    session = session or string(record, "sessionId")
                    if directory := string(record, "cwd"):
                        return _Head(session, directory, started)
    return _Head(session, "", started)


def _transcripts(
    project: str, since: float = 0.0, beginning: str = ""
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the transcripts in a project's folder that changed after `since`, with their status.

    There may be thousands of old ones: nothing but their status is asked for.
    """
    for entry in entries_of(project):
        name = entry.name
        if name.endswith(".jsonl") and name.startswith(beginning) and not name.startswith("agent-"):
            try:
                about = entry.stat()
            except OSError:
                continue
            if about.st_mtime >= since and stat.S_ISREG(about.st_mode):
                yield entry.path, about


def _is_subagents(entry: "os.DirEntry[str]") -> bool:
    # A link there is none of the client's, and would lead the reader anywhere.
    return (
        entry.name.startswith("agent-")
        and entry.name.endswith(".jsonl")
        and entry.is_file(follow_symlinks=False)
    )


def _beneath(folder: Path, depth: int = 4) -> Iterator[Path]:
    """Yield subagents' files in `folder` and below (`workflows/wf_…/`)."""
    for entry in entries_of(folder):
        with suppress(OSError):
            if _is_subagents(entry):
                yield Path(entry.path)
            elif depth and entry.is_dir(follow_symlinks=False):
                yield from _beneath(Path(entry.path), depth - 1)


def _folders(folder: Path, depth: int = 4) -> Iterator[Path]:
    for entry in entries_of(folder) if depth else ():
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
                yield from _folders(Path(entry.path), depth - 1)


def _find_beside(folder: Path) -> list[tuple[Path, str]]:
    """Return subagents' files in a project's own folder, with their sessions."""
    found = []
    for entry in entries_of(folder):
        with suppress(OSError):
            if _is_subagents(entry):
                path = Path(entry.path)
                found.append((path, _head(path, entry.stat()).session))
    return sorted(found)


_beside = FolderCache(_find_beside)
