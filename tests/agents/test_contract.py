"""Members that each agent must declare, and pages that must mention it."""

import re
from pathlib import Path

import pytest

from agent_pipes.agents import registry
from agent_pipes.agents.base import Agent
from agent_pipes.agents.base_hooks import Hooks
from agent_pipes.agents.jsonl_agent import JsonlAgent
from tests.helpers.support import FIXTURES, ROOT

FOLDER = ROOT / "agent_pipes" / "agents"

READ = ("sessions", "session_folders", "recognises", "translator", "process")
"""Members that an agent whose sessions are read must define."""

PROGRAM = ("is_program", "homes")
"""Members that an agent with a program must define."""

HOOKED = ("recognises", "outcome", "denial", "settings")
"""Members that an agent with hooks must define."""

PAGES = ("README.md", "CHANGELOG.md", "man/agent-pipes.7", "man/trace-tail.1")
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
        assert hooks.settings.events


@pytest.mark.parametrize("name", registry.NAMES)
@pytest.mark.parametrize("page", PAGES)
def test_page_mentions_the_agent(name: str, page: str) -> None:
    agent = registry.agent(name)
    text = Path(ROOT / page).read_text()
    assert agent.is_native or agent.title in text, f"{page} does not mention {agent.title}"


def test_page_lists_the_formats_that_can_be_forced() -> None:
    page = (ROOT / "man" / "trace-tail.1").read_text()
    (listed,) = re.findall(r"^\.It Fl -format.*?^\.It", page, re.S | re.M)
    names = re.findall(r"[a-z]+", " ".join(re.findall(r"^\.Cm (.*)", listed, re.M)))
    assert sorted(names) == sorted(registry.NAMES)


@pytest.mark.parametrize("name", registry.AGENTS)
def test_agent_has_a_recorded_session_and_tests(name: str) -> None:
    if registry.AGENTS[name].sessions and name != "native":
        assert any((FIXTURES / name).rglob("*.*json*")), f"no session in {FIXTURES / name}"
        assert any((ROOT / "tests" / "agents" / name).glob("test_*.py")), f"no tests of {name}"


JSONL = [name for name in registry.NAMES if isinstance(registry.agent(name), JsonlAgent)]


@pytest.mark.parametrize("name", JSONL)
def test_listed_session_has_a_directory_and_a_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = registry.agent(name)
    monkeypatch.setattr(type(agent), "homes", lambda _: [tmp_path])
    path = tmp_path / agent.layout.replace("*", "x")
    path.parent.mkdir(parents=True)
    path.write_bytes((FIXTURES / name / "session.jsonl").read_bytes())
    (session,) = agent.sessions()
    assert session.cwd and session.started, f"see cwd_key and time_key of {JsonlAgent.__name__}"


class Other(JsonlAgent):
    """An agent whose first line has other keys."""

    name, home_variable, home = "other", "OTHER_HOME", (".other",)
    layout, session_key, script = "logs/*.jsonl", "key", "other"
    cwd_key, time_key = "directory", "time"


@pytest.mark.parametrize("time", ["1790000000500", '"2026-09-21T14:13:20.500Z"'])
def test_first_line_may_have_other_keys(
    time: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    line = f'{{"key": "s1", "directory": "/srv/app", "time": {time}}}\n'
    (tmp_path / "logs" / "a.jsonl").write_text(line)
    (session,) = Other().sessions()
    assert (session.id, session.cwd, session.started) == ("s1", "/srv/app", 1_790_000_000.5)
