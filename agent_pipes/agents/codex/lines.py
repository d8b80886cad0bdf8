"""Contents of one line of Codex's: times, texts and calls."""

from collections.abc import Callable

from agent_pipes.agents.fields import arguments_of, string, text_of, within
from agent_pipes.core.event import YEAR_2000, YEAR_2100
from agent_pipes.core.jsonl import Fields


def made(id: str) -> float | None:
    """Return the time of a UUID of version 7 (RFC 9562) in seconds, None for another id."""
    digits = id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        seconds = int(digits[:12], 16) / 1000
    except ValueError:
        return None
    return seconds if YEAR_2000 <= seconds < YEAR_2100 else None


def command_of(command: object) -> str:
    """Return the command that a shell was given (`bash -lc COMMAND`), else all words."""
    words = [word for word in command if type(word) is str] if type(command) is list else []
    return (
        words[2]
        if len(words) == 3 and words[1] in ("-lc", "-c", "-Command", "/c")
        else " ".join(words)
    )


def patch_of(changes: list[tuple[str, str, str]]) -> str:
    """Return a patch in the model's own format.

    Each change is a path, a kind and a diff.
    """
    verbs = {"add": "Add", "delete": "Delete"}
    files = "".join(
        f"*** {verbs.get(kind, 'Update')} File: {path}\n{diff.rstrip()}\n"
        for path, kind, diff in changes
    )
    return f"*** Begin Patch\n{files}*** End Patch"


def tool_of(namespace: str, name: str) -> str:
    """Return a tool's name, an MCP tool's with the server in front as older versions wrote it."""
    if not namespace.startswith("mcp__"):
        return name
    return (
        f"{namespace}{name}"
        if namespace.endswith("_") or name.startswith("_")
        else f"{namespace}__{name}"
    )


def request_of(payload: Fields) -> tuple[str, Fields]:
    """Return tool and arguments of a call that the model has made."""
    kind = string(payload, "type")
    if kind == "custom_tool_call":
        content = payload.get("input")
        text = content if type(content) is str else text_of(content)
        return string(payload, "name"), {"input": text}
    if kind == "local_shell_call":
        action = within(payload, "action")
        return "local_shell", {key: action[key] for key in action if key != "type"}
    arguments = arguments_of(payload.get("arguments"))
    if kind == "tool_search_call":
        return "tool_search", arguments
    return tool_of(string(payload, "namespace"), string(payload, "name")), arguments


CallOf = tuple[str, Fields, object]
"""Tool, arguments and result of a call that is over."""


def _command_execution(item: Fields) -> CallOf:
    directory = string(item, "cwd").removeprefix("file://")
    arguments = {"cmd": command_of(item.get("command")), "workdir": directory}
    return "exec_command", arguments, string(item, "aggregated_output")


def _file_change(item: Fields) -> CallOf:
    changes = within(item, "changes")
    diffs = [
        (path, string(each, "type"), string(each, "unified_diff") or string(each, "content"))
        for path, each in changes.items()
        if type(each) is dict
    ]
    result = string(item, "stdout") or string(item, "stderr")
    return "apply_patch", {"input": patch_of(diffs)}, result


def _mcp_call(item: Fields) -> CallOf:
    outcome = within(item, "result")
    problem = item.get("error") or outcome.get("Err")
    said = string(problem, "message") if type(problem) is dict else problem
    if type(said) is not str:
        said = (within(outcome, "Ok") or outcome).get("content")
    name = tool_of(f"mcp__{string(item, 'server')}", string(item, "tool"))
    return name, within(item, "arguments"), said


def _dynamic_call(item: Fields) -> CallOf:
    name = tool_of(string(item, "namespace"), string(item, "tool"))
    return name, within(item, "arguments"), item.get("content_items")


def _agent_call(item: Fields) -> CallOf:
    keys = ("prompt", "receiver_thread_ids", "model")
    return string(item, "tool"), {key: item[key] for key in keys if key in item}, ""


def query_of(item: Fields) -> Fields:
    """Return the arguments of a search in the web."""
    return within(item, "action") or {"query": string(item, "query")}


CALLS: dict[str, Callable[[Fields], CallOf]] = {
    "CommandExecution": _command_execution,
    "FileChange": _file_change,
    "McpToolCall": _mcp_call,
    "DynamicToolCall": _dynamic_call,
    "CollabAgentToolCall": _agent_call,
    "WebSearch": lambda item: ("web_search", query_of(item), ""),
    "Extension": lambda item: (string(item, "kind") or "extension", query_of(item), ""),
}
"""The turn items that are calls."""


_HARNESS = (
    "<environment_context>",
    "<user_instructions>",
    "<INSTRUCTIONS>",
    "# AGENTS.md instructions",
    "<turn_aborted>",
    "<subagent_notification>",
    "<skill>",
    "<user_shell_command>",
    "<permissions instructions>",
    "<user_action>",
    "<model_switch>",
    "<hook_prompt",
    "<collaboration_mode>",
)
"""Beginnings of texts in the user's role that no person typed to the agent."""


def is_interactive(payload: Fields) -> bool | None:
    """Return whether a person may be there, by the payload of a `session_meta`; None if unknown."""
    source, originator = payload.get("source"), string(payload, "originator")
    if source == "exec" or originator == "codex_exec":
        return False
    # The terminal interface calls itself `vscode` if its daemon runs the session.
    return True if source in ("cli", "vscode") else None


def stand_in(text: str) -> str:
    """Return the origin of a prompt that no person typed, "" for all other texts."""
    beginning = text.lstrip()
    return next((origin for start, origin in _STAND_INS.items() if beginning.startswith(start)), "")


_STAND_INS = {"<hook_prompt": "hook", "<subagent_notification>": "notification"}


def is_persons(payload: Fields, text: str) -> bool:
    """Return True if a message in the user's role is a person's.

    Newer versions say what its parts are.
    """
    kinds = within(payload, "internal_chat_message_metadata_passthrough").get("content_item_kinds")
    if type(kinds) is list and kinds:
        return any(type(kind) is str and kind.startswith("user") for kind in kinds)
    return bool(text) and not text.lstrip().startswith(_HARNESS)
