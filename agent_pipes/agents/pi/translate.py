"""Translator of pi's session files and of `pi --mode json`."""

from collections.abc import Iterator

from agent_pipes.agents.fields import count, number, objects_in, string, text_of, time_of, within
from agent_pipes.agents.results import compaction
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

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


class Translator(BaseTranslator):
    """Turns the lines of one session into events. Each message is recorded when it is complete."""

    agent = "pi"

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._model = ""

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line; most lines of a pipe give none."""
        kind = string(record, "type")
        if kind not in _KINDS:
            return
        self._number += 1
        time = time_of(record, arrival)
        key = string(record, "id") or f"line-{self._number}"
        if kind == "session":
            if self._seen.new("session", string(record, "id")):
                self.session = string(record, "id")
                yield self._started(time, path, string(record, "cwd"))
        elif kind == "model_change":
            self._model = string(record, "modelId")
        elif kind == "compaction":
            yield self._event("compaction", time, key, compaction("", record.get("tokensBefore")))
        else:
            message = within(record, "message")
            if "timestamp" not in record:
                time = time_of(message, time)
            yield from self._message(message, time, key)

    def _message(self, message: Fields, time: float, key: str) -> Iterator[Fields]:
        role = string(message, "role")
        if role == "assistant":
            yield from self._assistant(message, time, key)
        elif role == "toolResult":
            yield from self._result(message, time, key)
        elif role == "user" and (text := text_of(message.get("content"))) and self._seen.new(key):
            yield self._event("user_prompt", time, key, {"prompt": text, "origin": "person"})

    def _assistant(self, message: Fields, time: float, key: str) -> Iterator[Fields]:
        blocks = objects_in(message.get("content"))
        text = "\n".join(filter(None, (string(block, "text") for block in blocks)))
        if text and self._seen.new("text", key):
            yield self._event("assistant_response", time, f"{key}:text", {"text": text})
        for place, block in enumerate(blocks):
            call = string(block, "id") or f"{key}:{place}"
            if block.get("type") == "toolCall" and self._seen.new("call", key, call):
                name, arguments = string(block, "name"), within(block, "arguments")
                yield self._called(call, name, arguments, time, key)
        usage = within(message, "usage")
        if usage and self._seen.new("usage", key):
            model = string(message, "model") or self._model
            response = string(message, "responseId") or key
            cost = number(within(usage, "cost"), "total")
            more = {} if cost is None else {"reported_usd": cost}
            yield self._used(time, model, response, _usage(usage), key=key, more=more)
        if message.get("stopReason") == "error":
            yield self._failed(time, f"{key}:api", string(message, "errorMessage"))

    def _result(self, message: Fields, time: float, key: str) -> Iterator[Fields]:
        call = string(message, "toolCallId") or key
        if not self._seen.new("result", call):
            return
        text = text_of(message.get("content"))
        reason, code = "", None
        if message.get("isError") is True:
            code = _EXIT_CODE.search(text)
            reason = "exit" if code else "interrupted" if _ABORTED.search(text) else "tool"
        name = string(message, "toolName")
        yield self._answered(
            call, text, time, name=name, reason=reason, code=int(code[1]) if code else None
        )


def _usage(usage: Fields) -> Fields:
    """Return the usage of a response; pi's input excludes the cached parts."""
    read, written = count(usage, "cacheRead"), count(usage, "cacheWrite")
    return {
        "input_tokens": count(usage, "input") + read + written,
        "output_tokens": count(usage, "output"),
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
    }
