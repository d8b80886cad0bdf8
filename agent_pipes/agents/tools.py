"""Tool names of all agents, by kind: the one table that detectors, scope and hooks ask.

Names are compared by letters alone (`run_shell_command`, `runShellCommand`), without MCP prefix.
"""

import re
from functools import lru_cache
from typing import Literal

ToolKind = Literal[
    "shell",
    "stdin",
    "script",
    "read",
    "write",
    "edit",
    "search",
    "list",
    "fetch",
    "web_search",
    "wait",
    "ask",
    "plan",
    "subagent",
]
"""Kinds of tools.

shell:      runs a command line.
stdin:      writes to the standard input of a command that runs.
script:     runs code that is not a command line.
read:       reads a file.
write:      writes a whole file.
edit:       changes parts of files.
search:     searches the contents of files.
list:       lists the names of files.
fetch:      reads a web address.
web_search: searches the web.
wait:       waits for something, or asks how far it has come.
ask:        asks the user.
plan:       keeps a list of things to do.
subagent:   starts a subagent.
"""

TOOLS: dict[ToolKind, tuple[str, ...]] = {
    "shell": (
        "Bash",
        "bash_tool",
        "container.exec",
        "exec",
        "exec_command",
        "execute",
        "execute_bash",
        "execute_command",
        "local_shell",
        "local_shell_call",
        "run_command",
        "run_in_terminal",
        "run_shell_command",
        "run_terminal_cmd",
        "run_terminal_command",
        "sh",
        "shell",
        "shell_command",
        "shell_exec",
        "shell_tool",
        "terminal",
        "unified_exec",
        "zsh",
    ),
    "stdin": ("write_stdin", "write_bash", "write_powershell"),
    "script": (
        "browser_evaluate",
        "execute_code",
        "javascript",
        "powershell",
        "pwsh",
        "python",
        "run_code",
    ),
    "read": ("Read", "open_file", "read_file", "view"),
    "write": ("Write", "create", "create_file", "write_file"),
    "edit": (
        "Edit",
        "MultiEdit",
        "NotebookEdit",
        "apply_patch",
        "edit_file",
        "replace",
        "str_replace",
        "str_replace_based_edit_tool",
        "str_replace_editor",
    ),
    "search": ("Grep", "codebase_search", "grep_search", "rg", "search_file_content"),
    "list": ("Glob", "LS", "list_directory"),
    "fetch": ("WebFetch", "fetch", "web_fetch"),
    "web_search": ("WebSearch", "google_web_search", "web_search"),
    "wait": (
        "AgentOutput",
        "AgentOutputTool",
        "BashOutput",
        "TaskOutput",
        "list_bash",
        "poll",
        "read_bash",
        "wait",
        "wait_agent",
    ),
    "ask": (
        "AskUserQuestion",
        "ExitPlanMode",
        "ask_followup_question",
        "ask_user",
        "request_user_input",
    ),
    "plan": ("TodoWrite", "todo_write", "update_plan", "write_todos"),
    "subagent": ("Agent", "Task", "invoke_agent", "spawn_agent"),
}
"""Names of tools by kind."""

MAX_CACHED_NAME = 100
"""Characters of the longest tool name whose kind is cached: names may have any length."""


def letters(name: str) -> str:
    """Return the lower-case letters of `name`: `filePath` and `file_path` are `filepath`."""
    return re.sub(r"[^a-z]", "", name.lower())


def own_name(tool: str) -> str:
    """Return a tool's name without the MCP server's in front (`mcp__disk__move_file`)."""
    return tool.rpartition("__")[2] or tool


def kind_of(tool: str) -> ToolKind | None:
    """Return the kind of a tool; None if its name is in no agent's table."""
    return _kind_of(tool) if len(tool) <= MAX_CACHED_NAME else None


@lru_cache(maxsize=512)
def _kind_of(tool: str) -> ToolKind | None:
    return _KINDS.get(letters(own_name(tool)))


_KINDS: dict[str, ToolKind] = {letters(name): kind for kind in TOOLS for name in TOOLS[kind]}
