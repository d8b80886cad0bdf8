"""How a call ended, as the hooks' payloads tell it: read by what reads the agent's own files, so that both say the same."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import orjson

from agent_pipes.agents.fields import string, text_of, within, written
from agent_pipes.agents.results import result_data
from agent_pipes.core.jsonl import Fields, objects
from agent_pipes.hooks.payload import Payload

HEAD = 4096
"""Bytes of a result that an event carries."""

BACK = 256 << 10
"""Bytes from the end of a rollout in which the end of a call is looked for that has just ended."""


def outcome(payload: Payload) -> tuple[str, Fields]:
    """The type and the data of the event that says how the call ended."""
    if payload.kind == "denied":
        return "error", {**result_data(payload.text("reason"), HEAD, "error"), "reason": "tool"}
    tell = {
        "claude": _claudes,
        "codex": _codex,
        "gemini": _geminis,
        "copilot": _copilots,
        "cursor": _cursors,
    }[payload.agent]
    return tell(payload)


def _claudes(payload: Payload) -> tuple[str, Fields]:
    from agent_pipes.agents.claude.lines import goes_on, reason

    response = payload.record.get("tool_response", payload.record.get("tool_output"))
    if payload.kind == "failure":
        text = payload.text("error") or _plain(response)[0]
        why, code = reason(
            text, "interrupted" if payload.record.get("is_interrupt") is True else ""
        )
        return _failed(text, why, code)
    event_type, data = _told(response, payload.tool)
    if event_type == "tool_result" and goes_on(
        data["result"], response if type(response) is dict else {}
    ):
        data["running"] = True
    return event_type, data


def _codex(payload: Payload) -> tuple[str, Fields]:
    """The result alone is the command's output. How it ended stands in the rollout, which is written before the hook runs."""
    from agent_pipes.agents.codex.lines import ended_of
    from agent_pipes.agents.codex.lines import outcome as ended

    item = _item(payload.transcript, payload.call)
    event_type, data = ended(
        "", payload.record.get("tool_response"), ended_of(item) if item else None
    ).said(payload.tool, HEAD)
    return event_type, data


def _item(rollout: str, call: str) -> Fields:
    """What the rollout says of the call `call`, which has just ended; {} where it says nothing."""
    name = call.encode()
    for line in reversed(_end_of(rollout).split(b"\n") if name else ()):
        if name in line and b'"item_completed"' in line:
            try:
                items = [within(within(record, "payload"), "item") for record in objects(line)]
            except ValueError:
                continue
            for item in items:
                if string(item, "id") == call:
                    return item
    return {}


def _end_of(path: str) -> bytes:
    """The last lines of an agent's file, b"" where there is none that is a file."""
    if not os.path.isabs(path):
        return b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        about = os.fstat(fd)
        return (
            os.pread(fd, BACK, max(0, about.st_size - BACK)) if stat.S_ISREG(about.st_mode) else b""
        )
    finally:
        os.close(fd)


def _geminis(payload: Payload) -> tuple[str, Fields]:
    """As its chat log would tell the call."""
    from agent_pipes.agents.gemini.translate import Translator

    response = payload.record.get("tool_response")
    said: Fields = response if type(response) is dict else {"llmContent": response}
    call: Fields = {
        "id": "call",
        "name": payload.tool,
        "status": "error" if said.get("error") else "success",
    }
    call |= {
        "result": said.get("llmContent") or text_of(said.get("error")),
        "resultDisplay": said.get("returnDisplay"),
    }
    message = {
        "id": "message",
        "type": "gemini",
        "timestamp": _iso(payload),
        "content": "",
        "toolCalls": [call],
    }
    return _last(Translator(HEAD).translate(message, payload.time))


def _copilots(payload: Payload) -> tuple[str, Fields]:
    """As its log would tell the call."""
    if "toolResult" not in payload.record and payload.kind == "result":
        return _told(payload.record.get("tool_response"), payload.tool)
    from agent_pipes.agents.copilot.translate import Translator

    told = payload.record.get("toolResult")
    said: Fields = told if type(told) is dict else {"textResultForLlm": told}
    kind = "failure" if payload.kind == "failure" else string(said, "resultType") or "success"
    error = payload.record.get("error")
    text = (
        string(said, "textResultForLlm")
        or _plain(error.get("message") if type(error) is dict else error)[0]
    )
    ended: Fields = {
        "toolCallId": "call",
        "success": kind == "success",
        "result": {"content": text},
    }
    if kind != "success":
        ended |= {"error": {"message": text, "code": kind}}
    begun = {"toolCallId": "call", "toolName": payload.tool, "arguments": payload.arguments}
    translator = Translator(HEAD)
    lines = (("tool.execution_start", begun), ("tool.execution_complete", ended))
    events = chain.from_iterable(
        translator.translate({"type": kind, "timestamp": _iso(payload), "data": data}, payload.time)
        for kind, data in lines
    )
    return _last(chain(events, translator.end()))


def _cursors(payload: Payload) -> tuple[str, Fields]:
    if payload.kind == "failure":
        text = payload.text("error_message", "error")
        if payload.record.get("is_interrupt") is True:
            return _failed(text, "interrupted", None)
        from agent_pipes.agents.claude.lines import reason

        why, code = reason(text, "")
        return _failed(
            text, "rejected" if payload.text("failure_type") == "permission_denied" else why, code
        )
    output = payload.record.get(
        "tool_output", payload.record.get("result_json", payload.record.get("output"))
    )
    if type(output) is str and output[:1] in ("{", "["):
        try:
            output = orjson.loads(output)
        except ValueError:
            pass
    return _told(output, payload.tool)


def _iso(payload: Payload) -> str:
    return datetime.fromtimestamp(payload.time, UTC).isoformat()


def _last(events: Iterator[Fields]) -> tuple[str, Fields]:
    """The result among the events of one call."""
    ends = [event for event in events if event["event_type"] in ("tool_result", "error")]
    if not ends:
        return "tool_result", result_data("", HEAD)
    return ends[-1]["event_type"], ends[-1]["data"]


def _told(response: Any, tool: str) -> tuple[str, Fields]:
    """A response that is an object of any kind, or a text: what it says, and its exit code where it has one."""
    text, code = _plain(response)
    if type(response) is dict and response.get("interrupted") is True:
        return _failed(text, "interrupted", code)
    if code:
        return _failed(text, "exit", code)
    return "tool_result", {
        **result_data(text, HEAD, tool=tool),
        **({} if code is None else {"exit_code": code}),
    }


def _failed(text: str, reason: str, code: int | None) -> tuple[str, Fields]:
    return "error", {
        **result_data(text, HEAD, "error"),
        "reason": reason,
        **({} if code is None else {"exit_code": code}),
    }


def _plain(response: Any) -> tuple[str, int | None]:
    """The text of a response, and the exit code that it tells."""
    if type(response) is str:
        return response, None
    if type(response) is list:
        return text_of(response), None
    if type(response) is not dict:
        return "" if response is None else str(response), None
    code = next(
        (value for key in ("exit_code", "exitCode") if type(value := response.get(key)) is int),
        None,
    )
    file = within(response, "file")
    texts = [string(response, key) for key in ("stdout", "stderr", "output")] + [
        string(file, "content")
    ]
    text = "\n".join(filter(None, texts)) or text_of(response.get("content"))
    if not text and not {"stdout", "output", "content"} & response.keys():
        text = written(response).decode(errors="replace")
    return text, code
