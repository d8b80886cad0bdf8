"""Writing in the `.agent-traces` store: whole lines, each tied to the one before it, and nothing through a link."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EIO, ENOSPC

import orjson

from agent_pipes.core.digests import sha256
from agent_pipes.core.jsonl import Fields, dumps

PATIENCE = 5.0
"""Seconds that are waited for whoever writes in the store now."""

PAGE = 4096
"""Bytes that the kernel writes at once, whatever happens to the writer meanwhile."""

EVENTS, META = "events.ndjson", "meta.json"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Unwritable(Exception):
    """The store cannot be written in. The message says why, for people."""


def place(cwd: str, session: str) -> tuple[str, str]:
    """The store, and the workspace in it: $AGENT_TRACE_DIR, else `.agent-traces` in the directory that the agent works in.

    An agent changes its directory; its session stays in the store that has it already, here or in a directory above.
    """
    workspace = os.environ.get("AGENT_STRACE_WORKSPACE", "")
    if workspace in (".", "..") or "/" in workspace:
        raise Unwritable(f"AGENT_STRACE_WORKSPACE is {workspace!r}, which is no name of a folder")
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
    """The directory and those it lies in, and the ones in which its agent says that it began."""
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
    """The folder that holds the sessions, made where it is not there: for its owner alone, and out of version control."""

    def __init__(self, base: str, workspace: str = "") -> None:
        """`base` is the store, `workspace` a part of it that has sessions of its own. Raises Unwritable and OSError."""
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
        """While no one else writes in it. False: someone has held the lock for longer than we wait; lines stay whole all the same."""
        with _locked(self.fd, ".store.lock", PATIENCE) as alone:
            yield alone

    def folder(self, session: str) -> "Folder":
        """The session's folder, made where it is not there."""
        return Folder(session, _made(session, self.fd))

    def read(self, name: str) -> Fields:
        return _object(_content(self.fd, name))

    def text(self, name: str) -> str:
        return _content(self.fd, name).decode(errors="replace").strip()

    def replace(self, name: str, content: bytes) -> None:
        """Make `content` that of the file `name`, at one stroke. Only while locked."""
        _replace(self.fd, name, content)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)


class Folder:
    """A session's own folder: its events, and what is noted beside them."""

    def __init__(self, session: str, fd: int) -> None:
        self.session = session
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)

    def append(self, events: list[Fields], *, alone: bool) -> None:
        """Write `events` behind what is there, a line each in one write, with the hash of the line before.

        `alone`: nobody else writes meanwhile. Raises OSError, and leaves no half of a line, where there is no room.
        """
        fd = os.open(EVENTS, os.O_RDWR | os.O_APPEND | os.O_CREAT | _FILE, 0o600, dir_fd=self.fd)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Unwritable(f"{EVENTS} of session {self.session} is no file")
            last, torn = _last_line(fd)
            for fields in events:
                line = dumps({**fields, "prev_hash": sha256(last).hexdigest()} if last else fields)
                # A writer that was killed may have left half a line: it is made a line of its own.
                _write(fd, b"\n" + line + b"\n" if torn else line + b"\n", alone)
                last, torn = line, False
        finally:
            os.close(fd)

    def size(self) -> int:
        """Bytes of its events now, 0 where there are none yet."""
        try:
            return os.stat(EVENTS, dir_fd=self.fd, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def tail(self, start: int) -> bytes:
        """Its events from the byte `start` on."""
        try:
            fd = os.open(EVENTS, os.O_RDONLY | _FILE, dir_fd=self.fd)
        except FileNotFoundError:
            return b""
        try:
            return _rest(fd, start)
        finally:
            os.close(fd)

    def read(self, name: str) -> Fields:
        return _object(_content(self.fd, name))

    def replace(self, name: str, content: bytes) -> None:
        """Make `content` that of the file `name`, at one stroke. Only while locked."""
        _replace(self.fd, name, content)

    @contextmanager
    def locked(self, name: str, seconds: float) -> Iterator[bool]:
        """While no one else holds the lock `name` of this session. False: someone does, and has for `seconds`."""
        with _locked(self.fd, name, seconds) as alone:
            yield alone


def _made(path: str, within: int | None) -> int:
    """A file descriptor of the directory `path`, made where it is not there.

    Through a link, or in a directory that is another's, others would decide where our lines go: that is refused.
    """
    with suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=within)
    try:
        fd = os.open(path, _DIRECTORY, dir_fd=within)
    except OSError as error:
        raise Unwritable(
            f"{path}: {'a link, or no directory' if stat.S_ISLNK(_mode(path, within)) else error.strerror}"
        ) from None
    if os.fstat(fd).st_uid != os.geteuid():
        os.close(fd)
        raise Unwritable(f"{path}: another user's directory")
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
        while not (alone := _taken(fd)) and time.monotonic() < deadline:
            time.sleep(0.002)
        yield alone
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_line(fd: int) -> tuple[bytes, bool]:
    """The last line of a file without its newline, and whether it has none."""
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
    """Append the line whole or not at all, also where we are killed meanwhile."""
    size = os.fstat(fd).st_size
    if alone and size % PAGE + len(line) <= PAGE:
        _write_now(fd, line, size, alone)
        return
    # A write that is killed ends where a page does: this one is made by a process that whoever kills us does not know.
    try:
        child = os.fork()
    except OSError:
        _write_now(fd, line, size, alone)
        return
    if not child:
        failed = EIO
        try:
            os.setsid()
            _write_now(fd, line, size, alone)
            failed = 0
        except OSError as error:
            failed = error.errno or EIO
        finally:
            os._exit(failed)
    if failed := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        failed = failed if failed > 0 else EIO
        raise OSError(failed, os.strerror(failed))


def _write_now(fd: int, line: bytes, size: int, alone: bool) -> None:
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
    """What is in the file `name`, b"" where there is none that can be read."""
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


def _object(content: bytes) -> Fields:
    try:
        said = orjson.loads(content)
    except ValueError:
        return {}
    return said if type(said) is dict else {}


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
