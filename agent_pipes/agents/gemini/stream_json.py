"""Output of `gemini -p … --output-format stream-json`.

Calls appear as they begin; there are no exit codes, and token counts only at the end.
"""

from collections.abc import Iterator
from typing import Any

from agent_pipes.agents.fields import event_fields, string
from agent_pipes.agents.results import result_data, shell_command
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

STREAM = frozenset({"init", "message", "tool_use", "tool_result", "error", "result"})
"""The types of its lines. None of them has an id of its own."""

OPEN = 10_000
"""Calls without a result that are held; the oldest is forgotten first."""

_WANTED = {
    "init": ("session_id", "model"),
    "message": ("role", "content"),
    "tool_use": ("tool_id", "tool_name"),
    "tool_result": ("tool_id", "status"),
    "error": ("severity", "message"),
    "result": ("status",),
}


def is_stream(kind: str, record: Fields) -> bool:
    """Return True if `record`, of the type `kind`, is a line of stream-json."""
    return (
        kind in _WANTED
        and "timestamp" in record
        and "id" not in record
        and all(type(record.get(key)) is str for key in _WANTED[kind])
    )


class Stream:
    """State of one run.

    agent:      name of the agent.
    max_result: bytes of a result that an event carries.
    """

    def __init__(self, agent: str, max_result: int) -> None:
        self.session = ""
        self._agent = agent
        self._max_result = max_result
        self._number = 0
        self._step = ""
        self._calls: BoundedDict[str, tuple[str, float, str]] = BoundedDict(OPEN)
        self._saying: list[str] = []
        self._since = 0.0

    def translate(self, kind: str, record: Fields, time: float, path: str) -> Iterator[Fields]:
        """Yield the events of one line."""
        self._number += 1
        if kind == "init":
            self.session = string(record, "session_id") or self.session
            data = {
                "agent": self._agent,
                "model": string(record, "model"),
                "path": path,
                "cannot_tell": ["exit_code", "usage"],
                "interactive": False,
            }
            yield self._event("session_start", time, data)
        elif kind == "message" and record.get("role") == "assistant":
            # An answer comes in pieces, as it is made.
            self._since = self._since if self._saying else time
            self._saying.append(string(record, "content"))
        else:
            yield from self.end()
            if kind == "message":
                if text := string(record, "content"):
                    yield self._event("user_prompt", time, {"prompt": text, "origin": "person"})
            elif kind == "tool_use":
                yield self._call(record, time)
            elif kind == "tool_result":
                yield self._result(record, time)
            elif kind == "error":
                yield self._error(record, time)
            elif kind == "result":
                yield from self._over(record, time)

    def end(self) -> Iterator[Fields]:
        """Yield the message that is still being printed."""
        text = "".join(self._saying)
        self._saying = []
        if text:
            yield self._event("assistant_response", self._since, {"text": text})

    def _event(
        self, event_type: str, time: float, data: Fields, *, name: str = "", parent: str = ""
    ) -> Fields:
        key = name or f"{event_type}-{self._number}"
        return event_fields(event_type, time, key, self.session, data, parent)

    def _call(self, record: Fields, time: float) -> Fields:
        name = string(record, "tool_id") or f"call-{self._number}"
        # Calls between two results were made by one response.
        self._step = self._step or name
        arguments = record.get("parameters")
        tool = string(record, "tool_name")
        arguments = arguments if type(arguments) is dict else {}
        self._calls[name] = (tool, time, shell_command(arguments))
        data = {
            "tool_name": tool,
            "arguments": arguments,
            "step": self._step,
        }
        return self._event("tool_call", time, data, name=name)

    def _result(self, record: Fields, time: float) -> Fields:
        name = string(record, "tool_id")
        self._step = ""
        tool, began, command = self._calls.pop(name, ("", time, ""))
        output = string(record, "output")
        data: Fields = {"tool_name": tool}
        failed = record.get("status") != "success"
        if failed:
            error: Any = record.get("error")
            error = error if type(error) is dict else {}
            data |= result_data(string(error, "message") or output, self._max_result, "error")
            data["reason"] = _NOT_ITS_OWN.get(string(error, "type"), "tool")
        elif ended := _ENDED.fullmatch(output):
            failed = True
            data |= result_data(output, self._max_result, "error")
            data |= {
                "reason": "exit",
                "exit_code": int(ended[2]) + (128 if ended[1] == "terminated by signal" else 0),
            }
        elif output or tool == "run_shell_command":
            data |= result_data(output, self._max_result, tool=tool, command=command)
        else:
            # What other tools return is not printed: it may be another thing each time.
            data["result"] = ""
        event = self._event(
            "error" if failed else "tool_result", time, data, name=f"{name}:result", parent=name
        )
        if time >= began:
            event["duration_ms"] = round((time - began) * 1000, 3)
        return event

    def _error(self, record: Fields, time: float) -> Fields:
        """Return a failed request, or a warning that the client ends the run."""
        reason = "interrupted" if record.get("severity") == "warning" else "api"
        return self._event(
            "error",
            time,
            {**result_data(string(record, "message"), self._max_result, "error"), "reason": reason},
        )

    def _over(self, record: Fields, time: float) -> Iterator[Fields]:
        """Yield the end of the run, and its usage by model."""
        stats: Any = record.get("stats")
        models: Any = stats.get("models") if type(stats) is dict else None
        for model, used in models.items() if type(models) is dict else ():
            if type(used) is dict:
                name = f"{self.session}:{model}"
                yield self._event(
                    "llm_response",
                    time,
                    {"model": model, "response_id": name, "usage": _usage(used)},
                    name=name,
                )
        error: Any = record.get("error")
        if type(error) is dict:
            yield self._event(
                "error",
                time,
                {
                    **result_data(string(error, "message"), self._max_result, "error"),
                    "reason": "api",
                },
            )
        yield self._event("session_end", time, {"reason": string(record, "status")})


_ENDED = pattern(r"Command (exited with code|terminated by signal): (\d{1,9})")
"""All that is printed of a command which failed and wrote nothing."""

_NOT_ITS_OWN = {"stop_execution": "interrupted"}
"""Error types that are no failure of the agent: a hook ended the run. A denial is a failure."""


def _usage(used: Fields) -> dict[str, int]:
    """Return token counts by their OpenTelemetry names. Thoughts are the rest of the total."""
    thoughts = max(
        0, count(used, "total_tokens") - count(used, "input_tokens") - count(used, "output_tokens")
    )
    return {
        "input_tokens": count(used, "input_tokens"),
        "output_tokens": count(used, "output_tokens") + thoughts,
        "cache_read_input_tokens": count(used, "cached"),
        "reasoning_output_tokens": thoughts,
    }


def count(fields: Fields, key: str) -> int:
    """Return the number of tokens under `key`, 0 if there is none."""
    value = fields.get(key)
    return (
        int(value)
        if isinstance(value, (int, float)) and type(value) is not bool and 0 <= value < 1e15
        else 0
    )
