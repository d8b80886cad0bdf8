"""Members that each agent must declare, and pages that must mention it."""

from pathlib import Path

import pytest

from agent_pipes.agents import registry
from agent_pipes.agents.base import Agent
from agent_pipes.agents.base_hooks import Hooks
from tests.helpers.support import ROOT

FOLDER = ROOT / "agent_pipes" / "agents"

READ = ("sessions", "session_folders", "recognises", "translator", "process")
"""Members that an agent whose sessions are read must define."""

PROGRAM = ("is_program", "homes")
"""Members that an agent with a program must define."""

HOOKED = ("recognises", "outcome", "denial", "settings")
"""Members that an agent with hooks must define."""

PAGES = ("README.md", "man/agent-pipes.7", "man/trace-tail.1")
"""Pages that mention every agent whose sessions are read."""


def inherited(value: object, base: type, members: tuple[str, ...]) -> list[str]:
    """Return the members that the class of `value` leaves to `base`."""
    return [name for name in members if getattr(type(value), name) is getattr(base, name)]


def test_folders_and_registry_name_the_same_agents() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/agent.py")}
    assert folders == set(registry.AGENTS)


@pytest.mark.parametrize("name", registry.AGENTS)
def test_agent_declares_its_members(name: str) -> None:
    agent, parts = registry.agent(name), registry.AGENTS[name]
    assert agent.name == name and agent.title
    assert parts.sessions or parts.hooks or agent.refusal, "nothing of it can be used"
    missing = []
    if parts.sessions and not agent.is_native:
        missing += inherited(agent, Agent, READ)
    if agent.programs:
        missing += inherited(agent, Agent, PROGRAM)
    if agent.has_control_socket:
        missing += inherited(agent, Agent, ("control_socket", "interrupt"))
    assert missing == []


@pytest.mark.parametrize("name", registry.AGENTS)
def test_hooks_are_declared_where_the_registry_says_so(name: str) -> None:
    assert (FOLDER / name / "hooks.py").exists() == registry.AGENTS[name].hooks
    if registry.AGENTS[name].hooks:
        hooks = registry.hooks(name)
        assert hooks.name == name and hooks.store_name
        assert inherited(hooks, Hooks, HOOKED) == []
        assert hooks.settings().events


@pytest.mark.parametrize("name", registry.NAMES)
@pytest.mark.parametrize("page", PAGES)
def test_page_mentions_the_agent(name: str, page: str) -> None:
    agent = registry.agent(name)
    text = Path(ROOT / page).read_text()
    assert agent.is_native or agent.title in text, f"{page} does not mention {agent.title}"
