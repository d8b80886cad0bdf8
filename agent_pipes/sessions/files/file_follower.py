"""Following files that grow, as tail -F does: by path, again from the start if replaced.

follower = FileFollower(warn=stderr.warn)
follower.add(path)
while True:
    for chunk in follower.read():
        ...
    # wait until follower.fileno() is readable, at most follower.interval seconds
"""

import errno
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent_pipes.agents.base import RowReader
from agent_pipes.sessions.files.followed_file import (
    OPEN_FLAGS,
    FollowedFile,
    Identity,
    LineSplitter,
)
from agent_pipes.sessions.files.path_watcher import SWEEP_INTERVAL_S, PathWatcher
from agent_pipes.sessions.files.row_follower import RowFollower

ROTATED_S = 5.0
"""Seconds for which a replaced file is still read after its last change."""

MAX_OPEN_FILES = 4096

RETRYING = f"retrying every {SWEEP_INTERVAL_S:g} s"

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Chunk(NamedTuple):
    """Consecutive lines of a file.

    lines:     each with its newline, as in the file; empty for a line that was too long.
    number:    the number of the first line, from 1.
    restarted: True if the file was truncated, rewritten or replaced, so that these lines are the
               first of its new content, which may repeat the old.
    """

    path: Path
    lines: list[bytes]
    number: int
    restarted: bool


@dataclass(slots=True, eq=False)
class _Followed:
    """A followed path, the file it names, and the one it named before.

    signature:     size and times of the file when it was last read.
    restarted:     True until the next chunk of a file that was replaced or rewritten.
    missing_since: monotonic seconds, None while something is at the path.
    trouble:       the last problem reported, to report each once.
    document:      True if the file is read whole whenever it changes.
    """

    path: Path
    document: bool
    file: FollowedFile | None = None
    old: FollowedFile | None = None
    old_until: float = 0.0
    signature: tuple[int, ...] = ()
    restarted: bool = False
    missing_since: float | None = None
    trouble: str = ""


