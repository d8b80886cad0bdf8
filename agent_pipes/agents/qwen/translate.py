"""Translator of Qwen Code's chat files and of `--output-format stream-json`.

The stream has the form of Claude Code's, but its input counts include the cached part.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent_pipes.agents.fields import event_fields, number, string, text_of, time_of, within
from agent_pipes.agents.results import result_data, shell_command
from agent_pipes.agents.seen import Seen
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

MAX_SEEN = 200_000
MAX_OPEN_CALLS = 10_000

_EXIT_CODE = pattern(r"^Exit Code: (-?\d{1,9})$", re.MULTILINE)
_VOLATILE = pattern(r"\n(?:Process Group PGID|Background PIDs): [^\n]*")
_CALL_LINES = frozenset({"user", "assistant", "tool_result", "system", "result"})


def recognises(record: Fields) -> bool:
    """Return True for a line of a chat file, and for the first line of stream-json."""
    if record.get("type") == "system" and record.get("subtype") == "init":
        return "qwen_code_version" in record
    if not string(record, "sessionId") or string(record, "type") not in _CALL_LINES:
        return False
    return "systemPayload" in record or type(within(record, "message").get("parts")) is list


class Translator:
    """Turns the lines of one session into events."""

    def __init__(self, max_result: int = 4096) -> None:
        self.session = ""
        self._max_result = max_result
        self._number = 0
        self._has_telemetry = False
        self._seen = Seen(MAX_SEEN)
        self._calls: BoundedDict[str, tuple[str, float, str]] = BoundedDict(MAX_OPEN_CALLS)
        self._end: Fields | None = None

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line."""
        kind = string(record, "type")
        if kind not in _CALL_LINES:
            return
        self._number += 1
        time = time_of(record, arrival)
        key = string(record, "uuid") or f"line-{self._number}"
        if not self.session:
            yield from self._begin(record, time, path)
        if not self._seen.new(kind, key):
            return
        if "session_id" in record:
            yield from self._piped(kind, record, time, key)
        elif kind == "user":
            yield from self._prompt(record, time, key)
        elif kind == "assistant":
            yield from self._assistant(record, time, key)
        elif kind == "tool_result":
            yield from self._results(record, time)
        elif record.get("subtype") == "ui_telemetry":
            yield from self._telemetry(within(within(record, "systemPayload"), "uiEvent"), time)

    def end(self) -> Iterator[Fields]:
        """Yield the end of a run on a pipe."""
        if self._end:
            yield self._end
            self._end = None

    def _begin(self, record: Fields, time: float, path: str) -> Iterator[Fields]:
        self.session = string(record, "sessionId") or string(record, "session_id")
        data: Fields = {"agent": "qwen", "cwd": string(record, "cwd"), "path": path}
        if "session_id" in record:
            data |= {"model": string(record, "model"), "interactive": False}
        yield self._event("session_start", time, f"{self.session}:start", data)

    def _prompt(self, record: Fields, time: float, key: str) -> Iterator[Fields]:
        text = _text(within(record, "message").get("parts"))
        if text and string(record, "provenance") in ("", "real_user"):
            yield self._event("user_prompt", time, key, {"prompt": text, "origin": "person"})

    def _assistant(self, record: Fields, time: float, key: str) -> Iterator[Fields]:
        parts = within(record, "message").get("parts")
        if text := _text(parts):
            yield self._event("assistant_response", time, f"{key}:text", {"text": text})
        for part in parts if type(parts) is list else ():
            call = within(part, "functionCall") if type(part) is dict else {}
            if call:
                name = string(call, "name")
                yield from self._call(string(call, "id"), name, within(call, "args"), time, key)
        usage = within(record, "usageMetadata")
        if usage and not self._has_telemetry:
            counts = [number(usage, name) or 0 for name in _METADATA]
            yield self._used(string(record, "model"), key, counts, time)

    def _results(self, record: Fields, time: float) -> Iterator[Fields]:
        details = within(record, "toolCallResult")
        display = within(details, "resultDisplay")
        code = display.get("exitCode")
        parts = within(record, "message").get("parts")
        for part in parts if type(parts) is list else ():
            answer = within(part, "functionResponse") if type(part) is dict else {}
            if answer:
                response = within(answer, "response")
                text = text_of(response.get("error", response.get("output")))
                status = string(details, "status") or ("error" if "error" in response else "")
                yield from self._result(
                    string(answer, "id"), text, status, code if type(code) is int else None, time
                )

    def _telemetry(self, event: Fields, time: float) -> Iterator[Fields]:
        name = string(event, "event.name").removeprefix("qwen-code.")
        if name == "api_response":
            self._has_telemetry = True
            counts = [number(event, each) or 0 for each in _TELEMETRY]
            yield self._used(string(event, "model"), string(event, "response_id"), counts, time)
        elif name == "api_error":
            message = string(event, "error") or string(event, "error_message")
            error = result_data(message or "the request failed", self._max_result, "error")
            data: Fields = {**error, "reason": "api"}
            if type(status := event.get("status_code")) is int:
                data["status"] = status
            yield self._event("error", time, f"api-error-{self._number}", data)
        elif name == "chat_compression":
            data = {"trigger": ""}
            if (tokens := number(event, "tokens_before")) is not None:
                data["tokens"] = tokens
            yield self._event("compaction", time, f"compaction-{self._number}", data)

    def _piped(self, kind: str, record: Fields, time: float, key: str) -> Iterator[Fields]:
        """Yield the events of a line of stream-json."""
        message = within(record, "message")
        content = message.get("content")
        blocks = [each for each in content if type(each) is dict] if type(content) is list else []
        if kind == "assistant":
            text = "\n".join(filter(None, (string(block, "text") for block in blocks)))
            if text:
                yield self._event("assistant_response", time, f"{key}:text", {"text": text})
            for block in blocks:
                if block.get("type") == "tool_use":
                    name, call = string(block, "name"), string(block, "id")
                    yield from self._call(call, name, within(block, "input"), time, key)
            if usage := within(message, "usage"):
                counts = [number(usage, name) or 0 for name in _STREAM]
                yield self._used(string(message, "model"), key, counts, time)
        elif kind == "user":
            for block in blocks:
                if block.get("type") == "tool_result":
                    status = "error" if block.get("is_error") is True else "success"
                    text = text_of(block.get("content"))
                    yield from self._result(string(block, "tool_use_id"), text, status, None, time)
        elif kind == "result":
            data = {"reason": string(record, "subtype")}
            self._end = self._event("session_end", time, "session-end", data)

    def _call(
        self, call: str, name: str, arguments: Fields, time: float, step: str
    ) -> Iterator[Fields]:
        if self._seen.new("call", step, call):
            self._calls[call] = (name, time, shell_command(arguments))
            data = {"tool_name": name, "arguments": arguments, "step": step}
            yield self._event("tool_call", time, call, data)

    def _result(
        self, call: str, text: str, status: str, code: int | None, time: float
    ) -> Iterator[Fields]:
        name, began, command = self._calls.pop(call, ("", time, ""))
        if code is None and (found := _EXIT_CODE.search(text)):
            code = int(found[1])
        reason = ""
        if status == "cancelled":
            reason = "interrupted"
        elif code:
            reason = "exit"
        elif status == "error":
            reason = "tool"
        key = "error" if reason else "result"
        stable = _VOLATILE.sub("", text)
        data: Fields = {
            "tool_name": name,
            **result_data(text, self._max_result, key, tool=name, same=stable, command=command),
        }
        if reason:
            data["reason"] = reason
        if code is not None:
            data["exit_code"] = code
        kind = "error" if reason else "tool_result"
        event = self._event(kind, time, f"{call}:result", data, call)
        if time >= began:
            event["duration_ms"] = round((time - began) * 1000, 3)
        yield event

    def _used(self, model: str, response: str, counts: list[float], time: float) -> Fields:
        """Return a response's usage; Qwen's input includes the cached part, its output thoughts."""
        prompt, output, cached, thoughts = map(int, counts)
        usage = {
            "input_tokens": prompt,
            "output_tokens": output,
            "cache_read_input_tokens": min(cached, prompt),
            "reasoning_output_tokens": min(thoughts, output),
        }
        data = {"model": model, "response_id": response, "usage": usage}
        return self._event("llm_response", time, f"{response}:usage", data)

    def _event(
        self, event_type: str, time: float, key: str, data: dict[str, Any], parent: str = ""
    ) -> Fields:
        return event_fields(event_type, time, key, self.session, data, parent)


_METADATA = (
    "promptTokenCount",
    "candidatesTokenCount",
    "cachedContentTokenCount",
    "thoughtsTokenCount",
)
_TELEMETRY = (
    "input_token_count",
    "output_token_count",
    "cached_content_token_count",
    "thoughts_token_count",
)
_STREAM = ("input_tokens", "output_tokens", "cache_read_input_tokens", "reasoning_tokens")


def _text(parts: object) -> str:
    """Return the text of a message; thoughts are none."""
    texts = (
        string(part, "text")
        for part in (parts if type(parts) is list else ())
        if type(part) is dict and part.get("thought") is not True
    )
    return "\n".join(filter(None, texts))
