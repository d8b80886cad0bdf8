"""Writer of the `.agent-traces` store: whole lines, each with the hash of the one before it.

Nothing is written through a symbolic link.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC

from agent_pipes.core.digests import sha256
from agent_pipes.core.jsonl import Fields, dumps, parse_line

LOCK_TIMEOUT_S = 5.0
"""Seconds to wait for another writer of the store."""

LOCK_POLL_S = 0.002
"""Seconds between two attempts to take a lock."""

EVENTS, META = "events.ndjson", "meta.json"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Unwritable(Exception):
    """The store cannot be written to; the message is for users."""


def locate_store(cwd: str, session: str) -> tuple[str, str]:
    """Return the path of the store and the workspace in it.

    The store is $AGENT_TRACE_DIR, else `.agent-traces` in the agent's directory `cwd`. An agent may
    change its directory: a session stays in the store that has it already, here or in a directory
    above. Raise Unwritable if $AGENT_STRACE_WORKSPACE is not a directory name.
    """
    workspace = os.environ.get("AGENT_STRACE_WORKSPACE", "")
    if workspace in (".", "..") or "/" in workspace:
        raise Unwritable(f"AGENT_STRACE_WORKSPACE: {workspace!r} is not a directory name")
    if given := os.environ.get("AGENT_TRACE_DIR"):
        return os.path.realpath(given), workspace
    directory = cwd if os.path.isabs(cwd) and os.path.isdir(cwd) else os.getcwd()
    inner = os.path.join("workspaces", workspace) if workspace else ""
    begun = next(
        (
            each
            for each in _above(directory)
            if _is_ours(os.path.join(each, ".agent-traces", inner, session))
        ),
        directory,
    )
    return os.path.join(begun, ".agent-traces"), workspace


def _above(directory: str) -> Iterator[str]:
    """Yield the directory, its parents, and the project directories that agents name."""
    while True:
        yield directory
        if (outer := os.path.dirname(directory)) == directory:
            break
        directory = outer
    yield from filter(
        None, (os.environ.get(name) for name in ("CLAUDE_PROJECT_DIR", "GEMINI_PROJECT_DIR"))
    )


def _is_ours(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


class Store:
    """The folder of the sessions, created if missing, private and ignored by version control."""

    def __init__(self, base: str, workspace: str = "") -> None:
        """Open the store `base`, or its part `workspace`. Raise Unwritable and OSError."""
        self.path = os.path.join(base, "workspaces", workspace) if workspace else base
        os.makedirs(os.path.dirname(base), exist_ok=True)
        self.fd = _made(base, None)
        with suppress(FileExistsError):
            ignore = os.open(
                ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=self.fd
            )
            os.write(ignore, b"*\n")
            os.close(ignore)
        for name in ("workspaces", workspace) if workspace else ():
            outer, self.fd = self.fd, _made(name, self.fd)
            os.close(outer)

    def close(self) -> None:
        os.close(self.fd)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the store's lock. Yield False if another writer kept it for too long."""
        with _locked(self.fd, ".store.lock", LOCK_TIMEOUT_S) as alone:
            yield alone

    def folder(self, session: str) -> "Folder":
        """Return the session's folder, created if missing."""
        return Folder(session, _made(session, self.fd))

    def read(self, name: str) -> Fields:
        return parse_line(_content(self.fd, name)) or {}

    def text(self, name: str) -> str:
        return _content(self.fd, name).decode(errors="replace").strip()

    def replace(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically. The caller holds the lock."""
        _replace(self.fd, name, content)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)


class Folder:
    """Folder of one session: its events and the state files of the hooks."""

    def __init__(self, session: str, fd: int) -> None:
        self.session = session
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)

    def append(self, events: list[Fields], *, alone: bool) -> None:
        """Append `events`, a line and a write each, with the hash of the line before.

        alone: the caller holds the lock, so a line that did not fit is removed again.
        Raise OSError if there is no room, Unwritable if the file is no regular file.
        """
        fd = os.open(EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT | _FILE, 0o600, dir_fd=self.fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Unwritable(f"{EVENTS} of session {self.session} is not a regular file")
            last, torn = _last_line(fd)
            for fields in events:
                line = dumps({**fields, "prev_hash": sha256(last).hexdigest()} if last else fields)
                # A killed writer may have left half a line: it becomes a line of its own.
                _write(fd, b"\n" + line + b"\n" if torn else line + b"\n", alone)
                last, torn = line, False
        finally:
            os.close(fd)

    def size(self) -> int:
        """Return the size of the events in bytes, 0 if there are none."""
        try:
            return os.stat(EVENTS, dir_fd=self.fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def tail(self, start: int) -> bytes:
        """Return the events from the byte `start` on."""
        try:
            fd = os.open(EVENTS, os.O_RDONLY | _FILE, dir_fd=self.fd)
        except FileNotFoundError:
            return b""
        try:
            return _rest(fd, start)
        finally:
            os.close(fd)

    def read(self, name: str) -> Fields:
        return parse_line(_content(self.fd, name)) or {}

    def replace(self, name: str, content: bytes) -> None:
        """Replace the file `name` atomically. The caller holds the lock."""
        _replace(self.fd, name, content)

    @contextmanager
    def locked(self, name: str, seconds: float) -> Iterator[bool]:
        """Hold the lock `name` of this session. Yield False if that takes longer than `seconds`."""
        with _locked(self.fd, name, seconds) as alone:
            yield alone


def _made(path: str, within: int | None) -> int:
    """Return a file descriptor of the directory `path`, created if missing.

    Raise Unwritable for a link and for another user's directory: others would decide where our
    lines go.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=within)
    try:
        fd = os.open(path, _DIRECTORY, dir_fd=within)
    except OSError as error:
        link = stat.S_ISLNK(_mode(path, within))
        why = "a symbolic link, or not a directory" if link else error.strerror
        raise Unwritable(f"{path}: {why}") from None
    if os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        raise Unwritable(f"{path}: belongs to another user")
    return fd


