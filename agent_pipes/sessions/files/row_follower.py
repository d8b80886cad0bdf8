"""Following rows of databases, as lines."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent_pipes.agents.base import RowReader
from agent_pipes.sessions.files.path_watcher import PathWatcher

ROWS_INTERVAL_S = 0.05
"""Seconds between two readings while a database changes, or where inotify is not available."""

AWAKE_S = 1.0
"""Seconds after a write to a database's log for which rows are polled.

SQLite writes the log before a commit can be seen.
"""

MAX_INTERVAL_S = 60.0


class RowFollower:
    """Readers of rows by path, and the number of the next line of each.

    watcher: wakes the caller when a database's log is written.
    """

    def __init__(self, watcher: PathWatcher) -> None:
        self._watcher = watcher
        self._readers: dict[Path, RowReader] = {}
        self._next: dict[Path, int] = {}
        self._logs: dict[str, int] = {}
        self._awake_until = 0.0

    def interval(self, now: float) -> float:
        """Return the seconds until the next call of `read` at most; `now` is monotonic."""
        polls = self._watcher.fd < 0 or now < self._awake_until
        return ROWS_INTERVAL_S if self._readers and polls else MAX_INTERVAL_S

    def add(self, path: Path, reader: RowReader) -> None:
        """Follow the rows of `reader`, unless `path` is followed already."""
        if path not in self._readers:
            self._readers[path], self._next[path] = reader, 1
            self._logs.setdefault(reader.log, 0)
            self._watcher.add(reader.log)

    def see(self, due: Mapping[str, bool], now: float) -> None:
        """Watch the logs among the paths that may have changed."""
        for log in self._logs.keys() & due.keys():
            self._watch(log)
            if due[log]:
                self._awake_until = now + AWAKE_S

    def _watch(self, log: str) -> None:
        """Have inotify report writes to a log, which may be another file than before."""
        try:
            fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # Its directory reports when there is one.
        inode = os.fstat(fd).st_ino
        if inode != self._logs[log]:
            self._watcher.unwatch_file(log)
            self._watcher.watch_file(log, fd)
            self._logs[log] = inode
        os.close(fd)

    def read(self) -> Iterator[tuple[Path, list[bytes], int]]:
        """Yield the new lines of each path, and the number of the first of them."""
        for path, reader in self._readers.items():
            if lines := reader.read():
                number = self._next[path]
                self._next[path] = number + len(lines)
                yield path, lines, number

    def remove(self, path: Path) -> None:
        """Follow `path` no longer."""
        if path in self._readers:
            self._readers.pop(path).close()
        if not self._readers:
            for log in self._logs:
                self._watcher.remove(log)
            self._logs.clear()

    def close(self) -> None:
        """Follow nothing any more."""
        for path in list(self._readers):
            self.remove(path)
