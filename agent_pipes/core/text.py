"""Masks the parts of a text that change by themselves.

These are of known types only: times, UUIDs, addresses, names of temporary files, ids of processes,
requests and sessions; of a failed call durations, too. Bare numbers, line numbers and counts are
kept: `3 failed` after `4 failed` is progress, and so is `[3s] compiling` of a call that succeeds.
"""

import re

import orjson

from agent_pipes.core.lazy_regex import pattern

_PROGRESS = pattern(
    r"(?<![0-9.])([0-9]{1,9}(?:\.[0-9]{1,9})?) ?%|\b([0-9]{1,9}) ?(?:/|of) ?([0-9]{1,9})\b"
    r"|\bprogress[\"']?[:= ]{1,3}([0-9]{1,9}(?:\.[0-9]{1,9})?)",
    re.I,
)


def progress(text: str) -> float | None:
    """Return the last account of progress in `text` (`40 %`, `4/10`, `progress: 0.4`)."""
    accounts = _PROGRESS.findall(text[-2000:])
    if not accounts:
        return None
    percent, part, whole, value = accounts[-1]
    if part:
        return int(part) / int(whole) if int(whole) else None
    return float(percent or value)


def _named(match: re.Match[str]) -> str:
    return match[1] + "<>"


def _id(match: re.Match[str]) -> str:
    at = match.start()
    owner = match.string[max(0, at - MAX_OWNER_CHARS) : at]
    return _named(match) if _OWNER_OF_ID.search(owner) else match[0]


_HEAD = pattern(
    r"<untrusted_context>\s*|(?:Error: )?Exit code:? -?\d+\s*|Command: .*\nDirectory: .*\n"
    r"|(?:(?:Chunk ID|Wall time|Process|Script|Exit code|Original token|Total output).*\n){1,8}"
    r"(?=Output:\n)|(?:Output|Stdout): ?\n?"
)
_FOOT = pattern(
    r"(?:\s*^(?:(?:Error|Stderr): \((?:none|empty)\)|(?:Exit Code|Signal): [\w()-]+"
    r"|(?:Background PIDs|Process Group PGID): [^\n]*"
    r"|Command exited with code -?\d+|</untrusted_context>)$)+\s*\Z",
    re.M,
)
_SILENCE = frozenset({"(empty)", "(no output)", "(Bash completed with no output)"})
"""Texts that clients write for an empty output."""

MAX_FRAME_CHARS = 400
"""Characters of the longest head, and of the longest foot, that a client adds to an output."""


def without_frame(text: str) -> str:
    """Return a command's output without the lines that clients write around it.

    They name the exit status, the time it took, the process group.
    """
    at = 0
    while found := _HEAD.match(text, at, at + MAX_FRAME_CHARS):
        at = found.end()
    if at or "Command exited with code" in text[-MAX_FRAME_CHARS:]:
        foot = _FOOT.search(text, max(at, len(text) - MAX_FRAME_CHARS))
        text = text[at : foot.start() if foot else len(text)]
    return "" if text.strip() in _SILENCE else text


MAX_MASKED_CHARS = 1 << 20
"""Characters of a text that are masked; the rest is compared as it is."""

# Each pattern begins with what the regex engine finds fastest. All repetition is bounded, so that
# matching is linear.
_TIMES = (
    r"[0-9](?<![\w.].)(?:"
    r"[0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}[0-9:.,]*(?:Z\b|[ ]?[+-][0-9]{2}:?[0-9]{2}\b)?"
    r"|[0-9]{3}[-_]?[0-9]{2}[-_]?[0-9]{2}[T_-][0-9]{2}[-_]?[0-9]{2}[0-9_-]*Z?"
    r"|[0-9]?:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
    r"|[0-9]{9,}(?:\.[0-9]+)?(?![\w.])"
    r"|x[0-9a-fA-F]{4,}"
)
_MOVING = pattern(_TIMES + ")")
_MOVING_IN_FAILURE = pattern(
    _TIMES + r"|[0-9]?:[0-9]{2}(?:\.[0-9]+|[ ](?=\+))|[0-9]*(?:\.[0-9]+)?[ ]?[KMG]i?B\b"
    r"|[0-9]*(?:[.,][0-9]+)?[ ]?"
    r"(?:[mµun]?s|secs?|seconds?|mins?|minutes?|m(?=[ ]?[0-9]+(?:\.[0-9]+)?[ ]?s))\b)"
)
_RULE = pattern(r"([-=_*~#─━])\1{2,}")
_DASHED = pattern(r"-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_UUID = pattern(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_TEMPORARY = pattern(
    r"/tmp/(?:pytest-of-[\w.-]{1,80}/pytest-[0-9]+|[\w.-]{0,80}[0-9][\w.-]{0,80}|tmp[\w.-]+|[\w-]{1,80}\.[A-Za-z]{6,80})"  # noqa: S108
    r"|/var/folders/\w{1,80}/\w{1,80}/T/[\w.-]{0,80}"
)
_ID = pattern(r"([iI][dD]s?\b[\"']?[ :=#]{1,3}[\"']?)[\w.-]{0,80}[0-9][\w.-]{0,80}")
_OWNER_OF_ID = pattern(
    r"\b(?:request|req|session|trace|span|correlation|message|msg|run|event|delivery|invocation"
    r"|transaction|chunk|process|pg?|pp|t)[ _-]?\Z",
    re.I,
)
"""Ids of these are volatile. It is tried before an id only: twelve times as fast as one pattern."""

