"""Tandem repeats: how often the latest symbols have just been repeated, for every period at once.

`runs[p]` is the number of symbols for which x[t] == x[t-p] has held; a block of period p is then
present `runs[p] // p + 1` times in a row.
"""

from collections import deque
from itertools import islice


class RepeatFinder:
    """The run of every period up to `longest`, in a stream of symbols.

    A symbol is looked at first (`runs`) and becomes part of the stream later (`push`), so that the
    latest one may still change.
    """

    __slots__ = ("_runs", "_symbols")

    def __init__(self, longest: int) -> None:
        self._symbols: deque[int] = deque(maxlen=longest)
        self._runs: dict[int, int] = {}

    def runs(self, symbol: int) -> dict[int, int]:
        """Return the run of each period if `symbol` came next, shortest period first."""
        before = self._runs
        return {
            period: before.get(period, 0) + 1
            for period, each in enumerate(reversed(self._symbols), 1)
            if each == symbol
        }

    def push(self, symbol: int, runs: dict[int, int]) -> None:
        """Append `symbol`, for which `runs` was returned."""
        self._symbols.append(symbol)
        self._runs = runs

    def block(self, period: int) -> list[int]:
        """Return the last `period` symbols, newest first."""
        return list(islice(reversed(self._symbols), period))
