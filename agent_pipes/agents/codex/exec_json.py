"""Output of `codex exec --json`, which has no times, model, prompt or directory."""

import shlex
from collections.abc import Iterator

from agent_pipes.agents.codex.lines import command_of, patch_of, query_of, tool_of
from agent_pipes.agents.codex.outcomes import CUT_OFF, ended_of, outcome
from agent_pipes.agents.codex.usage import NOTHING, counts
from agent_pipes.agents.fields import objects_in, string, text_of, within
from agent_pipes.agents.results import ended
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields

KINDS = frozenset(
    {
        "thread.started",
        "turn.started",
        "turn.completed",
        "turn.failed",
        "item.started",
        "item.updated",
        "item.completed",
        "error",
    }
)
"""The types of its lines."""


class Run(BaseTranslator):
    """State of one run. The last item of a call is its result; a patch that fails has no item."""

    def __init__(self, max_result: int) -> None:
        super().__init__(max_result)
        self._total = NOTHING
        self._responses = 0
        self._turn = 0
        self._failures = 0
        self._failure = ""

    def translate(self, record: Fields, time: float, path: str) -> Iterator[Fields]:
        kind = string(record, "type")
        if kind == "thread.started":
            self.session = string(record, "thread_id")
            data: Fields = {
                "agent": "codex",
                "cwd": "",
                "model": "",
                "path": path,
                "interactive": False,
            }
            yield self._event("session_start", time, f"{self.session}:start", data)
        elif kind == "turn.started":
            self._turn += 1
            self._failure = ""
        elif kind == "item.started":
            yield from self._begun(within(record, "item"), time)
        elif kind == "item.completed":
            yield from self._completed(within(record, "item"), time)
        elif kind == "turn.completed":
            yield from self._closed(time)
            yield from self._counted(record, time)
        elif kind == "turn.failed":
            yield from self._closed(time)
            yield from self._request_failed(string(within(record, "error"), "message"), time)
        elif kind == "error":
            yield from self._request_failed(string(record, "message"), time)

    def _begun(self, item: Fields, time: float) -> Iterator[Fields]:
        call, key = _call(item), string(item, "id")
        if call and key and key not in self._calls:
            yield self._called(key, *call, time)

    def _completed(self, item: Fields, time: float) -> Iterator[Fields]:
        key = string(item, "id")
        if string(item, "type") == "agent_message":
            data = {"text": string(item, "text")}
            yield self._event("assistant_response", time, f"{key}:{self._turn}", data)
            return
        # What is quick comes with its end alone.
        yield from self._begun(item, time)
        if call := self._calls.pop(key, None):
            what = outcome(call.name, _output(item), ended_of(item))
            event_type, data = what.event(call.name, self._max_result, call.command)
            yield self._event(event_type, time, f"{key}:result", data, key)

    def _closed(self, time: float) -> Iterator[Fields]:
        """Yield the end of a turn, and of the calls whose end was not reported."""
        while self._calls:
            key = next(iter(self._calls))
            name = self._calls.pop(key).name
            _, data = ended(name, CUT_OFF, self._max_result, reason="interrupted")
            yield self._event("error", time, f"{key}:result", data, key)

    def _counted(self, record: Fields, time: float) -> Iterator[Fields]:
        """Yield the turn's usage: the growth of the thread's total since its first run."""
        total = counts(record.get("usage"))
        if total is None:
            return
        used = total - self._total if total.spans(self._total) else total
        self._total = total
        if used.prompt or used.output:
            self._responses += 1
            response = f"{self.session}#{self._responses}"
            data = {"model": "", "response_id": response, "usage": used.usage()}
            yield self._event("llm_response", time, response, data)

    def _request_failed(self, message: str, time: float) -> Iterator[Fields]:
        """Yield a failed request; one that failed for good is reported twice."""
        if message and message != self._failure:
            self._failure = message
            self._failures += 1
            yield self._failed(time, f"{self.session}:failure:{self._failures}", message)


def _call(item: Fields) -> tuple[str, Fields] | None:
    """Return an item's tool and arguments, named as in a rollout; None if it is no call."""
    kind = string(item, "type")
    if kind == "command_execution":
        return "exec_command", {"cmd": _command(string(item, "command"))}
    if kind == "file_change":
        # What has changed is not told. Its item's number keeps two changes of one file apart.
        untold = f"@@ {string(item, 'id')}"
        changes = objects_in(item.get("changes"))
        patch = patch_of([(string(each, "path"), string(each, "kind"), untold) for each in changes])
        return "apply_patch", {"input": patch}
    if kind == "mcp_tool_call":
        name = tool_of(f"mcp__{string(item, 'server')}", string(item, "tool"))
        return name, within(item, "arguments")
    if kind == "web_search":
        return "web_search", query_of(item)
    if kind == "collab_tool_call":
        keys = ("prompt", "receiver_thread_ids")
        return string(item, "tool"), {key: item[key] for key in keys if key in item}
    return None


def _command(command: str) -> str:
    try:
        return command_of(shlex.split(command))
    except ValueError:
        return command


def _output(item: Fields) -> object:
    if message := string(within(item, "error"), "message"):
        return message
    content = within(item, "result").get("content")
    return string(item, "aggregated_output") if content is None else text_of(content)
