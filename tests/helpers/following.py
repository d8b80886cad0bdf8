"""A follower whose clock the test turns, and the files that it follows."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_pipes.sessions.files.file_follower import Chunk, FileFollower
from agent_pipes.sessions.files.path_watcher import SWEEP_INTERVAL_S


class Following:
    """A follower, its warnings, and a clock that advances only by `later`."""

    def __init__(self, *paths: Path, poll: bool = False, max_line: int = 64 << 20) -> None:
        self.now = 1000.0
        self.warned: list[str] = []
        self.follower = FileFollower(
            poll=poll, max_line=max_line, warn=self.warned.append, clock=lambda: self.now
        )
        for path in paths:
            self.follower.add(path)

    def chunks(self) -> list[Chunk]:
        return list(self.follower.read())

    def read(self) -> list[bytes]:
        """Return the new lines of all files."""
        return [line for chunk in self.follower.read() for line in chunk.lines if line]

    def later(self, seconds: float = SWEEP_INTERVAL_S + 0.5) -> list[bytes]:
        """Return the new lines after so many seconds; by default all paths were checked since."""
        self.now += seconds
        return self.read()

    def rest(self) -> list[bytes]:
        return [line for chunk in self.follower.rest() for line in chunk.lines if line]

    def warnings(self) -> str:
        """Return the warnings since the last call."""
        text = "\n".join(self.warned)
        self.warned.clear()
        return text

    def close(self) -> None:
        self.follower.close()


def append(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(content)


def overwrite(path: Path, content: bytes) -> None:
    """Truncate the file and write it anew, as fs.writeFileSync does."""
    with path.open("wb", buffering=0) as file:
        file.write(content)


def replace(path: Path, content: bytes) -> None:
    """Put another file in its place at once."""
    other = path.with_name(path.name + ".tmp")
    other.write_bytes(content)
    os.replace(other, path)


def numbered(count: int, start: int = 0) -> Iterator[bytes]:
    return (b'{"seq":%d}\n' % number for number in range(start, start + count))


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A directory of an ordinary user's, as whom the block runs."""
    with tempfile.TemporaryDirectory() as name:
        if os.getuid():
            yield Path(name)
            return
        os.chown(name, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)
