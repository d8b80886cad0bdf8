"""Tandem repeats: how often what ends here has just been repeated, for every period at once.

`run[p]` is for how many symbols x[t] == x[t-p] has held; a block of period p then stands `run[p] // p + 1` times in a
row. Only periods at which the newest symbol occurred can be running, so a symbol never seen before costs one search,
and the state is one small buffer, however long the stream.
"""

from collections.abc import Sequence
from itertools import accumulate
from struct import Struct

SLACK = 64
"""Bytes of symbols that are no longer looked at before they are let go."""

_pack = Struct("q").pack


class Recent:
    """The last `size` symbols (64-bit integers), and how far back one of them stands."""

    __slots__ = ("_held", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._held = bytearray()

    def append(self, symbol: int) -> None:
        held = self._held
        held += _pack(symbol)
        if len(held) >= (self.size << 3) + SLACK:
            del held[:SLACK]

    def distances(self, symbol: int, most: int = 1 << 30) -> Sequence[int]:
        """How many symbols ago `symbol` stood, nearest first (1 is the newest one), `most` of them at most."""
        held, sought = self._held, _pack(symbol)
        low = len(held) - (self.size << 3)
        if low < 0:
            low = 0
        if held.find(sought, low) < 0:
            return ()
        between = held[low:].split(sought)
        backwards = list(accumulate([len(each) + 8 for each in between[:0:-1][:most]]))
        if any([back & 7 for back in backwards]):
            return self._one_by_one(sought, low, most)
        return [back >> 3 for back in backwards]

    def _one_by_one(self, sought: bytes, low: int, most: int) -> list[int]:
        """As `distances`, where the bytes of two neighbours look like a symbol that does not stand there."""
        held = self._held
        found: list[int] = []
        at = held.rfind(sought, low)
        while at >= 0 and len(found) < most:
            if not at & 7:
                found.append((len(held) - at) >> 3)
            at = held.rfind(sought, low, at + 7)
        return found

    def newest(self, number: int) -> list[int]:
        """The last `number` symbols, oldest first."""
        number = min(number, self.size, len(self._held) >> 3)
        return (
            list(memoryview(self._held)[len(self._held) - (number << 3) :].cast("q"))
            if number
            else []
        )


class Repeats(Recent):
    """The run of every period up to `longest`, in a stream of symbols.

    A symbol is looked at first (`runs`) and becomes part of the stream after (`push`), so that what stands last may
    still change.
    """

    __slots__ = ("_runs",)

    def __init__(self, longest: int = 50) -> None:
        super().__init__(longest)
        self._runs: dict[int, int] = {}

    def runs(self, symbol: int) -> dict[int, int]:
        """If `symbol` came next: by period, shortest first, for how many symbols each has equalled the one a period before."""
        before = self._runs
        periods = self.distances(symbol)
        return {period: before.get(period, 0) + 1 for period in periods} if periods else {}

    def push(self, symbol: int, runs: dict[int, int]) -> None:
        """`symbol` has come, and `runs` was what it would bring."""
        self.append(symbol)
        self._runs = runs

    def block(self, period: int) -> list[int]:
        """The last `period` symbols, oldest first."""
        return self.newest(period)
