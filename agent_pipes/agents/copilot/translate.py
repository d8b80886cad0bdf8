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
    arguments_of,
    content_of,
    of_agent,
    origin_of,
    request_failure,
    session_of,
    tokens_of,
)
from agent_pipes.agents.fields import event_fields, string, time_of
from agent_pipes.agents.results import result_data, shell_command
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

OPEN = 10_000
"""Calls, denials and commands of each kind that a session's state holds."""


def may_matter(line: bytes) -> bool:
    """Return False if a line is certain to give no event.

    The client writes the type first, and most types give no event. A line may hold two objects.
    """
    if not line.startswith(b'{"type":"'):
        return True
    return line[9 : line.find(b'"', 9, 64)] in _TYPES or b'}{"type":"' in line


class Translator:
    """Turns the lines of one session into events.

    A command that outlives the time its call waits for it (30 s by default) is first answered with
    a success that says nothing. The call stays open here, and is answered when a later one reads
    how the command ended: a failing test suite of a minute is a failure of the command that ran it.
    """

    def __init__(self, max_result: int = 4096) -> None:
        self.session = ""
        self._max_result = max_result
        self._model = ""
        self._number = 0
        self._metered = False
        self._responses: BoundedDict[str, object] = BoundedDict(OPEN)
        self._asked: BoundedDict[str, Call] = BoundedDict(OPEN)
        self._open: BoundedDict[str, Call] = BoundedDict(OPEN)
        self._running: BoundedDict[str, tuple[Call, str, float]] = BoundedDict(OPEN)
        self._aborted: BoundedDict[str, bool] = BoundedDict(OPEN)
        self._denied: BoundedDict[str, bool] = BoundedDict(OPEN)
        self._persons: BoundedDict[str, bool] = BoundedDict(OPEN)

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
        running, self._running = self._running, BoundedDict(OPEN)
        for call, text, time in running.values():
            yield self._answer(call, time, f"{call.id}:result", text)

    def _event(
        self, event_type: str, line: Line, data: Fields, *, id: str = "", parent: str = ""
    ) -> Fields:
        return self._fields(
            event_type, line.time, id or line.id, of_agent(line.agent, data), parent
        )

    def _fields(
        self, event_type: str, time: float, id: str, data: Fields, parent: str = ""
    ) -> Fields:
        return event_fields(event_type, time, id, self.session, data, parent)

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
            yield self._fields("session_start", line.time, f"{self.session}:start", data)

    def _start(self, line: Line) -> Iterator[Fields]:
        context = line.data.get("context")
        self._model = string(line.data, "selectedModel") or self._model
        data: Fields = {
            "agent": "copilot",
            "cwd": string(context, "cwd") if type(context) is dict else "",
        }
        if self._model:
            data["model"] = self._model
        yield self._event("session_start", line, {**data, "path": line.path})

    def _model_change(self, line: Line) -> Iterator[Fields]:
        self._model = string(line.data, "newModel") or self._model
        yield from ()

    def _prompt(self, line: Line) -> Iterator[Fields]:
        text, origin = string(line.data, "content"), origin_of(line.data)
        if text and origin:
            yield self._event("user_prompt", line, {"prompt": text, "origin": origin})

    def _notification(self, line: Line) -> Iterator[Fields]:
        """Yield a notice of the client's, which wakes the agent."""
        kind = line.data.get("kind")
        data: Fields = {"prompt": string(line.data, "content"), "origin": "notification"}
        if type(kind) is dict and (task := string(kind, "shellId") or string(kind, "agentId")):
            data["task_id"] = task
        yield self._event("user_prompt", line, data)

    def _compacted(self, line: Line) -> Iterator[Fields]:
        if line.data.get("success") is not False:
            data: Fields = {"trigger": string(line.data, "trigger")}
            if type(tokens := line.data.get("preCompactionTokens")) is int:
                data["tokens"] = tokens
            yield self._event("compaction", line, data)

    def _asked_permission(self, line: Line) -> Iterator[Fields]:
        """Yield that the agent waits for its user."""
        request = line.data.get("permissionRequest")
        call = string(request, "toolCallId") if type(request) is dict else ""
        yield self._event("waiting", line, {"for": "permission"}, parent=call)

    def _message(self, line: Line) -> Iterator[Fields]:
        data = line.data
        step = string(data, "apiCallId") or string(data, "messageId") or line.id
        if text := string(data, "content"):
            yield self._event("assistant_response", line, {"text": text})
        requests = data.get("toolRequests")
        for request in requests if type(requests) is list else ():
            if type(request) is dict and (key := string(request, "toolCallId")):
                asked = Call(
                    key,
                    string(request, "name"),
                    arguments_of(request.get("arguments")),
                    step,
                    line.agent,
                    line.time,
                )
                self._asked.renew(key, asked)

    def _persons_call(self, line: Line) -> Iterator[Fields]:
        """Ignore a command that the user typed after `!`: it is no call of the agent's."""
        if key := string(line.data, "toolCallId"):
            self._persons.renew(key, True)
        yield from ()

    def _call(self, line: Line) -> Iterator[Fields]:
        key = string(line.data, "toolCallId") or line.id
        if key in self._persons:
            return
        asked = self._asked.pop(key, None)
        name = string(line.data, "toolName") or (asked.name if asked else "")
        arguments = line.data.get("arguments")
        given = asked.arguments if asked and arguments is None else arguments_of(arguments)
        call = Call(
            key,
            name,
            given,
            asked.step if asked else "",
            line.agent or (asked.agent if asked else ""),
            line.time,
        )
        data: Fields = {"tool_name": name, "arguments": given}
        if call.step:
            data["step"] = call.step
        self._open.renew(key, call)
        yield self._fields("tool_call", line.time, key, of_agent(call.agent, data))

    def _result(self, line: Line) -> Iterator[Fields]:
        key = string(line.data, "toolCallId") or line.id
        if key in self._persons or self._aborted.pop(key, False):
            return
        if key not in self._open:
            # Old logs do not say that a call begins.
            yield from self._call(line)
        call = self._open.pop(key)
        output, error = line.data.get("result"), line.data.get("error")
        text = (string(error, "message") if type(error) is dict else "") or content_of(output)
        if line.data.get("success") is False:
            code = string(error, "code") if type(error) is dict else ""
            refused = code == "rejected" or text.startswith(REFUSED) or self._denied.pop(key, False)
            reason = (
                "rejected" if refused else "interrupted" if text.startswith(INTERRUPTED) else "tool"
            )
            yield self._answer(call, line.time, line.id, text, reason=reason)
            return
        shell = line.data.get("shellExecution")
        told = shell.get("exitCode") if type(shell) is dict else None
        ended = (
            ENDED.search(text, max(0, len(text) - 400))
            if "command" in call.arguments or "shellId" in call.arguments
            else None
        )
        exit_code = told if type(told) is int else int(ended[2]) if ended else None
        if exit_code is None and "command" in call.arguments and (still := RUNNING.search(text)):
            self._running.renew(still[1], (call, text, line.time))
            return
        # The client's last line names the shell, which differs for each command.
        text = text[: ended.start()] if ended else text
        named = ended[1] if ended and ended[1] else string(call.arguments, "shellId")
        if named in self._running and (exit_code is not None or call.name.startswith("stop_")):
            run, _, _ = self._running.pop(named)
            yield self._answer(
                run,
                line.time,
                f"{run.id}:result",
                text,
                exit_code,
                "interrupted" if exit_code is None else "",
            )
            exit_code = None
        yield self._answer(call, line.time, line.id, text, exit_code)

    def _answer(
        self,
        call: Call,
        time: float,
        id: str,
        text: str,
        exit_code: int | None = None,
        reason: str = "",
    ) -> Fields:
        """Return the end of a call, which failed if there is a `reason` or an exit code above 0."""
        reason = reason or ("exit" if exit_code else "")
        data: Fields = {
            "tool_name": call.name,
            **result_data(
                text,
                self._max_result,
                "error" if reason else "result",
                tool=call.name,
                command=shell_command(call.arguments),
            ),
        }
        if reason:
            data["reason"] = reason
        if exit_code is not None:
            data["exit_code"] = exit_code
        fields = self._fields(
            "error" if reason else "tool_result", time, id, of_agent(call.agent, data), call.id
        )
        if time >= call.time:
            fields["duration_ms"] = round((time - call.time) * 1000, 3)
        return fields

    def _permission(self, line: Line) -> Iterator[Fields]:
        outcome = line.data.get("result")
        kind = string(outcome, "kind") if type(outcome) is dict else ""
        key = string(line.data, "toolCallId")
        # What a rule or a hook denies is the tool's refusal.
        if key and (kind.endswith("by-user") or kind.startswith("cancelled")):
            self._denied.renew(key, True)
        # The user has answered, so the agent waits no longer.
        yield self._event("decision", line, {"decision": kind}, parent=key)

    def _abort(self, line: Line) -> Iterator[Fields]:
        calls, self._open = self._open, BoundedDict(OPEN)
        text = f"aborted: {string(line.data, 'reason') or 'no reason given'}"
        for call in calls.values():
            self._aborted.renew(call.id, True)
            yield self._answer(call, line.time, f"{call.id}:result", text, reason="interrupted")

    def _usage(self, line: Line) -> Iterator[Fields]:
        self._metered = True
        usage = line.data.get("usage", line.data)
        if type(usage) is not dict:
            return
        identity = usage.get("accounting")
        accounting: Fields = identity if type(identity) is dict else {}
        response = string(usage, "apiCallId") or string(accounting, "usageId") or line.id
        # Local models may count their ids from 1 in every run, or draw them from a few hundred.
        sequence = accounting.get("sequence")
        if response in self._responses and self._responses[response] != sequence:
            response = f"{response}#{sequence}"
        self._responses.renew(response, sequence)
        model = string(usage, "model") or self._model
        line.agent = line.agent or string(usage, "parentToolCallId")
        yield self._event(
            "llm_response",
            line,
            {"model": model, "response_id": response, "usage": tokens_of(usage)},
        )

    def _failure(self, line: Line) -> Iterator[Fields]:
        """Yield the error of a failed request to the model."""
        yield self._event("error", line, request_failure(line.data, self._max_result))

    def _subagent_start(self, line: Line) -> Iterator[Fields]:
        call = string(line.data, "toolCallId")
        line.agent = line.agent or call
        data: Fields = {"agent_type": string(line.data, "agentName")}
        if model := string(line.data, "model"):
            data["model"] = model
        yield self._event("subagent_start", line, data, parent=call)

    def _subagent_stop(self, line: Line) -> Iterator[Fields]:
        call = string(line.data, "toolCallId")
        line.agent = line.agent or call
        yield self._event(
            "subagent_stop", line, {"agent_type": string(line.data, "agentName")}, parent=call
        )

    def _shutdown(self, line: Line) -> Iterator[Fields]:
        """Yield the end of a run.

        Versions without usage records (1.0.72) have their tokens only here, by model.
        """
        yield from self.end()
        models = line.data.get("modelMetrics")
        for model, metrics in models.items() if type(models) is dict and not self._metered else ():
            usage = metrics.get("usage") if type(metrics) is dict else None
            tokens = tokens_of(usage) if type(usage) is dict else {}
            if any(tokens.values()):
                key = f"{line.id}:{model}"
                yield self._event(
                    "llm_response",
                    line,
                    {"model": model, "response_id": key, "usage": tokens},
                    id=key,
                )
        yield self._event("session_end", line, {"reason": string(line.data, "shutdownType")})

    def _printed_end(self, line: Line) -> Iterator[Fields]:
        """Yield the end of a run on a pipe."""
        yield from self.end()
        data: Fields = {"reason": "result"}
        if type(code := line.record.get("exitCode")) is int:
            data["exit_code"] = code
        if name := string(line.record, "sessionId"):
            data["conversation_id"] = name
        yield self._event("session_end", line, data)


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
    "subagent.started": Translator._subagent_start,
    "subagent.completed": Translator._subagent_stop,
    "subagent.failed": Translator._subagent_stop,
}
"""Handlers by type of line; other types repeat what these contain.

`hook.start` repeats a call's arguments, the ephemeral lines a result.
"""

_TYPES = frozenset(kind.encode() for kind in _HANDLERS)
