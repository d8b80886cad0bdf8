"""Translator of Claude Code's transcripts and of `--output-format stream-json`."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from agent_pipes.agents.claude.lines import (
    INTERACTIVE,
    Line,
    api_error,
    blocks,
    reported_cost,
    subagent_meta,
)
from agent_pipes.agents.claude.outcomes import details_of, outcome
from agent_pipes.agents.claude.prompts import origin_of
from agent_pipes.agents.claude.usage import Response, Responses, size_of
from agent_pipes.agents.fields import string, text_of, within
from agent_pipes.agents.results import compaction
from agent_pipes.agents.translator import MAX_OPEN_CALLS, BaseTranslator, OpenCall
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern


class Translator(BaseTranslator):
    """Turns the lines of one session, those of its subagents included, into events.

    What is written a second time is emitted once: by a line's uuid, by a response's id and its
    content, by a call's id. Lines that /branch copied from another session (`forkedFrom`) are
    emitted there.
    """

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        super().__init__(max_result)
        self._responses = Responses(recorded)
        self._agents: BoundedDict[str, bool] = BoundedDict(MAX_OPEN_CALLS)
        self._speaking: BoundedDict[str, str] = BoundedDict(MAX_OPEN_CALLS)
        self._expands = False
        self._time = 0.0
        self._began = False
        self._cwd = ""

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield the events of one line; most give none."""
        kind = record.get("type")
        handler = self._HANDLERS.get(kind) if type(kind) is str else None
        if handler is None or type(record.get("forkedFrom")) is dict:
            return iter(())
        self._number += 1
        line = Line(record, f"line-{self._number}", arrival, path)
        if "timestamp" in record:
            self._time = max(self._time, line.time)
        return handler(self, line, path)

    def _of(self, line: Line, event_type: str, data: Fields, key: str = "") -> Fields:
        """Return an event of `line`, with its time, its subagent and mostly its id."""
        return self._event(event_type, line.time, key or line.id, data, agent=line.agent)

    def _begin(self, line: Line, path: str) -> Iterator[Fields]:
        """Yield the start of the session or subagent before its first event."""
        self._name(line)
        if not self._began:
            self._began = True
            self._cwd = string(line.record, "cwd")
            data: Fields = {"agent": "claude", "cwd": self._cwd}
            if model := string(line.record, "model") or string(line.message, "model"):
                data["model"] = model
            data["path"] = path
            interactive = False if line.pipe else INTERACTIVE.get(string(line.record, "entrypoint"))
            if interactive is not None:
                data["interactive"] = interactive
            yield self._event("session_start", line.time, "session-start", data)
        if line.agent and line.agent not in self._agents:
            meta = subagent_meta(path)
            caller = line.caller or string(meta, "toolUseId")
            call = self._calls.get(caller)
            kind = line.kind or string(meta, "agentType") or (call.kind if call else "")
            yield self._agent_starts(line.agent, line.time, kind, caller, meta.get("spawnDepth"))

    def _name(self, line: Line) -> None:
        self.session = (
            self.session or string(line.record, "sessionId") or string(line.record, "session_id")
        )

    def _agent_starts(
        self, agent: str, time: float, kind: str, caller: str, depth: object = None
    ) -> Fields:
        self._agents[agent] = True
        data: Fields = {"agent_id": agent}
        if kind:
            data["agent_type"] = kind
        if type(depth) is int:
            data["depth"] = depth
        return self._event("subagent_start", time, f"{agent}:start", data, caller)

    def _agent_stops(self, agent: str, time: float) -> Iterator[Fields]:
        if self._agents.get(agent):
            self._agents[agent] = False
            yield self._event("subagent_stop", time, f"{agent}:stop", {"agent_id": agent})

    def _assistant(self, line: Line, path: str) -> Iterator[Fields]:
        if not self._seen.new(line.id):
            return
        if not self._began or line.agent:
            yield from self._begin(line, path)
        if line.record.get("isApiErrorMessage") is True:
            yield self._api_failed(line, text_of(line.message.get("content")))
        local = line.message.get("model") == "<synthetic>"
        response = self._response(line)
        for place, block in enumerate(blocks(line.message.get("content"))):
            kind = string(block, "type")
            if kind not in _SPOKEN:
                yield from self._result(line, block, place)
            elif not self._measured(line, response, block, place):
                continue
            elif kind in _CALLS:
                yield from self._call(line, block, place)
            elif kind == "text" and not local and (text := string(block, "text")):
                yield self._of(line, "assistant_response", {"text": text}, f"{line.id}:{place}")
        yield from self._spent(line, response)

    def _response(self, line: Line) -> Response:
        name = string(line.message, "id")
        return self._responses.of(name) if name else self._responses.single(line.id)

    def _measured(self, line: Line, response: Response, block: Fields, place: int) -> bool:
        """Return True if the block is new in its response.

        Until the response is complete, its length may have to replace a token count.
        """
        kind = string(block, "type")
        if kind not in _SPOKEN or not response.new(
            (kind, string(block, _SPOKEN[kind]) or f"{line.id}:{place}")
        ):
            return False
        if type(line.message.get("stop_reason")) is not str:
            response.size += size_of(block.get("input" if kind in _CALLS else _SPOKEN[kind]))
        return True

    def _spent(self, line: Line, response: Response) -> Iterator[Fields]:
        told = self._responses.update(
            response, line.message, agent=line.agent, sidechain=line.sidechain, pipe=line.pipe
        )
        yield from self._used_by(line, told)

    def _used_by(self, line: Line, told: Iterable[Fields]) -> Iterator[Fields]:
        for number, data in enumerate(told):
            yield self._event("llm_response", line.time, f"{line.id}:usage{number or ''}", data)

    def _call(self, line: Line, block: Fields, place: int) -> Iterator[Fields]:
        call, step = string(block, "id") or f"{line.id}:{place}", string(line.message, "id")
        # Some gateways number the calls of each response anew, so the response's id is part of a
        # call's name.
        if not self._seen.new("call", step, call):
            return
        name, arguments = string(block, "name"), within(block, "input")
        data: Fields = {"tool_name": name, "arguments": arguments}
        if step:
            data["step"] = step
        if (where := string(line.record, "cwd")) and where != self._cwd:
            # Its shell has gone elsewhere, and stays there; a subagent may work in a tree of its
            # own.
            data["cwd"] = where
        command = string(arguments, "command") if name == "Bash" else ""
        kind = string(arguments, "subagent_type")
        self._calls[call] = OpenCall(name, line.time, command, kind)
        yield self._of(line, "tool_call", data, call)

    def _user(self, line: Line, path: str) -> Iterator[Fields]:
        if not self._seen.new(line.id):
            return
        yield from self._begin(line, path)
        texts = []
        for place, block in enumerate(blocks(line.message.get("content"))):
            if block.get("type") in ("text", "image", "document"):
                texts.append(text_of([block]))
            else:
                yield from self._result(line, block, place)
        if texts:
            text = "\n".join(texts)
            yield from self._prompt(line, line.record, text)
            self._expands = text.lstrip().startswith("<command-")

    def _prompt(self, line: Line, record: Fields, text: str) -> Iterator[Fields]:
        """Yield a prompt, with its origin if no person typed it."""
        notice = _NOTICE.search(text)
        origin = origin_of(record, line.sidechain, text, expansion=self._expands)
        if origin:
            data: Fields = {"prompt": text, "origin": origin}
            if origin == "notification" and notice:
                data["task_id"] = notice[1]
            yield self._event("user_prompt", line.time, line.id, data)
        if notice and origin != "person":
            yield from self._agent_stops(notice[1], line.time)

    def _attachment(self, line: Line, path: str) -> Iterator[Fields]:
        """Yield a prompt that was typed while the agent worked."""
        attachment = within(line.record, "attachment")
        if (
            attachment.get("type") != "queued_command"
            or attachment.get("commandMode", "prompt") != "prompt"
        ):
            return
        text = text_of(attachment.get("prompt"))
        if text and self._seen.new(line.id):
            yield from self._begin(line, path)
            yield from self._prompt(line, {**line.record, **attachment}, text)

    def _result(self, line: Line, block: Fields, place: int) -> Iterator[Fields]:
        """Yield a call's result.

        Those of the client's tools are in a user's line, those of the service in the response
        itself.
        """
        if not string(block, "type").endswith("tool_result"):
            return
        answers = string(block, "tool_use_id")
        call = self._calls.pop(answers, None)
        if answers and not (self._seen.new("result", answers) or call):
            return
        tool = call.name if call else string(block, "name")
        kind, data = outcome(
            line.record, block, tool, self._max_result, call.command if call else ""
        )
        since, key = call.time if call else None, f"{answers or line.id}:{place}:result"
        yield self._event(kind, line.time, key, data, answers, agent=line.agent, since=since)
        yield from self._agent_ended(line, answers, call, details_of(line.record))

    def _agent_ended(
        self, line: Line, id: str, call: OpenCall | None, told: Fields
    ) -> Iterator[Fields]:
        """Yield the end of the subagent that a call started, unless it works on."""
        if told.get("isAsync") is True or told.get("status") == "async_launched":
            return
        agent = string(told, "agentId")
        if agent and agent not in self._agents:
            yield self._agent_starts(
                agent, call.time if call else line.time, call.kind if call else "", id
            )
        yield from self._agent_stops(agent or id, line.time)

    def _progress(self, line: Line, path: str) -> Iterator[Fields]:
        inner = line.inlined()
        kind = inner.record.get("type") if inner else None
        if inner and kind == "assistant":
            yield from self._assistant(inner, path)
        elif inner and kind == "user":
            yield from self._user(inner, path)

    def _system(self, line: Line, path: str) -> Iterator[Fields]:
        subtype = line.record.get("subtype")
        if subtype == "init":
            yield from self._begin(line, path)
        elif subtype in ("api_error", "api_retry", "error") and self._seen.new(line.id):
            yield from self._begin(line, path)
            yield self._api_failed(line, "")
        elif subtype == "compact_boundary" and self._seen.new(line.id):
            yield from self._begin(line, path)
            meta = within(line.record, "compactMetadata")
            data = compaction(string(meta, "trigger"), meta.get("preTokens"))
            yield self._of(line, "compaction", data)
        elif subtype == "task_notification":
            yield from self._agent_stops(string(line.record, "tool_use_id"), line.time)

    def _requested(self, line: Line, path: str) -> Iterator[Fields]:
        """Yield a request to the model, which is recorded when it is sent."""
        params = line.record.get("params")
        if self._began and type(params) is dict and self._seen.new(line.id):
            data: Fields = {"model": string(params, "model")}
            request = string(line.record, "id")
            yield self._of(line, "llm_request", data, f"{request}:request")

    def _billed(self, line: Line, path: str) -> Iterator[Fields]:
        """Yield the client's own bill of the session so far."""
        if self._began and (data := reported_cost(line.record)):
            yield self._event(
                "reported_cost", self._time or line.time, f"cost-state:{data['usd']}", data
            )

    def _api_failed(self, line: Line, text: str) -> Fields:
        """Return the error of a failed request, which is no fault of the agent's."""
        said, status = api_error(line.record)
        return self._failed(
            line.time, f"{line.id}:api", text or said, status=status, agent=line.agent
        )

    def _run_ended(self, line: Line, path: str) -> Iterator[Fields]:
        """Keep a `result` line, which has the cost of the run.

        A run that is fed further prompts has one for each.
        """
        record = line.record
        if not line.pipe or type(record.get("subtype")) is not str:
            return
        yield from self._begin(line, path)
        yield from self._used_by(line, self._responses.settle(record.get("modelUsage")))
        end: Fields = {"reason": record["subtype"]}
        cost = record.get("total_cost_usd")
        if type(cost) in (int, float):
            end["reported_cost_usd"] = cost
        self._end = self._event("session_end", line.time, "session-end", end)

    def _streamed(self, line: Line, path: str) -> Iterator[Fields]:
        """Yield a response's final counts, which `--include-partial-messages` adds."""
        event = within(line.record, "event")
        usage = event.get("usage")
        if event.get("type") == "message_start":
            self._speaking[line.caller] = string(within(event, "message"), "id")
        elif event.get("type") == "message_delta" and type(usage) is dict:
            yield from self._used_by(
                line, self._responses.finish(self._speaking.get(line.caller, ""), usage)
            )

    _HANDLERS: ClassVar[dict[str, Callable[[Any, Line, str], Iterator[Fields]]]] = {
        "assistant": _assistant,
        "user": _user,
        "attachment": _attachment,
        "progress": _progress,
        "system": _system,
        "result": _run_ended,
        "stream_event": _streamed,
        "api-request": _requested,
        "cost-state": _billed,
    }


_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_SPOKEN = {"text": "text", "thinking": "thinking", **dict.fromkeys(_CALLS, "id")}
"""Blocks that a model writes, and the key that differs between two of them in one response."""
_NOTICE = pattern(r"<task-id>([^<]{1,200})</task-id>")
