"""The latest calls of one agent, in bounded space."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.detect.calls import Call
from agent_pipes.detect.loop.turn import CallOutcome, Turn
from agent_pipes.detect.results import Result

MAX_TURNS = 50
"""The longest period that is looked for, in turns."""

MAX_PROGRESSING_CALLS = 8
"""Calls whose progress is known, by their results' own account."""


@dataclass(slots=True)
class PastCall:
    """A call that was made: what is compared with later ones. See CallOutcome."""

    id: str
    key: int
    exact: int
    time: float
    looks: bool
    results: tuple[Result, ...]


@dataclass(slots=True)
class PastTurn:
    """A turn that is over: its number of calls, its name if it was seen before, if it waited."""

    calls: int
    verb: str
    polls: bool


class CallHistory:
    """The last `size` calls, and how many have been made since there was progress.

    since_news:   calls since an earlier call gave something new, or a new call changed something.
    since_change: calls since a call that had not been made before changed something.
    """

    def __init__(self, size: int, most: int) -> None:
        """Keep `size` calls; count none of them more than `most` times."""
        self.calls: deque[PastCall] = deque(maxlen=size)
        self.turns: deque[PastTurn] = deque(maxlen=MAX_TURNS)
        self.since_news = self.since_change = 0
        self._most = most
        self._number = 0
        self._progress: BoundedDict[int, tuple[float, int]] = BoundedDict(MAX_PROGRESSING_CALLS)

    def before(self, call: Call) -> list[int]:
        """Return how many calls ago the same call was made, nearest first."""
        key = call.key
        found = (at for at, past in self._backwards() if past.key == key)
        return list(islice(found, self._most))

    def recognise(self, made: CallOutcome, result: Result) -> None:
        """Give `result` the symbol of an earlier, equal result of the same call."""
        if made.before:
            key = made.call.key
            for past in reversed(self.calls):
                if past.key == key:
                    for earlier in past.results:
                        if result.same(earlier):
                            result.symbol = earlier.symbol
                            return

    def same(self, made: CallOutcome) -> list[int]:
        """Return how long ago the same call gave the same result, since there was news."""
        recent = islice(self._backwards(), self.since_news)
        found = (at for at, past in recent if past.exact == made.exact)
        return list(islice(found, self._most))

    def made(self, made: CallOutcome) -> list[int]:
        """Return how long ago the same call was made, since anything changed or it progressed."""
        since = self.since_change
        if progress := self._progress.get(made.call.key):
            since = min(since, self._number - progress[1])
        return [distance for distance in made.before if distance <= since]

    def two_of(self, last: int, made: CallOutcome) -> int:
        """Count how many of the `last` calls, `made` included, were it or one certain other."""
        counts = Counter(past.exact for _, past in islice(self._backwards(), last - 1))
        mine = counts.pop(made.exact, 0)
        return 1 + mine + max(counts.values(), default=0) if mine else 0

    def oldest(self, made: CallOutcome, calls: int) -> int:
        """Return how long ago the same call first gave the same result within the last `calls`."""
        recent = islice(self._backwards(), calls)
        return max((at for at, past in recent if past.exact == made.exact), default=0)

    def pace(self, distance: int, clock: float, rounds: float) -> float:
        """Return the seconds per round of the `rounds` that began `distance` calls ago."""
        if not distance:
            return 0.0
        return (clock - self.calls[-min(distance, len(self.calls))].time) / rounds

    def last_turns(self, turns: int) -> list[PastTurn]:
        """Return the last turns, oldest first."""
        return [*islice(reversed(self.turns), turns)][::-1]

    def calls_in(self, turns: int) -> int:
        """Return the number of calls of the last `turns`."""
        return sum(turn.calls for turn in self.last_turns(turns))

    def ids(self, calls: int) -> list[str]:
        """Return the ids of the last calls, oldest first."""
        return [past.id for past in islice(reversed(self.calls), calls) if past.id][::-1]

    def looks(self, calls: int) -> bool:
        """Return True if the last calls have changed nothing, and none has failed."""
        return all(past.looks for past in islice(reversed(self.calls), calls))

    def all_new(self, distances: Sequence[int]) -> bool:
        """Return True if the calls at these distances all had other results, numbers aside."""
        results = [self.calls[-at].results for at in distances]
        return len({result[-1].words for result in results if result}) == len(distances)

    def ids_at(self, distances: Sequence[int]) -> list[str]:
        """Return the ids of the calls at these distances, which are nearest first."""
        return [past.id for at in reversed(distances) if (past := self.calls[-at]).id]

    def news_in(self, calls: list[CallOutcome]) -> tuple[bool, bool]:
        """Return whether one of `calls` is news, and whether a new one changes something.

        It is news if it was made before and gives something new, or if it is new and changes
        something.
        """
        news = change = False
        for made in calls:
            if made.result is None:
                continue
            if made.before:
                news = news or all(past.exact != made.exact for past in self.calls)
            elif not made.failed and made.call.changes:
                news = change = True
        return news, change

    def add(self, turn: Turn, clock: float, *, repeats: bool) -> None:
        """Append a turn. Its name and whether it waits are only asked of turns that repeat."""
        calls = turn.distinct
        news, change = self.news_in(calls)
        for made in calls:
            if made.progress is not None:
                self._note_progress(made.call.key, made.progress)
            results = (*made.others, made.result) if made.result else made.others
            past = PastCall(made.call.id, made.call.key, made.exact, clock, made.looks, results)
            self.calls.append(past)
        done = len(calls)
        self._number += done
        self.since_news = done if news else self.since_news + done
        self.since_change = done if change else self.since_change + done
        self.turns.append(PastTurn(done, turn.verb if repeats else "", repeats and turn.polls))

    def _backwards(self) -> Iterator[tuple[int, PastCall]]:
        return enumerate(reversed(self.calls), 1)

    def _note_progress(self, key: int, value: float) -> None:
        before, since = self._progress.get(key, (value, 0))
        self._progress.renew(key, (value, self._number if value > before else since))
