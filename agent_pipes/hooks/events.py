"""The event of a hook's payload."""

from collections.abc import Callable

from agent_pipes.agents.base_hooks import MAX_RESULT_BYTES, Payload
from agent_pipes.agents.results import result_data
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields

MAX_STRING_CHARS = 64 << 10
"""Characters of a string in a call's arguments, or of a prompt, that are kept."""

NO_EVENT: tuple[str, Fields] = ("", {})


def event_of(payload: Payload) -> tuple[str, Fields]:
    """Return the type and the data of the payload's event; ("", {}) if there is none."""
    if payload.kind == "denied":
        reason = result_data(payload.text("reason"), MAX_RESULT_BYTES, "error")
        return _answer(payload, "error", {**reason, "reason": "tool"})
    if payload.answers:
        return _answer(payload, *payload.hooks.outcome(payload))
    make = _MAKERS.get(payload.kind)
    return make(payload) if make else NO_EVENT


def _answer(payload: Payload, event_type: str, data: Fields) -> tuple[str, Fields]:
    return event_type, {"tool_name": payload.tool, **data, **payload.details()}


def _tool_call(payload: Payload) -> tuple[str, Fields]:
    arguments = {key: _shortened(value) for key, value in payload.arguments.items()}
    data = {"tool_name": payload.tool, "arguments": arguments, **payload.details()}
    return "tool_call", data


def _shortened(value: object) -> object:
    """Return `value`; a long string is cut and marked with its digest, so that others differ."""
    if type(value) is not str or len(value) <= MAX_STRING_CHARS:
        return value
    mark = digest(value.encode(errors="surrogatepass"))
    return f"{value[:MAX_STRING_CHARS]}… [{len(value)} characters, {mark}]"


def _user_prompt(payload: Payload) -> tuple[str, Fields]:
    prompt = payload.text("prompt")
    if not payload.hooks.is_persons(prompt):
        return NO_EVENT
    return "user_prompt", {"prompt": prompt[:MAX_STRING_CHARS], **payload.details()}


def _session_start(payload: Payload) -> tuple[str, Fields]:
    if payload.text("source") == "compact":
        # Claude Code calls the hook after a compaction, too; no session has started then.
        return NO_EVENT
    optional = {
        "transcript_path": payload.transcript,
        "permission_mode": payload.text("permission_mode"),
    }
    return "session_start", {
        "mode": f"{payload.hooks.store_name}-hooks",
        "provider": payload.agent,
        "source": payload.text("source"),
        "model": payload.text("model"),
        "cwd": payload.cwd,
        **_without_empty(optional),
    }


def _session_end(payload: Payload) -> tuple[str, Fields]:
    optional = {
        "cwd": payload.cwd,
        "transcript_path": payload.transcript,
        "hook_event_name": payload.event,
    }
    return "session_end", {"reason": payload.text("reason"), **_without_empty(optional)}


def _assistant_response(payload: Payload) -> tuple[str, Fields]:
    text = payload.text("last_assistant_message", "prompt_response", "text", "response")
    source = {"hook_event": "stop", "provider": payload.agent}
    if not text:
        return "waiting", {"for": "prompt", **source, **payload.details()}
    data = {"text": text[:MAX_STRING_CHARS], **source, **payload.details()}
    return "assistant_response", data


def _subagent(payload: Payload) -> tuple[str, Fields]:
    data = {
        "hook_event": payload.kind,
        "provider": payload.agent,
        "agent_id": payload.text("agent_id", "subagent_id"),
        "agent_type": payload.text("agent_type", "subagent_type", "agentName"),
    }
    if payload.kind == "subagent_stop":
        data |= {
            "text": payload.text("last_assistant_message", "result")[:MAX_STRING_CHARS],
            "agent_transcript_path": payload.text("agent_transcript_path"),
        }
    return payload.kind, {**payload.details(), **_without_empty(data)}


def _file_access(payload: Payload) -> tuple[str, Fields]:
    return payload.kind, {"path": payload.text("file_path", "path"), **payload.details()}


def _api_error(payload: Payload) -> tuple[str, Fields]:
    error = payload.record.get("error")
    message = error.get("message") if type(error) is dict else error
    text = str(message or "the request failed")[:MAX_STRING_CHARS]
    return "error", {"error": text, "reason": "api", **payload.details()}


def _without_empty(fields: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if value}


_MAKERS: dict[str, Callable[[Payload], tuple[str, Fields]]] = {
    "tool_call": _tool_call,
    "user_prompt": _user_prompt,
    "session_start": _session_start,
    "session_end": _session_end,
    "assistant_response": _assistant_response,
    "subagent_start": _subagent,
    "subagent_stop": _subagent,
    "file_read": _file_access,
    "file_write": _file_access,
    "api_error": _api_error,
}