class FileFollower:
    """Files that are read from their start and followed as they grow, each by its path.

    poll:     do without inotify.
    max_line: bytes of the longest line, newline included; a longer one is skipped and reported.
    warn:     called with each message for the user.
    clock:    monotonic seconds.

    directories_changed: True if the entries of a directory given to `watch_directory` may have
    changed; the caller resets it before listing them.
    """

    def __init__(
        self,
        *,
        poll: bool = False,
        max_line: int = 64 << 20,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directories_changed = False
        self._max_line = max_line
        self._warn = warn
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._watcher = PathWatcher(poll, warn)
        self._open_files: dict[FollowedFile, None] = {}
        self._rows = RowFollower(self._watcher)
        self._max_open = _max_open_files()

    def fileno(self) -> int:
        """Return the file descriptor that is readable when there is something to read, or -1."""
        return self._watcher.fd

    @property
    def interval(self) -> float:
        """Seconds until the next call of `read` at most."""
        return min(self._watcher.interval, self._rows.interval(self._clock()))

    def add(self, path: Path, *, document: bool = False, rows: RowReader | None = None) -> None:
        """Follow the file at `path` from its start; it need not exist. `rows` replace a file.

        A document is given whole, as one line, whenever it changes.
        """
        if rows:
            self._rows.add(path, rows)
        if rows or str(path) in self._followed:
            return
        followed = self._followed[str(path)] = _Followed(path, document)
        self._watcher.add(str(path))
        if not document:
            # Opened now, because it may be renamed or deleted before the first read.
            with suppress(OSError):
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode):
                    followed.file = self._new_file(followed)

    def watch_directory(self, path: Path) -> None:
        """Set `directories_changed` when entries of the directory appear or vanish."""
        self._watcher.list_directory(str(path))
        self.directories_changed = True

    def remove(self, path: Path) -> None:
        """Stop following `path`; a partial last line is reported."""
        self._rows.remove(path)
        followed = self._followed.pop(str(path), None)
        if followed:
            for file in (followed.old, followed.file):
                if file:
                    file.splitter.leave()
                    self._close(file)
            self._watcher.remove(str(path))

    def restart(self, path: Path) -> None:
        """Read the file at `path` again from its start."""
        followed = self._followed[str(path)]
        self._restart(followed)
        self._watcher.add(str(path))

    def read(self) -> Iterator[Chunk]:
        """Yield the complete lines that have not been read yet. Does not wait."""
        now = self._clock()
        due = self._watcher.due(now)
        self._rows.see(due, now)
        for place, lines, number in self._rows.read():
            yield Chunk(place, lines, number, False)
        self.directories_changed |= self._watcher.changed
        self._watcher.changed = False
        for path, reported in due.items():
            if followed := self._followed.get(path):
                try:
                    yield from self._read_path(followed, now, reported)
                except OSError as error:
                    self._report(followed, f"cannot read ({error.strerror}); {RETRYING}")
                    followed.signature = ()
                    if error.errno == errno.ESTALE and followed.file:
                        self._close(followed.file)

    def rest(self) -> Iterator[Chunk]:
        """Read everything once more, then yield the last line of each file without its newline."""
        for path in self._followed:
            self._watcher.add(path)
        yield from self.read()
        for followed in list(self._followed.values()):
            for file in (followed.old, followed.file):
                if file and (line := file.splitter.rest()):
                    yield self._chunk(followed, file, [line])

    def close(self) -> None:
        """Follow nothing any more."""
        self._rows.close()
        for file in list(self._open_files):
            self._close(file)
        self._followed.clear()
        self._watcher.close()

    def _read_path(self, followed: _Followed, now: float, reported: bool) -> Iterator[Chunk]:
        status = self._status(followed, now)
        if followed.document:
            yield from self._read_document(followed, status)
            return
        if followed.file and status and followed.file.identity != Identity.of(status):
            yield from self._replace(followed, followed.file, now)
        if followed.old:
            yield from self._read_old(followed, followed.old, now)
        if followed.file is None and status:
            with suppress(FileNotFoundError):
                followed.file = self._new_file(followed)
        if file := followed.file:
            yield from self._read_file(followed, file, status, reported)

    def _read_file(
        self, followed: _Followed, file: FollowedFile, status: os.stat_result | None, reported: bool
    ) -> Iterator[Chunk]:
        """Read what is new in the open file, if it has changed or a change was reported."""
        path = str(followed.path)
        if file.fd >= 0 and (self._watcher.watch_file(path, file.fd) or status is None):
            status = os.fstat(file.fd)
        if status is None:
            return
        signature = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if signature == followed.signature and not reported:
            return
        closed = file.fd < 0
        if closed and not self._reopen(followed, file):
            return
        self._watcher.watch_file(path, file.fd)
        self._open_files[file] = self._open_files.pop(file)
        size = os.fstat(file.fd).st_size
        if change := file.change(size):
            self._report_restart(followed, change)
            if closed:
                self._report_gap(followed, file)
            self._restart(followed)
        yield from self._read_lines(followed, file, size)
        followed.signature = signature
        if followed.missing_since is None:
            followed.trouble = ""

    def _read_lines(self, followed: _Followed, file: FollowedFile, size: int) -> Iterator[Chunk]:
        for found in file.read(size):
            yield self._chunk(followed, file, found)

    def _chunk(self, followed: _Followed, file: FollowedFile, found: list[bytes]) -> Chunk:
        restarted = followed.restarted and file is followed.file
        followed.restarted &= not restarted
        return Chunk(followed.path, found, file.splitter.number - len(found), restarted)

    def _read_document(self, followed: _Followed, status: os.stat_result | None) -> Iterator[Chunk]:
        if status is None:
            return
        signature = status.st_ino, status.st_size, status.st_mtime_ns
        if signature == followed.signature:
            return
        if status.st_size > self._max_line:
            self._report(
                followed,
                f"{status.st_size} bytes, more than {self._max_line}; skipped (see --max-line)",
            )
            return
        content = followed.path.read_bytes()
        followed.signature = signature
        followed.trouble = ""
        yield Chunk(followed.path, [content], 1, False)

    def _status(self, followed: _Followed, now: float) -> os.stat_result | None:
        """Return the status of the file at the path, None (reported) if there is none to follow."""
        try:
            status = os.stat(followed.path)
        except OSError as error:
            self._watcher.missing(str(followed.path))
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._report(followed, f"cannot stat ({error.strerror}); {RETRYING}")
            elif followed.file is None:
                # An agent registers a session before it writes the first line.
                pass
            elif followed.missing_since is None:
                followed.missing_since = now
            elif now - followed.missing_since >= ROTATED_S:
                self._report(followed, "deleted or renamed; waiting for another file there")
            return None
        followed.missing_since = None
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            self._report(followed, f"is {_KINDS.get(kind, 'no file')}; waiting for a regular file")
            return None
        return status

    def _new_file(self, followed: _Followed) -> FollowedFile:
        """Open the file at the path. Raises OSError."""
        fd, identity = self._open(str(followed.path))
        splitter = LineSplitter(str(followed.path), self._max_line, self._warn)
        file = FollowedFile(fd, identity, splitter)
        self._open_files[file] = None
        followed.signature = ()
        self._watcher.unwatch_file(str(followed.path))
        return file

    def _open(self, path: str) -> tuple[int, Identity]:
        """Open a regular file. Raises OSError."""
        while len(self._open_files) >= self._max_open:
            self._close(next(iter(self._open_files)))
        try:
            fd = os.open(path, OPEN_FLAGS)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._open_files:
                raise
            # The rest of the process needs file descriptors, too.
            self._max_open = max(1, len(self._open_files) * 3 // 4)
            return self._open(path)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return fd, Identity.of(status)

    def _reopen(self, followed: _Followed, file: FollowedFile) -> bool:
        """Open again a file that was closed because too many were open. Raises OSError."""
        fd, identity = self._open(str(followed.path))
        if identity != file.identity:
            os.close(fd)
            return False
        file.fd = fd
        self._open_files[file] = None
        return True

    def _replace(self, followed: _Followed, file: FollowedFile, now: float) -> Iterator[Chunk]:
        """Read the rest of a file that another one has replaced, and keep it open for a while."""
        self._report_restart(followed, "replaced by another file")
        if file.fd < 0:
            self._report_gap(followed, file)
        if followed.old:
            self._close_old(followed)
        followed.file, followed.old, followed.old_until = None, file, now + ROTATED_S
        yield from self._read_old(followed, file, now)
        followed.restarted = True

    def _read_old(self, followed: _Followed, old: FollowedFile, now: float) -> Iterator[Chunk]:
        """Read what is still written to a replaced file."""
        if old.fd >= 0:
            before = old.offset
            yield from self._read_lines(followed, old, os.fstat(old.fd).st_size)
            if old.offset != before:
                followed.old_until = now + ROTATED_S
        if old.fd < 0 or now >= followed.old_until:
            self._close_old(followed)

    def _close_old(self, followed: _Followed) -> None:
        if followed.old:
            followed.old.splitter.leave()
            self._close(followed.old)
            followed.old = None

    def _restart(self, followed: _Followed) -> None:
        """Read the file from its start again."""
        if file := followed.file:
            file.splitter.leave()
            file.restart(LineSplitter(str(followed.path), self._max_line, self._warn))
        followed.signature = ()
        followed.restarted = True

    def _close(self, file: FollowedFile) -> None:
        self._open_files.pop(file, None)
        file.close()

    def _report_restart(self, followed: _Followed, change: str) -> None:
        self._warn(f"{followed.path}: {change}; reading it again from the start")

    def _report_gap(self, followed: _Followed, file: FollowedFile) -> None:
        self._warn(
            f"{followed.path}: replaced while closed (too many open files); "
            f"lines after its first {file.offset} bytes may be missing"
        )

    def _report(self, followed: _Followed, trouble: str) -> None:
        if trouble != followed.trouble:
            followed.trouble = trouble
            self._warn(f"{followed.path}: {trouble}")


def _max_open_files() -> int:
    """Return half of what the process may open, as it needs some for other things."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else max(1, min(MAX_OPEN_FILES, soft // 2))
    )
