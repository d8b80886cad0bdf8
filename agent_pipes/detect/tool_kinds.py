"""One word for a tool, and whether it may change anything."""

from functools import lru_cache

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.lazy_regex import pattern

MAX_NAME_CHARS = 30
"""Characters of a tool's name that a message has."""

_LOOKING = pattern(
    r"read|view|grep|glob|search|list|ls\b|get|find|fetch|show|describe|status|query|web|think"
    r"|poll|todo|update_plan|bashoutput|taskoutput"
)
"""Beginnings of the names of tools that only look."""


_CHANGING = pattern(
    r"(?:^|_)(?:write|edit|create|update|delete|remove|insert|replace|commit|push|send|post|put|set"
    r"|apply|run|exec|execute|start|stop|deploy|click|type|fill|navigate)(?:_|$)"
)
"""Words in the names of tools that change something."""


@lru_cache(maxsize=256)
def of_tool(tool: str) -> str:
    """`Read` → `read`, `MultiEdit` → `edit`, `mcp__github__get_issue` → `get_issue`."""
    kind = kind_of(tool)
    if kind in ("read", "write", "edit"):
        return kind
    name = tool.rpartition("__")[2] if tool.startswith("mcp__") else tool
    return name.lower()[:MAX_NAME_CHARS] or "call"


def is_known_to_change(tool: str) -> bool:
    """Return True if the tool's kind or name says that it changes something."""
    if kind_of(tool) in ("write", "edit", "script", "subagent", "stdin"):
        return True
    return bool(_CHANGING.search(of_tool(tool)))


def tool_changes(tool: str) -> bool:
    """Return True unless the tool's name says that it only looks."""
    return not _LOOKING.match(of_tool(tool))
