"""The kind of a tool by its name: reads, edits, waits; and whether it may change anything."""

from functools import lru_cache

from agent_pipes.core.lazy_regex import pattern

_EDITING_TOOLS = frozenset(
    {
        "edit",
        "multiedit",
        "notebookedit",
        "apply_patch",
        "replace",
        "edit_file",
        "str_replace",
        "str_replace_editor",
        "str_replace_based_edit_tool",
    }
)
_READING_TOOLS = frozenset({"read", "read_file", "view", "open_file"})
_WRITING_TOOLS = frozenset({"write", "write_file", "create_file", "create"})
_LOOKING = pattern(
    r"read|view|grep|glob|search|list|ls\b|get|find|fetch|show|describe|status|query|web|think|poll|todo|update_plan|bashoutput|taskoutput"
)


@lru_cache(maxsize=256)
def of_tool(tool: str) -> str:
    """`Read` → `read`, `MultiEdit` → `edit`, `mcp__github__get_issue` → `get_issue`."""
    name = (tool.rpartition("__")[2] if tool.startswith("mcp__") else tool).lower()
    if name in _EDITING_TOOLS:
        return "edit"
    return (
        "read"
        if name in _READING_TOOLS
        else "write"
        if name in _WRITING_TOOLS
        else name[:30] or "call"
    )


POLLING_TOOLS = frozenset(
    {
        "BashOutput",
        "TaskOutput",
        "AgentOutputTool",
        "AgentOutput",
        "read_bash",
        "list_bash",
        "wait",
        "wait_agent",
        "poll",
    }
)
"""Tools that only wait for something, or ask how far it has come."""


def tool_changes(tool: str) -> bool:
    return not _LOOKING.match(of_tool(tool))
