"""One file that grows: its whole lines, each once, also where it is truncated, written anew or replaced by a copy."""

import os
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from agent_pipes.core.stream import lines

CHUNK = 1 << 18
"""Bytes read at once."""

SLICE = 256 * CHUNK
"""Bytes compared with what was there before, until the caller is let in between."""

EDGE = 256
"""Bytes at the beginning of the file, and before the place reached, by which it is known to be the same still."""

LINES = 1 << 22
"""Lines of a file that are remembered (8 bytes each), so as to tell a copy of it from other content."""

QUIET = 1.0
"""Seconds without another line from before after which a file that is written anew has been; what comes then is new."""


class Piece(NamedTuple):
    """Whole lines of a file, in a row.

    lines:      each with its newline, as it stands in the file.
    number:     that of the first, from 1, within this generation of the file. Lines that were given out before, in an
                earlier generation, have their number too, but are not given again.
    generation: 0, and one more whenever the file was truncated, or replaced by other content.
    """

    path: Path
    lines: list[bytes]
    number: int
    generation: int


class Rewrite:
    """A file that is being written anew: which of its lines stood there before?

    As long as they are the same in the same order, it is a copy, and what follows the last of them is new. From the
    first other line on it is other content, in which a line is new if it comes more often than it was there before.

    how:    what has happened, for people.
    before: the lines' hashes, of the first LINES of `count`.
    older:  lines that were awaited still from a rewrite that this one has interrupted, and how often.
    half:   what was held back of a line without its end.
    at:     lines that were the same in the same order.
    left:   how often each line still awaited stood there before; None while it may be a copy.
    again:  how many of those have come again.
    until:  when to give up waiting for more of them.
    """

    def __init__(
        self, how: str, before: "array[int]", count: int, older: Counter[int], half: bytes
    ) -> None:
        self.how = how
        self.before = before
        self.count = count
        self.older = older
        self.half = half
        self.at = 0
        self.left: Counter[int] | None = None
        self.again = 0
        self.until = 0.0

    def same(self, hashes: "array[int]") -> int:
        """How many of the next lines go on as they did before."""
        if self.left is not None:
            return 0
        part = self.before[self.at : self.at + len(hashes)]
        same = (
            len(part)
            if part == hashes[: len(part)]
            else next(
                i for i, pair in enumerate(zip(part, hashes, strict=False)) if pair[0] != pair[1]
            )
        )
        self.at += same
        return same

    def is_new(self, line: int) -> bool:
        """Whether a line of other content is new."""
        assert self.left is not None
        if not self.left.get(line):
            return True
        self.left[line] -= 1
        self.again += 1
        return False


