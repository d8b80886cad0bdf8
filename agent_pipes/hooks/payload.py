"""What a hook's payload says: whose it is, and what has happened. Which event that comes to stands in events.py.

Each agent sends one JSON object. Which agent's it is, its keys tell: Codex writes as Claude Code does and adds its turn
or names a rollout, Gemini adds the time, Cursor the conversation, and Copilot writes its keys in another case.
"""

import os
from datetime import datetime
from typing import Any

import orjson

from agent_pipes.agents.base import stored_as
from agent_pipes.core.event import YEAR_2000, YEAR_2100, digest
from agent_pipes.core.jsonl import Fields, dumps

AGENTS = {
    "claude": "claude-code",
    "codex": "codex",
    "gemini": "gemini-cli",
    "copilot": "copilot-cli",
    "cursor": "cursor-agent",
}
"""The agents whose hooks are read, with the names that the store has for them."""

_CLAUDES = {
    "SessionStart": "session_start",
    "UserPromptSubmit": "user_prompt",
    "PreToolUse": "tool_call",
    "PostToolUse": "result",
    "PostToolUseFailure": "failure",
    "PermissionDenied": "denied",
    "SubagentStart": "subagent_start",
    "SubagentStop": "subagent_stop",
    "Stop": "assistant_response",
    "StopFailure": "api_error",
    "SessionEnd": "session_end",
}
_GEMINIS = {
    "BeforeAgent": "user_prompt",
    "BeforeTool": "tool_call",
    "AfterTool": "result",
    "AfterAgent": "assistant_response",
}
_CURSORS = {
    "sessionStart": "session_start",
    "sessionEnd": "session_end",
    "beforeSubmitPrompt": "user_prompt",
    "preToolUse": "tool_call",
    "postToolUse": "result",
    "postToolUseFailure": "failure",
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
_WORDS = {
    "session-start": "session_start",
    "user-prompt": "user_prompt",
    "pre-tool": "tool_call",
    "post-tool": "result",
    "post-tool-failure": "failure",
    "subagent-start": "subagent_start",
    "subagent-stop": "subagent_stop",
    "stop": "assistant_response",
    "session-end": "session_end",
    "after-file-edit": "file_write",
}
KINDS = _CLAUDES | _GEMINIS | _CURSORS | _WORDS | {"stop": "assistant_response"}
"""What has happened, by the names that the agents, and older settings, have for it."""


class Unknown(Exception):
    """No hook's payload of a known agent. The message says why, for people."""


class Payload:
    """One payload.

    agent:      whose it is.
    kind:       what has happened: an event's type, or `result`, `failure`, `denied`, `api_error`; "" for what is not recorded.
    name:       the session's id, as the agent has it.
    session:    its id in the store.
    cwd:        the directory that the agent works in, "" where it does not say.
    transcript: the file in which it keeps the session, "" where it does not say.
    time:       seconds since the epoch: its own, else that of its arrival.
    call:       the id of the tool call, "" where the agent gives none.
    tool, arguments: the call.
    """

    __slots__ = (
        "agent",
        "arguments",
        "call",
        "cwd",
        "kind",
        "name",
        "record",
        "session",
        "time",
        "tool",
        "transcript",
    )

    def __init__(self, record: Fields, arrival: float, agent: str = "", word: str = "") -> None:
        """`agent` and `word` say what the payload itself does not. Raises Unknown."""
        self.record = record
        self.agent = agent or agent_of(record)
        self.name = self.text("session_id", "sessionId", "conversation_id")
        self.session = stored_as(self.name)
        if not self.session or self.session.startswith(".") or self.session == "workspaces":
            raise Unknown(f"the payload names no session that could be one: {self.name[:60]!r}")
        self.kind = self._kind(word)
        roots = record.get("workspace_roots")
        self.cwd = self.text("cwd") or (
            roots[0] if type(roots) is list and roots and type(roots[0]) is str else ""
        )
        self.transcript = self.text("transcript_path", "transcriptPath", "agent_transcript_path")
        self.time = _time(record.get("timestamp"), arrival)
        self.call = self.text("tool_use_id")
        self.tool = self.text("tool_name", "toolName")
        self.arguments = _arguments(record.get("tool_input", record.get("toolArgs")))
        if self.text("hook_event_name").endswith("ShellExecution"):
            self.tool, self.arguments = "Shell", {"command": self.text("command")}
        elif self.agent == "codex" and self.tool == "apply_patch" and "command" in self.arguments:
            self.arguments = {"input": self.arguments["command"]}

    def text(self, *keys: str) -> str:
        """The string under the first of `keys` that has one, else ""."""
        return next(
            (value for key in keys if type(value := self.record.get(key)) is str and value), ""
        )

    def _kind(self, word: str) -> str:
        name = self.text("hook_event_name")
        if name or self.agent != "copilot":
            known = _CURSORS if self.agent == "cursor" and name in _CURSORS else KINDS
            return known.get(name or word, "")
        return KINDS.get(word) or _copilots(self.record)

    @property
    def answers(self) -> bool:
        """Whether it tells how a call ended."""
        return self.kind in ("result", "failure", "denied")

    @property
    def ticket(self) -> str:
        """What a call and its result have in common where they have no id: that it is the same call."""
        return digest(dumps({"tool": self.tool, "arguments": self.arguments}))

    def about(self) -> Fields:
        """What events of a call, and of a prompt, say beside it."""
        keys = ("tool_use_id", "permission_mode", "agent_id", "agent_type")
        return {key: value for key in keys if type(value := self.record.get(key)) is str and value}


def agent_of(record: Fields) -> str:
    """The agent that sends such payloads. Raises Unknown."""
    said = record.get("hook_event_name")
    name = said if type(said) is str else ""
    if "sessionId" in record and not name:
        return "copilot"
    if (
        "conversation_id" in record
        or "cursor_version" in record
        or (name in _CURSORS and name not in _CLAUDES)
    ):
        return "cursor"
    if name in _GEMINIS or (
        type(record.get("timestamp")) is str
        and (name in ("SessionStart", "SessionEnd") or name not in _CLAUDES)
    ):
        return "gemini"
    transcript = record.get("transcript_path")
    if "turn_id" in record or (
        "transcript_path" in record
        and (transcript is None or os.path.basename(str(transcript)).startswith("rollout-"))
    ):
        return "codex"
    if type(record.get("session_id")) is str:
        return "claude"
    raise Unknown(
        "not a hook's payload of Claude Code, Codex, Gemini, Copilot or Cursor: it names no session"
    )


def _copilots(record: Fields) -> str:
    """What has happened, by what a payload of Copilot's has: most do not name it."""
    if "hookName" in record:
        return ""
    if type(record.get("toolName")) is str:
        return (
            "result" if "toolResult" in record else "failure" if "error" in record else "tool_call"
        )
    kinds = {
        "error": "api_error",
        "prompt": "user_prompt",
        "source": "session_start",
        "stopReason": "",
        "reason": "session_end",
    }
    return next((kind for key, kind in kinds.items() if key in record), "")


def _time(said: Any, arrival: float) -> float:
    time = arrival
    try:
        if type(said) is int or type(said) is float:
            time = said / 1000
        elif type(said) is str:
            time = datetime.fromisoformat(said).timestamp()
    except (ValueError, OverflowError):
        return arrival
    return time if YEAR_2000 <= time < YEAR_2100 else arrival


def _arguments(given: Any) -> Fields:
    """A call's arguments as an object: they may stand as its JSON, or be a text."""
    if type(given) is str:
        try:
            parsed = orjson.loads(given)
        except ValueError:
            parsed = None
        return parsed if type(parsed) is dict else {"input": given} if given else {}
    return given if type(given) is dict else {}
