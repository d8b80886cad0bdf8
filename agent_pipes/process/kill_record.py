"""Kills that a watch has made, for a report of the session on a later day.

They are in `killed.ndjson` of the user's state directory: each kill follows its violation.
"""

import os
import stat
from pathlib import Path

from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import parse_line
from agent_pipes.core.runtime_dir import state_dir

MAX_FILE_BYTES = 1 << 20
"""Size from which the file becomes `killed.1.ndjson`, and replaces the one before."""


def _files() -> tuple[Path, Path]:
    return state_dir() / "killed.1.ndjson", state_dir() / "killed.ndjson"


def record_kill(kill: Event, violation: Event | None) -> None:
    """Append a kill and the violation that it follows. Raises OSError."""
    older, newest = _files()
    newest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(newest, flags, 0o600)
    try:
        os.write(fd, (violation.raw if violation else b"") + kill.raw)
        if os.fstat(fd).st_size > MAX_FILE_BYTES:
            os.rename(newest, older)
    finally:
        os.close(fd)


def recorded_kills(session: str) -> list[Event]:
    """Return the violations and kills of a session, oldest first."""
    found = []
    for path in _files():
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                continue
            lines = file.read(2 * MAX_FILE_BYTES).splitlines(keepends=True)
        events = (Event(line, fields) for line in lines if (fields := parse_line(line)))
        found += [
            each
            for each in events
            if each.session == session and each.type in ("violation", "kill")
        ]
    return found
