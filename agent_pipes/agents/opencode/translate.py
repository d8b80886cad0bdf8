"""Translator of OpenCode's event rows and of `opencode run --format json`."""

from collections.abc import Iterator

from agent_pipes.agents.fields import count, number, string, time_of, within
from agent_pipes.agents.translator import MAX_OPEN_CALLS, BaseTranslator
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

MAX_MESSAGES = 20_000

PIPED = frozenset({"step_start", "tool_use", "text", "step_finish", "reasoning", "error"})


def recognises(record: Fields) -> bool:
    """Return True for a row of the event table or a line of `--format json`."""
    kind = string(record, "type")
    if "aggregate_id" in record and "seq" in record:
        return type(record.get("data")) is dict
    return kind in PIPED and "sessionID" in record and ("part" in record or "error" in record)


class Translator(BaseTranslator):
    """Turns the rows of one session, those of its subagents included, into events.

    A tool's state is written again as its output grows: the first `running` is the call, the
    first `completed` or `error` its result.
    """

    agent = "opencode"

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._messages: BoundedDict[str, Fields] = BoundedDict(MAX_MESSAGES)
        self._tasks: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one row or line."""
        self._number += 1
        if "aggregate_id" not in record:
            yield from self._piped(record, arrival, path)
            return
        kind, data = string(record, "type"), within(record, "data")
        name = string(record, "aggregate_id")
        agent = "" if name == self.session else name
        if kind.startswith("session.created"):
            yield from self._created(name, within(data, "info"), arrival, path)
        elif kind.startswith("message.updated"):
            yield from self._message(agent, within(data, "info"), arrival)
        elif kind.startswith("message.part.updated"):
            yield from self._part(agent, within(data, "part"), time_of(data, arrival, "time"))

    def _created(self, name: str, info: Fields, arrival: float, path: str) -> Iterator[Fields]:
        time = time_of(within(info, "time"), arrival, "created")
        if not self.session:
            self.session = name
            yield self._started(time, path, string(info, "directory"))
        elif name != self.session and self._seen.new("subagent", name):
            call = next((each for each, taken in self._tasks.items() if not taken), "")
            if call:
                self._tasks[call] = True
            data = {"agent_id": name}
            if kind := string(info, "agent"):
                data["agent_type"] = kind
            if (parent := string(info, "parentID")) and parent != self.session:
                data["parent_agent_id"] = parent
            yield self._event("subagent_start", time, f"{name}:start", data, call)

    def _message(self, agent: str, info: Fields, arrival: float) -> Iterator[Fields]:
        name = string(info, "id")
        model = string(info, "modelID") or string(within(info, "model"), "modelID")
        self._messages.renew(name, {"role": string(info, "role"), "model": model})
        error = within(info, "error")
        if error and self._seen.new("error", name):
            time = time_of(within(info, "time"), arrival, "completed")
            yield self._request_failed(error, time, f"{name}:error", agent)

    def _request_failed(self, error: Fields, time: float, key: str, agent: str) -> Fields:
        details = within(error, "data")
        text = string(details, "message") or string(error, "message") or string(error, "name")
        reason = "interrupted" if "Aborted" in string(error, "name") else "api"
        return self._failed(time, key, text, reason, details.get("statusCode"), agent=agent)

    def _part(self, agent: str, part: Fields, time: float) -> Iterator[Fields]:
        kind, key = string(part, "type"), string(part, "id") or f"part-{self._number}"
        if kind == "tool":
            yield from self._tool(agent, part, time, key)
        elif kind == "text":
            yield from self._text(agent, part, time, key)
        elif kind == "step-finish" and self._seen.new("usage", key):
            yield self._usage(agent, part, time, key)
        elif kind == "compaction" and self._seen.new("compaction", key):
            trigger = "auto" if part.get("auto") is True else "manual"
            yield self._event("compaction", time, key, {"trigger": trigger}, agent=agent)

    def _text(self, agent: str, part: Fields, time: float, key: str) -> Iterator[Fields]:
        text = string(part, "text")
        message = self._messages.get(string(part, "messageID"), {})
        if not text or part.get("synthetic") is True:
            return
        if message.get("role") == "user":
            if not agent and self._seen.new("prompt", key):
                data = {"prompt": text, "origin": "person"}
                yield self._event("user_prompt", time, key, data)
        elif "end" in within(part, "time") and self._seen.new("text", key):
            yield self._event("assistant_response", time, key, {"text": text}, agent=agent)

    def _tool(self, agent: str, part: Fields, time: float, key: str) -> Iterator[Fields]:
        call, name = string(part, "callID") or key, string(part, "tool")
        state = within(part, "state")
        status = string(state, "status")
        if status not in ("running", "completed", "error"):
            return
        step = string(part, "messageID")
        times = within(state, "time")
        if self._seen.new("call", step, call):
            if name == "task":
                self._tasks[call] = False
            began = time_of(times, time, "start")
            yield self._called(call, name, within(state, "input"), began, step, agent=agent)
        if status != "running" and self._seen.new("result", step, call):
            yield self._result(call, name, state, time_of(times, time, "end"), agent)
            child = string(within(state, "metadata"), "sessionId")
            if name == "task" and child:
                self._tasks.pop(call, None)
                over = time_of(times, time, "end")
                yield self._event("subagent_stop", over, f"{child}:stop", {}, call, agent=child)

    def _result(self, call: str, name: str, state: Fields, time: float, agent: str) -> Fields:
        exit_code = within(state, "metadata").get("exit")
        code = exit_code if type(exit_code) is int else None
        if string(state, "status") == "error":
            text = string(state, "error")
            reason = _reason(text)
        else:
            text = string(state, "output")
            reason = "exit" if code else ""
        return self._answered(call, text, time, name=name, reason=reason, code=code, agent=agent)

    def _usage(self, agent: str, part: Fields, time: float, response: str) -> Fields:
        """Return a request's usage; input lacks the cached parts, output the reasoning."""
        tokens = within(part, "tokens")
        cache = within(tokens, "cache")
        read, written = count(cache, "read"), count(cache, "write")
        thoughts = count(tokens, "reasoning")
        usage = {
            "input_tokens": count(tokens, "input") + read + written,
            "output_tokens": count(tokens, "output") + thoughts,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "reasoning_output_tokens": thoughts,
        }
        model = self._messages.get(string(part, "messageID"), {}).get("model", "")
        cost = number(part, "cost")
        more = {} if cost is None else {"reported_usd": cost}
        return self._used(time, model, response, usage, agent=agent, more=more)

    def _piped(self, record: Fields, arrival: float, path: str) -> Iterator[Fields]:
        """Yield the events of a line of `opencode run --format json`."""
        time = time_of(record, arrival, "timestamp")
        if not self.session:
            self.session = string(record, "sessionID")
            yield self._started(time, path, interactive=False, cannot_tell=["in_flight"])
        moment = number(record, "timestamp")
        if "part" in record:
            yield from self._part("", within(record, "part"), time)
        elif self._seen.new("error", moment):
            yield self._request_failed(within(record, "error"), time, f"error:{moment}", "")


def _reason(text: str) -> str:
    if "rejected permission" in text or "user dismissed" in text:
        return "rejected"
    return "interrupted" if text.startswith("Tool execution aborted") else "tool"
