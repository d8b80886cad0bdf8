"""Hooks of Claude Code."""

import os

from agent_pipes.agents.base_hooks import (
    CLAUDE_KINDS,
    Hooks,
    HookSettings,
    Payload,
    failed,
    plain,
    pre_tool_decision,
    told,
)
from agent_pipes.agents.claude.outcomes import goes_on, reason
from agent_pipes.agents.claude.prompts import origin_of
from agent_pipes.core.jsonl import Fields


class ClaudeHooks(Hooks):
    """Claude Code's hooks: payloads that no other agent's hooks claim."""

    name = "claude"
    store_name = "claude-code"
    kinds = CLAUDE_KINDS | {"PostToolBatch": "batch"}
    context_kinds = frozenset({"tool_call", "result", "failure"})
    # PostToolUse cannot end the run: measured with 2.1.332.
    stop_kinds = frozenset({"tool_call", "batch"})
    guard_events = {"stop": ("PostToolBatch",)}  # noqa: RUF012
    settings = HookSettings(
        "CLAUDE_CONFIG_DIR",
        ".claude",
        "settings.json",
        ".claude/settings.local.json",
        [event for event in CLAUDE_KINDS if event != "PermissionDenied"],
    )

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True for any payload with a session id; asked after the other agents."""
        return type(record.get("session_id")) is str

    def is_persons(self, prompt: str) -> bool:
        """Return False for texts of the client itself."""
        return bool(prompt) and origin_of({}, False, prompt) == "person"

    def outcome(self, payload: Payload) -> tuple[str, Fields]:
        """Return the event for the end of a call."""
        response = payload.record.get("tool_response", payload.record.get("tool_output"))
        if payload.kind == "failure":
            text = payload.text("error") or plain(response)[0]
            interrupted = payload.record.get("is_interrupt") is True
            why, code = reason(text, "interrupted" if interrupted else "")
            return failed(text, why, code)
        event_type, data = told(response, payload.tool, payload.arguments)
        details = response if type(response) is dict else {}
        if event_type == "tool_result" and goes_on(data["result"], details):
            data["running"] = True
        return event_type, data

    def denial(self, why: str) -> Fields:
        """Return a permission decision."""
        return pre_tool_decision("deny", why)

    def question(self, payload: Payload, why: str) -> Fields | None:
        """Return a permission decision, if the client says that it was started in a terminal."""
        from agent_pipes.agents.claude.lines import INTERACTIVE

        attended = INTERACTIVE.get(os.environ.get("CLAUDE_CODE_ENTRYPOINT", ""), False)
        return pre_tool_decision("ask", why) if attended else None


HOOKS = ClaudeHooks()
