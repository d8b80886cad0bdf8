"""agents/by_directory.py: the process of a session that no file names."""

import os

import pytest

from agent_pipes.agents import by_directory
from agent_pipes.agents.base import Session
from agent_pipes.agents.by_directory import DirectoryProcesses
from agent_pipes.agents.registry import agent
from agent_pipes.process.table import identify

OURS = identify(os.getpid())


def session(path, name="s", modified=2e9):
    return Session("opencode", name, str(path), path / name, 0.0, modified)


@pytest.fixture
def processes(tmp_path, monkeypatch):
    found = DirectoryProcesses(agent("opencode"))
    running = {os.path.realpath(tmp_path): [OURS]}
    monkeypatch.setattr(found, "_scan", lambda name: running)
    return found, running[os.path.realpath(tmp_path)]


def test_the_only_process_in_the_directory_is_that_of_its_latest_session(processes, tmp_path):
    found, _ = processes
    old, new = session(tmp_path, "old", 1e9), session(tmp_path, "new")
    assert found.of(new, [old, new]) == OURS
    assert found.of(old, [old, new]) is None


def test_a_process_that_began_after_the_last_write_is_another_sessions(processes, tmp_path):
    found, _ = processes
    old = session(tmp_path, "old", 1e9)
    assert found.of(old, [old]) is None


def test_two_processes_in_one_directory_are_reported_once_and_neither_is_taken(
    processes, tmp_path, monkeypatch
):
    found, running = processes
    running.append(OURS)
    said: list[str] = []
    monkeypatch.setattr(by_directory, "warn", said.append)
    new = session(tmp_path, "new")
    assert found.of(new, [new]) is None and found.of(new, [new]) is None
    (message,) = said
    assert message.startswith("2 processes of OpenCode in ") and "--pid" in message


def test_nothing_is_reported_of_sessions_that_are_over(processes, tmp_path, monkeypatch):
    found, running = processes
    running.append(OURS)
    monkeypatch.setattr(by_directory, "warn", pytest.fail)
    old, new = session(tmp_path, "old", 1e9), session(tmp_path, "new", 1e9 + 1)
    assert found.of(old, [old, new]) is None and found.of(new, [old, new]) is None
