"""Translator of OpenCode's event rows and of `opencode run --format json`."""

from collections.abc import Iterator
from typing import Any

from agent_pipes.agents.fields import event_fields, number, string, within
from agent_pipes.agents.results import result_data, shell_command
from agent_pipes.agents.seen import Seen
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

MAX_SEEN = 200_000
MAX_OPEN_CALLS = 10_000
MAX_MESSAGES = 20_000

PIPED = frozenset({"step_start", "tool_use", "text", "step_finish", "reasoning", "error"})


def recognises(record: Fields) -> bool:
    """Return True for a row of the event table or a line of `--format json`."""
    kind = string(record, "type")
    if "aggregate_id" in record and "seq" in record:
        return type(record.get("data")) is dict
    return kind in PIPED and "sessionID" in record and ("part" in record or "error" in record)


class Translator:
    """Turns the rows of one session, those of its subagents included, into events.

    A tool's state is written again as its output grows: the first `running` is the call, the
    first `completed` or `error` its result.
    """

    def __init__(self, max_result: int = 4096) -> None:
        self.session = ""
        self._max_result = max_result
        self._seen = Seen(MAX_SEEN)
        self._messages: BoundedDict[str, Fields] = BoundedDict(MAX_MESSAGES)
        self._tasks: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one row or line."""
        if "aggregate_id" not in record:
            yield from self._piped(record, arrival, path)
            return
        kind, data = string(record, "type"), within(record, "data")
        aggregate = string(record, "aggregate_id")
        if kind.startswith("session.created"):
            yield from self._created(aggregate, within(data, "info"), arrival, path)
        elif kind.startswith("message.updated"):
            yield from self._message(aggregate, within(data, "info"), arrival)
        elif kind.startswith("message.part.updated"):
            moment = number(data, "time")
            time = arrival if moment is None else moment / 1000
            yield from self._part(aggregate, within(data, "part"), time)

    def end(self) -> Iterator[Fields]:
        """Yield nothing: rows do not say that a session is over."""
        return iter(())

    def _created(self, name: str, info: Fields, arrival: float, path: str) -> Iterator[Fields]:
        created = number(within(info, "time"), "created")
        time = arrival if created is None else created / 1000
        if not self.session:
            self.session = name
            data: Fields = {"agent": "opencode", "cwd": string(info, "directory"), "path": path}
            yield self._event("session_start", time, f"{name}:start", data)
        elif name != self.session and self._seen.new("subagent", name):
            call = next((each for each, taken in self._tasks.items() if not taken), "")
            if call:
                self._tasks[call] = True
            data = {"agent_id": name}
            if kind := string(info, "agent"):
                data["agent_type"] = kind
            if (parent := string(info, "parentID")) and parent != self.session:
                data["parent_agent_id"] = parent
            yield self._event("subagent_start", time, f"{name}:start", data, parent=call)

    def _message(self, aggregate: str, info: Fields, arrival: float) -> Iterator[Fields]:
        name = string(info, "id")
        model = string(info, "modelID") or string(within(info, "model"), "modelID")
        self._messages.renew(name, {"role": string(info, "role"), "model": model})
        error = within(info, "error")
        if error and self._seen.new("error", name):
            ended = number(within(info, "time"), "completed")
            time = arrival if ended is None else ended / 1000
            yield self._failed(error, time, f"{name}:error", aggregate)

    def _failed(self, error: Fields, time: float, key: str, aggregate: str) -> Fields:
        details = within(error, "data")
        text = string(details, "message") or string(error, "message") or string(error, "name")
        aborted = "Aborted" in string(error, "name")
        data = {
            **result_data(text or "the request failed", self._max_result, "error"),
            "reason": "interrupted" if aborted else "api",
        }
        if type(status := details.get("statusCode")) is int:
            data["status"] = status
        return self._event("error", time, key, data, aggregate)

    def _part(self, aggregate: str, part: Fields, time: float) -> Iterator[Fields]:
        kind, key = string(part, "type"), string(part, "id")
        if kind == "tool":
            yield from self._tool(aggregate, part, time)
        elif kind == "text":
            yield from self._text(aggregate, part, time)
        elif kind == "step-finish" and self._seen.new("usage", key):
            yield self._used(aggregate, part, time)
        elif kind == "compaction" and self._seen.new("compaction", key):
            trigger = "auto" if part.get("auto") is True else "manual"
            yield self._event("compaction", time, key, {"trigger": trigger}, aggregate)

    def _text(self, aggregate: str, part: Fields, time: float) -> Iterator[Fields]:
        text, key = string(part, "text"), string(part, "id")
        message = self._messages.get(string(part, "messageID"), {})
        if not text or part.get("synthetic") is True:
            return
        if message.get("role") == "user":
            if aggregate == self.session and self._seen.new("prompt", key):
                data = {"prompt": text, "origin": "person"}
                yield self._event("user_prompt", time, key, data)
        elif "end" in within(part, "time") and self._seen.new("text", key):
            yield self._event("assistant_response", time, key, {"text": text}, aggregate)

    def _tool(self, aggregate: str, part: Fields, time: float) -> Iterator[Fields]:
        call, name, state = string(part, "callID"), string(part, "tool"), within(part, "state")
        status = string(state, "status")
        if status not in ("running", "completed", "error"):
            return
        step = string(part, "messageID")
        times = within(state, "time")
        start, end = number(times, "start"), number(times, "end")
        if self._seen.new("call", step, call):
            if name == "task":
                self._tasks[call] = False
            data: Fields = {"tool_name": name, "arguments": within(state, "input"), "step": step}
            began = time if start is None else start / 1000
            yield self._event("tool_call", began, call, data, aggregate)
        if status != "running" and self._seen.new("result", step, call):
            ended = time if end is None else end / 1000
            event = self._result(name, state, status, ended, call, aggregate)
            if start is not None and end is not None and end >= start:
                event["duration_ms"] = end - start
            yield event
            child = string(within(state, "metadata"), "sessionId")
            if name == "task" and child:
                self._tasks.pop(call, None)
                yield self._event("subagent_stop", ended, f"{child}:stop", {}, child, call)

    def _result(
        self, name: str, state: Fields, status: str, time: float, call: str, aggregate: str
    ) -> Fields:
        code = within(state, "metadata").get("exit")
        text = string(state, "error") if status == "error" else string(state, "output")
        reason = ""
        if status == "error":
            reason = _reason(text)
        elif type(code) is int and code:
            reason = "exit"
        key = "error" if reason else "result"
        command = shell_command(within(state, "input"))
        data: Fields = {
            "tool_name": name,
            **result_data(text, self._max_result, key, tool=name, command=command),
        }
        if reason:
            data["reason"] = reason
        if type(code) is int:
            data["exit_code"] = code
        kind = "error" if reason else "tool_result"
        return self._event(kind, time, f"{call}:result", data, aggregate, call)

    def _used(self, aggregate: str, part: Fields, time: float) -> Fields:
        """Return a request's usage; input lacks the cached parts, output the reasoning."""
        tokens = within(part, "tokens")
        cache = within(tokens, "cache")
        prompt, output, thoughts = (_count(tokens, key) for key in ("input", "output", "reasoning"))
        read, written = _count(cache, "read"), _count(cache, "write")
        message = self._messages.get(string(part, "messageID"), {})
        data: Fields = {
            "model": message.get("model", ""),
            "response_id": string(part, "id"),
            "usage": {
                "input_tokens": prompt + read + written,
                "output_tokens": output + thoughts,
                "cache_read_input_tokens": read,
                "cache_creation_input_tokens": written,
                "reasoning_output_tokens": thoughts,
            },
        }
        if (cost := number(part, "cost")) is not None:
            data["reported_usd"] = cost
        return self._event("llm_response", time, f"{string(part, 'id')}:usage", data, aggregate)

    def _piped(self, record: Fields, arrival: float, path: str) -> Iterator[Fields]:
        """Yield the events of a line of `opencode run --format json`."""
        moment = number(record, "timestamp")
        time = arrival if moment is None else moment / 1000
        name = string(record, "sessionID")
        if not self.session:
            self.session = name
            data: Fields = {
                "agent": "opencode",
                "cwd": "",
                "path": path,
                "interactive": False,
                "cannot_tell": ["in_flight"],
            }
            yield self._event("session_start", time, f"{name}:start", data)
        if "part" in record:
            yield from self._part(self.session, within(record, "part"), time)
        elif self._seen.new("error", moment):
            yield self._failed(within(record, "error"), time, f"error:{moment}", self.session)

    def _event(
        self,
        event_type: str,
        time: float,
        key: str,
        data: dict[str, Any],
        aggregate: str = "",
        parent: str = "",
    ) -> Fields:
        if aggregate and aggregate != self.session:
            data = {**data, "agent_id": aggregate}
        return event_fields(event_type, time, key, self.session, data, parent)


def _reason(text: str) -> str:
    if "rejected permission" in text or "user dismissed" in text:
        return "rejected"
    return "interrupted" if text.startswith("Tool execution aborted") else "tool"


def _count(fields: Fields, key: str) -> int:
    return int(number(fields, key) or 0)
