"""A search for live sessions among a thousand scans the machine once."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from agent_pipes.agents import ttl_cache
from agent_pipes.agents.claude import registry as claude_registry
from agent_pipes.agents.claude import sessions as claude_sessions
from agent_pipes.agents.codex import sessions as codex_sessions
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.agents.store import sessions as store_sessions
from agent_pipes.agents.ttl_cache import Look
from agent_pipes.process.open_files import open_files
from agent_pipes.process.table import identify
from agent_pipes.sessions import discovery

OLD = time.time() - 3 * 86_400
MANY = 60


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nobody's sessions but those made here, and a look that holds for as long as a test takes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setattr(ttl_cache, "MOMENT", 60.0)
    monkeypatch.setattr(claude_sessions, "_worked_in", Look(claude_sessions._directories))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(path: Path, record: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record) + "\n")
    os.utime(path, (OLD, OLD))
    return path


def names() -> list[str]:
    return [str(uuid.UUID(int=number + (1 << 100))) for number in range(MANY)]


def transcripts(home: Path) -> None:
    for name in names():
        line = {
            "type": "user",
            "uuid": "u",
            "timestamp": "2026-11-01T10:00:00Z",
            "sessionId": name,
            "cwd": str(home),
            "message": {"content": "x"},
        }
        made(home / "claude" / "projects" / "-x" / f"{name}.jsonl", line)


def rollouts(home: Path) -> list[Path]:
    lines = (
        {
            "type": "session_meta",
            "payload": {"id": name, "timestamp": "2026-11-01T10:00:00Z", "cwd": str(home)},
        }
        for name in names()
    )
    return [
        made(
            home
            / "codex"
            / "sessions"
            / f"rollout-2026-11-01T10-00-00-{line['payload']['id']}.jsonl",
            line,
        )
        for line in lines
    ]


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[tuple]:
    """The calls of a function from now on."""
    real, calls = getattr(module, name), []
    monkeypatch.setattr(
        module, name, lambda *args, **more: calls.append(args) or real(*args, **more)
    )
    return calls


def live(agent: str) -> list[str]:
    return [each.id for each in agent_named(agent).sessions() if discovery.is_live(each)]


def test_codexs_files_are_looked_for_among_the_open_ones_once(home, monkeypatch):
    paths = rollouts(home)
    looks, asked = [], counted(monkeypatch, codex_sessions, "holders")
    monkeypatch.setattr(codex_sessions, "_open", Look(lambda: looks.append(1) or open_files()))
    assert live("codex") == [] and (len(looks), len(asked)) == (1, 0)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; held = open(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()",
            paths[3],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    writer.stdout.readline()
    monkeypatch.setattr(codex_sessions, "_open", Look(open_files))
    assert live("codex") == [names()[3]] and {args[0] for args in asked} == {paths[3]}
    writer.communicate()


def test_a_rollout_that_changed_lately_is_asked_about_by_itself(home, monkeypatch):
    """Such a number is likely to be opened between two looks."""
    path = rollouts(home)[5]
    os.utime(path)
    assert live("codex") == []
    with path.open("a"):
        assert live("codex") == [names()[5]]


def test_where_one_look_does_not_tell_old_rollouts_are_not_asked_about(home, monkeypatch):
    path = rollouts(home)[5]
    os.utime(path, (time.time() - 600, time.time() - 600))
    monkeypatch.setattr(codex_sessions, "_open", Look(lambda: None))
    asked = counted(monkeypatch, codex_sessions, "holders")
    assert live("codex") == [] and {args[0] for args in asked} == {path}


def test_claudes_registry_is_read_once_and_its_processes_are_believed_only_while_they_run(
    home, monkeypatch
):
    transcripts(home)
    claude = agent_named("claude")
    assert len(list(claude.maybe_live_sessions(0.0))) == MANY
    (home / "claude" / "sessions").mkdir()
    assert list(claude.maybe_live_sessions(0.0)) == []
    sleeper = subprocess.Popen(["sleep", "60"])
    entry = home / "claude" / "sessions" / f"{sleeper.pid}.json"
    entry.write_text(
        json.dumps(
            {
                "pid": sleeper.pid,
                "sessionId": names()[7],
                "cwd": str(home),
                "procStart": identify(sleeper.pid).started,
            }
        )
    )
    monkeypatch.setattr(claude_registry, "is_claude", lambda *_: True)
    read = counted(monkeypatch, claude_registry, "_believed")
    assert live("claude") == [names()[7]] and len(read) == 1
    (only,) = claude.maybe_live_sessions(0.0)
    assert only.path == home / "claude" / "projects" / "-x" / f"{names()[7]}.jsonl"
    entry.write_text(entry.read_text().replace(names()[7], names()[8]))
    assert live("claude") == [names()[8]] and len(read) == 2
    sleeper.kill()
    sleeper.wait()
    assert live("claude") == [] and len(read) == 2


def test_without_a_registry_the_processes_are_looked_at_once(home, monkeypatch):
    transcripts(home)
    looks = counted(monkeypatch, claude_sessions, "all_processes")
    assert live("claude") == [] and len(looks) == 1


def test_an_id_reads_the_head_of_no_other_transcript(home, monkeypatch):
    transcripts(home)
    heads = counted(monkeypatch, claude_sessions, "_read_head")
    assert [each.id for each in discovery.sessions_named(names()[-1])] == names()[-1:]
    assert len(heads) == 1


def test_a_store_is_listed_once_while_nothing_changes_in_it(home, monkeypatch):
    for name in names():
        event = {
            "event_type": "session_start",
            "timestamp": OLD,
            "event_id": "abcdefabcdef",
            "session_id": name[:16],
            "data": {"cwd": str(home)},
        }
        made(
            made(home / ".agent-traces" / name / "events.ndjson", event).with_name("meta.json"),
            {"started_at": OLD},
        )
    (home / ".agent-traces" / ".active-session").write_text(names()[4])
    os.utime(home / ".agent-traces", (OLD, OLD))
    listed, opened = (
        counted(monkeypatch, store_sessions, "_names"),
        counted(monkeypatch, store_sessions, "_start"),
    )
    assert live("store") == [names()[4]]
    # Twice: for its sessions, and for what marks them.
    assert len(listed) <= 3 and len(opened) <= 2 * MANY
    opened.clear()
    assert len(list(store_sessions.sessions())) == MANY and opened == [], (
        "where a session began is not read again"
    )


def test_a_look_holds_for_its_moment_and_longer_where_it_takes_long(monkeypatch):
    monkeypatch.undo()
    clock, looks = [100.0], []
    monkeypatch.setattr(ttl_cache.time, "monotonic", lambda: clock[0])
    look = Look(lambda: clock.__setitem__(0, clock[0] + 0.2) or looks.append(1) or len(looks))
    assert look("a") == 1 and look("a") == 1
    clock[0] += 1.9
    assert look("a") == 1 and look("b") == 2 and look("b") == 2
    clock[0] += 2.1
    assert look("b") == 3
