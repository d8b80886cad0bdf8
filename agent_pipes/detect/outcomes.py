"""Outcome of a call: the one place that decides it."""

import re
from enum import Enum

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import canonical
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.answers import is_answer
from agent_pipes.shell.summaries import tool_of, verdict


class Outcome(Enum):
    """The ways in which a call ends.

    OK:      it succeeded, or nothing tells that it did not.
    FAILED:  it failed by the agent's own doing.
    ANSWER:  its exit status is an answer ("no match"), not a failure.
    UNKNOWN: a test or a build whose status is hidden, and whose output does not tell. It is
             neither a success nor a failure.
    VOID:    it did not run to its end for another reason: its user refused it, a parallel call
             failed, the request was given up.
    RUNNING: its command goes on; a later result may tell how it ends.
    """

    OK = "ok"
    FAILED = "failed"
    ANSWER = "answer"
    UNKNOWN = "unknown"
    VOID = "void"
    RUNNING = "running"


_VOID_REASONS = frozenset({"rejected", "sibling", "interrupted", "api"})
_VOID_TEXT = pattern(
    r"The user doesn't want to (?:proceed|take this action)|\[Request interrupted by user"
    r"|(?:<tool_use_error>)?Sibling tool call errored|(?:Error: )?(?:Request )?[Aa]borted by user"
)
_EXIT_CODE = pattern(
    r"""(?:Error: )?Exit code:? (-?\d+)|\{.*?['"]exit_?[cC]ode['"]: (-?\d+)"""
    r"""|(?:Chunk ID|Wall time).{0,200}?Process exited with code (-?\d+)""",
    re.S,
)
_ENDED_IN_BACKGROUND = pattern(r"<exit_code>(-?\d{1,9})</exit_code>")
OUR_DENIAL = "agent-strace denies this call once"
"""Words in a denial that delivers a hint: such a call did not fail by the agent's doing."""

_NO_MATCH = pattern(r"(?:Error: )?No (?:matches|files|results) found", re.I)
_TIMED_OUT = pattern(
    r"\b(?:[Cc]ommand|[Tt]ool|[Cc]all|[Pp]rocess|[Ee]xecution) timed out\b|^timed out"
)

_COMPLAINT = pattern(
    r"\b(?:error|fatal|exception)\b\W|expected .{1,80} got|unknown .{0,40}(?:field|option|argument)"
    r"|\bnot found\b|\bno such\b|\bdenied\b|\bunauthorized\b|\binvalid\b",
    re.I,
)

MAX_COMPLAINT_CHARS = 1000
"""Characters of the longest answer that is taken for an error."""

TIMEOUT_STATUS = 124
"""Exit status of timeout(1)."""

_HEADER_CHARS = 4096
"""Characters of a result in which a store may have written the exit code."""


def outcome(event: Event, command: str = "", tool: str = "") -> Outcome:
    """Return the outcome that a `tool_result` or an `error` gives its call.

    command: the command line of a shell tool.
    tool:    the tool's name.
    """
    data = event.data
    if event.type == "error":
        return _of_error(event, command, tool)
    code = data.get("exit_code")
    if type(code) is not int:
        if data.get("running") is True:
            return Outcome.RUNNING
        code = _written_exit_code(event, tool) or 0
    if code:
        answer = is_answer(command, code, result_text(event))
        return Outcome.ANSWER if answer else Outcome.FAILED
    return _of_summary(event, command) if command else Outcome.OK


def _of_error(event: Event, command: str, tool: str) -> Outcome:
    text, reason, code = result_text(event), event.data.get("reason"), event.data.get("exit_code")
    if OUR_DENIAL in text[:_HEADER_CHARS] or (type(reason) is str and reason in _VOID_REASONS):
        return Outcome.VOID
    if not reason and _VOID_TEXT.match(text):
        return Outcome.VOID
    if command:
        if type(code) is not int:
            found = _EXIT_CODE.match(text, 0, _HEADER_CHARS)
            code = int(found[found.lastindex or 1]) if found else 0
        return Outcome.ANSWER if is_answer(command, code, text) else Outcome.FAILED
    if kind_of(tool) in ("search", "list") and _NO_MATCH.match(text):
        return Outcome.ANSWER
    return Outcome.FAILED


def _written_exit_code(event: Event, tool: str) -> int | None:
    """Return the exit code that a store, or a tool that waits, has written into a result's text."""
    code = ended_in_background(event, tool)
    if code is not None or "result_digest" in event.data:
        return code
    return _code_of_store(event)


def ended_in_background(event: Event, tool: str) -> int | None:
    """Return the exit code of a background command for which a tool has waited."""
    if kind_of(tool) != "wait":
        return None
    ended = _ENDED_IN_BACKGROUND.search(result_text(event), 0, _HEADER_CHARS)
    return int(ended[1]) if ended else None


def _code_of_store(event: Event) -> int | None:
    text = result_text(event)
    if text[:1] not in ("{", "E", "C", "W"):
        return None
    found = _EXIT_CODE.match(text, 0, _HEADER_CHARS)
    return int(found[found.lastindex or 1]) if found else None


def _of_summary(event: Event, command: str) -> Outcome:
    """Return the outcome of a command whose status is 0, which may be that of another program."""
    summary: object = event.data.get("outcome")
    if summary not in ("failed", "passed"):
        tool = tool_of(command)
        if not tool.is_hidden:
            return Outcome.OK
        summary = None if is_cut(event) else verdict(tool, result_text(event))
    if summary is None:
        return Outcome.UNKNOWN
    return Outcome.FAILED if summary == "failed" else Outcome.OK


def is_cut(event: Event) -> bool:
    """Return True if the event has only the head of the result."""
    size = event.data.get("result_bytes")
    text = result_text(event)
    return type(size) is int and size > len(text) and size > len(text.encode(errors="replace"))


def result_end(event: Event) -> str:
    """Return the end of a result's text; "" if the event has only the head."""
    return event.text("result_tail") or ("" if is_cut(event) else result_text(event))


def complains(text: str) -> bool:
    """Return True if a short answer reads as an error."""
    return len(text) <= MAX_COMPLAINT_CHARS and bool(_COMPLAINT.search(text))


def timed_out(event: Event) -> bool:
    """Return True if the call was killed by its timeout."""
    if event.type != "error" and event.data.get("exit_code") != TIMEOUT_STATUS:
        return False
    return bool(_TIMED_OUT.search(result_text(event)[:_HEADER_CHARS]))


def result_text(event: Event) -> str:
    """Return the text of a result, as far as the event has it."""
    data = event.data
    for name in ("error", "result", "content_preview", "message"):
        value = data.get(name)
        if value is not None:
            return value if type(value) is str else canonical(value).decode(errors="replace")
    return ""
