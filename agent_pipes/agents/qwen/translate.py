"""Translator of Qwen Code's chat files and of `--output-format stream-json`.

The stream has the form of Claude Code's, but its input counts include the cached part.
"""

import re
from collections.abc import Iterator

from agent_pipes.agents.fields import count, objects_in, string, text_of, time_of, within
from agent_pipes.agents.results import compaction
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

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


class Translator(BaseTranslator):
    """Turns the lines of one session into events."""

    agent = "qwen"

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._has_telemetry = False

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

    def _begin(self, record: Fields, time: float, path: str) -> Iterator[Fields]:
        self.session = string(record, "sessionId") or string(record, "session_id")
        piped = {"model": string(record, "model"), "interactive": False}
        more = piped if "session_id" in record else {}
        yield self._started(time, path, string(record, "cwd"), **more)

    def _prompt(self, record: Fields, time: float, key: str) -> Iterator[Fields]:
        text = _text(within(record, "message").get("parts"))
        if text and string(record, "provenance") in ("", "real_user"):
            yield self._event("user_prompt", time, key, {"prompt": text, "origin": "person"})

    def _assistant(self, record: Fields, time: float, key: str) -> Iterator[Fields]:
        parts = within(record, "message").get("parts")
        if text := _text(parts):
            yield self._event("assistant_response", time, f"{key}:text", {"text": text})
        for place, part in enumerate(objects_in(parts)):
            if call := within(part, "functionCall"):
                name, own = string(call, "name"), string(call, "id") or f"{key}:{place}"
                yield from self._call(own, name, within(call, "args"), time, key)
        usage = within(record, "usageMetadata")
        if usage and not self._has_telemetry:
            yield self._used(time, string(record, "model"), key, _usage(usage, _METADATA))

    def _results(self, record: Fields, time: float) -> Iterator[Fields]:
        details = within(record, "toolCallResult")
        code = within(details, "resultDisplay").get("exitCode")
        for part in objects_in(within(record, "message").get("parts")):
            if answer := within(part, "functionResponse"):
                response = within(answer, "response")
                text = text_of(response.get("error", response.get("output")))
                status = string(details, "status") or ("error" if "error" in response else "")
                yield self._result(string(answer, "id"), text, status, code, time)

    def _telemetry(self, event: Fields, time: float) -> Iterator[Fields]:
        name = string(event, "event.name").removeprefix("qwen-code.")
        if name == "api_response":
            self._has_telemetry = True
            response, usage = string(event, "response_id"), _usage(event, _TELEMETRY)
            yield self._used(time, string(event, "model"), response, usage)
        elif name == "api_error":
            message = string(event, "error") or string(event, "error_message")
            key = f"api-error-{self._number}"
            yield self._failed(time, key, message, status=event.get("status_code"))
        elif name == "chat_compression":
            data = compaction("", event.get("tokens_before"))
            yield self._event("compaction", time, f"compaction-{self._number}", data)

    def _piped(self, kind: str, record: Fields, time: float, key: str) -> Iterator[Fields]:
        """Yield the events of a line of stream-json."""
        message = within(record, "message")
        blocks = objects_in(message.get("content"))
        if kind == "assistant":
            text = "\n".join(filter(None, (string(block, "text") for block in blocks)))
            if text:
                yield self._event("assistant_response", time, f"{key}:text", {"text": text})
            for place, block in enumerate(blocks):
                if block.get("type") == "tool_use":
                    name, call = string(block, "name"), string(block, "id") or f"{key}:{place}"
                    yield from self._call(call, name, within(block, "input"), time, key)
            if usage := within(message, "usage"):
                yield self._used(time, string(message, "model"), key, _usage(usage, _STREAM))
        elif kind == "user":
            for block in blocks:
                if block.get("type") == "tool_result":
                    status = "error" if block.get("is_error") is True else "success"
                    text = text_of(block.get("content"))
                    yield self._result(string(block, "tool_use_id"), text, status, None, time)
        elif kind == "result":
            data = {"reason": string(record, "subtype")}
            self._end = self._event("session_end", time, "session-end", data)

    def _call(
        self, call: str, name: str, arguments: Fields, time: float, step: str
    ) -> Iterator[Fields]:
        if self._seen.new("call", step, call):
            yield self._called(call, name, arguments, time, step)

    def _result(self, call: str, text: str, status: str, code: object, time: float) -> Fields:
        """Return the result of a call; `code` is an exit code if it is an integer."""
        found = _EXIT_CODE.search(text)
        exit_code = code if type(code) is int else int(found[1]) if found else None
        reason = "tool" if status == "error" else ""
        if status == "cancelled":
            reason = "interrupted"
        elif exit_code:
            reason = "exit"
        same = _VOLATILE.sub("", text)
        return self._answered(call, text, time, reason=reason, code=exit_code, same=same)


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


def _usage(counts: Fields, names: tuple[str, ...]) -> Fields:
    """Return a response's usage; Qwen's input includes the cached part, its output thoughts."""
    prompt, output, cached, thoughts = (count(counts, name) for name in names)
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "cache_read_input_tokens": min(cached, prompt),
        "reasoning_output_tokens": min(thoughts, output),
    }


def _text(parts: object) -> str:
    """Return the text of a message; thoughts are none."""
    spoken = (part for part in objects_in(parts) if part.get("thought") is not True)
    return "\n".join(filter(None, (string(part, "text") for part in spoken)))
