"""An agent that works here and whose session is not found is reported, once."""

import os
import subprocess
import sys

import pytest

from agent_pipes.process import table
from agent_pipes.sessions.unseen_agents import UnseenAgents
from tests.helpers.support import STANDINS, until


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """A stand-in of Claude Code in a directory, with a configuration of its own."""
    monkeypatch.setattr(table, "began", lambda identity: 0.0)
    project, config = tmp_path / "proj", tmp_path / "elsewhere"
    project.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(STANDINS / "claude"), "--scenario", "silent", "--pause", "300"],
        cwd=project,
        env=os.environ | {"CLAUDE_CONFIG_DIR": str(config)},
    )
    until(lambda: (config / "sessions" / f"{process.pid}.json").exists(), what="the agent")
    yield process.pid, str(project)
    process.kill()
    process.wait()


def test_an_agent_without_a_session_is_reported_once_after_ten_seconds(agent, capfd):
    pid, project = agent
    now = 0.0
    unseen = UnseenAgents({project}, lambda: now)
    for now in (1.0, 9.0):  # noqa: B007
        unseen.report([])
        assert capfd.readouterr().err == ""
    for now in (11.0, 72.0, 133.0):  # noqa: B007
        unseen.report([])
    said = capfd.readouterr().err
    assert said.count(f"Claude Code (pid {pid}) runs in this directory, but has no session") == 1
    assert "NOT watched" in said


@pytest.mark.parametrize("case", ["followed", "process not known", "another directory"])
def test_one_whose_session_is_followed_is_not_reported(agent, capfd, case):
    pid, project = agent
    followed = {
        "followed": [("claude", table.identify(pid))],
        "process not known": [("claude", None)],
        "another directory": [],
    }[case]
    now = 0.0
    directories = {"/nowhere"} if case == "another directory" else {project}
    unseen = UnseenAgents(directories, lambda: now)
    now = 11.0
    unseen.report(followed)
    assert capfd.readouterr().err == ""
