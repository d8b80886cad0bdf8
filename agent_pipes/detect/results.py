"""Equality of results: exact, or except for volatile parts."""

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.text import comparable, mask_volatile
from agent_pipes.detect.outcomes import is_cut, result_text

MAX_SIZE_DIFFERENCE_BYTES = 32
"""Sizes of two cut results may differ by so much when they are otherwise the same."""

MAX_TARGETS = 16
"""Targets of one agent whose ways of failing are remembered."""

_DIGITS = pattern(r"\d+")

MAX_WAYS = 4
"""Ways of failing that are remembered of one target."""


class Result:
    """A result, reduced to what is needed to compare it with other results of the same call.

    An event has only the head of a long result, with the size and the digest of the whole
    (`result_digest`), and perhaps the digest of the masked whole (`result_like`). Without the
    latter, two such results with different digests are the same if their heads are equal once
    masked and their sizes nearly so. Two successes whose heads are equal to the letter are
    different: something has changed beyond the head, which is taken for progress. A failure
    prints at its end how long it took, and may.

    length: characters of the text that the event has.
    symbol: equal for results that are the same.
    """

    __slots__ = (
        "_digest",
        "_failed",
        "_head",
        "_masked",
        "_size",
        "_text",
        "_words",
        "length",
        "symbol",
    )

    def __init__(self, event: Event, *, failed: bool) -> None:
        data = event.data
        text = result_text(event)
        digest = data.get("result_digest")
        masked = data.get("result_like")
        self._failed = failed
        self._digest = self.symbol = hash((failed, digest if type(digest) is str else text))
        self._size = self._head = 0
        self._masked: int | None = None
        self._words = self._digest
        self._text = ""
        self.length = len(text)
        if type(masked) is str:
            self._masked = hash(masked)
        else:
            # Masking takes a hundred times as long as hashing, and most results are compared
            # with none.
            self._text = text
            if is_cut(event):
                self._size, self._head = data["result_bytes"], hash(text)

    def same(self, other: "Result") -> bool:
        """Return True if the two differ only in what changes by itself."""
        if self._digest == other._digest:
            return True
        if self._failed != other._failed:
            return False
        if abs(self._size - other._size) > MAX_SIZE_DIFFERENCE_BYTES:
            return False
        if self._size and not self._failed and self._head == other._head:
            return False
        return self.masked == other.masked

    @property
    def masked(self) -> int:
        """Hash of the result without what changes by itself."""
        if self._masked is None:
            if self._size:
                masked = _before_cut(
                    mask_volatile(self._text, failed=self._failed), len(self._text)
                )
            else:
                masked = comparable(self._text, failed=self._failed)
            self._masked = hash(masked)
            self._words = hash(_DIGITS.sub("", masked))
            self._text = ""
        return self._masked or 0

    @property
    def words(self) -> int:
        """Hash of the result without numbers, too."""
        return self._words if self.masked else 0


def _before_cut(text: str, size: int) -> str:
    """Return the part of a masked head that is surely before its cut.

    The head had `size` characters; where its cut falls depends on the length of what is masked.
    """
    kept = (size - size // 4) & ~1023
    return text[:kept] if 0 < kept < len(text) else text[: text.rfind("\n") + 1] or text


class FailureModes:
    """In which ways each target has failed lately."""

    __slots__ = ("_modes",)

    def __init__(self) -> None:
        self._modes: BoundedDict[int, tuple[Result, ...]] = BoundedDict(MAX_TARGETS)

    def mode(self, target: int, result: Result) -> int:
        """Return the symbol of a failure, equal to that of an earlier one that was the same."""
        modes = self._modes.get(target, ())
        mode = next((each for each in modes if result.same(each)), None)
        if mode is None:
            mode = result
            modes = (*modes[1 - MAX_WAYS :], result)
        self._modes.renew(target, modes)
        return mode.symbol
