"""Translator of GitHub Copilot CLI's logs (to 1.0.102) and of `--output-format json`.

Both contain the same lines, `{type, data, id, timestamp, parentId}`. On a pipe there are many more,
which are not stored (`ephemeral`), and there are no token counts.
"""

from collections.abc import Callable, Iterator

from agent_pipes.agents.copilot.lines import (
    ENDED,
    INTERRUPTED,
    REFUSED,
    RUNNING,
    Call,
    Line,
    content_of,
    origin_of,
    request_failure,
    session_of,
    tokens_of,
)
from agent_pipes.agents.fields import arguments_of, objects_in, string, time_of, within
from agent_pipes.agents.results import compaction, ended, shell_command
from agent_pipes.agents.translator import MAX_OPEN_CALLS, BaseTranslator
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields


def may_matter(line: bytes) -> bool:
    """Return False if a line is certain to give no event.

    The client writes the type first, and most types give no event. A line may hold two objects.
    """
    if not line.startswith(b'{"type":"'):
        return True
    return line[9 : line.find(b'"', 9, 64)] in _TYPES or b'}{"type":"' in line


class Translator(BaseTranslator):
    """Turns the lines of one session into events.

    A command that outlives the time its call waits for it (30 s by default) is first answered with
    a success that says nothing. The call stays open here, and is answered when a later one reads
    how the command ended: a failing test suite of a minute is a failure of the command that ran it.
    """

    agent = "copilot"

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._model = ""
        self._metered = False
        self._responses: BoundedDict[str, object] = BoundedDict(MAX_OPEN_CALLS)
        self._asked: BoundedDict[str, Call] = BoundedDict(MAX_OPEN_CALLS)
        self._open: BoundedDict[str, Call] = BoundedDict(MAX_OPEN_CALLS)
        self._running: BoundedDict[str, tuple[Call, str, float]] = BoundedDict(MAX_OPEN_CALLS)
        self._aborted: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)
        self._denied: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)
        self._persons: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line; most give none."""
        kind = string(record, "type")
        if (handler := _HANDLERS.get(kind)) is None:
            return
        self._number += 1
        name = string(record, "id") or f"line-{self._number}"
        line = Line(record, kind, name, time_of(record, arrival), path)
        if not self.session:
            yield from self._begin(line)
        yield from handler(self, line)

    def end(self) -> Iterator[Fields]:
        """Yield the client's answers to calls whose commands were not heard of again."""
        running, self._running = self._running, BoundedDict(MAX_OPEN_CALLS)
        for call, text, time in running.values():
            yield self._end_of(call, time, f"{call.id}:result", text)

    def _of(
        self, line: Line, event_type: str, data: Fields, *, key: str = "", parent: str = ""
    ) -> Fields:
        """Return an event of `line`, with its time, its subagent and mostly its id."""
        return self._event(event_type, line.time, key or line.id, data, parent, agent=line.agent)

    def _begin(self, line: Line) -> Iterator[Fields]:
        """Yield the session's start before its first event, if the log has none.

        On a pipe only the last line has it; there the first event's id serves.
        """
        if line.type == "session.start":
            self.session = string(line.data, "sessionId") or session_of(line.path) or line.id
        elif name := session_of(line.path):
            self.session = name
        else:
            self.session = (
                string(line.record, "parentId") or string(line.record, "sessionId") or line.id
            )
            data: Fields = {"agent": "copilot", "path": line.path, "cannot_tell": ["usage"]}
            data["interactive"] = False
            yield self._event("session_start", line.time, f"{self.session}:start", data)

    def _start(self, line: Line) -> Iterator[Fields]:
        self._model = string(line.data, "selectedModel") or self._model
        data: Fields = {"agent": "copilot", "cwd": string(within(line.data, "context"), "cwd")}
        if self._model:
            data["model"] = self._model
        yield self._of(line, "session_start", {**data, "path": line.path})

    def _model_change(self, line: Line) -> Iterator[Fields]:
        self._model = string(line.data, "newModel") or self._model
        return iter(())

    def _prompt(self, line: Line) -> Iterator[Fields]:
        text, origin = string(line.data, "content"), origin_of(line.data)
        if text and origin:
            yield self._of(line, "user_prompt", {"prompt": text, "origin": origin})

    def _notification(self, line: Line) -> Iterator[Fields]:
        """Yield a notice of the client's, which wakes the agent."""
        kind = within(line.data, "kind")
        data: Fields = {"prompt": string(line.data, "content"), "origin": "notification"}
        if task := string(kind, "shellId") or string(kind, "agentId"):
            data["task_id"] = task
        yield self._of(line, "user_prompt", data)

    def _compacted(self, line: Line) -> Iterator[Fields]:
        if line.data.get("success") is not False:
            tokens = line.data.get("preCompactionTokens")
            yield self._of(line, "compaction", compaction(string(line.data, "trigger"), tokens))

    def _asked_permission(self, line: Line) -> Iterator[Fields]:
        """Yield that the agent waits for its user."""
        call = string(within(line.data, "permissionRequest"), "toolCallId")
        yield self._of(line, "waiting", {"for": "permission"}, parent=call)

    def _message(self, line: Line) -> Iterator[Fields]:
        data = line.data
        step = string(data, "apiCallId") or string(data, "messageId") or line.id
        if text := string(data, "content"):
            yield self._of(line, "assistant_response", {"text": text})
        for request in objects_in(data.get("toolRequests")):
            if key := string(request, "toolCallId"):
                name, arguments = string(request, "name"), arguments_of(request.get("arguments"))
                asked = Call(key, name, arguments, step, line.agent, line.time)
                self._asked.renew(key, asked)

    def _persons_call(self, line: Line) -> Iterator[Fields]:
        """Ignore a command that the user typed after `!`: it is no call of the agent's."""
        if key := string(line.data, "toolCallId"):
            self._persons.renew(key, True)
        return iter(())

    def _call(self, line: Line) -> Iterator[Fields]:
        key = string(line.data, "toolCallId") or line.id
        if key in self._persons:
            return
        asked = self._asked.pop(key, Call(key))
        name = string(line.data, "toolName") or asked.name
        given = line.data.get("arguments")
        arguments = asked.arguments if given is None else arguments_of(given)
        call = Call(key, name, arguments, asked.step, line.agent or asked.agent, line.time)
        data: Fields = {"tool_name": name, "arguments": arguments}
        if call.step:
            data["step"] = call.step
        self._open.renew(key, call)
        yield self._event("tool_call", line.time, key, data, agent=call.agent)

    def _result(self, line: Line) -> Iterator[Fields]:
        key = string(line.data, "toolCallId") or line.id
        if key in self._persons or self._aborted.pop(key, False):
            return
        if key not in self._open:
            # Old logs do not say that a call begins.
            yield from self._call(line)
        call = self._open.pop(key)
        error = within(line.data, "error")
        text = string(error, "message") or content_of(line.data.get("result"))
        if line.data.get("success") is False:
            denied = string(error, "code") == "rejected" or text.startswith(REFUSED)
            reason = "interrupted" if text.startswith(INTERRUPTED) else "tool"
            if self._denied.pop(key, False) or denied:
                reason = "rejected"
            yield self._end_of(call, line.time, line.id, text, reason=reason)
        else:
            yield from self._succeeded(call, line, text)

    def _succeeded(self, call: Call, line: Line, text: str) -> Iterator[Fields]:
        """Yield the result of a call that the client made; its command may have failed.

        A command may run on after it, and end with a later call.
        """
        told = within(line.data, "shellExecution").get("exitCode")
        is_shell = "command" in call.arguments or "shellId" in call.arguments
        found = ENDED.search(text, max(0, len(text) - 400)) if is_shell else None
        exit_code = told if type(told) is int else int(found[2]) if found else None
        if exit_code is None and "command" in call.arguments and (still := RUNNING.search(text)):
            self._running.renew(still[1], (call, text, line.time))
            return
        # The client's last line names the shell, which differs for each command.
        text = text[: found.start()] if found else text
        named = found[1] if found and found[1] else string(call.arguments, "shellId")
        if named in self._running and (exit_code is not None or call.name.startswith("stop_")):
            run, _, _ = self._running.pop(named)
            reason = "interrupted" if exit_code is None else ""
            yield self._end_of(run, line.time, f"{run.id}:result", text, exit_code, reason)
            exit_code = None
        yield self._end_of(call, line.time, line.id, text, exit_code)

    def _end_of(
        self,
        call: Call,
        time: float,
        key: str,
        text: str,
        exit_code: int | None = None,
        reason: str = "",
    ) -> Fields:
        """Return the end of a call, which failed if there is a `reason` or an exit code above 0."""
        kind, data = ended(
            call.name,
            text,
            self._max_result,
            reason=reason or ("exit" if exit_code else ""),
            code=exit_code,
            command=shell_command(call.arguments),
        )
        event = self._event(kind, time, key, data, call.id, agent=call.agent)
        if time >= call.time:
            event["duration_ms"] = round((time - call.time) * 1000, 3)
        return event

    def _permission(self, line: Line) -> Iterator[Fields]:
        kind = string(within(line.data, "result"), "kind")
        key = string(line.data, "toolCallId")
        # What a rule or a hook denies is the tool's refusal.
        if key and (kind.endswith("by-user") or kind.startswith("cancelled")):
            self._denied.renew(key, True)
        # The user has answered, so the agent waits no longer.
        yield self._of(line, "decision", {"decision": kind}, parent=key)

    def _abort(self, line: Line) -> Iterator[Fields]:
        calls, self._open = self._open, BoundedDict(MAX_OPEN_CALLS)
        text = f"aborted: {string(line.data, 'reason') or 'no reason given'}"
        for call in calls.values():
            self._aborted.renew(call.id, True)
            yield self._end_of(call, line.time, f"{call.id}:result", text, reason="interrupted")

    def _usage(self, line: Line) -> Iterator[Fields]:
        self._metered = True
        usage = line.data.get("usage", line.data)
        if type(usage) is not dict:
            return
        accounting = within(usage, "accounting")
        response = string(usage, "apiCallId") or string(accounting, "usageId") or line.id
        # Local models may count their ids from 1 in every run, or draw them from a few hundred.
        sequence = accounting.get("sequence")
        if response in self._responses and self._responses[response] != sequence:
            response = f"{response}#{sequence}"
        self._responses.renew(response, sequence)
        model = string(usage, "model") or self._model
        line.agent = line.agent or string(usage, "parentToolCallId")
        data = {"model": model, "response_id": response, "usage": tokens_of(usage)}
        yield self._of(line, "llm_response", data)

    def _failure(self, line: Line) -> Iterator[Fields]:
        """Yield the error of a failed request to the model."""
        yield self._of(line, "error", request_failure(line.data, self._max_result))

    def _subagent(self, line: Line) -> Iterator[Fields]:
        """Yield the start or the end of a subagent."""
        call = string(line.data, "toolCallId")
        line.agent = line.agent or call
        data: Fields = {"agent_type": string(line.data, "agentName")}
        begins = line.type == "subagent.started"
        if begins and (model := string(line.data, "model")):
            data["model"] = model
        kind = "subagent_start" if begins else "subagent_stop"
        yield self._of(line, kind, data, parent=call)

    def _shutdown(self, line: Line) -> Iterator[Fields]:
        """Yield the end of a run.

        Versions without usage records (1.0.72) have their tokens only here, by model.
        """
        yield from self.end()
        models = within(line.data, "modelMetrics")
        for model in models if not self._metered else ():
            tokens = tokens_of(within(within(models, model), "usage"))
            if any(tokens.values()):
                key = f"{line.id}:{model}"
                data = {"model": model, "response_id": key, "usage": tokens}
                yield self._of(line, "llm_response", data, key=key)
        yield self._of(line, "session_end", {"reason": string(line.data, "shutdownType")})

    def _printed_end(self, line: Line) -> Iterator[Fields]:
        """Yield the end of a run on a pipe."""
        yield from self.end()
        data: Fields = {"reason": "result"}
        if type(code := line.record.get("exitCode")) is int:
            data["exit_code"] = code
        if name := string(line.record, "sessionId"):
            data["conversation_id"] = name
        yield self._of(line, "session_end", data)


_HANDLERS: dict[str, Callable[[Translator, Line], Iterator[Fields]]] = {
    "session.start": Translator._start,
    "session.resume": Translator._start,
    "session.model_change": Translator._model_change,
    "session.usage_record": Translator._usage,
    "assistant.usage": Translator._usage,
    "session.error": Translator._failure,
    "model.call_failure": Translator._failure,
    "session.shutdown": Translator._shutdown,
    "result": Translator._printed_end,
    "user.message": Translator._prompt,
    "assistant.message": Translator._message,
    "tool.user_requested": Translator._persons_call,
    "tool.execution_start": Translator._call,
    "tool.execution_complete": Translator._result,
    "permission.requested": Translator._asked_permission,
    "permission.completed": Translator._permission,
    "session.compaction_complete": Translator._compacted,
    "system.notification": Translator._notification,
    "abort": Translator._abort,
    "subagent.started": Translator._subagent,
    "subagent.completed": Translator._subagent,
    "subagent.failed": Translator._subagent,
}
"""Handlers by type of line; other types repeat what these contain.

`hook.start` repeats a call's arguments, the ephemeral lines a result.
"""

_TYPES = frozenset(kind.encode() for kind in _HANDLERS)
