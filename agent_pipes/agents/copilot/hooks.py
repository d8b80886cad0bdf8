"""Hooks of GitHub Copilot CLI."""

import os

from agent_pipes.agents.base_hooks import (
    CAMEL_KINDS,
    CLAUDE_KINDS,
    GUARDS,
    MAX_RESULT_BYTES,
    TIMEOUT_S,
    Hooks,
    HookSettings,
    Payload,
    last_result,
    plain,
    told,
)
from agent_pipes.agents.fields import string
from agent_pipes.core.jsonl import Fields

EVENTS = (
    "sessionStart",
    "userPromptSubmitted",
    "preToolUse",
    "postToolUse",
    "postToolUseFailure",
    "agentStop",
    "sessionEnd",
    "errorOccurred",
)

OUR_FILE = "hooks/agent-strace.json"
"""File of our own among the hooks."""

HEADLESS = frozenset({"-p", "--prompt"})
"""Arguments of a run without a person."""

_KINDS_BY_KEY = {
    "error": "api_error",
    "prompt": "user_prompt",
    "source": "session_start",
    "stopReason": "assistant_response",
    "reason": "session_end",
}


class CopilotHooks(Hooks):
    """Copilot's hooks: keys in camel case; most payloads do not name their event."""

    name = "copilot"
    store_name = "copilot-cli"
    kinds = CLAUDE_KINDS | CAMEL_KINDS
    stop_kinds = frozenset({"permission"})
    guard_events = dict.fromkeys(GUARDS, ("permissionRequest",))
    settings = HookSettings(
        "COPILOT_HOME", ".copilot", OUR_FILE, f".github/{OUR_FILE}", EVENTS, {"version": 1}
    )

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True for a payload with `sessionId` that names no event."""
        return "sessionId" in record and not event

    def kind(self, record: Fields, event: str, word: str) -> str:
        """Return the kind by the name of the event, else by the keys of the payload."""
        return super().kind(record, event, word) or ("" if event else _kind_by_keys(record))

    def transcript(self, payload: Payload) -> str:
        """Return the session's log, which payloads do not name."""
        if payload.kind == "subagent_stop" or payload.transcript:
            return super().transcript(payload)
        home = os.environ.get("COPILOT_HOME") or os.path.expanduser("~/.copilot")
        return os.path.join(home, "session-state", os.path.basename(payload.name), "events.jsonl")

    def outcome(self, payload: Payload) -> tuple[str, Fields]:
        """Return the event that the call's lines in a log would give."""
        if "toolResult" not in payload.record and payload.kind == "result":
            return told(payload.record.get("tool_response"), payload.tool, payload.arguments)
        from agent_pipes.agents.copilot.translate import Translator

        result = payload.record.get("toolResult")
        said: Fields = result if type(result) is dict else {"textResultForLlm": result}
        kind = "failure" if payload.kind == "failure" else string(said, "resultType") or "success"
        error = payload.record.get("error")
        text = (
            string(said, "textResultForLlm")
            or plain(error.get("message") if type(error) is dict else error)[0]
        )
        ended: Fields = {"toolCallId": "call", "success": True, "result": {"content": text}}
        if kind != "success":
            ended |= {"success": False, "error": {"message": text, "code": kind}}
        begun = {"toolCallId": "call", "toolName": payload.tool, "arguments": payload.arguments}
        translator = Translator(MAX_RESULT_BYTES)
        events: list[Fields] = []
        for name, data in (("tool.execution_start", begun), ("tool.execution_complete", ended)):
            line = {"type": name, "timestamp": payload.iso_time, "data": data}
            events += translator.translate(line, payload.time)
        return last_result([*events, *translator.end()])

    def denial(self, why: str) -> Fields:
        """Return a permission decision."""
        return {"permissionDecision": "deny", "permissionDecisionReason": why}

    def stop(self, payload: Payload, why: str) -> Fields:
        """Return the refusal of a permission that ends the run: no other hook can."""
        return {"behavior": "deny", "message": why, "interrupt": True}

    def question(self, payload: Payload, why: str) -> Fields | None:
        """Return a permission decision, unless the client was started with its only prompt."""
        from agent_pipes.agents.copilot.agent import AGENT
        from agent_pipes.agents.processes import nearest
        from agent_pipes.process.table import command_line

        process = nearest(AGENT)
        if process is None or not HEADLESS.isdisjoint(command_line(process.pid)):
            return None
        return {"permissionDecision": "ask", "permissionDecisionReason": why}

    def entry(self, command: str) -> Fields:
        """Return an entry with a command for bash."""
        return {"type": "command", "bash": command, "timeoutSec": TIMEOUT_S}


def _kind_by_keys(record: Fields) -> str:
    if "hookName" in record:
        return "permission" if record["hookName"] == "permissionRequest" else ""
    if type(record.get("toolName")) is str:
        return (
            "result" if "toolResult" in record else "failure" if "error" in record else "tool_call"
        )
    return next((kind for key, kind in _KINDS_BY_KEY.items() if key in record), "")


HOOKS = CopilotHooks()
