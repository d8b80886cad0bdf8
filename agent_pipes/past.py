"""What an agent has done lately, in bounded space: enough to see what it keeps coming back to."""

from collections import Counter, OrderedDict

from agent_pipes.calls import Call
from agent_pipes.repeats import Recent
from agent_pipes.results import Result
from agent_pipes.steps import Deed, Step

STEPS = 50
"""Steps of which the names are kept: the longest period that is looked for."""


class Past:
    """The last `size` deeds, and how many of them have come since there was progress.

    since_news:   deeds since a call that had been made before gave something new, or a new call changed something.
    since_change: deeds since a call that had not been made before changed something.
    """

    def __init__(self, size: int) -> None:
        self._keys = Recent(size)
        self._exact = Recent(size)
        self._milliseconds = Recent(size)
        self._results: list[Result | None] = []
        self._ids: list[str] = []
        self._sizes: list[int] = []
        self._names: list[str] = []
        self._number = 0
        self._rising: OrderedDict[int, tuple[float, int]] = OrderedDict()
        self.since_news = self.since_change = 0

    def recognise(self, call: Call, result: Result) -> bool:
        """Whether `call` was made before. A result that is the same as an earlier one of it is given the same symbol."""
        distances = self._keys.distances(call.key)
        for distance in distances:
            earlier = self._results[-distance]
            if earlier is not None and result.same(earlier):
                result.symbol = earlier.symbol
                break
        return bool(distances)

    def same(self, deed: Deed) -> list[int]:
        """How long ago this very deed was done since there was news, nearest first."""
        return [distance for distance in self._exact.distances(deed.exact) if distance <= self.since_news]

    def made(self, call: Call) -> list[int]:
        """How long ago the same call was made, whatever it gave, since anything was changed or it rose, nearest first."""
        since = min(self.since_change, self._number - self._rising.get(call.key, (0.0, 0))[1])
        return [distance for distance in self._keys.distances(call.key) if distance <= since]

    def two_of(self, last: int, deed: Deed) -> int:
        """How many of the `last` deeds, this one included, were this one or one certain other."""
        counts = Counter(self._exact.newest(last - 1))
        mine = counts.pop(deed.exact, 0)
        return 1 + mine + max(counts.values(), default=0) if mine else 0

    def pace(self, distance: int, now: float, rounds: float) -> float:
        """Seconds that each of `rounds` has taken, the first of which began `distance` deeds ago."""
        return (now - self._milliseconds.newest(distance)[0] / 1000) / rounds if distance else 0.0

    def waits(self, distances: list[int], pace: float) -> bool:
        """Whether what was done at `distances` was done no faster than every `pace` seconds."""
        times = self._milliseconds.newest(distances[-1])
        return (times[-distances[0]] - times[0]) / 1000 >= pace * (len(distances) - 1)

    def names(self, number: int) -> list[str]:
        """The names of the last `number` steps, oldest first."""
        return self._names[-number:] if number else []

    def deeds_in(self, steps: int) -> int:
        return sum(self._sizes[-steps:]) if steps else 0

    def ids(self, deeds: int) -> list[str]:
        """The ids of the last deeds' calls, oldest first."""
        return [name for name in self._ids[-deeds:] if name] if deeds else []

    def ids_at(self, distances: list[int]) -> list[str]:
        return [name for distance in reversed(distances) if (name := self._ids[-distance])]

    def brings(self, deeds: list[Deed]) -> tuple[bool, bool]:
        """Whether one of `deeds` is news: its call was made before and gives something new, or it is new and changes
        something; and whether one is new and changes something."""
        news = change = False
        for deed in deeds:
            if deed.result is not None:
                if self._keys.distances(deed.call.key):
                    news = news or not self._exact.distances(deed.exact)
                elif not deed.failed and deed.call.changes:
                    news = change = True
        return news, change

    def add(self, step: Step, now: float, name: str) -> None:
        """The step is done; `name` says it in a word, "" where nobody will ask."""
        deeds = step.distinct
        news, change = self.brings(deeds)
        for deed in deeds:
            if deed.risen is not None:
                self._rises(deed.call.key, deed.risen)
            self._keys.append(deed.call.key)
            self._exact.append(deed.exact)
            self._milliseconds.append(int(now * 1000))
            self._results.append(deed.result)
            self._ids.append(deed.call.id)
        number = len(deeds)
        self._number += number
        self.since_news = number if news else self.since_news + number
        self.since_change = number if change else self.since_change + number
        self._sizes.append(number)
        self._names.append(name)
        del self._results[: -self._keys.size], self._ids[: -self._keys.size], self._sizes[:-STEPS], self._names[:-STEPS]

    def _rises(self, key: int, value: float) -> None:
        before, since = self._rising.pop(key, (value, 0))
        self._rising[key] = (value, self._number if value > before else since)
        if len(self._rising) > 8:
            self._rising.popitem(last=False)
