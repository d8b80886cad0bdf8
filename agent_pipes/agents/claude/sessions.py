"""Where Claude Code's sessions lie, and which process runs one."""

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from agent_pipes.agents.base import Session
from agent_pipes.agents.fields import string, time_of
from agent_pipes.agents.processes import executable
from agent_pipes.agents.ttl_cache import Look, lately
from agent_pipes.core.bounded import remember
from agent_pipes.core.jsonl import Fields, objects
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.process.table import (
    Identity,
    alive,
    all_processes,
    began,
    command_line,
    cwd,
    identify,
    user,
)

HEAD = 256 << 10
"""Bytes of a transcript that are read to learn where it was written."""

REMEMBERED = 20_000
"""Files and sessions whose unchanging facts are not looked up again."""

TOLERANCE = 60.0
"""Seconds by which a registry's time of start may differ from the process's, where start times are whole seconds."""


def roots() -> list[Path]:
    """The directories in which Claude Code keeps what it knows: $CLAUDE_CONFIG_DIR, else ~/.claude (and ~/.config/claude)."""
    if given := os.environ.get("CLAUDE_CONFIG_DIR"):
        return [Path(given)]
    home = Path(os.path.expanduser("~"))
    return [home / ".claude", *(root for root in [home / ".config" / "claude"] if root.is_dir())]


def sessions() -> Iterator[Session]:
    """Every transcript there is, and the live sessions that have written none yet."""
    known = set()
    for root in roots():
        for project in _entries(root / "projects"):
            for entry in _entries(Path(project.path)):
                with suppress(OSError):
                    if _is_transcript(entry):
                        about = entry.stat()
                        head = _head(Path(entry.path), about)
                        name = entry.name.removesuffix(".jsonl")
                        known.add(name)
                        yield Session(
                            "claude", name, head.cwd, Path(entry.path), head.started, about.st_mtime
                        )
    for live in _registry():
        if live.session not in known:
            path = live.root / "projects" / slug(live.cwd) / f"{live.session}.jsonl"
            yield Session("claude", live.session, live.cwd, path, live.started, live.modified)


def files(session: Session) -> list[Path]:
    """The session's transcript, then those of its subagents: beneath it, or beside it as version 2.0 wrote them."""
    beneath = session.path.with_suffix("") / "subagents"
    return [
        session.path,
        *sorted(_beneath(beneath)),
        *(path for path, of in _beside(session.path.parent) if of == session.id),
    ]


def folders(session: Session) -> list[Path]:
    """Where files of its subagents may appear: beneath its transcript, and beside it."""
    beneath = session.path.with_suffix("") / "subagents"
    return [beneath, *_folders(beneath), session.path.parent]


def process(session: Session) -> Identity | None:
    """The live process of the session: the one whose registry entry names it.

    Anyone who may write in the registry can write another's number there, so an entry is believed only when its file
    is ours and bears the number, and the process of that number runs, began when the entry says, is ours, is Claude
    Code by its program, and works in the entry's directory, which is the session's or lies in it (a worktree does).
    Two such entries for one session are none.

    Before March 2026 there was no registry. Where there still is none, the session that was written last in its
    project is taken to be that of the one Claude Code that works in its directory, if it was written since that began.
    """
    with suppress(OSError):
        found = {live.identity for live in _registry(session.id) if _within(live.cwd, session.cwd)}
        identity = found.pop() if len(found) == 1 else None if found else _unregistered(session)
        if identity:
            remember(_ran, session.id, identity, REMEMBERED)
        return identity
    return None


_ran: dict[str, Identity] = {}
"""The process that was last seen to run a session: what tells, later, that it runs another one now."""


