"""Turn of an agent: one call, or the parallel calls of one response."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent_pipes.detect.calls import Call
from agent_pipes.detect.outcomes import complains, result_text
from agent_pipes.detect.results import Result

MAX_TURN_CALLS = 256
"""Calls of one turn: calls that are never answered must not make it grow."""


@dataclass(slots=True)
class CallOutcome:
    """A call, and its result as far as there is one.

    before:   distances, in calls, to the same call made earlier; nearest first.
    began:    when, by the session's clock, seconds.
    exact:    symbol of the call with its result, or of whatever else `--key` compares.
    stuck:    symbol of its target and of the way it ended: well, or failed in the same words.
    others:   results of the same call made again in the same turn.
    progress: how far something has come, by the result's own account; None if it has none.
    """

    call: Call
    before: Sequence[int] = ()
    began: float = 0.0
    exact: int = 0
    stuck: int = 0
    result: Result | None = None
    others: tuple[Result, ...] = ()
    failed: bool = False
    progress: float | None = None

    @property
    def looks(self) -> bool:
        """True if it has changed nothing and has not failed."""
        return not self.failed and self.call.looks

    @property
    def complains(self) -> bool:
        """True if it succeeded, and its result is an error."""
        answer = self.call.answer
        return not self.failed and answer is not None and complains(result_text(answer))


class Turn:
    """The calls that an agent makes at once. They count as one, in any order.

    name:   shared by the calls of one response, "" if the source cannot tell.
    open:   calls that wait for their result.
    done:   calls that were answered.
    failed: one of them has failed.
    """

    __slots__ = ("_alone", "_answered", "done", "failed", "name", "open")

    def __init__(self, name: str, *, alone: bool) -> None:
        self.name = name
        self.open: dict[Call, CallOutcome] = {}
        self.done: list[CallOutcome] = []
        self.failed = False
        self._alone = alone
        self._answered = False

    def takes(self, call: Call) -> bool:
        """Return True if `call` belongs to this turn.

        It does if the same response made it or, if the source cannot tell, if it was made before
        any call of this turn was answered.
        """
        if len(self.open) + len(self.done) >= MAX_TURN_CALLS:
            return False
        if call.step or self.name:
            return call.step == self.name
        return not self._alone and not self._answered

    def answer(self, call: Call) -> CallOutcome | None:
        """Return the open call that was answered; None if it belongs to an earlier turn."""
        self._answered = True
        return self.open.pop(call, None)

    @property
    def distinct(self) -> list[CallOutcome]:
        """The calls; the same call made several times is one, with all results together."""
        if len(self.done) == 1:
            return self.done
        by_call: dict[int, list[CallOutcome]] = {}
        for made in self.done:
            by_call.setdefault(made.call.key, []).append(made)
        return [same[0] if len(same) == 1 else _merged(same) for same in by_call.values()]

    def symbols(self) -> tuple[int, int]:
        """Symbols of the whole turn: exact and stuck, see CallOutcome."""
        return (
            unordered([made.exact for made in self.done]),
            unordered([made.stuck for made in self.done]),
        )

    @property
    def polls(self) -> bool:
        """True if one of its calls only waits."""
        return any(made.call.polls for made in self.done)

    @property
    def looks(self) -> bool:
        """True if none of its calls has changed anything or failed."""
        return all(made.looks for made in self.done)

    def drop(self, id: str) -> None:
        """Drop the call `id`: a script of which a new call of this turn is a part."""
        for call in self.open:
            if call.id == id:
                del self.open[call]
                return

    @property
    def verb(self) -> str:
        """The turn in a word, or one for each kind of call."""
        return "+".join(dict.fromkeys(made.call.verb for made in self.done))

    @property
    def ids(self) -> list[str]:
        """Ids of its calls."""
        return [made.call.id for made in self.done if made.call.id]


def _merged(same: list[CallOutcome]) -> CallOutcome:
    """Return one call for the same call made several times in one turn."""
    return replace(
        same[-1],
        exact=unordered([made.exact for made in same]),
        others=tuple(made.result for made in same[:-1] if made.result),
    )


def unordered(symbols: list[int]) -> int:
    """Return one symbol for a set of symbols."""
    distinct = sorted(set(symbols))
    return distinct[0] if len(distinct) == 1 else hash(tuple(distinct))
