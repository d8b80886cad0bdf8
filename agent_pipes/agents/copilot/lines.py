"""Contents of one line of GitHub Copilot CLI's: of a log, or of its standard output."""

from dataclasses import dataclass, field
from pathlib import PurePath

from agent_pipes.agents.fields import count, string, text_of, within
from agent_pipes.agents.results import failure
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern


def recognises(record: Fields) -> bool:
    """Return True for a line of a session log or of `--output-format json`."""
    kind = record.get("type")
    if type(kind) is not str or "timestamp" not in record:
        return False
    if kind == "result":
        return "sessionId" in record and "exitCode" in record
    return (
        ("." in kind or kind == "abort")
        and type(record.get("data")) is dict
        and "id" in record
        and "parentId" in record
    )


ENDED = pattern(
    r"\n?<(?:[^<>\n]{0,40}shellId: ([^<>\n]{1,200}?) )?(?:has already )?"
    r"(?:completed|exited) with exit code (-?\d{1,10})>\s*\Z"
)
RUNNING = pattern(r"<command with shellId: ([^<>\n]{1,200}?) is still running after ")
REFUSED = "The user rejected this tool call"
INTERRUPTED = "Tool execution was interrupted"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was requested, or has begun."""

    id: str
    name: str = ""
    arguments: Fields = field(default_factory=dict)
    step: str = ""
    agent: str = ""
    time: float = 0.0


class Line:
    """A line, and what every event of it has in common."""

    __slots__ = ("record", "data", "type", "id", "time", "agent", "path")

    def __init__(self, record: Fields, kind: str, id: str, time: float, path: str) -> None:
        self.record = record
        self.data = within(record, "data")
        self.type = kind
        self.id = id
        self.time = time
        self.agent = string(record, "agentId") or string(self.data, "parentToolCallId")
        self.path = path


def session_of(path: str) -> str:
    """Return the session whose log is at `path`, "" if the client does not name logs so."""
    file = PurePath(path)
    return file.parent.name if file.name == "events.jsonl" else ""


def content_of(output: object) -> str:
    """Return a result's text; a part that is no text is replaced by its digest."""
    if type(output) is not dict:
        return output if type(output) is str else ""
    content = output.get("content")
    return content if type(content) is str else text_of([output])


def tokens_of(usage: Fields) -> dict[str, int]:
    """Return token counts by their names in OpenTelemetry.

    Copilot's input includes the cached parts, its output the reasoning.
    """
    return {name: count(usage, key) for name, key in _NAMES.items()}


_NAMES = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadTokens",
    "cache_creation_input_tokens": "cacheWriteTokens",
    "reasoning_output_tokens": "reasoningTokens",
}


def origin_of(data: Fields) -> str:
    """Return the origin of a user's message, "" if it is no prompt.

    Other sources are a skill's text, another agent's message or a reminder.
    """
    if data.get("isAutopilotContinuation") is True:
        return "autopilot"
    source = data.get("source")
    if source == "system":
        return "notification"
    return "person" if source in (None, "", "user") else ""


def request_failure(data: Fields, limit: int) -> Fields:
    """Return the data of an error for a failed request to the model."""
    keys = ("message", "errorMessage", "errorCode", "failureKind", "errorType")
    message = next(filter(None, (string(data, key) for key in keys)), "")
    return failure(message, limit, status=data.get("statusCode"))
