"""Copilot CLI's sessions, and the process that runs one."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agent_pipes.agents.base import Session, SessionFolder
from agent_pipes.agents.fields import string, time_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields, objects
from agent_pipes.process.table import Identity, began, command_line, identify, user

HEAD = 64 << 10
"""Bytes read of a session's first line, and of its workspace.yaml, to learn its directory."""

REMEMBERED = 20_000
"""Sessions of which it is remembered where they work."""

TOLERANCE = 2.0
"""Seconds by which a process may seem to start after it took its lock: the clocks differ."""


def root() -> Path:
    """Return the directory of the sessions: session-state in $COPILOT_HOME, else in ~/.copilot."""
    given = os.environ.get("COPILOT_HOME")
    return (Path(given) if given else Path(os.path.expanduser("~")) / ".copilot") / "session-state"


def sessions() -> Iterator[Session]:
    """Yield every session that has a log: in a directory, or alone as old versions wrote it."""
    with suppress(OSError), os.scandir(root()) as entries:
        for entry in entries:
            yield from _sessions_in(Path(entry.path))


def session_folders() -> list[SessionFolder]:
    """Return the folder of sessions, each of which is a folder of its own."""
    return [SessionFolder(root(), 1)]


def sessions_at(path: Path) -> list[Session]:
    """Return the session whose log, lock or folder is `path`."""
    return list(_sessions_in(path if path.parent == root() else path.parent))


def _sessions_in(place: Path) -> Iterator[Session]:
    """Yield the session of a folder with its log, or of a log alone."""
    with suppress(OSError):
        log = place / "events.jsonl" if place.is_dir() else place
        if log.suffix == ".jsonl":
            stat = log.stat()
            cwd, started = _head(log, stat)
            name = place.name.removesuffix(".jsonl")
            yield Session("copilot", name, cwd, log, started, stat.st_mtime)


def process(session: Session) -> Identity | None:
    """Return the live process of a session, named by the lock `inuse.PID.lock` beside its log.

    Locks outlive their processes, so one counts only if that process runs, had started before the
    lock was made, belongs to this user and is Copilot by its command line. A process that holds
    several sessions (/new leaves the old one's lock) runs the one that it wrote last. None if two
    fit.
    """
    with suppress(OSError):
        found = [(pid, identity) for pid, identity, _ in _holders(session.path.parent)]
        if len(found) == 1:
            pid, identity = found[0]
            mine = session.path.stat().st_mtime
            return (
                identity
                if all(log.stat().st_mtime <= mine for log, _ in _also_held(session, pid))
                else None
            )
    return None


def successor(session: Session) -> Session | None:
    """Return the session that the same process has opened since (/new); None if it has none."""
    with suppress(OSError):
        held = [(pid, made) for pid, _, made in _holders(session.path.parent)]
        if len(held) != 1:
            return None
        pid, made = held[0]
        changed = session.path.stat().st_mtime
        later = [
            (since, log)
            for log, since in _also_held(session, pid)
            if since > made and since >= changed
        ]
        if later:
            log = max(later)[1]
            return next((each for each in sessions() if each.path == log), None)
    return None


def _holders(folder: Path) -> Iterator[tuple[int, Identity, float]]:
    """Return the processes that hold the session in `folder`, and since when."""
    if folder == root():
        return
    for lock in folder.glob("inuse.*.lock"):
        number = lock.name.removeprefix("inuse.").removesuffix(".lock")
        if re.fullmatch(r"[1-9][0-9]{0,9}", number):
            with suppress(OSError):
                about = lock.stat(follow_symlinks=False)
                if identity := _believed(int(number), about):
                    yield int(number), identity, about.st_mtime


def _believed(pid: int, lock: os.stat_result) -> Identity | None:
    if user(pid) != lock.st_uid or not is_copilot(command_line(pid)):
        return None
    # Identified last, so that the checks above are of the process that still runs.
    identity = identify(pid)
    return identity if identity and began(identity) <= lock.st_mtime + TOLERANCE else None


def is_copilot(arguments: Sequence[str]) -> bool:
    """Return True if the command line is Copilot's: its program, or its script under node."""
    program = os.path.basename(arguments[0]).lower() if arguments else ""
    if "copilot" in program:
        return True
    return program in ("node", "nodejs", "bun") and any(
        "copilot" in each.lower() for each in arguments[1:4]
    )


def _also_held(session: Session, pid: int) -> Iterator[tuple[Path, float]]:
    """Return the logs of the other sessions that the process holds, and since when."""
    for lock in root().glob(f"*/inuse.{pid}.lock"):
        log = lock.parent / "events.jsonl"
        if lock.parent != session.path.parent and log.exists():
            about = lock.stat(follow_symlinks=False)
            if _believed(pid, about):
                yield log, about.st_mtime


_heads: BoundedDict[tuple[str, int, int], tuple[str, float]] = BoundedDict(REMEMBERED)


def _head(log: Path, stat: os.stat_result) -> tuple[str, float]:
    """Return the directory of a session and its start time."""
    workspace = log.parent / "workspace.yaml"
    try:
        changed = workspace.stat().st_mtime_ns if log.name == "events.jsonl" else 0
    except OSError:
        changed = 0
    key = (str(log), stat.st_ino, changed)
    if key not in _heads:
        first = _first(log)
        context = first.get("data")
        context = context.get("context") if type(context) is dict else None
        cwd = string(context, "cwd") if type(context) is dict else ""
        # A session that is resumed elsewhere works there from then on.
        head = (changed and _cwd_of(workspace)) or cwd, time_of(first, 0.0)
        if not head[1]:
            return head
        _heads[key] = head
    return _heads[key]


def _first(log: Path) -> Fields:
    with suppress(OSError, ValueError), log.open("rb") as file:
        for record in objects(file.readline(HEAD)):
            return record
    return {}


def _cwd_of(workspace: Path) -> str:
    """Return the `cwd` of a workspace.yaml: a plain scalar, or one in quotes."""
    with suppress(OSError), workspace.open("rb") as file:
        if found := re.search(rb"^cwd: *(.+?) *$", file.read(HEAD), re.MULTILINE):
            value = os.fsdecode(found[1])
            if value.startswith("'"):
                return value.strip("'").replace("''", "'")
            return "" if value.startswith(('"', "|", ">", "&", "!")) else value
    return ""
