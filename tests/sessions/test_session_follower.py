"""Finding sessions here: of a parent directory, and in folders that cannot be read."""

import os

import pytest

from agent_pipes.sessions import discovery
from tests.helpers.following import unprivileged
from tests.helpers.machine import live_machine


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of its own with one project."""
    with live_machine(tmp_path, monkeypatch) as machine:
        yield machine


def test_13_6_a_session_of_a_parent_directory_in_the_same_repository_is_one_of_this(machine):
    agent = machine.claude()
    (machine.project / "src" / "deep").mkdir(parents=True)
    os.chdir(machine.project / "src" / "deep")
    assert discovery.sessions_here() == []
    (machine.project / ".git").mkdir()
    assert [each.id for each in discovery.sessions_here()] == [agent.session]
    tail = machine.tail()
    tail.until("history_end", agent.session)
    (machine.project / "src" / ".git").mkdir()
    assert discovery.sessions_here() == []


def test_13_12_a_folder_of_sessions_that_cannot_be_read_is_reported_once(monkeypatch, capfd):
    # Modules are imported while they can be read.
    discovery.unreadable_folders()
    with unprivileged() as directory:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(directory))
        folder = directory / "projects" / "-secret"
        folder.mkdir(parents=True)
        assert folder not in discovery.unreadable_folders()
        folder.chmod(0)
        for _ in range(2):
            discovery.sessions(["claude"])
        assert discovery.unreadable_folders(["claude"]) == {folder: "Permission denied"}
        folder.chmod(0o700)
    message = f"{folder}: cannot read (Permission denied); sessions in it are not found"
    assert capfd.readouterr().err.count(message) == 1
