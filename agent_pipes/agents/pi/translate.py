"""Translator of pi's session files and of `pi --mode json`."""

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

_EXIT_CODE = pattern(r"Command exited with code (-?\d{1,9})\s*\Z")
_ABORTED = pattern(r"(?:Command aborted|Operation aborted)\s*\Z")
_KINDS = frozenset({"session", "message", "message_end", "model_change", "compaction"})


def recognises(record: Fields) -> bool:
    """Return True for a line of a session file or of `--mode json`."""
    kind = record.get("type")
    if kind == "session":
        return type(record.get("version")) is int and "cwd" in record and "id" in record
    message = record.get("message")
    if kind in ("message", "message_start", "message_end") and type(message) is dict:
        return string(message, "role") in ("user", "assistant", "toolResult")
    return kind in ("model_change", "thinking_level_change") and "parentId" in record


class Translator:
    """Turns the lines of one session into events. Each message is recorded when it is complete."""

    def __init__(self, max_result: int = 4096) -> None:
        self.session = ""
        self._max_result = max_result
        self._model = ""
        self._number = 0
        self._seen = Seen(MAX_SEEN)
        self._calls: BoundedDict[str, tuple[str, float, str]] = BoundedDict(MAX_OPEN_CALLS)

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line; most lines of a pipe give none."""
        kind = record.get("type")
        if kind not in _KINDS:
            return
        self._number += 1
        time = time_of(record, arrival)
        key = string(record, "id") or f"line-{self._number}"
        if kind == "session":
            yield from self._begin(record, time, path)
        elif kind == "model_change":
            self._model = string(record, "modelId")
        elif kind == "compaction":
            data: Fields = {"trigger": ""}
            if (tokens := number(record, "tokensBefore")) is not None:
                data["tokens"] = tokens
            yield self._event("compaction", time, key, data)
        else:
            message = within(record, "message")
            said = number(message, "timestamp")
            if "timestamp" not in record and said is not None:
                time = said / 1000
            yield from self._message(message, time, key)

    def end(self) -> Iterator[Fields]:
        """Yield nothing: a file does not say that its session is over."""
        return iter(())

    def _begin(self, record: Fields, time: float, path: str) -> Iterator[Fields]:
        if not self._seen.new("session", string(record, "id")):
            return
        self.session = string(record, "id")
        data = {"agent": "pi", "cwd": string(record, "cwd"), "path": path}
        yield self._event("session_start", time, f"{self.session}:start", data)

    def _message(self, message: Fields, time: float, key: str) -> Iterator[Fields]:
        role = string(message, "role")
        if role == "assistant":
            yield from self._assistant(message, time, key)
        elif role == "toolResult":
            yield from self._result(message, time)
        elif role == "user" and (text := text_of(message.get("content"))) and self._seen.new(key):
            yield self._event("user_prompt", time, key, {"prompt": text, "origin": "person"})

    def _assistant(self, message: Fields, time: float, key: str) -> Iterator[Fields]:
        content = message.get("content")
        blocks = [each for each in content if type(each) is dict] if type(content) is list else []
        text = "\n".join(filter(None, (string(block, "text") for block in blocks)))
        if text and self._seen.new("text", key):
            yield self._event("assistant_response", time, f"{key}:text", {"text": text})
        for block in blocks:
            call = string(block, "id")
            if block.get("type") == "toolCall" and self._seen.new("call", key, call):
                name, arguments = string(block, "name"), within(block, "arguments")
                self._calls[call] = (name, time, shell_command(arguments))
                data: Fields = {"tool_name": name, "arguments": arguments, "step": key}
                yield self._event("tool_call", time, call, data)
        usage = within(message, "usage")
        if usage and self._seen.new("usage", key):
            yield self._event(
                "llm_response", time, f"{key}:usage", self._usage(message, usage, key)
            )
        if message.get("stopReason") == "error":
            error = string(message, "errorMessage") or "the request failed"
            data = {**result_data(error, self._max_result, "error"), "reason": "api"}
            yield self._event("error", time, f"{key}:api", data)

    def _usage(self, message: Fields, usage: Fields, key: str) -> Fields:
        """Return the data of a response; pi's input excludes the cached parts."""
        counts = {name: int(number(usage, name) or 0) for name in _COUNTS}
        model = string(message, "model") or self._model
        data: Fields = {
            "model": model,
            "response_id": string(message, "responseId") or key,
            "usage": {
                "input_tokens": counts["input"] + counts["cacheRead"] + counts["cacheWrite"],
                "output_tokens": counts["output"],
                "cache_read_input_tokens": counts["cacheRead"],
                "cache_creation_input_tokens": counts["cacheWrite"],
            },
        }
        if (cost := number(within(usage, "cost"), "total")) is not None:
            data["reported_usd"] = cost
        return data

    def _result(self, message: Fields, time: float) -> Iterator[Fields]:
        call = string(message, "toolCallId")
        if not self._seen.new("result", call):
            return
        tool = string(message, "toolName")
        name, began, command = self._calls.pop(call, (tool, time, ""))
        text = text_of(message.get("content"))
        data: Fields = {"tool_name": name}
        if message.get("isError") is True:
            code = _EXIT_CODE.search(text)
            data |= result_data(text, self._max_result, "error")
            data["reason"] = "exit" if code else "interrupted" if _ABORTED.search(text) else "tool"
            if code:
                data["exit_code"] = int(code[1])
        else:
            data |= result_data(text, self._max_result, tool=name, command=command)
        kind = "error" if "reason" in data else "tool_result"
        event = self._event(kind, time, f"{call}:result", data, call)
        if time >= began:
            event["duration_ms"] = round((time - began) * 1000, 3)
        yield event

    def _event(
        self, event_type: str, time: float, key: str, data: dict[str, Any], parent: str = ""
    ) -> Fields:
        return event_fields(event_type, time, key, self.session, data, parent)


_COUNTS = ("input", "output", "cacheRead", "cacheWrite")