def successor(session: Session) -> Session | None:
    """The session that the same process has opened since (/clear, /resume, /branch); None while it runs this one.

    It is known only of a session whose process was: `process` must have found it.
    """
    identity = _ran.get(session.id)
    for live in _registry() if identity else ():
        if live.identity == identity and live.session != session.id:
            path = session.path.parent / f"{live.session}.jsonl"
            # A process stays with the project it began in, except where /resume was given a session of another one.
            path = next(
                (
                    each
                    for each in sorted(live.root.glob(f"projects/*/{live.session}.jsonl"))
                    if not path.exists()
                ),
                path,
            )
            return Session("claude", live.session, live.cwd, path, live.started, live.modified)
    return None


def slug(directory: str) -> str:
    """The name of the project's folder: what is no ASCII letter or digit becomes `-`, and beyond 200 a hash follows.

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


@dataclass(frozen=True, slots=True)
class _Live:
    """A registry entry that is believed."""

    root: Path
    identity: Identity
    session: str
    cwd: str
    started: float
    modified: float


def _registry(session: str = "") -> list[_Live]:
    """What the registry says that is believed: all of it, or what it says of `session`."""
    # As long as no entry changes, only the processes can.
    said = tuple(
        (entry.path, about.st_ino, about.st_mtime_ns, about.st_size)
        for root in roots()
        for entry, about in _registered(root)
    )
    return [
        live
        for live in _entries_now(said)
        if (not session or live.session == session) and alive(live.identity)
    ]


def _registered(root: Path) -> Iterator[tuple["os.DirEntry[str]", os.stat_result]]:
    """The registry's entries that are files of ours."""
    for entry in _entries(root / "sessions"):
        # `pid-N.json` is of an older form, and stays behind when its process has gone.
        if re.fullmatch(r"[1-9][0-9]{0,9}\.json", entry.name):
            with suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if about.st_uid == os.getuid() and stat.S_ISREG(about.st_mode):
                    yield entry, about


def _every_entry() -> list[_Live]:
    found: list[_Live] = []
    for root in roots():
        for entry, about in _registered(root):
            with suppress(OSError, ValueError):
                found += _believed(root, entry, about)
    return found


_entries_now = Look(_every_entry)


def _believed(root: Path, entry: "os.DirEntry[str]", about: os.stat_result) -> Iterator[_Live]:
    if about.st_size > HEAD:
        return
    said: Any = orjson.loads(Path(entry.path).read_bytes())
    pid = int(entry.name.removesuffix(".json"))
    if type(said) is not dict or said.get("pid") != pid or not string(said, "sessionId"):
        return
    directory = string(said, "cwd")
    if not _is_claude_in(pid, directory) or not _same_namespace(said.get("pidDomain")):
        return
    # Looked up last: what was found above is then of the process that still runs, as its start time does not change.
    identity = identify(pid)
    if identity and _same_start(said, identity):
        yield _Live(root, identity, said["sessionId"], directory, _started(said), about.st_mtime)


def _is_claude_in(pid: int, directory: str) -> bool:
    """Whether the process is ours, Claude Code, and works in `directory`."""
    where = cwd(pid)
    if (
        not where
        or not os.path.isabs(directory)
        or os.path.realpath(directory) != os.path.realpath(where)
    ):
        return False
    return user(pid) == os.getuid() and is_claude(executable(pid), command_line(pid))


def _within(directory: str, session: str) -> bool:
    """Whether `directory` is that of the session, or lies in it; where the session does not tell its own, it may be any."""
    if not session:
        return True
    outer = os.path.realpath(session)
    return os.path.commonpath([outer, os.path.realpath(directory)]) == outer


_INTERPRETER = pattern(r"node|nodejs|bun|deno|python[0-9.]*")
_VERSIONS = pattern(r"/claude/versions/[^/]+$")
_SCRIPT = pattern(r"(^|/)(claude|claude\.js|@anthropic-ai/claude-code(-[^/]+)?/[^/]+)$")


def is_claude(program: str, arguments: Sequence[str]) -> bool:
    """Whether a process is Claude Code: by its program, or by the script that an interpreter runs.

    program: the path of its executable, "" where that is not told; then its own word for it, `arguments[0]`, counts.
    """
    path = program or (arguments[0] if arguments else "")
    name = os.path.basename(path)
    if "claude" in name or _VERSIONS.search(path):
        return True
    script = next((each for each in arguments[1:] if not each.startswith("-")), "")
    return bool(_INTERPRETER.fullmatch(name) and _SCRIPT.search(script))


