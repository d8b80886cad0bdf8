"""Outcome of a call of Claude Code's, by the text of its result and the details beside it."""

from agent_pipes.agents.fields import string, text_of, within
from agent_pipes.agents.results import ended
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

_REFUSED = "The user doesn't want to "
_SIBLING = pattern(
    r"(?:<tool_use_error>)?(?:Sibling tool call errored|Cancelled: parallel tool call)"
)
_EXIT = pattern(r"Exit code (-?\d{1,9})\b")


def reason(text: str, denial: str) -> tuple[str, int | None]:
    """Return why a call failed, and its exit code.

    Only `exit` and `tool` are the agent's own failures.

    What a person refuses is not its failure. What a rule, a hook or a policy forbids is: it may not
    be tried again and again.

    text:   its result.
    denial: `toolDenialKind` of its line: `user-rejected`, `permission-rule`, `automode-blocked`,
            `interrupted`, `cancelled`.
    """
    if denial in ("interrupted", "cancelled"):
        return "interrupted", None
    if denial:
        return "rejected" if denial.startswith("user") else "tool", None
    if text.startswith(_REFUSED):
        return "rejected", None
    if (
        "[Request interrupted by user" in text
        or "Streaming fallback - tool execution discarded" in text[:200]
    ):
        return "interrupted", None
    if _SIBLING.match(text):
        return "sibling", None
    code = _EXIT.match(text)
    return ("exit", int(code[1])) if code else ("tool", None)


def goes_on(text: str, told: Fields) -> bool:
    """Return True if the command of a result still runs in the background.

    `told` is the line's `toolUseResult`.
    """
    return bool(string(told, "backgroundTaskId")) or text.startswith(
        "Command running in background with ID"
    )


def details_of(record: Fields) -> Fields:
    """Return what a line records of a result besides its text, {} if there is nothing."""
    return within(record, "toolUseResult" if "toolUseResult" in record else "tool_use_result")


def outcome(
    record: Fields, block: Fields, tool: str, limit: int, command: str = ""
) -> tuple[str, Fields]:
    """Return the type and the data of the event for a call's result.

    record: its line.
    block:  the result's block in the line's content.
    limit:  bytes of the result's head.
    command: the command line of a shell tool.
    """
    content = block.get("content")
    text = text_of(content)
    details = details_of(record)
    why, code = "", None
    if details.get("interrupted") is True:
        why = "interrupted"
    elif block.get("is_error") is True or (
        type(content) is dict and string(content, "type").endswith("_error")
    ):
        why, code = reason(text, string(record, "toolDenialKind"))
    event_type, data = ended(tool, text, limit, reason=why, code=code, command=command)
    if not why and goes_on(text, details):
        data["running"] = True
    return event_type, data
