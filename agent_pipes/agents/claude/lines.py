"""Contents of one line of Claude Code's, in the form of any version."""

from typing import Any

from agent_pipes.agents.fields import number, objects_in, string, time_of, within
from agent_pipes.core.jsonl import Fields, parse_line

MAX_META_BYTES = 64 << 10

INTERACTIVE = {
    "cli": True,
    "claude-desktop": True,
    "claude-vscode": True,
    "sdk-cli": False,
    "sdk-ts": False,
    "sdk-py": False,
}
"""Presence of a person, by the way in which the client was started."""

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
        "api-request",
        "api-request-blob",
        "api-request-shape",
        "cost-state",
        "tools-used",
    }
)


def may_matter(line: bytes) -> bool:
    """Return False if a line is certain to give no event.

    A type's name in quotes occurs in a line of that type. In a string it would stand with its
    quotes escaped, so what an agent reads or writes does not make a line matter: half of a
    transcript's lines are progress, and do not.
    """
    return (
        # Its place in most lines that matter, so that the long ones need not be searched to
        # their end.
        line.find(b'"user"', 0, 600) >= 0
        or line.find(b'"assistant"', 0, 600) >= 0
        or b'"user"' in line
        or b'"assistant"' in line
        or b'"system"' in line
        or b'"queued_command"' in line
        or b'"api-request"' in line
        or b'"cost-state"' in line
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
               the line contains it,
               and `kind` what kind of agent it is.
    sidechain: it is not of the main thread.
    pipe:      it came on a pipe, where lines carry no time and counts are those that a response
               begins with.
    """

    __slots__ = ("record", "message", "id", "time", "agent", "caller", "kind", "sidechain", "pipe")

    def __init__(self, record: Fields, id: str, arrival: float, path: str) -> None:
        self.record = record
        self.message = within(record, "message")
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
        data = within(self.record, "data")
        inner = data.get("message")
        if data.get("type") != "agent_progress" or type(inner) is not dict:
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


def reported_cost(record: Fields) -> Fields:
    """Return the dollars of the client's own bill, in total and by model; {} if there are none."""
    total = number(record, "totalCostUSD")
    if total is None:
        return {}
    used = within(record, "modelUsage")
    costs = {model: number(within(used, model), "costUSD") for model in used}
    return {"usd": total, "models": {model: usd for model, usd in costs.items() if usd is not None}}


def subagent_meta(path: str) -> Fields:
    """Return the description beside a subagent's transcript, {} if there is none."""
    if not path.endswith(".jsonl") or not _agent_of(path):
        return {}
    try:
        with open(path.removesuffix(".jsonl") + ".meta.json", "rb") as file:
            return parse_line(file.read(MAX_META_BYTES)) or {}
    except OSError:
        return {}


def blocks(content: object) -> list[Fields]:
    """Return the blocks of a message's content; a plain string is one block of text."""
    if type(content) is str:
        return [{"type": "text", "text": content}]
    return objects_in(content)


def _agent_of(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.removeprefix("agent-").removesuffix(".jsonl") if name.startswith("agent-") else ""
