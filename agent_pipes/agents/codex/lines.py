"""Contents of one line of Codex's: times, texts and calls."""

from agent_pipes.agents.fields import string, within
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


CALLS = frozenset(
    {
        "CommandExecution",
        "FileChange",
        "McpToolCall",
        "DynamicToolCall",
        "CollabAgentToolCall",
        "WebSearch",
        "Extension",
    }
)
"""The turn items that are calls."""


def call_of(item: Fields) -> tuple[str, Fields, object]:
    """Return tool, arguments and result of a turn item."""
    kind = string(item, "type")
    if kind == "CommandExecution":
        arguments = {
            "cmd": command_of(item.get("command")),
            "workdir": string(item, "cwd").removeprefix("file://"),
        }
        return "exec_command", arguments, string(item, "aggregated_output")
    if kind == "FileChange":
        changes = [
            (path, change)
            for path, change in within(item, "changes").items()
            if type(change) is dict
        ]
        diffs = [
            (
                path,
                string(change, "type"),
                string(change, "unified_diff") or string(change, "content"),
            )
            for path, change in changes
        ]
        return (
            "apply_patch",
            {"input": patch_of(diffs)},
            string(item, "stdout") or string(item, "stderr"),
        )
    if kind == "McpToolCall":
        outcome = within(item, "result")
        content = (within(outcome, "Ok") or outcome).get("content")
        problem = item.get("error") or outcome.get("Err")
        said = (
            string(problem, "message")
            if type(problem) is dict
            else problem
            if type(problem) is str
            else content
        )
        return (
            tool_of(f"mcp__{string(item, 'server')}", string(item, "tool")),
            within(item, "arguments"),
            said,
        )
    if kind == "WebSearch":
        return "web_search", within(item, "action") or {"query": string(item, "query")}, ""
    if kind == "Extension":
        return (
            string(item, "kind") or "extension",
            within(item, "action") or {"query": string(item, "query")},
            "",
        )
    if kind == "DynamicToolCall":
        return (
            tool_of(string(item, "namespace"), string(item, "tool")),
            within(item, "arguments"),
            item.get("content_items"),
        )
    return (
        string(item, "tool"),
        {key: item[key] for key in ("prompt", "receiver_thread_ids", "model") if key in item},
        "",
    )


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
