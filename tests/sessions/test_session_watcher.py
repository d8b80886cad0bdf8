"""Finding sessions that change, at a cost that does not depend on how many old ones there are."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from agent_pipes.agents.codex import sessions as codex_sessions
from agent_pipes.agents.folders import FolderCache
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.sessions.session_watcher import SessionWatcher

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

OLD = time.time() - 30 * 86_400


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def transcript(home: Path, number: int) -> Path:
    session = f"{number:08x}-0000-4000-8000-000000000000"
    path = home / "claude" / "projects" / f"-p-{number % 5}" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"type": "user", "uuid": "u", "sessionId": session, "cwd": str(home)}
    path.write_text(json.dumps(line) + "\n")
    os.utime(path, (OLD, OLD))
    return path


def rollout(home: Path, number: int, parent: str = "") -> Path:
    session = f"{number:08x}-0000-7000-8000-000000000000"
    path = home / "codex/sessions/2026/11/02" / f"rollout-2026-11-02T10-00-00-{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = {"id": session, "timestamp": "2026-11-02T10:00:00Z", "cwd": str(home)}
    if parent:
        payload |= {"parent_thread_id": parent}
    path.write_text(json.dumps({"type": "session_meta", "payload": payload}) + "\n")
    os.utime(path, (OLD, OLD))
    return path


@linux
def test_17_1_old_sessions_are_not_listed_again_and_a_change_is_found(home, monkeypatch):
    paths = [transcript(home, number) for number in range(100)]
    paths += [rollout(home, number) for number in range(100)]
    watcher = SessionWatcher()
    assert watcher.candidates() == [] and watcher.is_complete
    monkeypatch.setattr(os, "scandir", lambda *args: pytest.fail("folders were listed again"))
    assert watcher.candidates() == [] and watcher.changed == set()
    for path, agent in ((paths[7], "claude"), (paths[107], "codex")):
        with path.open("a") as file:
            file.write("{}\n")
        assert watcher.has_changes()
        assert path in {each.path for each in watcher.candidates()}
        assert watcher.changed == {agent}
    watcher.close()


@linux
def test_17_1_a_folder_that_appears_is_watched(home):
    watcher = SessionWatcher()
    assert watcher.candidates() == []
    new = transcript(home, 1)
    os.utime(new)
    assert [each.path for each in watcher.candidates()] == [new]
    other = transcript(home, 2)
    os.utime(other)
    assert {each.path for each in watcher.candidates()} == {new, other}
    watcher.close()


def test_17_1_without_inotify_all_are_listed(home):
    watcher = SessionWatcher(poll=True)
    assert watcher.candidates() == [] and not watcher.is_complete and watcher.fileno() == -1
    new = transcript(home, 1)
    os.utime(new)
    watcher._next_listing = 0.0
    assert [each.path for each in watcher.candidates()] == [new]


def test_17_3_a_days_rollouts_are_listed_once_for_all_sessions_of_codex(home, monkeypatch):
    paths = [rollout(home, number) for number in range(20)]
    child = rollout(home, 100, parent=f"{3:08x}-0000-7000-8000-000000000000")
    os.utime(child.parent, (OLD, OLD))
    codex = agent_named("codex")
    every = sorted(codex.sessions(), key=lambda session: session.path)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
    monkeypatch.setattr(codex_sessions, "_children", FolderCache(codex_sessions._find_children))
    files = [codex.files(session) for session in every]
    assert files == [[path, child] if at == 3 else [path] for at, path in enumerate(paths)]
    assert listed.count(str(child.parent)) == 1
