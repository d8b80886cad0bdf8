"""Following files that grow: nothing is lost, nothing comes twice, or it is said exactly what.

    follower = Follower(warn=people.warn)
    follower.add(path)
    while True:
        for piece in follower.read():
            ...
        # wait until follower.fileno() can be read, for follower.interval seconds at most

A file is known again by its device and inode, and by what stands at its beginning and before the place reached. Which
of its lines are new after it was truncated, written anew or replaced, `growing` finds out; when to look, `watching`.
"""

import errno
import os
import resource
import stat
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from agent_pipes.sessions.files.followed_file import Growing
from agent_pipes.sessions.files.followed_file import Piece as Piece
from agent_pipes.sessions.files.path_watcher import SETTLED, Watcher

ROTATED = 5.0
"""Seconds that a file is still read after another took its place, counted from the last time that something came."""

REPLACED = 4
"""Files that a path named before, of which it is remembered how far they were read."""

VERIFIED = 64 << 20
"""Bytes of the largest file that is read again when its time of modification has changed and its size has not."""

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class _Name:
    """A path that is followed: the file that it names, and those that it named before.

    where:     the path again, as the system takes it.
    trouble:   what was last said to be wrong with it.
    signature: size and times when it was last looked at; `since` when they were first seen so.
    settled:   whether they are sure to show the next change.
    touched:   whether the file was modified without growing.
    gone:      since when the file is missing, None while it is not.
    there:     whether anything was there when it was last looked at.
    here:      whether that was a file to be followed.
    draining:  whether a file that it named before is still read.
    """

    __slots__ = (
        "draining",
        "file",
        "generations",
        "gone",
        "here",
        "olds",
        "path",
        "settled",
        "signature",
        "since",
        "there",
        "touched",
        "trouble",
        "where",
    )

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self.file: Growing | None = None
        self.olds: list[Growing] = []
        self.generations = count(1)
        self.trouble = ""
        self.gone: float | None = None
        self.signature = (0, 0, 0)
        self.since = 0.0
        self.settled = self.touched = self.there = self.here = self.draining = False

    @property
    def files(self) -> list[Growing]:
        return [*self.olds, self.file] if self.file else self.olds

    def unchanged(self) -> bool:
        """Whether nothing has happened, as far as a glance tells: most files are idle most of the time."""
        if not self.settled or self.file is None or self.draining:
            return False
        try:
            status = os.stat(self.where)
        except OSError:
            return False
        here = (status.st_dev, status.st_ino) == self.file.identity
        return here and (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == self.signature


class Follower:
    """Files that are followed from their beginning, each by its path.

    poll:     do without inotify.
    once:     the files are read as they are: nobody tells of changes, and a file is not known again when it is written anew.
    max_line: bytes of the longest line, with its newline; a longer one is skipped, and said.
    warn:     is told what people should know.
    clock:    monotonic seconds.

    directories_changed: whether a directory given to `watch_directory` has other entries than before; whoever lists
    them sets it back first. It may be true for nothing.
    """

    def __init__(
        self,
        *,
        poll: bool = False,
        once: bool = False,
        max_line: int = 64 << 20,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directories_changed = False
        self._max_line = max_line
        self._warn = warn
        self._clock = clock
        self._names: dict[str, _Name] = {}
        self._once = once
        self._watcher = Watcher(poll or once, warn)
        self._opened: dict[Growing, None] = {}
        self._limit = _limit()

    def fileno(self) -> int:
        """The file descriptor that can be read when there is something to read; -1 where there is none."""
        return self._watcher.fd

    @property
    def interval(self) -> float:
        """Seconds that may pass at most until `read` is to be called again."""
        return 0.0 if self._watcher.due else self._watcher.interval

    def add(self, path: Path) -> None:
        """Follow the file at `path` from its beginning. Neither it nor its directory need be there yet."""
        name = _Name(path)
        if name.where in self._names:
            return
        self._names[name.where] = name
        self._watcher.add(name.where)
        # Held from now on: it may be renamed, or deleted, before it is read.
        with suppress(OSError):
            status = os.stat(name.where)
            if stat.S_ISREG(status.st_mode):
                name.file = self._adopt(name, status)
                self._open(name.file, name.where)

    def watch_directory(self, path: Path) -> None:
        """Wake up when entries appear in the directory at `path` or vanish from it. It need not be there yet."""
        self._watcher.list_directory(str(path), self._clock())
        self.directories_changed = True

    def remove(self, path: Path) -> None:
        """Do not follow `path` any more. What came since the last `read` is not read, a line without its end is said."""
        name = self._names.pop(str(path), None)
        if name:
            for file in name.files:
                file.leave()
                self._drop(file)
            self._watcher.remove(name.where)

    def read(self) -> Iterator[Piece]:
        """The whole lines that are there now and were not given out yet. Does not wait."""
        now = self._clock()
        watcher = self._watcher
        watcher.gather(now)
        self.directories_changed |= watcher.changed
        watcher.changed = False
        for where in list(watcher.due):
            told = watcher.due.pop(where, False)
            name = self._names.get(where)
            if name is None or (not told and name.unchanged()):
                continue
            more = True
            try:
                more = yield from self._look(name, now, told)
            finally:
                # Also where the caller leaves off in the middle, and looks at the rest the next time.
                if where in self._names:
                    held = (
                        name.file
                        if name.file and (name.file.fd >= 0 or (name.here and name.file.offset))
                        else None
                    )
                    watcher.rely(where, held)
                    if more:
                        watcher.due[where] = True

    def rest(self) -> Iterator[Piece]:
        """A last read; and of each file its last line, if that has no newline, as it is."""
        self._watcher.due.update(dict.fromkeys(self._names, True))
        while self._watcher.due:
            yield from self.read()
        for name in list(self._names.values()):
            for file in name.files:
                yield from file.rest()

    def close(self) -> None:
        """Follow nothing any more."""
        for file in list(self._opened):
            self._park(file)
        self._names.clear()
        self._watcher.close()

    def _look(self, name: _Name, now: float, told: bool) -> Generator[Piece, None, bool]:
        """Read what is new at one path. True: there is more to read at once."""
        before = name.there
        status = self._status(name, now)
        file = name.file
        other = status is not None and (
            file is None or file.identity != (status.st_dev, status.st_ino)
        )
        if other and file:
            self._retire(name, file, now)
        self._say_missed(name, new=other or not before)
        for old in list(name.olds):
            yield from self._drain(name, old, now)
        name.draining = any(old.fd >= 0 for old in name.olds)
        if other and status:
            # After the old one was read to its end: what stands in both is new once.
            file = name.file = self._adopt(name, status)
        name.here = status is not None
        try:
            if file is None or (status is None and file.fd < 0):
                return False
            status = status or os.fstat(file.fd)
            if not self._is_due(name, file, status, now) and not told:
                return False
            if file.fd < 0:
                if not self._open(file, name.where):
                    name.signature = (0, 0, 0)
                    return False
                if not file.goes_on():
                    # Truncated, or deleted and its inode given to another file.
                    self._say_lost(file)
            self._opened[file] = self._opened.pop(file)
            if not file.watched:
                # What was written before we are told of it is in the size of now.
                self._watcher.watch(file)
                status = os.fstat(file.fd)
            if name.touched and now - name.since >= SETTLED:
                name.touched = False
                if status.st_size <= VERIFIED:
                    file.anew("modified in place")
            yield from file.read(status.st_size, now)
        except OSError as error:
            self._say(name, f"cannot be read ({error.strerror}): tried again every second")
            name.signature = (0, 0, 0)
            if file and error.errno == errno.ESTALE:
                self._park(file)
            return False
        name.settled = now - name.since >= SETTLED and not file.comparing
        if name.here:
            name.trouble = ""
        return file.unfinished

    def _status(self, name: _Name, now: float) -> os.stat_result | None:
        """What the path names, if that can be followed; what is wrong with it is said once."""
        name.there = True
        try:
            status = os.stat(name.where)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._say(name, f"cannot be looked at ({error.strerror}): tried again every second")
                return None
            name.there = os.path.lexists(name.where)
            self._watcher.missing(name.where)
            if name.file is None:
                self._say(name, "is not there yet: waiting for it")
            elif name.gone is None:
                name.gone = now
            elif now - name.gone >= ROTATED:
                self._say(
                    name,
                    "is gone (deleted or renamed): still read as long as it is held open; waiting for another",
                )
            return None
        name.gone = None
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            self._say(name, f"is {_KINDS.get(kind, 'something else')}, not a file: waiting for one")
            return None
        return status

    def _is_due(self, name: _Name, file: Growing, status: os.stat_result, now: float) -> bool:
        """Whether the file may have changed, as far as its size and times tell."""
        signature = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if signature == name.signature:
            return not name.settled
        name.touched = (
            signature[0] == file.offset == name.signature[0] and signature[1] != name.signature[1]
        )
        name.signature, name.since, name.settled = signature, now, False
        return True

    def _adopt(self, name: _Name, status: os.stat_result) -> Growing:
        """The file that the path names now: one that it named before, or one that stands in its place."""
        identity = (status.st_dev, status.st_ino)
        name.signature = (0, 0, 0)
        for old in name.olds:
            if old.identity == identity:
                name.olds.remove(old)
                if self._is_still(old, name.where):
                    return old
                break
        file = (
            name.file.successor()
            if name.file
            else Growing(
                name.path, self._max_line, self._warn, name.generations, remember=not self._once
            )
        )
        file.identity = identity
        return file

    def _is_still(self, file: Growing, path: str) -> bool:
        """Whether a file that stood at `path` before is there again, and not another that was given its inode."""
        if file.fd >= 0:
            return True
        try:
            if not self._open(file, path):
                return False
            if file.goes_on():
                return True
        except OSError:
            # It cannot be told now, and is asked again when it is to be read.
            return True
        self._park(file)
        return False

    def _retire(self, name: _Name, file: Growing, now: float) -> None:
        """Another file has taken the place of `file`, which may still be written for a while."""
        file.deadline = now + ROTATED
        name.olds.append(file)
        if file.fd < 0 and not self._find(file):
            self._say_lost(file)

    def _find(self, file: Growing) -> bool:
        """Open a file that was renamed within its directory."""
        directory = os.path.dirname(file.path) or "."
        with suppress(OSError), os.scandir(directory) as entries:
            return any(
                entry.inode() == file.identity[1] and self._open(file, entry.path)
                for entry in entries
            )
        return False

    def _drain(self, name: _Name, old: Growing, now: float) -> Iterator[Piece]:
        """Read what was still written to a file after another took its place, for a while."""
        crowded = len(name.olds) > REPLACED and old is name.olds[0]
        before = old.offset
        try:
            while old.fd >= 0:
                yield from old.read(os.fstat(old.fd).st_size, now)
                if not old.unfinished:
                    break
        except OSError as error:
            self._warn(
                f"{name.path}: the file that stood there before cannot be read further ({error.strerror}): given up at {old.offset} bytes"
            )
            self._drop(old)
        if old.offset != before:
            old.deadline = now + ROTATED
        if old.fd >= 0 and (crowded or now >= old.deadline):
            old.leave()
            self._drop(old)
        if crowded:
            name.olds.remove(old)

    # Open files, of which there may not be too many

    def _open(self, file: Growing, path: str) -> bool:
        """Hold `file` open. False: what is at `path` is not it any more. Raises OSError."""
        while len(self._opened) >= self._limit:
            self._park(self._idlest())
        while True:
            try:
                fd = os.open(path, _FLAGS)
                break
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._opened:
                    raise
                # The process needs some for other things, too.
                self._limit = max(1, len(self._opened) * 3 // 4)
                while len(self._opened) >= self._limit:
                    self._park(self._idlest())
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != file.identity or not stat.S_ISREG(status.st_mode):
            os.close(fd)
            return False
        file.fd = fd
        self._opened[file] = None
        return True

    def _idlest(self) -> Growing:
        """Of the open files the one that was read longest ago; one that was replaced only if there is no other."""
        return next(
            (file for file in self._opened if file is self._names[str(file.path)].file),
            next(iter(self._opened)),
        )

    def _park(self, file: Growing) -> None:
        """Close `file` for the time being."""
        del self._opened[file]
        os.close(file.fd)
        file.fd = -1

    def _drop(self, file: Growing) -> None:
        """Close `file`, and hear no more of it."""
        if file.fd >= 0:
            self._park(file)
        self._watcher.drop(file)
        file.watched = False

    def _say_lost(self, file: Growing) -> None:
        behind = f"behind its first {file.offset} bytes" if file.offset else "in it"
        self._warn(
            f"{file.path}: replaced while it was not held open: lines written before that {behind} were not read"
        )

    def _say_missed(self, name: _Name, *, new: bool) -> None:
        """Files that stood at the path only between two looks: nobody can read them any more."""
        unsure = name.where in self._watcher.unsure
        self._watcher.unsure.discard(name.where)
        if missed := self._watcher.missed(name.where, there=name.there, new=new):
            files = "a file" if missed == 1 else f"{missed} files"
            self._warn(
                f"{name.path}: {files} came and went there between two looks: lines that stood only there were not read"
            )
        elif unsure and (new or not name.there):
            self._warn(
                f"{name.path}: inotify's queue overflowed: a file that came and went there meanwhile, if any did, was not read"
            )

    def _say(self, name: _Name, trouble: str) -> None:
        if trouble != name.trouble:
            name.trouble = trouble
            self._warn(f"{name.path}: {trouble}")


def _limit() -> int:
    """How many files to hold open at once: half of what the process may, which needs some for other things."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 4096 if soft == resource.RLIM_INFINITY else max(1, min(4096, soft // 2))
