"""The Hooks class: what an agent's hooks send, and how an agent is set up to call them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from agent_pipes.agents.fields import (
    arguments_of,
    number,
    stored_as,
    string,
    text_of,
    time_of,
    within,
    written,
)
from agent_pipes.agents.results import result_data, shell_command
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields, dumps

if TYPE_CHECKING:
    from pathlib import Path

MAX_RESULT_BYTES = 4096
"""Bytes of a result that an event carries."""

GUARDS = {"deny": "--guard", "stop": "--guard=stop"}
"""Modes of the guard, and the option of `agent-strace hook` for each."""

TIMEOUT_S = 10
"""Seconds after which an agent gives up waiting for a hook."""

CLAUDE_KINDS = {
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
"""Kinds of payloads by the names of Claude Code's events, which other agents have adopted."""

CAMEL_KINDS = {
    "sessionStart": "session_start",
    "sessionEnd": "session_end",
    "preToolUse": "tool_call",
    "postToolUse": "result",
    "postToolUseFailure": "failure",
}
"""The same for the names that Cursor and Copilot have."""

WORD_KINDS = {
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
"""The same for the argument EVENT of `agent-strace hook` in settings of the older project."""


def guard_mode(command: str) -> str:
    """Return the mode of the guard in a command line of the hook, "" if it does not guard."""
    words = command.split()
    return next((mode for mode, option in GUARDS.items() if option in words), "")


class UnknownPayload(Exception):
    """Input that is no payload of a known agent's hook; the message is for users."""


class HookSettings(NamedTuple):
    """Settings file in which an agent's hooks are configured.

    variable: environment variable with the directory of the user's settings, "" for none.
    folder:   that directory below the user's home directory otherwise.
    file:     the settings file in it.
    project:  the settings file of a project, relative to the project's directory.
    events:   events to call the hook for.
    rest:     what the file must contain besides the hooks.
    note:     what else the user must do, "" for nothing.
    nested:   the variable names the directory that contains `folder`.
    """

    variable: str
    folder: str
    file: str
    project: str
    events: Sequence[str]
    rest: Mapping[str, Any] = MappingProxyType({})
    note: str = ""
    nested: bool = False

    @property
    def home(self) -> "Path":
        """Directory of the user's settings."""
        from agent_pipes.agents.base import home_from

        if self.nested:
            return home_from(self.variable) / self.folder
        return home_from(self.variable, self.folder)


class Hooks:
    """The hooks of one agent.

    name:       name of the agent.
    store_name: name of the agent in the store.
    kinds:      kinds of payloads by name of event: an event type of the vocabulary, or `result`,
                `failure`, `denied`, `api_error`; "" for what is not recorded.
    context_kinds: kinds of payloads whose answer can add a text to the model's context.
    stop_kinds: kinds of payloads whose answer can end the run, `tool_call` among them; empty if no
                hook can.
    guard_events: events that only a guard needs, by its mode (GUARDS).
    settings:   where the hooks are configured.
    """

    name: ClassVar[str] = ""
    store_name: ClassVar[str] = ""
    kinds: ClassVar[Mapping[str, str]] = CLAUDE_KINDS
    context_kinds: ClassVar[frozenset[str]] = frozenset()
    stop_kinds: ClassVar[frozenset[str]] = frozenset()
    guard_events: ClassVar[Mapping[str, Sequence[str]]] = {}
    settings: ClassVar[HookSettings] = HookSettings("", "", "", "", ())

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True if this agent sends payloads like `record`, whose event is named `event`."""
        return False

    def kind(self, record: Fields, event: str, word: str) -> str:
        """Return the kind of a payload.

        event: the event as the payload names it, "" if it does not.
        word:  the event as the command line names it, "" if it does not.
        """
        if event:
            return self.kinds.get(event, "")
        return self.kinds.get(word, WORD_KINDS.get(word, ""))

    def call(self, record: Fields, event: str) -> tuple[str, Fields]:
        """Return the tool and the arguments of a payload about a call."""
        given = record.get("tool_input", record.get("toolArgs"))
        return string(record, "tool_name") or string(record, "toolName"), arguments_of(given)

    def duration_ms(self, record: Fields) -> float | None:
        """Return how long a call took, None if the payload does not say."""
        took = number(record, "duration_ms")
        return None if took is None else float(took)

    def transcript(self, payload: "Payload") -> str:
        """Return the path of the agent's own session file, "" if it is not known."""
        if payload.kind == "subagent_stop":
            return payload.text("agent_transcript_path")
        return payload.transcript

    def is_persons(self, prompt: str) -> bool:
        """Return True if a prompt was typed by a person."""
        return bool(prompt)

    def outcome(self, payload: "Payload") -> tuple[str, Fields]:
        """Return the type and the data of the event for the end of a call."""
        response = payload.record.get("tool_response", payload.record.get("tool_output"))
        if payload.kind == "failure":
            return failed(payload.text("error") or plain(response)[0], "tool", None)
        return told(response, payload.tool, payload.arguments)

    def denial(self, why: str) -> Fields:
        """Return the answer that makes the agent drop a call."""
        raise NotImplementedError

    def stop(self, payload: "Payload", why: str) -> Fields:
        """Return the answer to a payload of one of `stop_kinds` that ends the run."""
        end = {"continue": False, "stopReason": why}
        return {**self.denial(why), **end} if payload.kind == "tool_call" else end

    def question(self, payload: "Payload", why: str) -> Fields | None:
        """Return the answer that makes the client ask its user whether a call may be made.

        None if it cannot, or nobody is there to be asked.
        """
        return None

    def context(self, text: str, event: str) -> Fields:
        """Return the answer that adds `text` to the model's context."""
        return {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}

    def is_set_up(self, directory: str) -> bool:
        """Return True if the settings of the user or of the directory call `agent-strace hook`."""
        from pathlib import Path

        settings = self.settings
        for path in (settings.home / settings.file, Path(directory, settings.project)):
            try:
                if b"agent-strace hook" in path.read_bytes():
                    return True
            except OSError:
                continue
        return False

    def entry(self, command: str) -> Fields:
        """Return the entry under an event's name that calls `command`."""
        hook = {"type": "command", "command": command, "timeout": TIMEOUT_S}
        return {"matcher": "", "hooks": [hook]}

    def wanted(self, command: str) -> Fields:
        """Return settings that call `command` for every event, and contain nothing else."""
        settings = self.settings
        events = [*settings.events, *self.guard_events.get(guard_mode(command), ())]
        return {**settings.rest, "hooks": {event: [self.entry(command)] for event in events}}


class Payload:
    """One payload of a hook.

    hooks:           the agent's hooks.
    agent:           name of the agent.
    event:           name of the event, "" if the payload has none.
    kind:            kind of the payload, see Hooks.kinds.
    name:            session id, as the agent has it.
    session:         session id in the store.
    cwd:             the agent's directory, "" if unknown.
    transcript:      the agent's session file, "" if unknown.
    time:            seconds since the epoch: the payload's own time, else its arrival.
    call:            id of the tool call, "" if there is none.
    tool, arguments: the call.
    """

    def __init__(self, record: Fields, arrival: float, hooks: Hooks, word: str = "") -> None:
        """Read a payload that arrived at `arrival`. Raise UnknownPayload if it has no session."""
        self.record = record
        self.hooks = hooks
        self.agent = hooks.name
        self.event = string(record, "hook_event_name")
        self.name = self.text("session_id", "sessionId", "conversation_id")
        self.session = stored_as(self.name)
        if not self.session or self.session.startswith(".") or self.session == "workspaces":
            raise UnknownPayload(f"the payload has no usable session id: {self.name[:60]!r}")
        self.kind = hooks.kind(record, self.event, word)
        roots = record.get("workspace_roots")
        self.cwd = self.text("cwd") or (
            roots[0] if type(roots) is list and roots and type(roots[0]) is str else ""
        )
        self.transcript = self.text("transcript_path", "transcriptPath", "agent_transcript_path")
        self.time = time_of(record, arrival)
        self.call = self.text("tool_use_id")
        self.tool, self.arguments = hooks.call(record, self.event)

    def text(self, *keys: str) -> str:
        """Return the string under the first of `keys` that has one, else ""."""
        return next(filter(None, (string(self.record, key) for key in keys)), "")

    @property
    def answers(self) -> bool:
        """True if the payload reports the end of a call."""
        return self.kind in ("result", "failure", "denied")

    @property
    def ticket(self) -> str:
        """Key that a call and its result share if they have no id."""
        return digest(dumps({"tool": self.tool, "arguments": self.arguments}))

    @property
    def iso_time(self) -> str:
        """The time in ISO format."""
        return datetime.fromtimestamp(self.time, UTC).isoformat()

    def details(self) -> Fields:
        """Return what events of calls and prompts contain besides the call."""
        keys = ("tool_use_id", "permission_mode", "agent_id", "agent_type")
        return {key: value for key in keys if type(value := self.record.get(key)) is str and value}


def told(response: Any, tool: str, arguments: Fields) -> tuple[str, Fields]:
    """Return the event for a response that is an object of any kind, or a text."""
    text, code = plain(response)
    if type(response) is dict and response.get("interrupted") is True:
        return failed(text, "interrupted", code)
    if code:
        return failed(text, "exit", code)
    data = result_data(text, MAX_RESULT_BYTES, tool=tool, command=shell_command(arguments))
    return "tool_result", data if code is None else data | {"exit_code": code}


def failed(text: str, reason: str, code: int | None) -> tuple[str, Fields]:
    """Return the event for a call that failed."""
    data = {**result_data(text, MAX_RESULT_BYTES, "error"), "reason": reason}
    return "error", data if code is None else data | {"exit_code": code}


def plain(response: Any) -> tuple[str, int | None]:
    """Return the text of a response, and its exit code if it has one."""
    if type(response) is str:
        return response, None
    if type(response) is list:
        return text_of(response), None
    if type(response) is not dict:
        return "" if response is None else str(response), None
    codes = (response.get(key) for key in ("exit_code", "exitCode"))
    code = next((value for value in codes if type(value) is int), None)
    texts = [string(response, key) for key in ("stdout", "stderr", "output")]
    texts.append(string(within(response, "file"), "content"))
    text = "\n".join(filter(None, texts)) or text_of(response.get("content"))
    if not text and not {"stdout", "output", "content"} & response.keys():
        text = written(response).decode(errors="replace")
    return text, code


def last_result(events: Sequence[Fields]) -> tuple[str, Fields]:
    """Return the type and the data of the last result among the events of one call."""
    ends = [event for event in events if event["event_type"] in ("tool_result", "error")]
    if not ends:
        return "tool_result", result_data("", MAX_RESULT_BYTES)
    return ends[-1]["event_type"], ends[-1]["data"]


def pre_tool_decision(decision: str, why: str) -> Fields:
    """Return a decision (`deny`, `ask`) in the form of a PreToolUse hook of Claude Code."""
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": decision,
            "permissionDecisionReason": why,
        }
    }
