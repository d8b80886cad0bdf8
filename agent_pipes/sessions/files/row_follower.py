"""Following rows of databases, as lines."""

from collections.abc import Iterator
from pathlib import Path

from agent_pipes.agents.base import RowReader


class RowFollower:
    """Readers of rows by path, and the number of the next line of each."""

    def __init__(self) -> None:
        self._readers: dict[Path, RowReader] = {}
        self._next: dict[Path, int] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def add(self, path: Path, reader: RowReader) -> None:
        """Follow the rows of `reader`, unless `path` is followed already."""
        if path not in self._readers:
            self._readers[path], self._next[path] = reader, 1

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

    def close(self) -> None:
        """Follow nothing any more."""
        for path in list(self._readers):
            self.remove(path)
