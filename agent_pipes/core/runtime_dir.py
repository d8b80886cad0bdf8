"""Small files that our processes leave for each other until the user logs out.

They are in `$XDG_RUNTIME_DIR/agent-pipes`, else in a directory of this user in the directory for
temporary files. Other users can neither read nor write them.
"""

import os
import re
import stat
from typing import TYPE_CHECKING

from agent_pipes.core.digests import sha256
from agent_pipes.core.jsonl import Fields, dumps, parse_line

if TYPE_CHECKING:
    from pathlib import Path

# An agent waits for its hook, which looks for a file here at each call: it loads no pathlib.

MAX_FILE_BYTES = 1 << 20
"""Longer files are ignored: none of ours is so long."""


def runtime_dir(*, make: bool = False) -> "Path":
    """Return the directory, which need not exist unless `make`.

    Raises OSError if it cannot be made, or if another user could read or write it.
    """
    from pathlib import Path

    path = Path(_directory())
    if make:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid != os.getuid()
            or stat.S_IMODE(found.st_mode) & 0o077
        ):
            raise PermissionError(f"{path}: not a directory that only this user can read and write")
    return path


def _directory() -> str:
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.path.isabs(base):
        return os.path.join(base, "agent-pipes")
    temporary = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
    return os.path.join(temporary, f"agent-pipes-{os.getuid()}")


def state_dir() -> "Path":
    """Return this user's directory for what outlives a login; it need not exist."""
    from pathlib import Path

    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "agent-pipes"


def changed_at() -> int:
    """Return a number that changes when a file here does, 0 if there is no directory."""
    try:
        return os.stat(_directory()).st_mtime_ns
    except OSError:
        return 0


def state_file(kind: str, session: str) -> "Path":
    """Return the path of a session's file of this kind."""
    from pathlib import Path

    return Path(_file_name(kind, session))


def _file_name(kind: str, session: str) -> str:
    name = session
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", session):
        name = sha256(session.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return os.path.join(_directory(), f"{kind}-{name}.json")


def write_state(kind: str, session: str, state: Fields) -> "Path":
    """Write a session's file, replacing an older one at once. Raises OSError."""
    import tempfile

    runtime_dir(make=True)
    path = state_file(kind, session)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # mode 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(dumps({**state, "session": session}) + b"\n")
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def read_state(kind: str, session: str) -> Fields | None:
    """Return the content of a session's file, None if there is none that is ours."""
    return _read(_file_name(kind, session))


def read_states(kind: str) -> list[Fields]:
    """Return the contents of the files of this kind of all sessions, the newest first."""
    try:
        paths = sorted(runtime_dir().glob(f"{kind}-*.json"), key=lambda path: -_modified(path))
    except OSError:
        return []
    return [state for path in paths if (state := _read(path)) is not None]


def remove_state(kind: str, session: str) -> None:
    """Remove a session's file, if there is one."""
    try:
        os.unlink(_file_name(kind, session))
    except OSError:
        pass


def _modified(path: "Path") -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _read(path: "Path | str") -> Fields | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if (
            not stat.S_ISREG(about.st_mode)
            or about.st_uid != os.getuid()
            or about.st_size > MAX_FILE_BYTES
        ):
            return None
        return parse_line(file.read())
