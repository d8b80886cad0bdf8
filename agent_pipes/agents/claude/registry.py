"""Claude Code's registry of live processes, and its program."""

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent_pipes.agents.fields import string
from agent_pipes.agents.folders import entries_of
from agent_pipes.agents.processes import executable
from agent_pipes.agents.ttl_cache import Look
from agent_pipes.core.jsonl import Fields, parse_line
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.process.table import Identity, alive, began, command_line, cwd, identify, user

MAX_ENTRY_BYTES = 256 << 10

START_TOLERANCE_S = 60.0
"""Seconds by which a registry's start time may differ from the process's."""


def roots() -> list[Path]:
    """Return the configuration directories.

    $CLAUDE_CONFIG_DIR, else ~/.claude and ~/.config/claude.
    """
    if given := os.environ.get("CLAUDE_CONFIG_DIR"):
        return [Path(given)]
    home = os.path.expanduser("~")
    other = f"{home}/.config/claude"
    return [Path(f"{home}/.claude"), *([Path(other)] if os.path.isdir(other) else [])]


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A trusted registry entry; `kind` is `bg` for a session in the background.

    status:    the client's own word for its state, "" if the entry has none (headless runs).
    waits_for: whom or what it waits for in that state, as a `waiting` event has it.
    """

    root: Path
    identity: Identity
    session: str
    cwd: str
    started: float
    modified: float
    kind: str = ""
    status: str = ""
    waits_for: str = ""


def registry_entries(session: str = "") -> list[LiveSession]:
    """Return the trusted registry entries: all of them, or those of `session`."""
    # As long as no entry changes, only the processes can.
    said = tuple(
        (entry.path, about.st_uid, about.st_ino, about.st_mtime_ns, about.st_size)
        for root in roots()
        for entry, about in _registered(root)
    )
    return [
        live
        for live in _entries_now(said)
        if (not session or live.session == session) and alive(live.identity)
    ]


def _registered(root: Path) -> Iterator[tuple["os.DirEntry[str]", os.stat_result]]:
    """Yield the registry's entries."""
    for entry in entries_of(root / "sessions"):
        # `pid-N.json` is of an older form, and stays behind when its process has gone.
        if re.fullmatch(r"[1-9][0-9]{0,9}\.json", entry.name):
            with suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    yield entry, about


def _every_entry() -> list[LiveSession]:
    found: list[LiveSession] = []
    for root in roots():
        for entry, about in _registered(root):
            with suppress(OSError, ValueError):
                found += _believed(root, entry, about)
    return found


_entries_now = Look(_every_entry)


def _believed(
    root: Path, entry: "os.DirEntry[str]", about: os.stat_result
) -> Iterator[LiveSession]:
    if about.st_size > MAX_ENTRY_BYTES:
        return
    said = parse_line(Path(entry.path).read_bytes()) or {}
    pid = int(entry.name.removesuffix(".json"))
    if said.get("pid") != pid or not string(said, "sessionId"):
        return
    directory = string(said, "cwd")
    if not is_claude_in(pid, directory, about.st_uid) or not _same_namespace(said.get("pidDomain")):
        return
    # Looked up last: what was found above is then of the process that still runs, as its start time
    # does not change.
    identity = identify(pid)
    if identity and _same_start(said, identity):
        yield LiveSession(
            root,
            identity,
            said["sessionId"],
            directory,
            _started(said),
            about.st_mtime,
            string(said, "kind"),
            string(said, "status"),
            _waits_for(said),
        )


_BY_STATUS = {"busy": "nobody", "idle": "prompt", "shell": "prompt", "waiting": "permission"}
"""`for` of a `waiting` event by status; `shell` is idle beside a command in the background."""

_BY_DIALOG = {"input needed": "question", "dialog open": "prompt"}
"""The same by the entry's `waitingFor`, which the status `waiting` has; others ask permission."""


def _waits_for(said: Fields) -> str:
    found = _BY_STATUS.get(string(said, "status"), "")
    return _BY_DIALOG.get(string(said, "waitingFor"), found) if found == "permission" else found


def is_claude_in(pid: int, directory: str, owner: int) -> bool:
    """Return True if the process is of the user `owner`, is Claude Code, and is in `directory`."""
    where = cwd(pid)
    if (
        not where
        or not os.path.isabs(directory)
        or os.path.realpath(directory) != os.path.realpath(where)
    ):
        return False
    return user(pid) == owner and is_claude(executable(pid), command_line(pid))


_INTERPRETER = pattern(r"node|nodejs|bun|deno|python[0-9.]*")
_VERSIONS = pattern(r"/claude/versions/[^/]+$")
_SCRIPT = pattern(r"(^|/)(claude|claude\.js|@anthropic-ai/claude-code(-[^/]+)?/[^/]+)$")


def is_claude(executable: str, arguments: Sequence[str]) -> bool:
    """Return True if a process is Claude Code: by its program, or by an interpreter's script.

    executable: path of the program, "" if unknown; then its own word for it, `arguments[0]`,
                counts.
    """
    path = executable or (arguments[0] if arguments else "")
    name = os.path.basename(path)
    if "claude" in name or _VERSIONS.search(path):
        return True
    script = next((each for each in arguments[1:] if not each.startswith("-")), "")
    return bool(_INTERPRETER.fullmatch(name) and _SCRIPT.search(script))


def _same_namespace(domain: object) -> bool:
    """Return True if the entry's PIDs are of our namespace.

    A registry may be shared with a container (`linux:…:pid:[4026531836]`).
    """
    if type(domain) is not str or "pid:[" not in domain:
        return True
    try:
        return domain.endswith(os.readlink("/proc/self/ns/pid"))
    except OSError:
        return True


def _same_start(said: Fields, identity: Identity) -> bool:
    """Return True if the entry's process is this one.

    On Linux its `procStart` is the start time that we know.
    """
    if str(said.get("procStart")) == identity.started:
        return True
    return sys.platform != "linux" and abs(began(identity) - _started(said)) <= START_TOLERANCE_S


def _started(said: Fields) -> float:
    milliseconds = said.get("startedAt")
    return milliseconds / 1000 if isinstance(milliseconds, (int, float)) else 0.0
