"""Hooks of Cursor."""

import orjson

from agent_pipes.agents.base_hooks import (
    CAMEL_KINDS,
    CLAUDE_KINDS,
    TIMEOUT_S,
    Hooks,
    HookSettings,
    Payload,
    failed,
    told,
)
from agent_pipes.agents.fields import number, string
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

CURSOR_KINDS = CAMEL_KINDS | {
    "beforeSubmitPrompt": "user_prompt",
    "subagentStart": "subagent_start",
    "subagentStop": "subagent_stop",
    "afterAgentResponse": "assistant_response",
    "stop": "",
    "beforeShellExecution": "tool_call",
    "afterShellExecution": "result",
    "beforeMCPExecution": "tool_call",
    "afterMCPExecution": "result",
    "beforeReadFile": "file_read",
    "afterFileEdit": "file_write",
}

EVENTS = (
    "sessionStart",
    "beforeSubmitPrompt",
    "preToolUse",
    "postToolUse",
    "postToolUseFailure",
    "subagentStart",
    "subagentStop",
    "afterAgentResponse",
    "sessionEnd",
)

_EXIT_CODE = pattern(r"Exit code (-?\d{1,9})\b")


class CursorHooks(Hooks):
    """Cursor's hooks: payloads of a conversation."""

    name = "cursor"
    store_name = "cursor-agent"
    kinds = CLAUDE_KINDS | CURSOR_KINDS
    settings = HookSettings(
        "", ".cursor", "hooks.json", ".cursor/hooks.json", EVENTS, {"version": 1}
    )

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True for a payload of a conversation, or of an event that only Cursor has."""
        return "conversation_id" in record or "cursor_version" in record or event in CURSOR_KINDS

    def call(self, record: Fields, event: str) -> tuple[str, Fields]:
        """Return the call; hooks of shell commands have the command alone."""
        if event.endswith("ShellExecution"):
            return "Shell", {"command": string(record, "command")}
        return super().call(record, event)

    def duration_ms(self, record: Fields) -> float | None:
        """Return how long a call took."""
        took = number(record, "duration_ms" if "duration_ms" in record else "duration")
        return None if took is None else float(took)

    def outcome(self, payload: Payload) -> tuple[str, Fields]:
        """Return the event for the end of a call."""
        if payload.kind == "failure":
            text = payload.text("error_message", "error")
            if payload.record.get("is_interrupt") is True:
                return failed(text, "interrupted", None)
            if payload.text("failure_type") == "permission_denied":
                return failed(text, "rejected", None)
            code = _EXIT_CODE.match(text)
            return failed(text, "exit" if code else "tool", int(code[1]) if code else None)
        record = payload.record
        output = record.get("tool_output", record.get("result_json", record.get("output")))
        if type(output) is str and output[:1] in ("{", "["):
            try:
                output = orjson.loads(output)
            except ValueError:
                pass
        return told(output, payload.tool, payload.arguments)

    def denial(self, why: str) -> Fields:
        """Return a denial in the format of every hook of Cursor."""
        return {
            "permission": "deny",
            "decision": "deny",
            "reason": why,
            "user_message": why,
            "agent_message": why,
        }

    def entry(self, command: str) -> Fields:
        """Return an entry with the command alone."""
        return {"command": command, "timeout": TIMEOUT_S}


HOOKS = CursorHooks()
