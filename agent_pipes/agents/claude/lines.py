"""Contents of one line of Claude Code's, in the form of any version."""

from typing import Any

from agent_pipes.agents.fields import string, time_of
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

_CONVERSATION = frozenset({"user", "assistant", "system", "progress", "attachment"})
_BESIDE = frozenset(
    {
        "queue-operation",
        "last-prompt",
        "ai-title",
        "custom-title",
        "agent-name",
        "mode",
        "permission-mode",
        "atis-latch",
        "pr-link",
    }
)


def may_matter(line: bytes) -> bool:
    """Return False if a line is certain to give no event.

    A type's name in quotes stands in a line of that type. In a string it would stand with its
    quotes escaped, so what an agent reads or writes does not make a line matter: half of a
    transcript's lines are progress, and do not.
    """
    return (
        # Where it stands in most lines that matter, so that the long ones need not be searched to
        # their end.
        line.find(b'"user"', 0, 600) >= 0
        or line.find(b'"assistant"', 0, 600) >= 0
        or b'"user"' in line
        or b'"assistant"' in line
        or b'"system"' in line
        or b'"queued_command"' in line
        or b'"result"' in line
        or (b'"stream_event"' in line and b'"content_block_delta"' not in line)
    )


def recognises(record: Fields) -> bool:
    """Return True for a line of a transcript or of `--output-format stream-json`."""
    kind = record.get("type")
    if kind == "file-history-snapshot":
        return "snapshot" in record
    if kind == "summary":
        return "leafUuid" in record
    if type(kind) is not str or not (string(record, "sessionId") or string(record, "session_id")):
        return False
    if kind in _BESIDE:
        return "sessionId" in record
    if kind == "system" and record.get("subtype") == "init":
        return "claude_code_version" in record or "slash_commands" in record
    message = record.get("message")
    if "systemPayload" in record or (type(message) is dict and "parts" in message):
        # Qwen Code keeps its sessions in much the same form.
        return False
    return kind in _CONVERSATION and (
        type(message) is dict or "uuid" in record or type(record.get("data")) is dict
    )


class Line:
    """A line of the conversation.

    id:        its uuid, or what serves as one.
    agent:     the subagent's id, "" in the main thread; `caller` is the call that started it, where
               the line says so,
               and `kind` what kind of agent it is.
    sidechain: it is not of the main thread.
    pipe:      it came on a pipe, where lines carry no time and counts are those that a response
               begins with.
    """

    __slots__ = ("record", "message", "id", "time", "agent", "caller", "kind", "sidechain", "pipe")

    def __init__(self, record: Fields, id: str, arrival: float, path: str) -> None:
        message = record.get("message")
        self.record = record
        self.message: Fields = message if type(message) is dict else {}
        self.id = string(record, "uuid") or id
        self.time = time_of(record, arrival)
        self.caller = string(record, "parent_tool_use_id")
        self.agent = string(record, "agentId") or self.caller
        self.kind = string(record, "attributionAgent")
        self.sidechain = bool(self.agent) or record.get("isSidechain") is True
        self.pipe = "sessionId" not in record and "session_id" in record
        if self.sidechain and not self.agent:
            self.agent = _agent_of(path)

    def inlined(self) -> "Line | None":
        """Return the subagent's line that this one copies.

        Versions 2.1.0 to 2.1.6x copy them beside the subagent's own file.
        """
        data = self.record.get("data")
        inner = (
            data.get("message")
            if type(data) is dict and data.get("type") == "agent_progress"
            else None
        )
        if type(inner) is not dict or type(data) is not dict:
            return None
        line = Line(
            {"sessionId": self.record.get("sessionId"), "cwd": self.record.get("cwd"), **inner},
            self.id,
            self.time,
            "",
        )
        line.caller = string(self.record, "parentToolUseID")
        line.agent = string(data, "agentId") or line.caller
        line.sidechain = True
        return line


_HARNESS = (
    "<command-",
    "<local-command",
    "<bash-",
    "<task-notification",
    "<system-reminder",
    "<user-prompt-submit-hook",
    "<agent-message",
    "<teammate-message",
    "<channel",
    "[Request interrupted",
    "Stop hook feedback",
    "Caveat: The messages below",
    "This session is being continued from a previous conversation",
)
"""How texts begin that no person typed to the agent, where the line itself does not say so."""


def is_persons(record: Fields, sidechain: bool, text: str) -> bool:
    """Return True if a user's line is a prompt by a person: newer versions say so themselves."""
    if any(
        record.get(key) is True
        for key in (
            "isMeta",
            "isCompactSummary",
            "isVisibleInTranscriptOnly",
            "turnCompanion",
            "isSynthetic",
        )
    ):
        return False
    origin = record.get("origin")
    if type(origin) is dict and type(origin.get("kind")) is str:
        return bool(origin["kind"] == "human")
    return (
        not sidechain
        and record.get("promptSource") != "system"
        and not text.lstrip().startswith(_HARNESS)
    )


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


def api_error(record: Fields) -> tuple[str, int | None]:
    """Return the message of a failed request and its HTTP status."""
    error: Any = record.get("error")
    status = (
        error.get("status")
        if type(error) is dict
        else record.get("apiErrorStatus", record.get("error_status"))
    )
    for _ in range(4):
        if type(error) is not dict:
            break
        error = string(error, "formatted") or string(error, "message") or error.get("error")
    return error if type(error) is str else "", status if type(status) is int else None


def blocks(content: object) -> list[Fields]:
    """Return the blocks of a message's content; a plain string is one block of text."""
    if type(content) is str:
        return [{"type": "text", "text": content}]
    return [block for block in content if type(block) is dict] if type(content) is list else []


def _agent_of(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.removeprefix("agent-").removesuffix(".jsonl") if name.startswith("agent-") else ""
