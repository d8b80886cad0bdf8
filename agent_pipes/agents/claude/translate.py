"""Claude Code: its transcripts (2.0.28 and later), those of its subagents, and `claude -p --output-format stream-json`."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, ClassVar

from agent_pipes.agents.claude.lines import (
    Line,
    api_error,
    blocks,
    goes_on,
    is_persons,
    reason,
)
from agent_pipes.agents.claude.usage import Response, Responses, size_of
from agent_pipes.agents.fields import string, text_of
from agent_pipes.agents.results import result_data
from agent_pipes.core.bounded import remember
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

REMEMBERED = 200_000
"""Lines, calls and results of a session that are known again when they are written a second time (a compaction, a branch)."""

OPEN = 10_000
"""Calls that still wait for their result, and subagents, that a session's state holds."""


def may_matter(line: bytes) -> bool:
    """Whether the line can come to an event: a test before it is parsed, wrong on one side only.

    A type's name in quotes stands in a line of that type. In a string it would stand with its quotes escaped, so what
    an agent reads or writes does not make a line matter: half of a transcript's lines are progress, and do not.
    """
    return (
        # Where it stands in most lines that matter, so that the long ones need not be searched to their end.
        line.find(b'"user"', 0, 600) >= 0
        or line.find(b'"assistant"', 0, 600) >= 0
        or b'"user"' in line
        or b'"assistant"' in line
        or b'"system"' in line
        or b'"queued_command"' in line
        or b'"result"' in line
        or (b'"stream_event"' in line and b'"content_block_delta"' not in line)
    )


