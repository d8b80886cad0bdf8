"""Tells which of the followed paths may have changed: inotify's reports, or all at intervals."""

import errno
import os
import sys
from collections.abc import Callable, Iterable

from agent_pipes.sessions.files import inotify

SWEEP_INTERVAL_S = 2.0
"""Seconds between two checks of every path with inotify, which misses changes made elsewhere."""

REWATCH_INTERVAL_S = 10.0
"""Seconds between two checks of the directories' watches, whose end inotify reports itself."""

POLL_INTERVAL_S = 0.05
"""Seconds between two checks of every path that inotify does not report."""

_USED_UP = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class _Directory:
    """A directory: the followed paths in it by name, and whether its list of entries is wanted.

    at:      the watched directory: this one or, while it does not exist, its nearest ancestor.
    awaited: the entry of `at` that must appear first.
    """

    __slots__ = ("at", "awaited", "listed", "path", "paths", "signature")

    def __init__(self, path: str) -> None:
        self.path = path
        self.paths: dict[str, str] = {}
        self.listed = False
        self.at = ""
        self.awaited = ""
        self.signature: tuple[int, ...] = ()


class PathWatcher:
    """Reports which paths to check, and whether a listed directory has changed.

    changed: True if the entries of a listed directory may have changed; reset by the caller.
    """

    def __init__(self, poll: bool, warn: Callable[[str], None]) -> None:
        self.changed = False
        self._warn = warn
        self._warned = False
        self._due: dict[str, bool] = {}
        self._directories: dict[str, _Directory] = {}
        self._watched: set[str] = set()
        self._unwatched: set[str] = set()
        self._remote: dict[int, bool] = {}
        self._next_sweep = self._next_rewatch = 0.0
        self._watches: inotify.Watches | None = None
        if not poll and sys.platform == "linux":
            try:
                self._watches = inotify.Watches()
            except OSError as error:
                warn(
                    f"inotify is not available ({error.strerror}; see "
                    f"fs.inotify.max_user_instances); checking files {_poll_rate()} times a second"
                )

    @property
    def fd(self) -> int:
        """File descriptor that is readable when inotify has something to report, or -1."""
        return self._watches.fd if self._watches else -1

    @property
    def interval(self) -> float:
        """Seconds until the next call of `due` at most."""
        if self._due:
            return 0.0
        return SWEEP_INTERVAL_S if self._watches and not self._unwatched else POLL_INTERVAL_S

    def add(self, path: str) -> None:
        """Report changes at `path`, which need not exist."""
        self._directory(path).paths[os.path.basename(path)] = path
        self._due[path] = True

    def remove(self, path: str) -> None:
        """Stop reporting changes at `path`."""
        directory = self._directory(path)
        directory.paths.pop(os.path.basename(path), None)
        self._due.pop(path, None)
        self.unwatch_file(path)
        if not directory.paths and not directory.listed:
            del self._directories[directory.path]
            self._unwatched.discard(directory.path)
            if self._watches:
                self._watches.drop(directory)

    def list_directory(self, path: str) -> None:
        """Set `changed` whenever entries appear in the directory at `path` or vanish from it."""
        directory = self._directory(os.path.join(path, "entry"))
        directory.listed = True
        directory.signature = _signature(path)
        self.changed = True

    def watch_file(self, path: str, fd: int) -> bool:
        """Have inotify report changes of the open file at `path`; return True if it did not before.

        The file is watched by its descriptor, because another may have taken its path by now.
        """
        if self._watches is None or path in self._watched:
            return False
        try:
            self._put(path, f"/proc/self/fd/{fd}", inotify.OF_FILE)
        except OSError as error:
            self._unwatched.add(path)
            self._report(error)
            return False
        self._watched.add(path)
        self._unwatched.discard(path)
        return True

    def unwatch_file(self, path: str) -> None:
        """Stop watching the file that was watched for `path`."""
        self._watched.discard(path)
        self._unwatched.discard(path)
        if self._watches:
            self._watches.drop(path)

    def missing(self, path: str) -> None:
        """Check the directory of `path`: its removal is not reported while a file in it is open."""
        self._watch(self._directory(path))

    def due(self, now: float) -> dict[str, bool]:
        """Return the paths to check: True if inotify reported a change, False if it is time.

        `now` is monotonic seconds.
        """
        if self._watches:
            for owner, mask, entry in self._watches.events():
                self._reported(owner, mask, entry)
        if self._watches is None or now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL_S
            rewatch = now >= self._next_rewatch
            if rewatch:
                self._next_rewatch = now + REWATCH_INTERVAL_S
            for directory in self._directories.values():
                if rewatch:
                    self._watch(directory)
                if directory.listed:
                    self._compare(directory)
                self._expect(directory.paths.values())
        else:
            for path in self._unwatched:
                unwatched = self._directories.get(path)
                if unwatched and unwatched.listed:
                    self._compare(unwatched)
                self._expect(unwatched.paths.values() if unwatched else (path,))
        due, self._due = self._due, {}
        return due

    def close(self) -> None:
        """Watch nothing any more."""
        if self._watches:
            self._watches.close()
            self._watches = None
        self._directories.clear()
        self._unwatched.clear()
        self._due.clear()

    def _expect(self, paths: Iterable[str]) -> None:
        """Have `paths` checked although nothing was reported."""
        for path in paths:
            self._due.setdefault(path, False)

    def _reported(self, owner: object, mask: int, entry: str) -> None:
        if isinstance(owner, str):
            self._due[owner] = True
            if mask & inotify.IGNORED:
                self._watched.discard(owner)
        elif not isinstance(owner, _Directory):
            # The queue has overflowed, so nothing is known of what was in it.
            self._next_sweep = self._next_rewatch = 0.0
            self.changed = True
        elif owner.awaited or not entry:
            if not entry or entry == owner.awaited:
                self._watch(owner)
        else:
            if path := owner.paths.get(entry):
                self._due[path] = True
            if mask & inotify.ENTRIES:
                self.changed |= owner.listed

    def _directory(self, path: str) -> _Directory:
        """Return the directory of `path`, watched from now on."""
        name = os.path.dirname(path) or "."
        directory = self._directories.get(name)
        if directory is None:
            directory = self._directories[name] = _Directory(name)
            self._watch(directory)
        return directory

    def _watch(self, directory: _Directory) -> None:
        """Watch the directory or its nearest ancestor. Cheap if nothing has changed."""
        if self._watches is None:
            return
        try:
            new = self._watch_nearest(directory)
            self._unwatched.discard(directory.path)
        except OSError as error:
            new, directory.at, directory.awaited = False, "", ""
            self._unwatched.add(directory.path)
            self._report(error)
        if new:
            self._due.update(dict.fromkeys(directory.paths.values(), True))
            self.changed |= directory.listed

    def _watch_nearest(self, directory: _Directory) -> bool:
        """Return True if another directory is watched than before. Raises OSError."""
        path, awaited = directory.path, ""
        while True:
            try:
                new = self._put(directory, path, inotify.OF_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                parent = os.path.dirname(path) or "."
                if parent == path:
                    raise
                path, awaited = parent, os.path.basename(path)
                continue
            if awaited and os.path.isdir(os.path.join(path, awaited)):
                # The directory appeared before its parent was watched.
                path, awaited = directory.path, ""
                continue
            new |= (path, awaited) != (directory.at, directory.awaited)
            directory.at, directory.awaited = path, awaited
            return new

    def _put(self, owner: "str | _Directory", path: str, mask: int) -> bool:
        assert self._watches is not None
        device = os.stat(path).st_dev
        if device not in self._remote:
            self._remote[device] = inotify.remote(path)
        if self._remote[device]:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return self._watches.put(owner, path, mask)

    def _report(self, error: OSError) -> None:
        if error.errno in _USED_UP and not self._warned:
            self._warned = True
            self._warn(
                f"inotify has no watches left ({error.strerror}; see fs.inotify.max_user_watches); "
                f"checking the other files {_poll_rate()} times a second"
            )

    def _compare(self, directory: _Directory) -> None:
        """Set `changed` if the directory's times differ from those last seen."""
        signature = _signature(directory.path)
        if signature != directory.signature:
            directory.signature = signature
            self.changed = True


def _poll_rate() -> int:
    return round(1 / POLL_INTERVAL_S)


def _signature(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
