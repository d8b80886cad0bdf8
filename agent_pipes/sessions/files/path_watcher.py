"""Which of many paths to look at: those of which inotify tells, and all of them where it cannot be relied on."""

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable

from agent_pipes.sessions.files import inotify
from agent_pipes.sessions.files.followed_file import Growing

INTERVAL, POLL = 1.0, 0.05
"""Seconds between two looks at every path: with inotify, which may not hear of all that happens, and without."""

SETTLED = 2.0
"""Seconds after which a further change shows in the times of a file or directory, however coarse these are (FAT: 2 s)."""

_USED_UP = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class Directory:
    """A directory: the paths in it that are followed, by their names there, and whether its list of entries matters.

    at:      what is watched: itself or, while it does not exist, the nearest above it that does; "" where nothing is.
    awaited: the entry of `at` that must appear first.
    """

    __slots__ = ("at", "awaited", "listed", "path", "paths", "settled", "signature", "since")

    def __init__(self, path: str) -> None:
        self.path = path
        self.paths: dict[str, str] = {}
        self.listed = False
        self.at = ""
        self.awaited = ""
        self.signature: tuple[int, ...] = ()
        self.since = 0.0
        self.settled = True


class Watcher:
    """Paths that are followed, and directories that are listed.

    due:     the paths to look at; True: because something happened there, False: because it is time.
    unsure:  paths of which the kernel has not told all that happened there.
    changed: whether a listed directory has other entries. May be true for nothing.
    """

    def __init__(self, poll: bool, warn: Callable[[str], None]) -> None:
        self.due: dict[str, bool] = {}
        self.unsure: set[str] = set()
        self.changed = False
        self._appeared: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._warn = warn
        self._said = False
        self._directories: dict[str, Directory] = {}
        self._blind: set[str | Directory] = set()
        self._remote: dict[int, bool] = {}
        self._sweep = 0.0
        self._watches: inotify.Watches | None = None
        if not poll and sys.platform == "linux":
            try:
                self._watches = inotify.Watches()
            except OSError as error:
                often = f"looking at the files {1 / POLL:.0f} times a second instead"
                warn(
                    f"inotify is not to be had ({error.strerror}; see fs.inotify.max_user_instances): {often}"
                )

    @property
    def fd(self) -> int:
        return self._watches.fd if self._watches else -1

    @property
    def interval(self) -> float:
        return INTERVAL if self._watches and not self._blind else POLL

    def add(self, path: str) -> None:
        self._directory(os.path.dirname(path) or ".").paths[os.path.basename(path)] = path
        self._begun.add(path)
        self.due[path] = True

    def remove(self, path: str) -> None:
        directory = self._directories[os.path.dirname(path) or "."]
        del directory.paths[os.path.basename(path)]
        self.due.pop(path, None)
        self._appeared.pop(path, None)
        self._begun.discard(path)
        self.unsure.discard(path)
        self._blind.discard(path)
        if not directory.paths and not directory.listed:
            del self._directories[directory.path]
            self.drop(directory)

    def list_directory(self, path: str, now: float) -> None:
        """From now on it matters which entries the directory at `path` has."""
        directory = self._directory(path)
        directory.listed = True
        self._look(directory, now)
        self._watch(directory)
        self.changed = True

    def watch(self, file: Growing) -> None:
        """Be told when an open file changes. Where that cannot be, its path is to be looked at all the time."""
        if self._watches is None or file.fd < 0:
            return
        try:
            # By its descriptor: another file may have taken its path by now.
            self._put(file, f"/proc/self/fd/{file.fd}", inotify.OF_FILE)
            file.watched = True
        except OSError as error:
            file.watched = False
            self._refused(error)

    def drop(self, owner: Growing | Directory) -> None:
        """Be told no more of it."""
        if self._watches:
            self._watches.drop(owner)

    def rely(self, path: str, file: Growing | None) -> None:
        """Find out whether we shall be told of what happens at `path` and, unless that is None, to `file`."""
        directory = self._directories[os.path.dirname(path) or "."]
        if directory.at and (file is None or file.watched):
            self._blind.discard(path)
        else:
            self._blind.add(path)

    def missed(self, path: str, *, there: bool, new: bool) -> int:
        """How many files came to stand at `path` and went again between two looks, as far as the kernel has told.

        there: whether something stands there now; new: whether that is another than at the last look.
        """
        came = self._appeared.pop(path, 0)
        begun = path in self._begun
        self._begun.discard(path)
        left = came - (there and (new or came > 0))
        directory = self._directories[os.path.dirname(path) or "."]
        if left < 0 and not begun and directory.at == directory.path:
            # It was seen before the kernel has told of it.
            self._appeared[path] = left
        return max(0, left)

    def missing(self, path: str) -> None:
        """Nothing is at `path`: its directory may have gone, too, of which we are not told while a file of it is open."""
        self._watch(self._directories[os.path.dirname(path) or "."])

    def gather(self, now: float) -> None:
        """Find out what is due."""
        if self._watches:
            for owner, mask, entry in self._watches.events():
                self._told(owner, mask, entry)
        if self._watches is None or now >= self._sweep:
            self._sweep = now + INTERVAL
            for directory in self._directories.values():
                self._watch(directory)
                if directory.listed and not directory.at:
                    self._look(directory, now)
                for path in directory.paths.values():
                    self.due.setdefault(path, False)
            return
        for each in self._blind:
            if isinstance(each, Directory):
                self._look(each, now)
            else:
                self.due.setdefault(each, False)

    def close(self) -> None:
        if self._watches:
            self._watches.close()
            self._watches = None
        self._directories.clear()
        self._blind.clear()
        self.due.clear()

    def _told(self, owner: object, mask: int, entry: str) -> None:
        if isinstance(owner, Growing):
            owner.watched = owner.watched and not mask & inotify.IGNORED
            self.due[str(owner.path)] = True
        elif not isinstance(owner, Directory):
            # The queue has overflowed: nobody knows what else was in it.
            self._sweep = 0.0
            for directory in self._directories.values():
                self._stir(directory)
                self.unsure.update(directory.paths.values())
                self._begin(directory)
        elif owner.awaited or not entry:
            if not entry or entry == owner.awaited:
                self._watch(owner)
                self._stir(owner)
        else:
            if path := owner.paths.get(entry):
                self.due[path] = True
                self._appeared[path] += bool(
                    mask & (inotify.CREATE | inotify.MOVED_TO) and not mask & inotify.ISDIR
                )
            if mask & inotify.ENTRIES:
                self.changed |= owner.listed

    def _stir(self, directory: Directory) -> None:
        """Anything may have happened in the directory."""
        self.due.update(dict.fromkeys(directory.paths.values(), True))
        self.changed |= directory.listed

    def _begin(self, directory: Directory) -> None:
        """What stands there now, nobody will tell of any more."""
        for path in directory.paths.values():
            self._begun.add(path)
            if self._appeared[path] <= 0:
                del self._appeared[path]

    def _directory(self, path: str) -> Directory:
        if path not in self._directories:
            self._directories[path] = Directory(path)
            self._watch(self._directories[path])
        return self._directories[path]

    def _watch(self, directory: Directory) -> None:
        """Watch the directory, or the nearest above it that there is. Cheap where nothing has changed."""
        if self._watches is None:
            return
        before = directory.at
        try:
            new = self._watch_nearest(directory)
        except OSError as error:
            new = False
            directory.at = directory.awaited = ""
            self._watches.drop(directory)
            self._refused(error)
        if directory.listed:
            self._blind.discard(directory) if directory.at else self._blind.add(directory)
        if new or before != directory.at:
            self._stir(directory)
            self._begin(directory)

    def _watch_nearest(self, directory: Directory) -> bool:
        """True: it is another than before. Raises OSError where none can be watched."""
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
                # It has appeared before we watched for it.
                path, awaited = directory.path, ""
                continue
            directory.at, directory.awaited = path, awaited
            return new

    def _put(self, owner: Growing | Directory, path: str, mask: int) -> bool:
        assert self._watches is not None
        device = os.stat(path).st_dev
        if device not in self._remote:
            self._remote[device] = inotify.remote(path)
        if self._remote[device]:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return self._watches.put(owner, path, mask)

    def _refused(self, error: OSError) -> None:
        if error.errno in _USED_UP and not self._said:
            self._said = True
            often = f"what could not be watched is looked at {1 / POLL:.0f} times a second"
            self._warn(
                f"inotify's watches are used up ({error.strerror}; see fs.inotify.max_user_watches): {often}"
            )

    def _look(self, directory: Directory, now: float) -> None:
        """Look whether a directory's entries have changed; and once more, when its time is sure to tell of it."""
        try:
            status = os.stat(directory.path)
            signature: tuple[int, ...] = (
                status.st_dev,
                status.st_ino,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
        except OSError:
            signature = ()
        if signature != directory.signature:
            directory.signature, directory.since, directory.settled = signature, now, False
            self.changed = True
        elif not directory.settled and now - directory.since >= SETTLED:
            directory.settled = True
            self.changed = True
