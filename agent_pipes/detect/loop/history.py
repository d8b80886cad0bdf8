"""What an agent has done lately, in bounded space: enough to see what it keeps coming back to."""

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

from agent_pipes.detect.calls import Call
from agent_pipes.detect.loop.repeat_finder import Recent
from agent_pipes.detect.loop.steps import Deed, Step
from agent_pipes.detect.results import ROW, Result

STEPS = 50
"""The longest period that is looked for, and how many steps back results are compared and events are named."""

SLACK = 8
"""How many more are kept before they are let go together."""

RISING = 8
"""Calls of which it is known how far what they look at has come: of those looked at longest ago it is forgotten."""

_EMPTY = bytes(ROW)


class Strings:
    """The last strings, end to end: one by one they would take three times as much."""

    __slots__ = ("_bytes", "_lengths")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._lengths = array("I")

    def append(self, text: str) -> None:
        written = text.encode(errors="surrogatepass")
        self._bytes += written
        self._lengths.append(len(written))

    def keep(self, number: int) -> None:
        """Let go of all but the last `number`."""
        del (
            self._bytes[: -sum(self._lengths[-number:]) or len(self._bytes)],
            self._lengths[:-number],
        )

    def last(self, number: int) -> list[str]:
        """The last `number` strings, oldest first."""
        lengths = self._lengths[-number:] if number else ()
        ends = accumulate(lengths, initial=len(self._bytes) - sum(lengths))
        return [
            self._bytes[begin:end].decode(errors="surrogatepass") for begin, end in pairwise(ends)
        ]