MAX_OWNER_CHARS = 16
"""Characters before an id in which its owner is named."""

_SESSION = pattern(
    r"(ession (?<=\b[sS]ession ))"
    r"(?:(?=[\w-]{0,40}[A-Za-z_])(?=[\w-]{0,40}[0-9])[\w-]{1,80}|[0-9]{4,20})"
)
_MARKED = pattern(
    r"\b(?:req|msg|toolu|call|chatcmpl|resp|run|sess|evt|thread|trace|span)[_-](?=[A-Za-z]{0,20}[0-9])[A-Za-z0-9]{6,80}"
)
_UNDERSCORED = pattern(r"[_-](?=[A-Za-z]{0,20}[0-9])[A-Za-z0-9]{6,}")
_BACKGROUND = pattern(r"(in background with ID: )[\w-]{1,80}")
_WALL_TIME = pattern(r"(Wall time: )[0-9.]+")
_DURATION = pattern(r"(uration(?<=[dD]uration)(?:_?[mM]s|_?[sS]econds)?[\"']?[:=] ?)[0-9.]+")


_TIME_WORD = pattern(r"(?i)\b(?:secs?|seconds?|m?s|duration\w{0,10}|elapsed|took|finished)\b")
_DECIMAL = pattern(r"[0-9]+\.[0-9]+")
_HASH = pattern(r"[0-9a-f]{12,64}")
_OF_TOOLS = (
    ("eed", pattern(r"(?i:\bseed\b\W{0,4}[0-9]+)")),
    ("up-to-date", pattern(r"\b[0-9]+ (?:executed|up-to-date|from cache)\b")),
    ("(cached)", pattern(r"\(cached\)")),
    ("wallclock", pattern(r"\b[0-9]+ wallclock")),
    ("#", pattern(r"^#[0-9]+ [0-9]+\.[0-9]+", re.M)),
    ("_id>", pattern(r"(?<=_id>)[\w-]{1,80}(?=</)")),
    ("goroutine ", pattern(r"(?<=goroutine )[0-9]+")),
    ("panicked at", pattern(r"(?<=' \()[0-9]+(?=\) panicked at)")),
    ("localhost:", pattern(r"(?<=localhost:)[0-9]{5}\b")),
    ("127.0.0.1:", pattern(r"(?<=127\.0\.0\.1:)[0-9]{5}\b")),
)
"""Parts of a failure that tools change from run to run, each after a text without which none is."""


def comparable(text: str, *, failed: bool) -> str:
    """Return `text` as it is compared with other results: masked, the lines of a failure sorted.

    Tools that run tests in parallel print them in any order.
    """
    masked = mask_volatile(text, failed=failed)
    return "\n".join(sorted(masked.split("\n"))) if failed else masked


def _hash(match: re.Match[str]) -> str:
    """Return the mask of a hash; a number and a word are none."""
    return match[0] if match[0].isdecimal() or match[0].isalpha() else "<>"


def _without_decimals(line: str) -> str:
    return _DECIMAL.sub("<>", line) if _DECIMAL.search(line) and _TIME_WORD.search(line) else line


def mask_volatile(text: str, *, failed: bool) -> str:
    """Return `text` with volatile parts replaced by `<>`; of a `failed` call, durations too.

    Takes linear time. The keys of a JSON object are sorted.
    """
    if len(text) > MAX_MASKED_CHARS:
        return mask_volatile(text[:MAX_MASKED_CHARS], failed=failed) + text[MAX_MASKED_CHARS:]
    if text[:1] in ("{", "["):
        try:
            text = orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
        except (ValueError, TypeError):
            pass
    if "/tmp/" in text or "/var/folders/" in text:  # noqa: S108
        text = _TEMPORARY.sub("<>", text)
    text = _ID.sub(_id, text)
    text = _SESSION.sub(_named, text)
    if _UNDERSCORED.search(text):
        text = _MARKED.sub("<>", text)
    text = _BACKGROUND.sub(_named, text)
    text = _DURATION.sub(_named, _WALL_TIME.sub(_named, text))
    if _DASHED.search(text):
        text = _UUID.sub("<>", text)
    if failed:
        for sign, expression in _OF_TOOLS:
            if sign in text:
                text = expression.sub("<>", text)
        text = _MOVING_IN_FAILURE.sub("<>", _HASH.sub(_hash, text))
        return _RULE.sub("-", "\n".join(map(_without_decimals, text.split("\n"))))
    return _MOVING.sub("<>", text)
