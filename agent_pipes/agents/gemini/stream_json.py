"""Output of `gemini -p … --output-format stream-json`.

Calls appear as they begin; there are no exit codes, and token counts only at the end.
"""

from collections.abc import Iterator

from agent_pipes.agents.fields import count, string, within
from agent_pipes.agents.results import failure
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

STREAM = frozenset({"init", "message", "tool_use", "tool_result", "error", "result"})
"""The types of its lines. None of them has an id of its own."""

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


class Stream(BaseTranslator):
    """State of one run."""

    agent = "gemini"

    def __init__(self, max_result: int) -> None:
        super().__init__(max_result)
        self._step = ""
        self._saying: list[str] = []
        self._since = 0.0

    def translate(self, kind: str, record: Fields, time: float, path: str) -> Iterator[Fields]:
        """Yield the events of one line."""
        self._number += 1
        if kind == "init":
            self.session = string(record, "session_id") or self.session
            data = {
                "agent": self.agent,
                "model": string(record, "model"),
                "path": path,
                "cannot_tell": ["exit_code", "usage"],
                "interactive": False,
            }
            yield self._numbered("session_start", time, data)
        elif kind == "message" and record.get("role") == "assistant":
            # An answer comes in pieces, as it is made.
            self._since = self._since if self._saying else time
            self._saying.append(string(record, "content"))
        else:
            yield from self.end()
            if kind == "message":
                if text := string(record, "content"):
                    data = {"prompt": text, "origin": "person"}
                    yield self._numbered("user_prompt", time, data)
            elif kind == "tool_use":
                call = string(record, "tool_id") or f"call-{self._number}"
                # Calls between two results were made by one response.
                self._step = self._step or call
                name, arguments = string(record, "tool_name"), within(record, "parameters")
                yield self._called(call, name, arguments, time, self._step)
            elif kind == "tool_result":
                yield self._result(record, time)
            elif kind == "error":
                # A warning says that the client ends the run.
                reason = "interrupted" if record.get("severity") == "warning" else "api"
                data = failure(string(record, "message"), self._max_result, reason)
                yield self._numbered("error", time, data)
            elif kind == "result":
                yield from self._over(record, time)

    def end(self) -> Iterator[Fields]:
        """Yield the message that is still being printed."""
        text = "".join(self._saying)
        self._saying = []
        if text:
            yield self._numbered("assistant_response", self._since, {"text": text})

    def _numbered(self, event_type: str, time: float, data: Fields) -> Fields:
        return self._event(event_type, time, f"{event_type}-{self._number}", data)

    def _result(self, record: Fields, time: float) -> Fields:
        call = string(record, "tool_id")
        self._step = ""
        output = string(record, "output")
        if record.get("status") != "success":
            error = within(record, "error")
            reason = _NOT_ITS_OWN.get(string(error, "type"), "tool")
            return self._answered(call, string(error, "message") or output, time, reason=reason)
        if failed := _ENDED.fullmatch(output):
            code = int(failed[2]) + (128 if failed[1] == "terminated by signal" else 0)
            return self._answered(call, output, time, reason="exit", code=code)
        event = self._answered(call, output, time)
        tool = event["data"]["tool_name"]
        if not output and tool != "run_shell_command":
            # What other tools return is not printed: it may be another thing each time.
            event["data"] = {"tool_name": tool, "result": ""}
        return event

    def _over(self, record: Fields, time: float) -> Iterator[Fields]:
        """Yield the end of the run, and its usage by model."""
        models = within(within(record, "stats"), "models")
        for model in models:
            if used := within(models, model):
                response = f"{self.session}:{model}"
                data = {"model": model, "response_id": response, "usage": _usage(used)}
                yield self._event("llm_response", time, response, data)
        if error := within(record, "error"):
            data = failure(string(error, "message"), self._max_result)
            yield self._numbered("error", time, data)
        yield self._numbered("session_end", time, {"reason": string(record, "status")})


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
