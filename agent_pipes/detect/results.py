"""What became of a call, and which results are the same: exactly, or in all but what changes by itself."""

import re
from collections import OrderedDict
from struct import Struct
from weakref import ReferenceType, ref

from agent_pipes.core.event import Event
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.text import typed
from agent_pipes.detect.calls import canonical

OK, FAILED, VOID, RUNNING = "ok", "failed", "void", "running"

_NOT_ITS_OWN = frozenset({"rejected", "sibling", "interrupted", "api"})
_STOPPED = pattern(
    r"The user doesn't want to (?:proceed|take this action)|\[Request interrupted by user|(?:<tool_use_error>)?Sibling tool call errored"
    r"|(?:Error: )?(?:Request )?[Aa]borted by user"
)
_EXIT = pattern(
    r"""(?:Error: )?Exit code:? (-?\d+)|\{.*?['"]exit_?[cC]ode['"]: (-?\d+)|(?:Chunk ID|Wall time).{0,200}?Process exited with code (-?\d+)""",
    re.S,
)


def outcome(event: Event) -> str:
    """What a `tool_result` or an `error` says became of its call: OK, FAILED, or VOID where that was not the agent's doing
    (its user said no, a parallel call failed, the request was given up). RUNNING: its command goes on, and how it ends
    will be said later, if ever.

    A store's failing command may stand in an ordinary `tool_result`, its exit code in the text alone.
    """
    data = event.data
    if event.type == "error":
        reason = data.get("reason")
        if not reason:
            return VOID if _STOPPED.match(told(event)) else FAILED
        return VOID if type(reason) is str and reason in _NOT_ITS_OWN else FAILED
    code = data.get("exit_code")
    if type(code) is int:
        return FAILED if code else OK
    if data.get("running") is True:
        return RUNNING
    if "result_digest" not in data:
        text = told(event)
        if text[:1] in ("{", "E", "C", "W") and (found := _EXIT.match(text, 0, 4096)):
            return FAILED if int(found[found.lastindex or 1]) else OK
    return OK


def told(event: Event) -> str:
    """The text of a result, as far as the event has it."""
    data = event.data
    for name in ("error", "result", "content_preview", "message"):
        value = data.get(name)
        if value is not None:
            return value if type(value) is str else canonical(value).decode(errors="replace")
    return ""


BUDGET = 8 << 20
"""Bytes of results that are kept until they are compared, of all sessions together: where calls do not repeat, that is never."""

OVERHEAD = 320
"""What keeping a result so takes beside its text."""

_row = Struct("=3q?")

ROW = _row.size
"""Bytes of what there is to know of a result, once it has been read."""

ALIKE = 32
"""Bytes by which the sizes of two results that were cut may differ when they are otherwise the same."""


class Result:
    """A result, in the little that is kept of it to compare it with other results of the same call.

    symbol: the same for results that are the same. 64 bits.

    Of a long result an event has only the head, and of the whole its size and its digest (`result_digest`), and perhaps
    the digest of what it says without what changes by itself (`result_like`). Where it has not, two such results whose
    digests differ are the same if their heads differ only in what changes by itself, and their sizes hardly. But where
    the heads of two successes do not differ at all, something has moved behind them: that is taken for progress. What
    fails says at its end how long it took, and a failure more or less is longer than that.
    """

    __slots__ = ("__weakref__", "_exact", "_failed", "_head", "_like", "_size", "symbol")

    def __init__(self, event: Event, *, failed: bool) -> None:
        data = event.data
        text = told(event)
        digest, like, size = (
            data.get("result_digest"),
            data.get("result_like"),
            data.get("result_bytes"),
        )
        self._failed = failed
        self._exact = self.symbol = hash((failed, digest if type(digest) is str else text))
        self._size = self._head = 0
        self._like: str | int
        if type(like) is str:
            self._like = hash(like)
        elif type(size) is int and size > len(text) and size > len(text.encode(errors="replace")):
            self._size, self._head = size, hash(text)
            self._like = hash(_before_the_cut(typed(text, failed=failed), len(text)))
        else:
            self._like = text
            _texts.keep(self, len(text) + OVERHEAD)

    @classmethod
    def of_row(cls, row: bytes | bytearray, at: int = 0) -> "Result":
        """The result of which `row` was what there is to know."""
        result: Result = cls.__new__(cls)
        result.symbol, result._exact, result._like, result._failed = _row.unpack_from(row, at)
        result._size = result._head = 0
        return result

    @property
    def row(self) -> bytes | None:
        """What there is to know of a result, in a sixth of what an object takes; None for one that nobody has read yet, or
        that was cut."""
        if self._size or type(self._like) is str:
            return None
        return _row.pack(self.symbol, self._exact, self._like, self._failed)

    def same(self, other: "Result") -> bool:
        if self._exact == other._exact:
            return True
        if self._failed != other._failed or abs(self._size - other._size) > ALIKE:
            return False
        if self._size and not self._failed and self._head == other._head:
            return False
        return self.like == other.like

    @property
    def like(self) -> int:
        """The same for results that differ only in what changes by itself."""
        if type(self._like) is str:
            self._like = hash(typed(self._like, failed=self._failed))
        return self._like  # type: ignore[return-value]


def failure_of(event: Event) -> Result:
    """What an event says of a call that has failed; kept once, however many stages keep it."""
    return event.once("failure", _failure)


def _failure(event: Event) -> Result:
    return Result(event, failed=True)


class _Texts:
    """The results that are kept with their texts, oldest first: the oldest are read for what they say where there are too
    many. Most are forgotten before, with the call that they answered."""

    def __init__(self) -> None:
        self._kept: OrderedDict[ReferenceType[Result], int] = OrderedDict()
        self._size = 0
        self._forgotten = self._forget

    def keep(self, result: Result, size: int) -> None:
        self._kept[ref(result, self._forgotten)] = size
        self._size += size
        while self._size > BUDGET:
            oldest = next(iter(self._kept))
            if kept := oldest():
                kept.like  # noqa: B018
            self._forget(oldest)

    def _forget(self, reference: "ReferenceType[Result]") -> None:
        self._size -= self._kept.pop(reference, 0)


_texts = _Texts()

TARGETS, WAYS = 16, 4
"""Targets of which the ways of failing are known again, and how many of each: what was heard of longest ago is forgotten."""


class Failures:
    """In which ways each target has failed lately."""

    __slots__ = ("_ways",)

    def __init__(self) -> None:
        self._ways: dict[int, tuple[Result, ...]] = {}

    def way(self, target: int, result: Result) -> int:
        """What stands for the way in which `target` has failed now: the same as for an earlier failure of it that was the same."""
        ways = self._ways.pop(target, ())
        way = next((each for each in ways if result.same(each)), None)
        if way is None:
            way = result
            ways = (*ways[1 - WAYS :], result)
        self._ways[target] = ways
        if len(self._ways) > TARGETS:
            del self._ways[next(iter(self._ways))]
        return way.symbol


def _before_the_cut(text: str, size: int) -> str:
    """Of a typed head that had `size` characters what was surely before its cut, wherever that fell: it depends on how
    long what changes by itself was."""
    kept = (size - size // 4) & ~1023
    return text[:kept] if 0 < kept < len(text) else text[: text.rfind("\n") + 1] or text