def _mode(path: str, within: int | None) -> int:
    try:
        return os.stat(path, dir_fd=within, follow_symlinks=False).st_mode
    except OSError:
        return 0


@contextmanager
def _locked(within: int, name: str, seconds: float) -> Iterator[bool]:
    fd = os.open(name, os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=within)
    try:
        deadline = time.monotonic() + seconds
        while not (alone := _try_lock(fd)) and time.monotonic() < deadline:
            time.sleep(LOCK_POLL_S)
        yield alone
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_line(fd: int) -> tuple[bytes, bool]:
    """Return a file's last line without its newline, and True if it has none."""
    end = os.fstat(fd).st_size
    if not end:
        return b"", False
    torn = os.pread(fd, 1, end - 1) != b"\n"
    end -= not torn
    reach = 1 << 12
    while True:
        start = max(0, end - reach)
        content = os.pread(fd, end - start, start)
        if b"\n" in content or not start:
            return content[content.rfind(b"\n") + 1 :], torn
        reach <<= 2


def _write(fd: int, line: bytes, alone: bool) -> None:
    size = os.fstat(fd).st_size
    if os.write(fd, line) < len(line):
        if alone:
            os.ftruncate(fd, size)
        raise OSError(ENOSPC, os.strerror(ENOSPC))


def _rest(fd: int, start: int) -> bytes:
    content = bytearray()
    while chunk := os.pread(fd, 1 << 20, start + len(content)):
        content += chunk
    return bytes(content)


def _content(within: int, name: str) -> bytes:
    """Return the content of the file `name`, b"" if it cannot be read."""
    try:
        fd = os.open(name, os.O_RDONLY | _FILE, dir_fd=within)
    except OSError:
        return b""
    try:
        return _rest(fd, 0)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _replace(within: int, name: str, content: bytes) -> None:
    new = f".{name}.new"
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=within)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=within)
    try:
        if os.write(fd, content) < len(content):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
    except OSError:
        os.unlink(new, dir_fd=within)
        raise
    finally:
        os.close(fd)
    os.rename(new, name, src_dir_fd=within, dst_dir_fd=within)
