"""What became of a call, and which results are the same: exactly, or in all but what changes by itself.

What changes by itself is of known types: times, UUIDs, addresses, names of temporary files, ids of processes, requests
and sessions; durations too where the call has failed. Never bare numbers, line numbers or counts: `3 failed` after
`4 failed` is progress.
"""

import re

import orjson

from agent_pipes.calls import canonical
from agent_pipes.event import Event

OK, FAILED, VOID = "ok", "failed", "void"

_NOT_ITS_OWN = frozenset({"rejected", "sibling", "interrupted", "api"})
_STOPPED = re.compile(
    r"The user doesn't want to (?:proceed|take this action)|\[Request interrupted by user|(?:<tool_use_error>)?Sibling tool call errored"
    r"|(?:Error: )?(?:Request )?[Aa]borted by user"
)
_EXIT = re.compile(
    r"""(?:Error: )?Exit code:? (-?\d+)|\{.*?['"]exit_?[cC]ode['"]: (-?\d+)|(?:Chunk ID|Wall time).{0,200}?Process exited with code (-?\d+)""", re.S
)


def outcome(event: Event) -> str:
    """What a `tool_result` or an `error` says became of its call: OK, FAILED, or VOID where that was not the agent's doing
    (its user said no, a parallel call failed, the request was given up).

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


KEPT = 160
"""Characters up to which a result's text is kept until it is compared: where calls do not repeat, that is never."""

ALIKE = 32
"""Bytes by which the sizes of two results that were cut may differ when they are otherwise the same."""


class Result:
    """A result, in the little that is kept of it to compare it with other results of the same call.

    symbol: the same for results that are the same. 64 bits.

    An event has of a long result only its head, and the digest of the whole. Equal digests are equal results. Where
    the digests differ and the heads do not, something has moved behind the head: that is progress. Where the heads
    differ only in what changes by itself, and the sizes hardly, so does the rest, as far as can be told.
    """

    __slots__ = ("_exact", "_failed", "_head", "_like", "_size", "symbol")

    def __init__(self, event: Event, *, failed: bool) -> None:
        data = event.data
        text = told(event)
        digest = data.get("result_digest")
        self._failed = failed
        self._exact = self.symbol = hash((failed, digest if type(digest) is str else text))
        self._size = self._head = 0
        size = data.get("result_bytes")
        if type(size) is int and size > len(text) and size > len(text.encode(errors="replace")):
            # It was cut: only its whole lines are compared, for where the cut falls depends on what changes by itself.
            text = text[: text.rfind("\n") + 1] or text
            self._size, self._head = size, hash(text)
        self._like: str | int = text if len(text) <= KEPT else hash(typed(text, failed=failed))

    def same(self, other: "Result") -> bool:
        if self._exact == other._exact:
            return True
        if self._failed != other._failed or abs(self._size - other._size) > ALIKE or (self._size and self._head == other._head):
            return False
        return self.like == other.like

    @property
    def like(self) -> int:
        """The same for results that differ only in what changes by itself."""
        if type(self._like) is str:
            self._like = hash(typed(self._like, failed=self._failed))
        return self._like  # type: ignore[return-value]


_PROGRESS = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%|\b([0-9]{1,9}) ?(?:/|of) ?([0-9]{1,9})\b|\bprogress[\"']?[:= ]{1,3}([0-9]+(?:\.[0-9]+)?)", re.I)


def progress(text: str) -> float | None:
    """How far something has come by its own account (`40 %`, `4/10`, `progress: 0.4`), the last such account in `text`."""
    accounts = _PROGRESS.findall(text[-2000:])
    if not accounts:
        return None
    percent, part, whole, value = accounts[-1]
    if part:
        return int(part) / int(whole) if int(whole) else None
    return float(percent or value)


# Each pattern begins with what the scanner looks for fastest, and looks around from there.
_TIMES = (
    r"[0-9](?<![\w.].)(?:"
    r"[0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}[0-9:.,]*(?:Z\b|[ ]?[+-][0-9]{2}:?[0-9]{2}\b)?"
    r"|[0-9]?:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
    r"|[0-9]{9,}(?:\.[0-9]+)?(?![\w.])"
    r"|x[0-9a-fA-F]{4,}"
)
_MOVING = re.compile(_TIMES + ")")
_MOVING_IN_FAILURE = re.compile(
    _TIMES + r"|[0-9]*(?:[.,][0-9]+)?[ ]?(?:[mµun]?s|secs?|seconds?|mins?|minutes?|m(?=[ ]?[0-9]+(?:\.[0-9]+)?[ ]?s))\b)"
)
_RULE = re.compile(r"([-=_*~#─━])\1{2,}")
_DASHED = re.compile(r"-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_TEMPORARY = re.compile(r"/tmp/(?:pytest-of-[\w.-]+/pytest-[0-9]+|[\w.-]*[0-9][\w.-]*|tmp[\w.-]+|[\w-]+\.[A-Za-z]{6,})|/var/folders/\w+/\w+/T/[\w.-]*")  # noqa: S108
_NAMED = re.compile(r"[iI][dD]s?\b[\"']?[ :=#]+[\"']?[\w-]*[0-9]")
_ID = re.compile(
    r"(\b(?:request|req|session|trace|span|correlation|message|msg|run|event|delivery|invocation|transaction|chunk|process|pg?|pp|t)[ _-]?ids?\b"
    r"[\"']?[ :=#]+[\"']?)[\w.:-]*[0-9][\w.:-]*", re.I
)  # fmt: skip
_SESSION = re.compile(r"(\b[sS]ession )(?:[\w-]*[A-Za-z_][\w-]*[0-9][\w-]*|[0-9]{4,})")
_MARKED = re.compile(r"\b(?:req|msg|toolu|call|chatcmpl|resp|run|sess|evt|thread|trace|span)[_-](?=[A-Za-z]*[0-9])[A-Za-z0-9]{6,}")
_UNDERSCORED = re.compile(r"[_-](?=[A-Za-z]{0,20}[0-9])[A-Za-z0-9]{6,}")
_TIMED = re.compile(r"(Wall time: |[dD]uration(?:_?[mM]s|_?[sS]econds)?[\"']?[:=] ?)[0-9.]+")


def typed(text: str, *, failed: bool) -> str:
    """`text` without what changes by itself; that of a call that has `failed`, without durations too.

    Linear in the text. An object or an array of JSON is read as one: the order of its keys is not what it says.
    """
    if text[:1] in ("{", "["):
        try:
            text = canonical(orjson.loads(text)).decode()
        except ValueError:
            pass
    if "/tmp/" in text or "/var/folders/" in text:  # noqa: S108
        text = _TEMPORARY.sub("<>", text)
    if _NAMED.search(text):
        text = _ID.sub(r"\1<>", text)
    if "ession " in text:
        text = _SESSION.sub(r"\1<>", text)
    if _UNDERSCORED.search(text):
        text = _MARKED.sub("<>", text)
    if "Wall time" in text or "uration" in text:
        text = _TIMED.sub(r"\1<>", text)
    if _DASHED.search(text):
        text = _UUID.sub("<>", text)
    if failed:
        return _RULE.sub(r"\1", _MOVING_IN_FAILURE.sub("<>", text))
    return _MOVING.sub("<>", text)