def _same_namespace(domain: object) -> bool:
    """Whether the entry's numbers mean what ours do: a registry may be shared with a container (`linux:…:pid:[4026531836]`)."""
    if type(domain) is not str or "pid:[" not in domain:
        return True
    try:
        return domain.endswith(os.readlink("/proc/self/ns/pid"))
    except OSError:
        return True


def _same_start(said: Fields, identity: Identity) -> bool:
    """Whether the entry's process is this one. Its `procStart` is the start time that we know, on Linux."""
    if str(said.get("procStart")) == identity.started:
        return True
    return sys.platform != "linux" and abs(began(identity) - _started(said)) <= TOLERANCE


def _started(said: Fields) -> float:
    milliseconds = said.get("startedAt")
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) else 0.0


def _directories() -> set[str]:
    """The directories that a Claude Code of ours works in."""
    pids = [
        pid
        for pid in all_processes()
        if user(pid) == os.getuid() and is_claude(executable(pid), command_line(pid))
    ]
    return {os.path.realpath(where) for pid in pids if (where := cwd(pid))}


_worked_in = Look(_directories)


def _unregistered(session: Session) -> Identity | None:
    project = session.path.parent
    root = next((root for root in roots() if root / "projects" == project.parent), None)
    if root is None or (root / "sessions").is_dir() or not session.cwd:
        return None
    if not lately(session.modified) and os.path.realpath(session.cwd) not in _worked_in(
        tuple(roots())
    ):
        return None
    changed = {
        entry.path: entry.stat().st_mtime for entry in _entries(project) if _is_transcript(entry)
    }
    modified = changed.get(str(session.path))
    if modified is None or modified < max(changed.values()):
        return None
    fit = [row.identity for row in all_processes().values() if _is_claude_in(row.pid, session.cwd)]
    return fit[0] if len(fit) == 1 and began(fit[0]) <= modified else None


@dataclass(frozen=True, slots=True)
class _Head:
    """What a transcript's first lines tell."""

    session: str
    cwd: str
    started: float


_heads: dict[tuple[str, int], _Head] = {}


def _head(path: Path, about: os.stat_result) -> _Head:
    """The head of a transcript. It does not change once it tells the directory, so it is read until it does."""
    key = (str(path), about.st_ino)
    head = _heads.get(key)
    if head is None:
        head = _read_head(path)
        if head.cwd:
            remember(_heads, key, head, REMEMBERED)
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


def _is_transcript(entry: "os.DirEntry[str]") -> bool:
    return entry.name.endswith(".jsonl") and not entry.name.startswith("agent-") and entry.is_file()


def _is_subagents(entry: "os.DirEntry[str]") -> bool:
    # A link there is none of the client's, and would lead the reader anywhere.
    return (
        entry.name.startswith("agent-")
        and entry.name.endswith(".jsonl")
        and entry.is_file(follow_symlinks=False)
    )


def _beneath(folder: Path, depth: int = 4) -> Iterator[Path]:
    """Subagents' files in `folder` and below (`workflows/wf_…/`)."""
    for entry in _entries(folder):
        with suppress(OSError):
            if _is_subagents(entry):
                yield Path(entry.path)
            elif depth and entry.is_dir(follow_symlinks=False):
                yield from _beneath(Path(entry.path), depth - 1)


def _folders(folder: Path, depth: int = 4) -> Iterator[Path]:
    for entry in _entries(folder) if depth else ():
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
                yield from _folders(Path(entry.path), depth - 1)


def _beside(folder: Path) -> Iterator[tuple[Path, str]]:
    """Subagents' files in a project's own folder, with the sessions they are of."""
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        with suppress(OSError):
            if _is_subagents(entry):
                yield Path(entry.path), _head(Path(entry.path), entry.stat()).session


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
