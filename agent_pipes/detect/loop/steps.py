"""The steps of an agent: what it does at once, a call or the parallel calls of one response."""

from collections.abc import Sequence
from copy import copy

from agent_pipes.detect.calls import Call
from agent_pipes.detect.results import Result


class Deed:
    """A call and what came of it.

    before: how many deeds ago the same call was made, nearest first.
    began:  when, by the session's clock.
    exact:  the same for the same call with the same result (or whatever else is to be compared).
    stuck:  the same for a call with the same target that went the same way: well, or failed in the same words.
    result: None until there is one.
    others: the results of the same call made again at the same time.
    risen:  how far something has come, by what the result says of it; None where it says nothing, or nobody asked.
    """

    __slots__ = ("before", "began", "call", "exact", "failed", "others", "result", "risen", "stuck")

    def __init__(self, call: Call, before: Sequence[int] = (), began: float = 0.0) -> None:
        self.call = call
        self.before = before
        self.began = began
        self.exact = self.stuck = 0
        self.result: Result | None = None
        self.others: tuple[Result, ...] = ()
        self.failed = False
        self.risen: float | None = None

    def once(self, same: "list[Deed]") -> "Deed":
        """This deed for all of `same`, which are the same call made several times, this one last."""
        one = copy(self)
        one.exact = together([deed.exact for deed in same])
        one.others = tuple(deed.result for deed in same[:-1] if deed.result)
        return one


class Step:
    """What an agent does at once. Its parallel calls count as one, in any order.

    name:   what the calls of one response share, "" where the source cannot tell.
    open:   the deeds that wait for their result, by the call's id.
    done:   those of which something has come.
    failed: whether one of them has failed.
    """

    __slots__ = ("_alone", "_answers", "done", "failed", "name", "open")

    def __init__(self, name: str, *, alone: bool) -> None:
        self.name = name
        self.open: dict[str, Deed] = {}
        self.done: list[Deed] = []
        self.failed = False
        self._alone = alone
        self._answers = False

    def takes(self, call: Call) -> bool:
        """Whether `call` belongs to this step: the same response made it, or, where the source cannot tell, it was made
        before any call of this step was answered."""
        if call.step or self.name:
            return call.step == self.name
        return not self._alone and not self._answers

    def end(self, call: Call) -> Deed | None:
        """The deed of the call that was answered; None where it is of an earlier step."""
        self._answers = True
        return self.open.pop(call.id, None)

    @property
    def distinct(self) -> list[Deed]:
        """What was done; the same call made several times is one, and its results together are its result."""
        if len(self.done) == 1:
            return self.done
        by_call: dict[int, list[Deed]] = {}
        for deed in self.done:
            by_call.setdefault(deed.call.key, []).append(deed)
        return [same[0] if len(same) == 1 else same[-1].once(same) for same in by_call.values()]

    def symbols(self) -> tuple[int, int]:
        """What stands for the step, exactly, and for its targets and the way it went."""
        done = self.done
        if len(done) == 1:
            return done[0].exact, done[0].stuck
        return together([deed.exact for deed in done]), together([deed.stuck for deed in done])

    @property
    def polls(self) -> bool:
        return any([deed.call.polls for deed in self.done])

    @property
    def verb(self) -> str:
        return "+".join(dict.fromkeys([deed.call.verb for deed in self.done]))

    @property
    def ids(self) -> list[str]:
        return [deed.call.id for deed in self.done if deed.call.id]


def together(symbols: list[int]) -> int:
    """One symbol for several, in any order, the same one several times being one."""
    distinct = sorted(set(symbols))
    return distinct[0] if len(distinct) == 1 else hash(tuple(distinct))
