"""The steps of an agent: what it does at once, a call or the parallel calls of one response, as one symbol."""

from dataclasses import dataclass, replace

from agent_pipes.calls import Call
from agent_pipes.results import Result


@dataclass(slots=True)
class Deed:
    """A call and what came of it.

    exact:  the same for the same call with the same result (or whatever else `--key` says to compare).
    stuck:  the same for a call with the same target that went the same way: well, or failed in the same words.
    result: None until there is one.
    risen:  how far something has come, by what the result says of it; None where it says nothing, or nobody asked.
    """

    call: Call
    exact: int = 0
    stuck: int = 0
    result: Result | None = None
    failed: bool = False
    risen: float | None = None


class Step:
    """What an agent does at once. Its parallel calls count as one, in any order, and the same call twice as once."""

    __slots__ = ("_alone", "_answers", "_name", "_open", "deeds")

    def __init__(self, name: str = "", *, alone: bool = False) -> None:
        self._name = name
        self._alone = alone
        self._open: dict[str, Call] = {}
        self._answers = 0
        self.deeds: list[Deed] = []

    def takes(self, call: Call) -> bool:
        """Whether `call` belongs to this step: the same response made it, or, where the source cannot tell, it was made
        before any call of this step was answered."""
        if call.step or self._name:
            return call.step == self._name
        return not self._alone and not self._answers

    def begin(self, call: Call) -> None:
        self._open[call.id] = call

    def end(self, call: Call) -> bool:
        """Take the answered call off those that are open. False: it is of an earlier step."""
        self._answers += 1
        return self._open.pop(call.id, None) is not None

    @property
    def whole(self) -> bool:
        """Whether something has come of it, and nothing is waited for."""
        return bool(self.deeds) and not self._open

    @property
    def distinct(self) -> list[Deed]:
        """Its deeds; the same call made several times is one, and its results together are its result."""
        if len(self.deeds) == 1:
            return self.deeds
        by_call: dict[int, list[Deed]] = {}
        for deed in self.deeds:
            by_call.setdefault(deed.call.key, []).append(deed)
        return [replace(same[-1], exact=together([deed.exact for deed in same])) for same in by_call.values()]

    @property
    def exact(self) -> int:
        return together([deed.exact for deed in self.deeds])

    @property
    def stuck(self) -> int:
        return together([deed.stuck for deed in self.deeds])

    @property
    def failed(self) -> bool:
        return any(deed.failed for deed in self.deeds)

    @property
    def polls(self) -> bool:
        return any(deed.call.polls for deed in self.deeds)

    @property
    def name(self) -> str:
        verbs = dict.fromkeys(deed.call.verb for deed in self.deeds)
        return "+".join(verbs)

    def ids(self) -> list[str]:
        return [deed.call.id for deed in self.deeds if deed.call.id]


def together(symbols: list[int]) -> int:
    """One symbol for several, in any order."""
    if len(symbols) == 1:
        return symbols[0]
    distinct = sorted(set(symbols))
    return distinct[0] if len(distinct) == 1 else hash(tuple(distinct))
