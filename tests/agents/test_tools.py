"""agents/tools.py: the kind of a tool by its name."""

import pytest

from agent_pipes.agents.tools import TOOLS, kind_of, letters


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        ("Bash", "shell"),
        ("run_shell_command", "shell"),
        ("runShellCommand", "shell"),
        ("mcp__disk__read_file", "read"),
        ("write_stdin", "stdin"),
        ("wait_agent", "wait"),
        ("mcp__github__get_issue", None),
        ("", None),
        ("__", None),
        ("x" * 5000, None),
    ],
)
def test_kind_of_a_tool(tool: str, kind: str | None) -> None:
    assert kind_of(tool) == kind


def test_no_name_has_two_kinds() -> None:
    kinds: dict[str, set[str]] = {}
    for kind, names in TOOLS.items():
        for name in names:
            kinds.setdefault(letters(name), set()).add(kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}
