"""Hooks of Gemini CLI."""

from agent_pipes.agents.base_hooks import (
    CLAUDE_KINDS,
    MAX_RESULT_BYTES,
    TIMEOUT_S,
    Hooks,
    HookSettings,
    Payload,
    last_result,
)
from agent_pipes.agents.fields import text_of
from agent_pipes.core.jsonl import Fields

GEMINI_KINDS = {
    "SessionStart": "session_start",
    "BeforeAgent": "user_prompt",
    "BeforeTool": "tool_call",
    "AfterTool": "result",
    "AfterAgent": "assistant_response",
    "SessionEnd": "session_end",
}


class GeminiHooks(Hooks):
    """Gemini's hooks: payloads with a time and without an id of the call."""

    name = "gemini"
    store_name = "gemini-cli"
    context_kinds = frozenset({"result"})
    stop_kinds = frozenset({"tool_call", "result"})
    kinds = GEMINI_KINDS
    settings = HookSettings(
        "GEMINI_CLI_HOME",
        ".gemini",
        "settings.json",
        ".gemini/settings.json",
        list(GEMINI_KINDS),
        {"hooksConfig": {"enabled": True}},
        nested=True,
    )

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True for Gemini's own events, and for others with an ISO time."""
        if event in GEMINI_KINDS and event not in CLAUDE_KINDS:
            return True
        if type(record.get("timestamp")) is not str or ("sessionId" in record and not event):
            return False
        return event in GEMINI_KINDS or event not in CLAUDE_KINDS

    def outcome(self, payload: Payload) -> tuple[str, Fields]:
        """Return the event that the call's record in a chat log would give."""
        from agent_pipes.agents.gemini.translate import Translator

        response = payload.record.get("tool_response")
        said: Fields = response if type(response) is dict else {"llmContent": response}
        error = said.get("error")
        call: Fields = {
            "id": "call",
            "name": payload.tool,
            "status": "error" if error else "success",
            "result": said.get("llmContent") or text_of(error),
            "resultDisplay": said.get("returnDisplay"),
        }
        message = {
            "id": "message",
            "type": "gemini",
            "timestamp": payload.iso_time,
            "content": "",
            "toolCalls": [call],
        }
        return last_result([*Translator(MAX_RESULT_BYTES).translate(message, payload.time)])

    def denial(self, why: str) -> Fields:
        """Return a decision."""
        return {"decision": "deny", "reason": why}

    def entry(self, command: str) -> Fields:
        """Return an entry with a name and a timeout in milliseconds."""
        hook = {
            "type": "command",
            "name": "agent-strace",
            "command": command,
            "timeout": TIMEOUT_S * 1000,
        }
        return {"matcher": "", "hooks": [hook]}


HOOKS = GeminiHooks()
