"""What an agent has done lately, in bounded space: enough to see what it keeps coming back to."""

from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence

from agent_pipes.repeats.calls import Call
from agent_pipes.repeats.results import Result
from agent_pipes.repeats.steps import Deed, Step
from agent_pipes.repeats.tandem import Recent

STEPS = 50
"""The longest period that is looked for, and how many steps back results are compared and events are named."""

SLACK = 8
"""How many more are kept before they are let go together."""


class Past:
    """The last `size` deeds, and how many of them have come since there was progress.

    since_news:   deeds since a call that had been made before gave something new, or a new call changed something.
    since_change: deeds since a call that had not been made before changed something.
    """

    __slots__ = (
        "_exact", "_ids", "_keys", "_most", "_names", "_number", "_results", "_rising", "_sizes", "_times", "_waits", "since_change", "since_news",
    )

    def __init__(self, size: int, most: int) -> None:
        """`most` is how often anything is counted at most."""
        self._keys = Recent(size)
        self._exact = Recent(size)
        self._times = array("d")
        self._results: list[Result | tuple[Result, ...] | None] = []
        self._ids: list[str] = []
        self._sizes = bytearray()
        self._waits = bytearray()
        self._names: list[str] = []
        self._number = 0
        self._most = most
        self._rising: OrderedDict[int, tuple[float, int]] = OrderedDict()
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
            held = self._results[-distance] if distance <= len(self._results) else None
            for earlier in held if isinstance(held, tuple) else (held,):
                if earlier is not None and result.same(earlier):
                    result.symbol = earlier.symbol
                    return True
        return False

    def same(self, deed: Deed) -> list[int]:
        """How long ago this very deed was done since there was news, nearest first."""
        return [distance for distance in self._exact.distances(deed.exact, self._most) if distance <= self.since_news]

    def made(self, deed: Deed) -> list[int]:
        """How long ago the same call was made, whatever it gave, since anything was changed or it rose, nearest first."""
        since = min(self.since_change, self._number - self._rising.get(deed.call.key, (0.0, 0))[1])
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
        return [name for name in self._ids[-deeds:] if name] if deeds else []

    def ids_at(self, distances: list[int]) -> list[str]:
        return [name for distance in reversed(distances) if distance <= len(self._ids) and (name := self._ids[-distance])]

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
        for deed in deeds:
            key = deed.call.key
            if deed.risen is not None:
                self._rises(key, deed.risen)
            self._keys.append(key)
            self._exact.append(deed.exact)
            self._times.append(clock)
            self._results.append((*deed.others, deed.result) if deed.others and deed.result else deed.result)
            self._ids.append(deed.call.id)
        number = len(deeds)
        self._number += number
        self.since_news = number if news else self.since_news + number
        self.since_change = number if change else self.since_change + number
        self._sizes.append(min(number, 255))
        self._names.append(step.verb if comes_round else "")
        self._waits.append(comes_round and step.polls)
        if len(self._results) >= STEPS + SLACK:
            del self._results[:-STEPS], self._ids[:-STEPS]
        if len(self._names) >= STEPS + SLACK:
            del self._sizes[:-STEPS], self._names[:-STEPS], self._waits[:-STEPS]
        if len(self._times) >= self._keys.size + SLACK:
            del self._times[: -self._keys.size]

    def _rises(self, key: int, value: float) -> None:
        before, since = self._rising.pop(key, (value, 0))
        self._rising[key] = (value, self._number if value > before else since)
        if len(self._rising) > 8:
            self._rising.popitem(last=False)
