"""One thread of Codex's: what the lines of its rollout come to, one after the other."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent_pipes.agents.codex import lines as lines
from agent_pipes.agents.codex.outcomes import Ended, Outcome, ended_of, outcome
from agent_pipes.agents.codex.sessions import Meta
from agent_pipes.agents.codex.usage import Meter
from agent_pipes.agents.fields import number, string, text_of, time_of, within
from agent_pipes.core.bounded import remember
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields

REMEMBERED = 20_000
"""Calls of a thread that are known again, so that none comes out twice."""

OPEN = 1_000
"""Calls of a thread that may wait for their result at once, and commands that may run on."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that waits for its result. `started_by` is the call whose command it speaks to, "" where it is none such."""

    name: str
    time: float
    step: str
    started_by: str


class Thread:
    """One rollout: the session itself, or a subagent of it.

    `session` is the id of the session that is being read, for versions whose subagents only name who spawned them.
    """

    def __init__(self, max_result: int, path: str, session: str = "") -> None:
        self.session = ""
        self._root = session
        self._max_result = max_result
        self._path = path
        self._id = ""
        self._agent = ""
        self._model = ""
        self._tier = ""
        self._turn = ""
        self._copied = False
        self._dated = False
        self._born = 0.0
        self._began = 0.0
        self._step = ""
        self._meter = Meter()
        self._responses = 0
        self._seen: dict[str, None] = {}
        self._open: OrderedDict[str, _Call] = OrderedDict()
        self._ended: dict[str, Ended] = {}
        self._running: dict[str, str] = {}
        self._prompts: list[str] = []
        self._told = False
        self._quiet = False
        self._failure = ""

    def translate(self, record: Fields, time: float) -> Iterator[Fields]:
        kind, payload = string(record, "type"), within(record, "payload")
        if kind == "response_item" or kind == "event_msg":
            kind = string(payload, "type")
        if kind == "session_meta":
            yield from self._begin(payload, time)
        elif self._is_copy(kind, payload, time):
            if kind in ("token_count", "token_usage_record"):
                self._meter.copied(within(payload, "info") or payload)
        elif handler := _HANDLERS.get(kind):
            yield from handler(self, payload, time)

    def ends_at(self, record: Fields) -> bool:
        """Whether another rollout begins with this line, as where several come on one pipe."""
        own = Meta.of(within(record, "payload")).id
        return (
            record.get("type") == "session_meta"
            and bool(self._id)
            and own != self._id
            and not self._copied
        )

    def _event(
        self, event_type: str, time: float, key: str, data: Fields, parent: str = ""
    ) -> Fields:
        if self._agent:
            data["agent_id"] = self._agent
        return lines.event(event_type, time, self.session, key, data, parent)

    def _named(self, payload: Fields, time: float, text: str) -> str:
        """An id for what has none of its own, the same whenever the rollout is read."""
        return (
            string(payload, "id")
            or digest(f"{self._id}\0{time}\0{text}".encode(errors="surrogatepass"))[:12]
        )

    def _begin(self, payload: Fields, time: float) -> Iterator[Fields]:
        # A fork's rollout may hold the heads of the threads it was copied from. Only the first is its own.
        if self._id:
            return
        meta = Meta.of(payload)
        self._id = meta.id
        self.session = (
            self._root
            if meta.child and self._root and "session_id" not in payload
            else meta.session
        )
        self._began = time
        created = lines.made(meta.id)
        self._born = time_of(payload, time) if created is None else created
        if meta.child:
            self._agent = meta.id
            yield self._event(
                "subagent_start",
                time,
                f"{meta.id}:start",
                {"agent_type": meta.role} if meta.role else {},
            )
        else:
            provenance = within(within(payload, "base_instructions"), "provenance")
            model = string(provenance, "model") if provenance.get("type") == "model" else ""
            data = {"agent": "codex", "cwd": meta.cwd, "model": model, "path": self._path}
            yield self._event("session_start", time, f"{meta.id}:start", data)
        self._meter.inherits = meta.child or bool(string(payload, "forked_from_id"))
        # Newer forks name the part of the other rollout they go on from, and copy nothing.
        self._copied = self._meter.inherits and not within(payload, "history_base")

    def _is_copy(self, kind: str, payload: Fields, time: float) -> bool:
        """Whether the line was copied from the thread that this one was forked from.

        Copies get the fork's own time, but the ids of turns tell when they were made: the first turn that is no older
        than the thread is its own. Where turns have no such ids, what came a second later is.
        """
        if not self._copied:
            return False
        if (
            kind in ("task_started", "turn_context")
            and (turn := lines.made(string(payload, "turn_id"))) is not None
        ):
            self._dated = True
            self._copied = turn < self._born
        elif not self._dated and time > self._began + 1.0:
            self._copied = False
        return self._copied

    # The conversation.

    def _message(self, payload: Fields, time: float) -> Iterator[Fields]:
        role = payload.get("role")
        content = payload.get("content")
        if role == "assistant":
            text = text_of(content)
            data: Fields = {"text": text}
            if phase := string(payload, "phase"):
                data["phase"] = phase
            yield self._event("assistant_response", time, self._named(payload, time, text), data)
        elif role == "user" and not self._told and not self._agent:
            text = text_of(content)
            if lines.is_persons(payload, text):
                self._prompts = [*self._prompts[-9:], text]
                yield self._event(
                    "user_prompt", time, self._named(payload, time, text), {"prompt": text}
                )

    def _user_message(self, payload: Fields, time: float) -> Iterator[Fields]:
        """A person's prompt, which also stands in the conversation, mostly just before: there it may be another's.

        A session's first is taken from there, so that it is not missed where these events are not written. From the
        first of these events on, only they are believed.
        """
        if self._agent:
            return
        text = string(payload, "message") or text_of(payload.get("content"))
        first, self._told = not self._told, True
        if text in self._prompts:
            self._prompts.remove(text)
        elif first and self._prompts:
            self._prompts.pop(0)
        else:
            yield self._event(
                "user_prompt", time, self._named(payload, time, text), {"prompt": text}
            )

    # The calls.

    def _function_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        name = lines.tool_of(string(payload, "namespace"), string(payload, "name"))
        yield from self._called(payload, time, name, lines.arguments_of(payload.get("arguments")))

    def _custom_tool_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        content = payload.get("input")
        yield from self._called(
            payload,
            time,
            string(payload, "name"),
            {"input": content if type(content) is str else text_of(content)},
        )

    def _local_shell_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        action = within(payload, "action")
        yield from self._called(
            payload, time, "local_shell", {key: action[key] for key in action if key != "type"}
        )

    def _tool_search_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        yield from self._called(
            payload, time, "tool_search", lines.arguments_of(payload.get("arguments"))
        )

    def _service_call(self, payload: Fields, time: float) -> Iterator[Fields]:
        """A call that the service carried out itself: it is over when it is told of."""
        name = string(payload, "type").removesuffix("_call")
        action = within(payload, "action")
        failed = payload.get("status") == "failed"
        yield from self._whole(
            self._named(payload, time, text_of([action])),
            time,
            time,
            name,
            action,
            "",
            Ended(failed=failed),
        )

    def _called(
        self, payload: Fields, time: float, name: str, arguments: Fields
    ) -> Iterator[Fields]:
        key = string(payload, "call_id") or self._named(payload, time, name)
        if not self._new(key):
            return
        self._step = self._step or key
        handle = (
            f"cell {arguments.get('cell_id')}"
            if name == "wait"
            else str(arguments.get("session_id"))
        )
        started_by = self._running.get(handle, "")
        if len(self._open) >= OPEN:
            self._open.popitem(last=False)
        self._open[key] = _Call(name, time, self._step, started_by)
        yield self._event(
            "tool_call", time, key, {"tool_name": name, "arguments": arguments, "step": self._step}
        )

    def _new(self, key: str) -> bool:
        if key in self._seen:
            return False
        remember(self._seen, key, None, REMEMBERED)
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
        yield from self._answered(
            key,
            time,
            name,
            outcome(name, content, self._ended.pop(key, None)),
            call.started_by if call else "",
        )

    def _answered(
        self, key: str, time: float, name: str, what: Outcome, started_by: str = ""
    ) -> Iterator[Fields]:
        event_type, data = what.event(name, self._max_result)
        if started_by:
            # A command that outlived its first call ends in a call that only waits for it: the failure is the first's.
            data["started_by"] = started_by
        if what.running:
            remember(self._running, what.running, started_by or key, OPEN)
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
        """A call that is told of when it is over, with its result: one of the service's, or of a script's that was open then."""
        if self._new(key):
            data: Fields = {"tool_name": name, "arguments": arguments}
            if step := next(
                (call.step for call in reversed(self._open.values()) if call.time <= began), ""
            ):
                data["step"] = step
            yield self._event("tool_call", began, key, data)
            yield from self._answered(key, time, name, outcome("", output, ended))

    # What is told beside the conversation.

    def _item_completed(self, payload: Fields, time: float) -> Iterator[Fields]:
        item = within(payload, "item")
        kind, key = string(item, "type"), string(item, "id")
        if kind == "UserMessage":
            yield from self._user_message(item, time)
        elif kind in lines.CALLS and key:
            started = number(payload, "started_at_ms")
            yield from self._over(
                key,
                item,
                time if started is None or not started else min(time, started / 1000),
                time,
            )

    def _call_ended(self, payload: Fields, time: float) -> Iterator[Fields]:
        """One of the older events that tell of a call's end."""
        kind = {
            "exec_command_end": "CommandExecution",
            "patch_apply_end": "FileChange",
            "mcp_tool_call_end": "McpToolCall",
        }
        item = {
            **payload,
            **within(payload, "invocation"),
            "type": kind.get(string(payload, "type"), "DynamicToolCall"),
        }
        if key := string(payload, "call_id"):
            yield from self._over(key, item, time, time)

    def _over(self, key: str, item: Fields, began: float, time: float) -> Iterator[Fields]:
        """A call has ended: one whose result stands in the conversation, or one that a script made (`exec`).

        Newer models make all their calls from scripts, and these calls stand nowhere else. A command that the user
        has typed is no call of the agent's.
        """
        ended = ended_of(item)
        if key in self._seen:
            remember(self._ended, key, ended, OPEN)
        elif string(item, "source") not in ("user_shell", "unified_exec_interaction"):
            name, arguments, output = lines.call_of(item)
            yield from self._whole(key, began, time, name, arguments, output, ended)

    def _turn_context(self, payload: Fields, time: float) -> Iterator[Fields]:
        self._model = string(payload, "model") or self._model
        return iter(())

    def _settings(self, payload: Fields, time: float) -> Iterator[Fields]:
        settings = within(payload, "thread_settings")
        self._model = string(settings, "model") or self._model
        self._tier = string(settings, "service_tier")
        return iter(())

    def _turn_started(self, payload: Fields, time: float) -> Iterator[Fields]:
        """A turn begins. Calls that are still open were cut off with the process that made them."""
        yield from self._closed(time)
        self._turn = string(payload, "turn_id")
        self._step = ""
        self._quiet = False
        self._failure = ""

    def _turn_ended(self, payload: Fields, time: float) -> Iterator[Fields]:
        yield from self._closed(time)
        if "error" in payload:
            yield from self._failed(within(payload, "error"), time)

    def _turn_aborted(self, payload: Fields, time: float) -> Iterator[Fields]:
        """A person (or a breaker) has interrupted the turn: the calls that were open, or the model's answer."""
        open_calls = bool(self._open)
        yield from self._closed(time)
        if not open_calls and not self._quiet:
            turn = string(payload, "turn_id") or self._turn or self._id
            yield self._event(
                "error",
                time,
                f"{turn}:aborted:{time}",
                lines.failure("the turn was interrupted", "interrupted", self._max_result),
            )
        self._quiet = True

    def _failed(self, payload: Fields, time: float) -> Iterator[Fields]:
        """The model's service, or the way to it, has failed for good. It is told of once or twice."""
        message = string(payload, "message")
        if message and message != self._failure:
            self._failure = message
            yield self._event(
                "error",
                time,
                self._named({}, time, message),
                lines.failure(message, "api", self._max_result),
            )

    def _closed(self, time: float) -> Iterator[Fields]:
        """The calls that will have no result any more."""
        while self._open:
            key, call = self._open.popitem(last=False)
            data = {
                "tool_name": call.name,
                **lines.failure(
                    "the turn ended before the call did", "interrupted", self._max_result
                ),
            }
            yield self._event("error", time, f"{key}:result", data, key)

    # The money.

    def _token_count(self, payload: Fields, time: float) -> Iterator[Fields]:
        for used in self._meter.counted(within(payload, "info")):
            self._responses += 1
            yield self._used(time, f"{self._id}#{self._responses}", used.usage())

    def _token_usage_record(self, payload: Fields, time: float) -> Iterator[Fields]:
        self._step = ""
        if self._id and string(payload, "thread_id") not in ("", self._id):
            self._meter.copied(payload)
            return
        for used in self._meter.recorded(payload):
            self._responses += 1
            yield self._used(
                time,
                string(payload, "response_id") or f"{self._id}#{self._responses}",
                used.usage(),
            )

    def _used(self, time: float, response: str, usage: Fields) -> Fields:
        data: Fields = {"model": self._model, "response_id": response, "usage": usage}
        if self._tier:
            data["service_tier"] = self._tier
        return self._event("llm_response", time, response, data)


_HANDLERS: dict[str, Callable[[Thread, Fields, float], Iterator[Fields]]] = {
    "message": Thread._message,
    "user_message": Thread._user_message,
    "function_call": Thread._function_call,
    "custom_tool_call": Thread._custom_tool_call,
    "local_shell_call": Thread._local_shell_call,
    "tool_search_call": Thread._tool_search_call,
    "web_search_call": Thread._service_call,
    "image_generation_call": Thread._service_call,
    "function_call_output": Thread._output,
    "custom_tool_call_output": Thread._output,
    "tool_search_output": Thread._output,
    "item_completed": Thread._item_completed,
    "exec_command_end": Thread._call_ended,
    "patch_apply_end": Thread._call_ended,
    "mcp_tool_call_end": Thread._call_ended,
    "dynamic_tool_call_response": Thread._call_ended,
    "turn_context": Thread._turn_context,
    "thread_settings_applied": Thread._settings,
    "task_started": Thread._turn_started,
    "task_complete": Thread._turn_ended,
    "turn_aborted": Thread._turn_aborted,
    "error": Thread._failed,
    "token_count": Thread._token_count,
    "token_usage_record": Thread._token_usage_record,
}
