"""The event that a hook's payload comes to."""

from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields
from agent_pipes.hooks.payload import AGENTS, Payload

LONGEST = 64 << 10
"""Characters of one string in a call's arguments, or of a prompt, that are kept."""


def event_of(payload: Payload) -> tuple[str, Fields]:
    """The type and the data of the event that it comes to; ("", {}) for none."""
    kind, about = payload.kind, payload.about()
    if kind == "tool_call":
        return kind, {
            "tool_name": payload.tool,
            "arguments": _shortened(payload.arguments),
            **about,
        }
    if payload.answers:
        from agent_pipes.hooks.outcomes import outcome

        event_type, data = outcome(payload)
        return event_type, {"tool_name": payload.tool, **data, **about}
    if kind == "user_prompt":
        prompt = payload.text("prompt")
        return (
            (kind, {"prompt": prompt[:LONGEST], **about})
            if _is_persons(payload, prompt)
            else ("", {})
        )
    if kind == "session_start":
        # After a compaction Claude Code says so, too: nothing has started then.
        return (kind, _start(payload)) if payload.text("source") != "compact" else ("", {})
    if kind == "session_end":
        named = {
            "cwd": payload.cwd,
            "transcript_path": payload.transcript,
            "hook_event_name": payload.text("hook_event_name"),
        }
        return kind, {
            "reason": payload.text("reason"),
            **{key: value for key, value in named.items() if value},
        }
    if kind == "assistant_response":
        text = payload.text("last_assistant_message", "prompt_response", "text", "response")
        return (
            (
                kind,
                {"text": text[:LONGEST], "hook_event": "stop", "provider": payload.agent, **about},
            )
            if text
            else ("", {})
        )
    if kind in ("subagent_start", "subagent_stop"):
        return kind, _subagent(payload, about)
    if kind in ("file_read", "file_write"):
        return kind, {"path": payload.text("file_path", "path"), **about}
    if kind == "api_error":
        error = payload.record.get("error")
        said = error.get("message") if type(error) is dict else error
        return "error", {
            "error": str(said or "the request failed")[:LONGEST],
            "reason": "api",
            **about,
        }
    return "", {}


def _is_persons(payload: Payload, prompt: str) -> bool:
    if payload.agent != "claude":
        return bool(prompt)
    from agent_pipes.agents.claude.lines import is_persons

    return is_persons({}, False, prompt)


def _start(payload: Payload) -> Fields:
    mode = f"{AGENTS[payload.agent]}-hooks"
    data = {
        "mode": mode,
        "provider": payload.agent,
        "source": payload.text("source"),
        "model": payload.text("model"),
        "cwd": payload.cwd,
    }
    more = {
        "transcript_path": payload.transcript,
        "permission_mode": payload.text("permission_mode"),
    }
    return {**data, **{key: value for key, value in more.items() if value}}


def _subagent(payload: Payload, about: Fields) -> Fields:
    kind = payload.text("agent_type", "subagent_type", "agentName")
    data = {
        "hook_event": payload.kind,
        "provider": payload.agent,
        "agent_id": payload.text("agent_id", "subagent_id"),
        "agent_type": kind,
    }
    if payload.kind == "subagent_stop":
        data |= {
            "text": payload.text("last_assistant_message", "result")[:LONGEST],
            "agent_transcript_path": payload.text("agent_transcript_path"),
        }
    return {**about, **{key: value for key, value in data.items() if value}}


def _shortened(arguments: Fields) -> Fields:
    """The arguments with long strings cut. What was cut off is named by its digest, so that another one differs."""
    return {
        key: f"{value[:LONGEST]}… [{len(value)} characters, {digest(value.encode(errors='surrogatepass'))}]"
        if type(value) is str and len(value) > LONGEST
        else value
        for key, value in arguments.items()
    }
