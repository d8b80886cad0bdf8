"""One thread of Codex's: the events of a rollout."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from agent_pipes.agents.codex import lines
from agent_pipes.agents.codex.outcomes import CUT_OFF, Ended, Outcome, ended_of, outcome
from agent_pipes.agents.codex.thread import ThreadBase
from agent_pipes.agents.fields import number, string, text_of, within
from agent_pipes.agents.results import ended, failure, shell_command
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

REMEMBERED = 20_000
"""Calls of a thread that are known again, so that none comes out twice."""

WRAPPER = "exec"
"""Tool whose script makes all other calls of newer models, which are recorded when over."""

OPEN = 1_000
"""Calls of a thread that may wait for their result at once, and commands that may run on."""

_OLDER = {
    "exec_command_end": "CommandExecution",
    "patch_apply_end": "FileChange",
    "mcp_tool_call_end": "McpToolCall",
}
"""Turn items by the older events that tell of a call's end; others are dynamic calls."""


@dataclass(slots=True)
class _Call:
    """A call that waits for its result.

    started_by: the call whose command it talks to, "" for none.
    command:    the command line that it runs, or that it waits for.
    """

    name: str
    time: float
    step: str
    started_by: str
    command: str
    inner: int = 0


class Thread(ThreadBase):
    """One rollout: the calls of a session or subagent, and its turns.

    `session` is the id of the session that is being read, for versions whose subagents only name
    who spawned them.
    """

    def __init__(self, max_result: int, path: str, session: str = "") -> None:
        super().__init__(max_result, path, session)
        self._turn = ""
        self._step = ""
        self._seen: BoundedDict[str, None] = BoundedDict(REMEMBERED)
        self._open: OrderedDict[str, _Call] = OrderedDict()
        self._ended: BoundedDict[str, Ended] = BoundedDict(OPEN)
        self._running: BoundedDict[str, tuple[str, str]] = BoundedDict(OPEN)
        self._quiet = False
        self._failure = ""

    # The calls.

    def _service_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield a call that the service carried out itself: it is over when it is recorded."""
        name = string(payload, "type").removesuffix("_call")
        action = within(payload, "action")
        failed = payload.get("status") == "failed"
        key = self._named(payload, time, text_of([action]))
        yield from self._whole(key, time, time, name, action, "", Ended(failed=failed))

    def _called(self, payload: Fields, time: float) -> Iterator[Fields]:
        name, arguments = lines.request_of(payload)
        key = string(payload, "call_id") or self._named(payload, time, name)
        if not self._new(key):
            return
        self._step = self._step or key
        cell = f"cell {arguments.get('cell_id')}"
        handle = cell if name == "wait" else str(arguments.get("session_id"))
        started_by, command = self._running.get(handle, ("", shell_command(arguments)))
        if len(self._open) >= OPEN:
            self._open.popitem(last=False)
        self._open[key] = _Call(name, time, self._step, started_by, command)
        data: Fields = {"tool_name": name, "arguments": arguments, "step": self._step}
        if payload.get("type") == "custom_tool_call" and name == WRAPPER:
            data["wrapper"] = True
        yield self._event("tool_call", time, key, data)

    def _new(self, key: str) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        self._quiet = False
        return True

    def _output(self, payload: Fields, time: float) -> Iterator[Fields]:
        key = string(payload, "call_id")
        call = self._open.pop(key, None)
        # A call that was closed when its turn ended has had its answer.
        if call is None and key in self._seen:
            return
        self._step = ""
        name = call.name if call else ""
        content = payload.get("output", payload.get("tools"))
        what = outcome(name, content, self._ended.pop(key, None))
        started_by, command = (call.started_by, call.command) if call else ("", "")
        for event in self._answered(key, time, name, what, command, started_by):
            if call and call.inner:
                event["data"]["inner_calls"] = call.inner
            yield event

    def _answered(
        self, key: str, time: float, name: str, what: Outcome, command: str, started_by: str = ""
    ) -> Iterator[Fields]:
        event_type, data = what.event(name, self._max_result, command)
        if started_by:
            # A command that outlived its first call ends in a call that only waits for it: the
            # failure is the first's.
            data["started_by"] = started_by
        if what.running:
            self._running[what.running] = (started_by or key, command)
        event = self._event(event_type, time, f"{key}:result", data, key)
        if what.took is not None:
            event["duration_ms"] = what.took
        if what.reason == "interrupted":
            self._quiet = True
        yield event

    def _whole(
        self,
        key: str,
        began: float,
        time: float,
        name: str,
        arguments: Fields,
        output: object,
        ended: Ended,
    ) -> Iterator[Fields]:
        """Yield a call that is recorded when it is over, with its result."""
        if self._new(key):
            data: Fields = {"tool_name": name, "arguments": arguments}
            outer = next(
                (each for each, call in reversed(self._open.items()) if call.time <= began), ""
            )
            if outer:
                call = self._open[outer]
                data["step"] = call.step
                if call.name == WRAPPER:
                    call.inner += 1
                    data["within"] = outer
            yield self._event("tool_call", began, key, data)
            what = outcome("", output, ended)
            yield from self._answered(key, time, name, what, shell_command(arguments))

    # Records outside the conversation.

    def _item_completed(self, payload: Fields, time: float) -> Iterator[Fields]:
        item = within(payload, "item")
        kind, key = string(item, "type"), string(item, "id")
        if kind == "UserMessage":
            yield from self._user_message(item, time)
        elif kind in lines.CALLS and key:
            started = number(payload, "started_at_ms")
            began = min(time, started / 1000) if started else time
            yield from self._over(key, item, began, time)

    def _call_ended(self, payload: Fields, time: float) -> Iterator[Fields]:
        """One of the older events that tell of a call's end."""
        kind = _OLDER.get(string(payload, "type"), "DynamicToolCall")
        item = {**payload, **within(payload, "invocation"), "type": kind}
        if key := string(payload, "call_id"):
            yield from self._over(key, item, time, time)

    def _over(self, key: str, item: Fields, began: float, time: float) -> Iterator[Fields]:
        """Keep the end of a call, or yield the whole call if a script made it (`exec`).

        Newer models make all their calls from scripts, and these calls stand nowhere else. A
        command that the user has typed is no call of the agent's.
        """
        ended = ended_of(item)
        if key in self._seen:
            self._ended[key] = ended
        elif string(item, "source") not in ("user_shell", "unified_exec_interaction"):
            name, arguments, output = lines.CALLS[string(item, "type")](item)
            yield from self._whole(key, began, time, name, arguments, output, ended)

    def _turn_started(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Begin a turn. Calls still open were cut off with the process that made them."""
        yield from self._closed(time)
        self._turn = string(payload, "turn_id")
        self._window = payload.get("model_context_window") or self._window
        self._step = ""
        self._quiet = False
        self._failure = ""

    def _turn_ended(self, payload: Fields, time: float) -> Iterator[Fields]:
        yield from self._closed(time)
        if "error" in payload:
            yield from self._failed(within(payload, "error"), time)

    def _turn_aborted(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield errors for what was interrupted: open calls, or the model's answer."""
        open_calls = bool(self._open)
        yield from self._closed(time)
        if not open_calls and not self._quiet:
            turn = string(payload, "turn_id") or self._turn or self._id
            data = failure("the turn was interrupted", self._max_result, "interrupted")
            yield self._event("error", time, f"{turn}:aborted:{time}", data)
        self._quiet = True

    def _failed(self, payload: Fields, time: float) -> Iterator[Fields]:
        """Yield the error of a request that failed for good, once."""
        message = string(payload, "message")
        if message and message != self._failure:
            self._failure = message
            data = failure(message, self._max_result)
            yield self._event("error", time, self._named({}, time, message), data)

    def _closed(self, time: float) -> Iterator[Fields]:
        """Yield errors for the calls that will have no result."""
        while self._open:
            key, call = self._open.popitem(last=False)
            _, data = ended(call.name, CUT_OFF, self._max_result, reason="interrupted")
            yield self._event("error", time, f"{key}:result", data, key)

    def _token_usage_record(self, payload: Fields, time: float) -> Iterator[Fields]:
        self._step = ""
        yield from super()._token_usage_record(payload, time)

    HANDLERS: ClassVar[dict[str, Callable[[Any, Fields, float], Iterator[Fields]]]] = {
        "message": ThreadBase._message,
        "user_message": ThreadBase._user_message,
        "function_call": _called,
        "custom_tool_call": _called,
        "local_shell_call": _called,
        "tool_search_call": _called,
        "web_search_call": _service_call,
        "image_generation_call": _service_call,
        "function_call_output": _output,
        "custom_tool_call_output": _output,
        "tool_search_output": _output,
        "item_completed": _item_completed,
        "exec_command_end": _call_ended,
        "patch_apply_end": _call_ended,
        "mcp_tool_call_end": _call_ended,
        "dynamic_tool_call_response": _call_ended,
        "compacted": ThreadBase._compacted,
        "exec_approval_request": ThreadBase._approval,
        "apply_patch_approval_request": ThreadBase._approval,
        "request_permissions": ThreadBase._approval,
        "request_user_input": ThreadBase._approval,
        "elicitation_request": ThreadBase._approval,
        "turn_context": ThreadBase._turn_context,
        "thread_settings_applied": ThreadBase._settings,
        "task_started": _turn_started,
        "task_complete": _turn_ended,
        "turn_aborted": _turn_aborted,
        "error": _failed,
        "token_count": ThreadBase._token_count,
        "token_usage_record": _token_usage_record,
    }
