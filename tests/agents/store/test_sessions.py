"""The `.agent-traces` store is passed on as it is; its PIDs need Claude Code's registry."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.agents.base import Session
from agent_pipes.agents.claude.agent import AGENT as CLAUDE
from agent_pipes.agents.native.agent import AGENT as NATIVE
from agent_pipes.agents.store import sessions as store_sessions
from agent_pipes.agents.store.agent import AGENT as STORE_AGENT
from agent_pipes.core.event import OURS, Event
from agent_pipes.core.jsonl import objects
from agent_pipes.process.table import Identity, identify
from tests.helpers.support import FIXTURES, SHARED, shared_files

PROJECT = FIXTURES / "store" / "proj"
STORE = PROJECT / ".agent-traces"
HOOKED, DECORATED, CURSOR = "7d0b6c1e-3f52-4a", "006b88bf768d4bad", "cur-11111111-222"
FULL = "7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03"
OWN = sorted(FIXTURES.glob("store/**/events.ndjson"))
REAL = list(shared_files("sessions/agent-strace/**/events.ndjson"))


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AGENT_TRACE_DIR", "AGENT_STRACE_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(PROJECT)


def found() -> dict[str, Session]:
    return {session.id: session for session in store_sessions.sessions()}


def test_sessions_of_the_store_here_and_of_its_workspaces() -> None:
    sessions = found()
    assert sessions.keys() == {HOOKED, DECORATED, CURSOR}
    assert sessions[HOOKED] == Session(
        "store",
        HOOKED,
        "/home/dev/proj",
        STORE / HOOKED / "events.ndjson",
        1795165200.3,
        sessions[HOOKED].path.stat().st_mtime,
    )
    assert STORE_AGENT.files(sessions[HOOKED]) == [sessions[HOOKED].path]


def test_session_without_a_directory_works_where_its_store_lies() -> None:
    assert {session.cwd for name, session in found().items() if name != HOOKED} == {str(PROJECT)}


def test_store_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert found() == {}
    monkeypatch.setenv("AGENT_TRACE_DIR", str(STORE))
    assert found().keys() == {HOOKED, DECORATED, CURSOR}
    monkeypatch.setenv("AGENT_STRACE_WORKSPACE", "team-a")
    assert found().keys() == {CURSOR}
    monkeypatch.setenv("AGENT_STRACE_WORKSPACE", "team-b")
    assert found() == {}


def test_active_session_is_the_one_that_is_marked_and_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name for name, session in found().items() if STORE_AGENT.is_active(session)} == {
        DECORATED,
        CURSOR,
    }
    monkeypatch.setenv("AGENT_TRACE_DIR", str(tmp_path))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "events.ndjson").write_text("")
    (tmp_path / ".active-session").write_text("one\n")
    assert STORE_AGENT.is_active(found()["one"])
    (tmp_path / "one" / "meta.json").write_text('{"session_id": "one", "ended_at": 1795165221.0}')
    assert not STORE_AGENT.is_active(found()["one"])


@pytest.mark.parametrize("meta", ["", "{", "[]", '{"started_at": "soon"}', '{"started_at": null}'])
def test_broken_notes_beside_a_session_raise_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meta: str
) -> None:
    monkeypatch.setenv("AGENT_TRACE_DIR", str(tmp_path))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "events.ndjson").write_bytes(
        b'{"event_type":"session_start","data":[]}\nnot json\n\xff\n'
    )
    (tmp_path / "one" / "meta.json").write_text(meta)
    os.mkfifo(tmp_path / ".active-session")
    session = found()["one"]
    assert (session.started, session.cwd) == (0.0, "")
    assert not STORE_AGENT.is_active(session)
    assert store_sessions.process(session) is None


@pytest.mark.parametrize("path", OWN + REAL, ids=lambda path: "/".join(path.parts[-3:]))
def test_events_pass_as_they_are(path: Path) -> None:
    translator = STORE_AGENT.translator()
    lines = path.read_bytes().splitlines()
    raw = [json.loads(line) for line in lines]
    told = [
        fields
        for line in lines
        for record in objects(line)
        for fields in translator.translate(record, 0.0, str(path))
    ]
    assert [*told, *translator.end()] == raw
    assert STORE_AGENT.is_native
    assert all(STORE_AGENT.recognises(record) for record in raw)
    assert translator.session == raw[0]["session_id"] == path.parent.name
    calls = Counter(Event(line, record).type for line, record in zip(lines, raw, strict=True))
    assert calls["tool_call"] == sum(b'"event_type":"tool_call"' in line for line in lines)


@pytest.mark.skipif(not REAL, reason=f"no recorded store in {SHARED}")
def test_recorded_stores_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SHARED / "sessions" / "agent-strace" / "proj")
    assert found().keys() == {
        "3f6e2c1a-9b7d-4e",
        "cur-11111111-222",
        "nostart-aaaa-bbb",
        "ws-aaaa-bbbb-ccc",
    }
    monkeypatch.setenv(
        "AGENT_TRACE_DIR", str(SHARED / "sessions" / "agent-strace" / "env-dir-store")
    )
    assert found()["env-dir-aaaa-bbb"].cwd == "/home/dev/proj"


def test_events_of_other_producers_are_native() -> None:
    event = {"event_type": "tool_call", "timestamp": 1795165200, "session_id": "s"}
    assert NATIVE.recognises(event)
    assert not STORE_AGENT.recognises(event)
    assert not NATIVE.recognises({"event_type": "tool_call", "timestamp": "now"})
    assert not NATIVE.recognises({"event_type": None, "timestamp": True})
    translator = NATIVE.translator()
    assert list(translator.translate(event, 0.0)) == [event]
    assert translator.session == "s"
    assert list(NATIVE.sessions()) == []
    path = Path("x.ndjson")
    session = Session("native", "s", "", path, 0.0, 0.0)
    assert (NATIVE.files(session), NATIVE.process(session)) == ([path], None)


def test_what_only_our_own_commands_say_is_not_the_stores() -> None:
    for kind in OURS:
        assert not STORE_AGENT.recognises(
            {"event_type": kind, "timestamp": 1.0, "event_id": "0123456789ab", "session_id": "s"}
        )


def test_no_agents_line_is_an_event() -> None:
    for path in shared_files(
        "sessions/claude-code/*.jsonl", "sessions/driven/**/*.jsonl", "sessions/schema/**/*.jsonl"
    ):
        for line in path.read_bytes().splitlines()[:20]:
            assert not any(
                NATIVE.recognises(record) or STORE_AGENT.recognises(record)
                for record in objects(line)
            ), path
    assert not any(
        CLAUDE.recognises(record)
        for path in OWN
        for line in path.read_bytes().splitlines()
        for record in objects(line)
    )


@given(
    st.dictionaries(
        st.sampled_from(["event_type", "timestamp", "event_id", "session_id", "data"]),
        st.none() | st.integers() | st.text() | st.lists(st.none()),
    )
)
def test_wrong_types_raise_nothing(record: dict) -> None:
    assert STORE_AGENT.recognises(record) <= NATIVE.recognises(record)
    assert list(STORE_AGENT.translator().translate(record, 0.0)) == [record]


# Which process


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Identity]:
    """A stand-in for Claude Code that works in `tmp_path` and is registered for the session."""
    script = tmp_path / "claude"
    script.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-S", str(script)], cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    identity = identify(process.pid)
    assert identity
    entry = {
        "pid": identity.pid,
        "procStart": identity.started,
        "sessionId": FULL,
        "cwd": str(tmp_path),
        "startedAt": 1795165200000,
    }
    registry = tmp_path / "config" / "sessions" / f"{identity.pid}.json"
    registry.parent.mkdir(parents=True)
    registry.write_text(json.dumps(entry))
    yield identity
    process.kill()
    process.wait()


def stored(tmp_path: Path, name: str, **start: object) -> Session:
    path = tmp_path / "store" / name / "events.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "provider": "claude",
        "cwd": str(tmp_path),
        "transcript_path": f"/h/.claude/projects/-p/{FULL}.jsonl",
    } | start
    path.write_text(
        json.dumps(
            {
                "event_type": "session_start",
                "timestamp": 1795165200.0,
                "event_id": "0" * 12,
                "session_id": name,
                "data": data,
            }
        )
        + "\n"
    )
    (path.parent / "meta.json").write_text(
        json.dumps({"session_id": name, "attribution": {"pid": os.getpid(), "ppid": os.getppid()}})
    )
    return Session("store", name, str(tmp_path), path, 0.0, 0.0)


def test_process_is_that_of_the_sessions_transcript(tmp_path: Path, agent: Identity) -> None:
    assert store_sessions.process(stored(tmp_path, FULL[:16])) == agent


def test_process_that_the_store_notes_is_never_trusted(tmp_path: Path) -> None:
    assert store_sessions.process(stored(tmp_path, FULL[:16])) is None, (
        "attribution names a process that lives, and it is not taken"
    )


def test_transcript_of_another_session_names_no_process(tmp_path: Path, agent: Identity) -> None:
    assert store_sessions.process(stored(tmp_path, "00000000-0000-40")) is None


def test_other_agents_sessions_name_no_process(tmp_path: Path, agent: Identity) -> None:
    assert store_sessions.process(stored(tmp_path, FULL[:16], provider="cursor")) is None
    assert store_sessions.process(stored(tmp_path, FULL[:16], transcript_path=None)) is None