class Past:
    """The last `size` deeds, and how many of them have come since there was progress.

    since_news:   deeds since a call that had been made before gave something new, or a new call changed something.
    since_change: deeds since a call that had not been made before changed something.
    """

    __slots__ = (
        "_apart",
        "_exact",
        "_ids",
        "_keys",
        "_most",
        "_names",
        "_number",
        "_rising",
        "_rows",
        "_sizes",
        "_times",
        "_waits",
        "since_change",
        "since_news",
    )

    def __init__(self, size: int, most: int) -> None:
        """`most` is how often anything is counted at most."""
        self._keys = Recent(size)
        self._exact = Recent(size)
        self._times = array("d")
        self._ids = Strings()
        # The results, a row each. Of those that have none, and where there are several, the row is empty, which is like no
        # result, and they stand apart, by the deed's number.
        self._rows = bytearray()
        self._apart: dict[int, tuple[Result, ...]] = {}
        self._sizes = bytearray()
        self._waits = bytearray()
        self._names: list[str] = []
        self._number = 0
        self._most = most
        self._rising: dict[int, tuple[float, int]] | None = None
        self.since_news = self.since_change = 0

    def before(self, call: Call) -> Sequence[int]:
        """How many deeds ago the same call was made, nearest first."""
        return self._keys.distances(call.key, self._most)

    def recognise(self, deed: Deed, result: Result) -> None:
        """Give `result` the symbol of an earlier result of the same call that is the same, if there is one."""
        if not self._named_after(result, deed.before) and len(deed.before) == self._most:
            self._named_after(result, self._keys.distances(deed.call.key, STEPS)[self._most :])

    def _named_after(self, result: Result, distances: Sequence[int]) -> bool:
        for distance in distances:
            for earlier in self._results(distance):
                if result.same(earlier):
                    result.symbol = earlier.symbol
                    return True
        return False

    def _results(self, distance: int) -> tuple[Result, ...]:
        """What came of the deed done `distance` deeds ago, as far as that is known."""
        at = len(self._rows) - distance * ROW
        if at < 0:
            return ()
        return self._apart.get(self._number - distance) or (Result.of_row(self._rows, at),)

    def same(self, deed: Deed) -> list[int]:
        """How long ago this very deed was done since there was news, nearest first."""
        return [
            distance
            for distance in self._exact.distances(deed.exact, self._most)
            if distance <= self.since_news
        ]

    def made(self, deed: Deed) -> list[int]:
        """How long ago the same call was made, whatever it gave, since anything was changed or it rose, nearest first."""
        risen = self._rising.get(deed.call.key) if self._rising else None
        since = min(self.since_change, self._number - risen[1]) if risen else self.since_change
        return [distance for distance in deed.before if distance <= since]

    def two_of(self, last: int, deed: Deed) -> int:
        """How many of the `last` deeds, this one included, were this one or one certain other."""
        counts = Counter(self._exact.newest(last - 1))
        mine = counts.pop(deed.exact, 0)
        return 1 + mine + max(counts.values(), default=0) if mine else 0

    def pace(self, distance: int, clock: float, rounds: float) -> float:
        """Seconds that each of `rounds` has taken, the first of which was done `distance` deeds ago."""
        return (clock - self._times[-min(distance, len(self._times))]) / rounds if distance else 0.0

    def verbs(self, steps: int) -> list[str]:
        """The last steps in a word each, oldest first."""
        return self._names[-steps:] if steps else []

    def polls(self, steps: int) -> int:
        """How many of the last steps only waited for something, as far as anybody will ask."""
        return sum(self._waits[-steps:]) if steps else 0

    def deeds_in(self, steps: int) -> int:
        return sum(self._sizes[-steps:]) if steps else 0

    def ids(self, deeds: int) -> list[str]:
        """The ids of the last deeds' calls, oldest first."""
        return [name for name in self._ids.last(deeds) if name]

    def ids_at(self, distances: Sequence[int]) -> list[str]:
        names = self._ids.last(max(distances, default=0))
        return [
            name
            for distance in reversed(distances)
            if distance <= len(names) and (name := names[-distance])
        ]

    def brings(self, deeds: list[Deed]) -> tuple[bool, bool]:
        """Whether one of `deeds` is news: its call was made before and gives something new, or it is new and changes
        something; and whether one is new and changes something."""
        news = change = False
        for deed in deeds:
            if deed.result is not None:
                if deed.before:
                    news = news or not self._exact.distances(deed.exact, 1)
                elif not deed.failed and deed.call.changes:
                    news = change = True
        return news, change

    def add(self, step: Step, clock: float, *, comes_round: bool) -> None:
        """The step is done. What it was in a word is only asked of steps that come round."""
        deeds = step.distinct
        news, change = self.brings(deeds)
        before = self._number
        for number, deed in enumerate(deeds, before):
            key, result = deed.call.key, deed.result
            if deed.risen is not None:
                self._rises(key, deed.risen)
            self._keys.append(key)
            self._exact.append(deed.exact)
            self._times.append(clock)
            self._ids.append(deed.call.id)
            row = result.row if result and not deed.others else None
            self._rows += row or _EMPTY
            if result and not row:
                self._apart[number] = (*deed.others, result)
        done = len(deeds)
        self._number = before + done
        self.since_news = done if news else self.since_news + done
        self.since_change = done if change else self.since_change + done
        self._sizes.append(min(done, 255))
        self._names.append(step.verb if comes_round else "")
        self._waits.append(comes_round and step.polls)
        self._let_go()

    def _let_go(self) -> None:
        """Forget what is too long ago for anybody to ask for it."""
        if len(self._rows) >= (STEPS + SLACK) * ROW:
            self._tidy()
            del self._rows[: -STEPS * ROW]
            self._ids.keep(STEPS)
        if len(self._names) >= STEPS + SLACK:
            del self._sizes[:-STEPS], self._names[:-STEPS], self._waits[:-STEPS]
        if len(self._times) >= self._keys.size + SLACK:
            del self._times[: -self._keys.size]

    def _tidy(self) -> None:
        """Of the results that stand apart, let go of the oldest, and put those into their rows that were read meanwhile, as
        far as these come first."""
        tidied = []
        for number, results in self._apart.items():
            distance = self._number - number
            if distance <= STEPS:
                row = results[0].row if len(results) == 1 else None
                if row is None:
                    break
                at = len(self._rows) - distance * ROW
                self._rows[at : at + ROW] = row
            tidied.append(number)
        for number in tidied:
            del self._apart[number]

    def _rises(self, key: int, value: float) -> None:
        rising = self._rising = self._rising or {}
        before, since = rising.pop(key, (value, 0))
        rising[key] = (value, self._number if value > before else since)
        if len(rising) > RISING:
            del rising[next(iter(rising))]
