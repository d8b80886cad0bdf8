"""How a call ended: the one place that decides it."""

import re
from enum import Enum

from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import canonical
from agent_pipes.core.lazy_regex import pattern


class Outcome(Enum):
    """How a call ended.

    OK:      it succeeded, or that cannot be told.
    FAILED:  it failed by the agent's own doing.
    VOID:    it did not run to its end for another reason: its user refused it, a parallel call
             failed, the request was given up.
    RUNNING: its command goes on; a later result may tell how it ends.
    """

    OK = "ok"
    FAILED = "failed"
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
OUR_DENIAL = "agent-strace denies this call"
"""Words in every denial by our own hook: such a call did not fail by the agent's doing."""

_HEADER_CHARS = 4096
"""Characters of a result in which a store may have written the exit code."""


def outcome(event: Event) -> Outcome:
    """Return what a `tool_result` or an `error` tells of the end of its call.

    A store may record a failing command as an ordinary `tool_result` whose exit code is only in
    its text.
    """
    data = event.data
    if event.type == "error":
        if OUR_DENIAL in result_text(event)[:_HEADER_CHARS]:
            return Outcome.VOID
        reason = data.get("reason")
        if not reason:
            return Outcome.VOID if _VOID_TEXT.match(result_text(event)) else Outcome.FAILED
        void = type(reason) is str and reason in _VOID_REASONS
        return Outcome.VOID if void else Outcome.FAILED
    code = data.get("exit_code")
    if type(code) is int:
        return Outcome.FAILED if code else Outcome.OK
    if data.get("running") is True:
        return Outcome.RUNNING
    if "result_digest" not in data:
        text = result_text(event)
        if text[:1] in ("{", "E", "C", "W"):
            found = _EXIT_CODE.match(text, 0, _HEADER_CHARS)
            if found:
                return Outcome.FAILED if int(found[found.lastindex or 1]) else Outcome.OK
    return Outcome.OK


def result_text(event: Event) -> str:
    """Return the text of a result, as far as the event has it."""
    data = event.data
    for name in ("error", "result", "content_preview", "message"):
        value = data.get(name)
        if value is not None:
            return value if type(value) is str else canonical(value).decode(errors="replace")
    return ""
