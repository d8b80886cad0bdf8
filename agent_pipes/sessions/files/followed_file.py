"""One open file that is followed: its whole lines, from the first byte on."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from agent_pipes.core.stream import lines

CHUNK_BYTES = 1 << 18
"""Bytes read at once."""

EDGE_BYTES = 256
"""Bytes compared at the start of the file and before the offset to notice a rewrite."""

OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Identity(NamedTuple):
    """Device and inode of a file."""

    device: int
    inode: int

    @staticmethod
    def of(status: os.stat_result) -> "Identity":
        """Return the identity in `status`."""
        return Identity(status.st_dev, status.st_ino)


class LineSplitter:
    """Splits the bytes of one file into lines of at most `max_bytes`, newline included.

    A longer line is discarded while it is read, so memory stays bounded, and reported; an empty
    `bytes` takes its place in the result, so that lines can be counted.

    number: the number of the next line, from 1.
    """

    def __init__(self, name: str, max_bytes: int, warn: Callable[[str], None]) -> None:
        self.number = 1
        self._name = name
        self._max_bytes = max_bytes
        self._warn = warn
        self._partial = bytearray()
        self._discarded = 0
        self._nuls = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes."""
        found: list[bytes] = []
        if is_hole(data):
            self.skip_nuls(len(data))
            return found
        start = 0
        if self._partial or self._discarded or self._nuls:
            start = data.find(b"\n") + 1
            self._hold(data[:start] if start else data)
            if not start:
                return found
            found.append(self._take())
        end = data.rfind(b"\n") + 1
        if end > start:
            whole = lines(data[start:end])
            if self._max_bytes < CHUNK_BYTES:
                first = self.number + len(found)
                whole = [self._checked(line, first + at) for at, line in enumerate(whole)]
            found += whole
        if end < len(data):
            self._hold(data[end:])
        self.number += len(found)
        return found

    def skip_nuls(self, count: int) -> None:
        """Leave out `count` NUL bytes, which are no part of any line."""
        self._nuls += count

    def rest(self) -> bytes:
        """Return the last line, which has no newline, and report it if it is too long."""
        if self._discarded:
            self._warn(
                f"{self._name}:{self.number}: last line ({self._discarded} bytes) has no newline "
                f"and is longer than {self._max_bytes} bytes; skipped"
            )
        rest = bytes(self._partial)
        self._partial.clear()
        self._discarded = self._nuls = 0
        return rest

    def leave(self) -> None:
        """Report a last line without a newline: it will not be read any more."""
        if rest := self.rest():
            self._warn(
                f"{self._name}:{self.number}: last line ({len(rest)} bytes) has no newline; skipped"
            )

    def _hold(self, part: bytes) -> None:
        if self._discarded:
            self._discarded += len(part)
            return
        self._partial += part
        if len(self._partial) > self._max_bytes:
            self._discarded = len(self._partial)
            self._partial = bytearray()

    def _take(self) -> bytes:
        """Return the held line, which is complete now."""
        if self._discarded:
            size, self._discarded = self._discarded, 0
            self._report_long(size, self.number)
            return b""
        if self._nuls:
            self._warn(
                f"{self._name}:{self.number}: skipped {self._nuls} NUL bytes before the line"
            )
            self._nuls = 0
        line = bytes(self._partial)
        self._partial.clear()
        return self._checked(line, self.number)

    def _checked(self, line: bytes, number: int) -> bytes:
        if len(line) <= self._max_bytes:
            return line
        self._report_long(len(line), number)
        return b""

    def _report_long(self, size: int, number: int) -> None:
        self._warn(
            f"{self._name}:{number}: line of {size} bytes is longer than {self._max_bytes}; "
            "skipped (see --max-line)"
        )


def is_hole(data: bytes) -> bool:
    """Return True if `data` has nothing but NUL bytes."""
    return data[:1] == data[-1:] == b"\0" and not data.strip(b"\0")


class FollowedFile:
    """A file held open and read from its start.

    fd:       -1 while the file is closed because too many files are open.
    offset:   bytes read so far.
    splitter: the lines of the file.
    """

    __slots__ = ("_edge", "_head", "fd", "identity", "offset", "splitter")

    def __init__(self, fd: int, identity: Identity, splitter: LineSplitter) -> None:
        self.fd = fd
        self.identity = identity
        self.splitter = splitter
        self.offset = 0
        self._head = b""
        self._edge = b""

    def change(self, size: int) -> str:
        """Return how the part already read has changed ("truncated", "rewritten"), or "".

        Raises OSError.
        """
        if size < self.offset:
            return "truncated"
        if self.offset and (
            os.pread(self.fd, len(self._head), 0) != self._head
            or os.pread(self.fd, len(self._edge), self.offset - len(self._edge)) != self._edge
        ):
            return "rewritten"
        return ""

    def read(self, size: int) -> Iterator[list[bytes]]:
        """Yield the new lines among the first `size` bytes of the file, a chunk at a time.

        Raises OSError.
        """
        while self.offset < size and self.fd >= 0:
            # Read the bytes before the offset in the same call, so that a rewrite between the
            # check and the read cannot mix old and new content in one line.
            edge = len(self._edge)
            data = os.pread(
                self.fd, edge + min(CHUNK_BYTES, size - self.offset), self.offset - edge
            )
            if data[:edge] != self._edge or len(data) == edge:
                return
            data = data[edge:]
            if is_hole(data):
                self._skip_hole(size)
                continue
            if len(self._head) < EDGE_BYTES:
                self._head += data[: EDGE_BYTES - len(self._head)]
            self._edge = (self._edge + data)[-EDGE_BYTES:]
            self.offset += len(data)
            if found := self.splitter.feed(data):
                yield found

    def _skip_hole(self, size: int) -> None:
        """Skip NUL bytes: a writer that keeps its offset in a truncated file leaves a hole."""
        try:
            end = min(size, os.lseek(self.fd, self.offset, os.SEEK_DATA))
        except OSError:
            end = size
        end = max(end, min(size, self.offset + CHUNK_BYTES))
        self.splitter.skip_nuls(end - self.offset)
        self.offset = end
        self._edge = b""

    def restart(self, splitter: LineSplitter) -> None:
        """Forget what was read, so that the next read begins at the start of the file."""
        self.splitter = splitter
        self.offset = 0
        self._head = self._edge = b""

    def close(self) -> None:
        """Close the file; it can be opened again."""
        if self.fd >= 0:
            with suppress(OSError):
                os.close(self.fd)
            self.fd = -1