class Growing:
    """What has been read of one file, and what is remembered of it.

    fd:         where it is read, -1 while it is not held open.
    identity:   device and inode.
    offset:     bytes read.
    watched:    whether the kernel tells of its changes.
    deadline:   when to close it, once another stands in its place (monotonic seconds).
    unfinished: whether reading has stopped to let the caller in, and goes on at once.
    """

    def __init__(
        self,
        path: Path,
        max_line: int,
        warn: Callable[[str], None],
        generations: Iterator[int],
        generation: int = 0,
        *,
        remember: bool = True,
    ) -> None:
        self.path = path
        self.fd = -1
        self.identity = (0, 0)
        self.watched = False
        self.deadline = 0.0
        self.unfinished = False
        self._max_line = max_line
        self._warn = warn
        self._generations = generations
        self._remember = remember
        self._generation = generation
        self._rewrite: Rewrite | None = None
        self._now = 0.0
        self._ready: deque[Piece] = deque()
        self._begin()

    def _begin(self) -> None:
        self.offset = 0
        self._number = 1
        self._head = b""
        self._tail = b""
        self._half = bytearray()
        self._too_long = 0
        self._nuls = 0
        self._seen: array[int] = array("q")

    def successor(self) -> "Growing":
        """Another file that stands in this one's place: it may be a copy, of which only what is new is to come."""
        other = Growing(
            self.path,
            self._max_line,
            self._warn,
            self._generations,
            self._generation,
            remember=self._remember,
        )
        other._now = self._now
        other._seen, other._number, other._rewrite = self._seen[:], self._number, self._rewrite
        other.anew("replaced by another file")
        return other

    def anew(self, how: str) -> None:
        """The file is written anew: read it from its beginning, for what was not there before."""
        before, count, half, last = self._seen, self._number - 1, bytes(self._half), self._rewrite
        older: Counter[int] = Counter()
        if self._too_long:
            self._warn(
                f"{self.path}:{self._number}: {self._too_long} bytes of a line that was too long are gone: {how}"
            )
        if last and last.left is None:
            before, count, older, half = last.before, last.count, last.older, last.half
        elif last and last.left is not None:
            older = Counter(last.left)
        self._begin()
        self._rewrite = Rewrite(how, before, count, older, half) if count or half else None
        if self._rewrite:
            self._rewrite.until = self._now + QUIET

    def read(self, size: int, now: float) -> Iterator[Piece]:
        """The whole lines among the file's first `size` bytes that were not given out yet. Raises OSError.

        `now` is monotonic seconds.
        """
        self._now = now
        self.unfinished = False
        yield from self._given()
        if self.fd < 0:
            return
        if size < self.offset:
            self.anew("truncated")
        elif not self.goes_on():
            self.anew("written anew")
        end = self.offset + SLICE
        while self.offset < size and self.fd >= 0:
            # What stands before the place reached is read with what follows it, so that both are of one moment.
            back = len(self._tail)
            data = os.pread(self.fd, back + min(CHUNK, size - self.offset), self.offset - back)
            if data[:back] != self._tail or len(data) == back:
                break
            self._consume(data[back:] if back else data)
            yield from self._given()
            if self._rewrite and self.offset >= end:
                self.unfinished = self.offset < size
                break
        self._settle()

    def rest(self) -> Iterator[Piece]:
        """Nothing more will come: a last line without its newline, as it is. Whether it is whole, its reader sees."""
        half = bytes(self._half)
        self._half.clear()
        self.leave()
        if half:
            yield Piece(self.path, [half], self._number, self._generation)
            self._number += 1

    def leave(self) -> None:
        """Nothing more will be read: say what is still unsaid."""
        self._settle(ended=True)
        if self._too_long or self._half:
            what = (
                f"too long, {self._too_long} bytes"
                if self._too_long
                else f"{len(self._half)} bytes"
            )
            self._warn(
                f"{self.path}:{self._number}: a line without its newline ({what}) was not given out"
            )
        self._half.clear()
        self._too_long = 0

    @property
    def comparing(self) -> bool:
        """Whether the file is being written anew, and may still turn out to be a copy of what it was."""
        return self._rewrite is not None

    def goes_on(self) -> bool:
        """Whether what was read still stands there, as far as its edges tell. Raises OSError."""
        if not self.offset:
            return True
        if os.pread(self.fd, len(self._head), 0) != self._head:
            return False
        return os.pread(self.fd, len(self._tail), self.offset - len(self._tail)) == self._tail

    def _given(self) -> Iterator[Piece]:
        # Through a queue, so that nothing is lost where the caller leaves off in the middle.
        while self._ready:
            yield self._ready.popleft()

    def _consume(self, data: bytes) -> None:
        """Make pieces of the next bytes, and hold back what is no whole line yet."""
        self.offset += len(data)
        if len(self._head) < EDGE:
            self._head += data[: EDGE - len(self._head)]
        self._tail = data[-EDGE:] if len(data) >= EDGE else (self._tail + data)[-EDGE:]
        start, whole = 0, []
        if self._half or self._too_long or self._nuls:
            start = data.find(b"\n") + 1
            self._hold(data[:start] if start else data)
            if not start:
                return
            whole = self._completed()
        end = data.rfind(b"\n") + 1
        if start < end:
            whole += lines(data[start:end] if start or end < len(data) else data)
        if end < len(data):
            self._hold(data[end:])
        if self._max_line >= CHUNK:
            self._give(whole)
            return
        for long, run in groupby(whole, key=lambda line: len(line) > self._max_line):
            if long:
                for line in run:
                    self._skip(len(line))
            else:
                self._give(list(run))

    def _hold(self, part: bytes) -> None:
        if self._too_long:
            self._too_long += len(part)
            return
        self._half += part
        if len(self._half) <= self._max_line:
            return
        # A writer that goes on at its old place in a truncated file leaves a hole, with its next line at the end of it.
        after = self._half.lstrip(b"\0")
        if len(after) < len(self._half) // 2:
            self._nuls += len(self._half) - len(after)
            self._half = after
        else:
            self._too_long = self._nuls + len(self._half)
            self._nuls = 0
            self._half = bytearray()

    def _completed(self) -> list[bytes]:
        """The line that was held back and has its end now; none, if it is too long."""
        if self._too_long:
            self._skip(self._too_long)
            self._too_long = 0
            return []
        if self._nuls:
            self._warn(
                f"{self.path}:{self._number}: {self._nuls} NUL bytes at the beginning of the line were left out"
            )
            self._nuls = 0
        line = bytes(self._half)
        self._half = bytearray()
        return [line]

    def _skip(self, length: int) -> None:
        """A line that is too long is counted, remembered by its length, and said unless it was before."""
        if self._news(array("q", [length]), []):
            self._warn(
                f"{self.path}:{self._number}: a line of {length} bytes is longer than {self._max_line}: skipped"
            )
        self._number += 1

    def _give(self, whole: list[bytes]) -> None:
        if not whole:
            return
        # What is read once is compared with nothing.
        told = self._remember or self._rewrite
        for start, stop in (
            self._news(array("q", map(hash, whole)), whole) if told else [(0, len(whole))]
        ):
            part = whole if stop - start == len(whole) else whole[start:stop]
            self._ready.append(Piece(self.path, part, self._number + start, self._generation))
        self._number += len(whole)

    def _news(self, hashes: "array[int]", whole: list[bytes]) -> list[tuple[int, int]]:
        """Which of the next lines are new: ranges of their indices."""
        if self._remember and len(self._seen) < LINES:
            self._seen.extend(hashes)
        rewrite = self._rewrite
        if rewrite is None:
            return [(0, len(hashes))]
        at = rewrite.same(hashes)
        if at:
            rewrite.until = self._now + QUIET
        if rewrite.left is None:
            copied = rewrite.at == rewrite.count and (at < len(hashes) or not rewrite.half)
            if copied:
                if rewrite.half and whole and not whole[at].startswith(rewrite.half):
                    self._warn(f"{self.path}: {rewrite.how}{_gone(rewrite.half)}")
                if not rewrite.older:
                    self._rewrite = None
                    return [(at, len(hashes))] if at < len(hashes) else []
                rewrite.left = rewrite.older
            elif at < len(hashes):
                self._differs(rewrite)
        new: list[tuple[int, int]] = []
        again = rewrite.again
        for index in range(at, len(hashes)):
            if rewrite.is_new(hashes[index]):
                if new and new[-1][1] == index:
                    new[-1] = (new[-1][0], index + 1)
                else:
                    new.append((index, index + 1))
        if rewrite.again > again:
            rewrite.until = self._now + QUIET
        return new

    def _differs(self, rewrite: Rewrite) -> None:
        """It is no copy."""
        rewrite.left = Counter(rewrite.before[rewrite.at :])
        rewrite.left.update(rewrite.older)
        self._generation = next(self._generations)
        if rewrite.at == len(rewrite.before) < rewrite.count:
            what = f"as far as line {rewrite.at} as it was, and read again from there, since more is not remembered"
        else:
            what = (
                f"other content from line {rewrite.at + 1} on, read from there"
                if rewrite.at
                else "other content, read from its beginning"
            )
        self._warn(f"{self.path}: {rewrite.how}: {what}{_gone(rewrite.half)}")

    def _settle(self, *, ended: bool = False) -> None:
        """Stop comparing once nothing from before has come for a while: what comes from now on is new."""
        rewrite = self._rewrite
        if rewrite is None or (self._now < rewrite.until and not ended):
            return
        self._rewrite = None
        if rewrite.left is not None:
            if rewrite.again:
                self._warn(
                    f"{self.path}: {rewrite.how}: {rewrite.again} lines behind the change had been given out before, and were not given again"
                )
        elif rewrite.at < rewrite.count:
            self._generation = next(self._generations)
            what = f"of the {rewrite.count} lines given out it holds the first {rewrite.at}, which are not given again"
            if not rewrite.at:
                what = "nothing is left of what was given out"
            self._warn(
                f"{self.path}: {rewrite.how}: {what}; what follows is new{_gone(rewrite.half)}"
            )
        elif not self._half.startswith(rewrite.half):
            self._warn(f"{self.path}: {rewrite.how}{_gone(rewrite.half)}")


def _gone(half: bytes) -> str:
    return f"; {len(half)} bytes held of a line without its end are gone" if half else ""
