"""A follower whose clock the test turns, and the files that it follows."""

import os
from collections.abc import Iterator
from pathlib import Path

from agent_pipes.sessions.files.file_follower import Follower, Piece


class Following:
    """A follower, what it has said, and a clock that stands still until `later`.

    With inotify a file is looked at when the kernel tells of it; what nobody tells of would wait for the clock.
    """

    def __init__(self, *paths: Path, poll: bool = False, max_line: int = 64 << 20) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.follower = Follower(
            poll=poll, max_line=max_line, warn=self.said.append, clock=lambda: self.now
        )
        for path in paths:
            self.follower.add(path)

    def pieces(self) -> list[Piece]:
        return list(self.follower.read())

    def read(self) -> list[bytes]:
        """The lines that `read` gives, of all files."""
        return [line for piece in self.follower.read() for line in piece.lines]

    def later(self, seconds: float = 1.5) -> list[bytes]:
        """What is read when so many seconds have gone by."""
        self.now += seconds
        return self.read()

    def rest(self) -> list[bytes]:
        return [line for piece in self.follower.rest() for line in piece.lines]

    def heard(self) -> str:
        """What was said since this was asked last, without the directory's name."""
        text = "\n".join(self.said)
        self.said.clear()
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