class _Seen:
    """What came by already, as far as it is remembered: the oldest is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: dict[int, None] = {}

    def new(self, key: Hashable) -> bool:
        """Whether `key` comes by for the first time. Keys are kept as 64-bit hashes."""
        hashed = hash(key)
        if hashed in self._keys:
            return False
        remember(self._keys, hashed, None, self._limit)
        return True


class _Call:
    __slots__ = ("name", "time", "kind")

    def __init__(self, name: str, time: float, kind: str) -> None:
        self.name = name
        self.time = time
        self.kind = kind


class Translator:
    """Turns the lines of one session, its subagents' files and inlined copies among them, into events.

    What is written a second time comes out once: by a line's uuid, by a response's id and the content it has, by a
    call's id. Lines that /branch copied from another session (`forkedFrom`) are that session's, and come out there.
    """

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        self.session = ""
        self._max_result = max_result
        self._responses = Responses(recorded)
        self._seen = _Seen(REMEMBERED)
        self._calls: dict[str, _Call] = {}
        self._agents: dict[str, bool] = {}
        self._speaking: dict[str, str] = {}
        self._began = False
        self._cwd = ""
        self._number = 0
        self._end: Fields | None = None

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """The events that one line comes to, none for most."""
        kind = record.get("type")
        handler = self._HANDLERS.get(kind) if type(kind) is str else None
        if handler is None or type(record.get("forkedFrom")) is dict:
            return iter(())
        self._number += 1
        return handler(self, Line(record, f"line-{self._number}", arrival, path), path)

    def end(self) -> Iterator[Fields]:
        """The end of a run on a pipe: its last `result` line was the last of all."""
        if self._end:
            yield self._end
            self._end = None

    def _event(
        self,
        event_type: str,
        time: float,
        id: str,
        data: Fields,
        parent: str = "",
        since: float | None = None,
    ) -> Fields:
        fields: Fields = {
            "event_type": event_type,
            "timestamp": time,
            "event_id": id,
            "session_id": self.session,
        }
        if parent:
            fields["parent_id"] = parent
        if since is not None and time >= since:
            fields["duration_ms"] = round((time - since) * 1000, 3)
        fields["data"] = data
        return fields

    def _begin(self, line: Line, path: str) -> Iterator[Fields]:
        """The session's start before its first event, a subagent's before its own first."""
        self._name(line)
        if not self._began:
            self._began = True
            self._cwd = string(line.record, "cwd")
            data: Fields = {"agent": "claude", "cwd": self._cwd}
            if model := string(line.record, "model") or string(line.message, "model"):
                data["model"] = model
            data["path"] = path
            yield self._event("session_start", line.time, "session-start", data)
        if line.agent and line.agent not in self._agents:
            call = self._calls.get(line.caller)
            yield self._agent_starts(
                line.agent, line.time, line.kind or (call.kind if call else ""), line.caller
            )

    def _name(self, line: Line) -> None:
        self.session = (
            self.session or string(line.record, "sessionId") or string(line.record, "session_id")
        )

    def _agent_starts(self, agent: str, time: float, kind: str, caller: str) -> Fields:
        remember(self._agents, agent, True, OPEN)
        return self._event(
            "subagent_start",
            time,
            f"{agent}:start",
            {"agent_id": agent, **({"agent_type": kind} if kind else {})},
            caller,
        )

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
                yield from self._answered(line, block, place)
            elif not self._measured(line, response, block, place):
                continue
            elif kind in _CALLS:
                yield from self._called(line, block, place)
            elif kind == "text" and not local and (text := string(block, "text")):
                yield self._event(
                    "assistant_response", line.time, f"{line.id}:{place}", _of(line, {"text": text})
                )
        yield from self._spent(line, response)

    def _response(self, line: Line) -> Response:
        name = string(line.message, "id")
        return self._responses.of(name) if name else self._responses.single(line.id)

    def _measured(self, line: Line, response: Response, block: Fields, place: int) -> bool:
        """Whether the block is new in its response. While the model still speaks, its length may have to stand for a count."""
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
        yield from self._used(line, told)

    def _used(self, line: Line, told: Iterable[Fields]) -> Iterator[Fields]:
        for number, data in enumerate(told):
            yield self._event("llm_response", line.time, f"{line.id}:usage{number or ''}", data)

    def _called(self, line: Line, block: Fields, place: int) -> Iterator[Fields]:
        call, step = string(block, "id") or f"{line.id}:{place}", string(line.message, "id")
        # Some gateways number the calls of each response anew, so the response's id is part of a call's name.
        if not self._seen.new(("call", step, call)):
            return
        arguments = block.get("input")
        data: Fields = {
            "tool_name": string(block, "name"),
            "arguments": arguments if type(arguments) is dict else {},
        }
        if step:
            data["step"] = step
        if (where := string(line.record, "cwd")) and where != self._cwd:
            # Its shell has gone elsewhere, and stays there; a subagent may work in a tree of its own.
            data["cwd"] = where
        remember(
            self._calls,
            call,
            _Call(data["tool_name"], line.time, string(data["arguments"], "subagent_type")),
            OPEN,
        )
        yield self._event("tool_call", line.time, call, _of(line, data))

    def _user(self, line: Line, path: str) -> Iterator[Fields]:
        if not self._seen.new(line.id):
            return
        yield from self._begin(line, path)
        texts = []
        for place, block in enumerate(blocks(line.message.get("content"))):
            if block.get("type") in ("text", "image", "document"):
                texts.append(text_of([block]))
            else:
                yield from self._answered(line, block, place)
        text = "\n".join(texts)
        if texts and is_persons(line.record, line.sidechain, text):
            yield self._event("user_prompt", line.time, line.id, {"prompt": text})
        elif notice := _NOTICE.search(text):
            yield from self._agent_stops(notice[1], line.time)

    def _attachment(self, line: Line, path: str) -> Iterator[Fields]:
        """A prompt that was typed while the agent worked, and slipped in between its steps."""
        attachment = line.record.get("attachment")
        if (
            type(attachment) is not dict
            or attachment.get("type") != "queued_command"
            or attachment.get("commandMode", "prompt") != "prompt"
        ):
            return
        text = text_of(attachment.get("prompt"))
        if (
            text
            and is_persons({**line.record, **attachment}, line.sidechain, text)
            and self._seen.new(line.id)
        ):
            yield from self._begin(line, path)
            yield self._event("user_prompt", line.time, line.id, {"prompt": text})

    def _answered(self, line: Line, block: Fields, place: int) -> Iterator[Fields]:
        """A call's result: of the client's own tools in a user's line, of the service's in the response itself."""
        if not string(block, "type").endswith("tool_result"):
            return
        answers = string(block, "tool_use_id")
        call = self._calls.pop(answers, None)
        if answers and not (self._seen.new(("result", answers)) or call):
            return
        content = block.get("content")
        text = text_of(content)
        detail = line.record.get("toolUseResult", line.record.get("tool_use_result"))
        told: Fields = detail if type(detail) is dict else {}
        stopped = told.get("interrupted") is True
        failed = block.get("is_error") is True or (
            type(content) is dict and string(content, "type").endswith("_error")
        )
        data: Fields = {"tool_name": call.name if call else string(block, "name")}
        if failed or stopped:
            data |= result_data(text, self._max_result, "error")
            data["reason"], code = (
                ("interrupted", None)
                if stopped
                else reason(text, string(line.record, "toolDenialKind"))
            )
            if code is not None:
                data["exit_code"] = code
        else:
            data |= result_data(text, self._max_result, tool=data["tool_name"])
            data |= {"running": True} if goes_on(text, told) else {}
        kind = "error" if failed or stopped else "tool_result"
        since = call.time if call else None
        yield self._event(
            kind, line.time, f"{answers or line.id}:{place}:result", _of(line, data), answers, since
        )
        yield from self._agent_ended(line, answers, call, told)

    def _agent_ended(
        self, line: Line, id: str, call: _Call | None, told: Fields
    ) -> Iterator[Fields]:
        """A call's result also ends the subagent that it started, unless that works on in the background."""
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
        elif subtype == "task_notification":
            yield from self._agent_stops(string(line.record, "tool_use_id"), line.time)

    def _api_failed(self, line: Line, text: str) -> Fields:
        """A request failed: the service's fault or the network's, and not the agent's."""
        said, status = api_error(line.record)
        data = {
            **result_data(text or said or "the request failed", self._max_result, "error"),
            "reason": "api",
        }
        if status is not None:
            data["status"] = status
        return self._event("error", line.time, f"{line.id}:api", _of(line, data))

    def _run_ended(self, line: Line, path: str) -> Iterator[Fields]:
        """A `result` line: what the run has cost. A run that is fed further prompts has one for each."""
        record = line.record
        if not line.pipe or type(record.get("subtype")) is not str:
            return
        yield from self._begin(line, path)
        yield from self._settled(line, path)
        end: Fields = {"reason": record["subtype"]}
        cost = record.get("total_cost_usd")
        if type(cost) in (int, float):
            end["reported_cost_usd"] = cost
        self._end = self._event("session_end", line.time, "session-end", end)

    def _settled(self, line: Line, path: str) -> Iterator[Fields]:
        return self._used(line, self._responses.settle(line.record.get("modelUsage")))

    def _streamed(self, line: Line, path: str) -> Iterator[Fields]:
        """What `--include-partial-messages` adds: a response's final counts, at its end."""
        event = line.record.get("event")
        if type(event) is not dict:
            return
        message, usage = event.get("message"), event.get("usage")
        if event.get("type") == "message_start" and type(message) is dict:
            remember(self._speaking, line.caller, string(message, "id"), OPEN)
        elif event.get("type") == "message_delta" and type(usage) is dict:
            yield from self._used(
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
    }


_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_SPOKEN = {"text": "text", "thinking": "thinking", **dict.fromkeys(_CALLS, "id")}
"""What a model says, block by block, and the key that tells two such blocks of one response apart."""
_NOTICE = pattern(r"<task-id>([^<]{1,200})</task-id>")


def _of(line: Line, data: Fields) -> Fields:
    if line.agent:
        data["agent_id"] = line.agent
    return data
