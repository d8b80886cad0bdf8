"""Copilot CLI: what its lines come to, where its sessions lie, and which process runs one."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.agents.copilot import sessions as copilot_sessions
from agent_pipes.agents.copilot import translate as copilot_translate
from agent_pipes.agents.copilot.agent import AGENT as COPILOT
from agent_pipes.core.jsonl import objects
from agent_pipes.process.table import Identity, command_line, identify
from tests.helpers.support import FIXTURES, SHARED, shared_files, until
from tests.helpers.translating import check, ended, lines_of, of, translated

ID = "0b6e2f5a-5d0e-4a57-9f43-1c2d3e4f5a6b"
LOG = FIXTURES / "copilot" / ID / "events.jsonl"
OLD = FIXTURES / "copilot" / "old.jsonl"
PIPE = FIXTURES / "copilot" / "stream.jsonl"
FILES = [LOG, OLD, PIPE]

RECORDED = [
    *shared_files(
        "sessions/copilot-cli/*.jsonl",
        "sessions/driven/copilot/*.jsonl",
        "sessions/schema/copilot/**/*.jsonl",
    )
]
recorded = pytest.mark.skipif(not RECORDED, reason=f"no recorded Copilot sessions in {SHARED}")


def read(path: Path, lines: list[bytes] | None = None, **options: Any) -> list[dict]:
    return translated("copilot", path, lines=lines, **options)


def test_the_session_begins_and_ends():
    events = read(LOG)
    assert events[0] == {
        "event_type": "session_start", "timestamp": 1795338001.0, "event_id": "e001", "session_id": ID,
        "data": {"agent": "copilot", "cwd": "/home/dev/shop", "model": "claude-sonnet-4.5", "path": str(LOG)},
    }  # fmt: skip
    assert (events[-1]["event_type"], events[-1]["data"]) == ("session_end", {"reason": "routine"})
    assert {event["session_id"] for event in events} == {ID}


def test_only_a_persons_prompts_are_prompts():
    prompts = [event["data"] for event in of(read(LOG), "user_prompt")]
    assert [(each["prompt"], each["origin"]) for each in prompts] == [
        ("make the tests pass", "person"),
        ("…", "notification"),
    ]


def test_parallel_calls_share_the_response_that_made_them():
    events = read(LOG)
    calls = {event["event_id"]: event["data"] for event in of(events, "tool_call")}
    assert [calls[call]["step"] for call in ("c1", "c2", "c3", "c4")] == [
        "api-1",
        "api-1",
        "api-1",
        "api-2",
    ]
    assert {"api-1", "api-2"} <= {
        event["data"]["response_id"] for event in of(events, "llm_response")
    }
    assert calls["c1"] == {
        "tool_name": "view",
        "arguments": {"path": "shop/cart.py"},
        "step": "api-1",
    }


def test_a_hook_repeats_a_call_and_is_none():
    assert (
        Counter(event["event_id"] for event in of(read(LOG), "tool_call")).most_common(1)[0][1] == 1
    )


def test_a_failed_command_is_a_success_with_an_exit_code():
    event = ended(read(LOG), "c2")
    assert event["event_type"] == "error"
    assert (event["data"]["reason"], event["data"]["exit_code"], event["data"]["error"]) == (
        "exit",
        1,
        "1 failed in 0.31s",
    )
    assert event["duration_ms"] == pytest.approx(730)
    passed = ended(read(LOG), "c3")
    assert (passed["event_type"], passed["data"]["exit_code"]) == ("tool_result", 0)


def test_the_same_result_in_another_shell_is_the_same():
    events = read(LOG)
    assert (
        ended(events, "c2")["data"]["result_digest"] == ended(events, "c4")["data"]["result_digest"]
    )


def test_a_command_that_outlives_its_call_fails_when_it_ends():
    events = read(LOG)
    event = ended(events, "c5")
    assert event["event_type"] == "error"
    assert (event["data"]["tool_name"], event["data"]["exit_code"], event["data"]["error"]) == (
        "bash",
        2,
        "3 failed in 61.20s",
    )
    # The client itself read how it ended: a call, as any other, and no failure of its own.
    assert ended(events, "1b4a388c-ce1d-4cf1-a5cf-339fe5dc641c")["event_type"] == "tool_result"


def test_a_command_that_never_ends_is_answered_as_the_client_did():
    lines = [
        line
        for line in lines_of(LOG)
        if b'"shellId":"slow"' not in line and b"shellId: slow completed" not in line
    ]
    event = ended(read(LOG, lines), "c5")
    assert (event["event_type"], event["data"]["result"][:26]) == (
        "tool_result",
        "<command with shellId: slo",
    )


def test_a_command_that_its_agent_stops_has_not_failed():
    stop = [
        {
            "type": "tool.execution_start",
            "data": {"toolCallId": "k1", "toolName": "stop_bash", "arguments": {"shellId": "slow"}},
        },
        {
            "type": "tool.execution_complete",
            "data": {
                "toolCallId": "k1",
                "success": True,
                "result": {"content": "<command with shellId: slow stopped>"},
            },
        },
    ]
    lines = [
        line
        for line in lines_of(LOG)
        if b'"shellId":"slow"' not in line and b"shellId: slow completed" not in line
    ]
    at = next(number for number, line in enumerate(lines) if b"is still running after" in line) + 1
    stopped = [
        json.dumps(
            {**each, "id": f"k{n}", "timestamp": "2026-11-22T09:01:00Z", "parentId": None}
        ).encode()
        for n, each in enumerate(stop)
    ]
    assert ended(read(LOG, lines[:at] + stopped), "c5")["data"]["reason"] == "interrupted"


@pytest.mark.parametrize(
    ("call", "reason"), [("c6", "tool"), ("c7", "tool"), ("c8", "rejected"), ("c10", "interrupted")]
)
def test_why_a_call_failed(call, reason):
    event = ended(read(LOG), call)
    assert (event["event_type"], event["data"]["reason"]) == ("error", reason)
    assert "exit_code" not in event["data"]


def test_a_persons_own_command_is_no_call():
    assert not [event for event in read(LOG) if "u1" in (event["event_id"], event.get("parent_id"))]


def test_a_subagents_events_bear_its_id():
    events = [event for event in read(LOG) if event["data"].get("agent_id") == "agent-1"]
    assert [event["event_type"] for event in events] == [
        "subagent_start",
        "llm_response",
        "tool_call",
        "tool_result",
        "subagent_stop",
    ]


def test_usage_in_the_words_of_opentelemetry():
    first = of(read(LOG), "llm_response")[0]["data"]
    assert first == {
        "model": "claude-sonnet-4.5", "response_id": "api-1",
        "usage": {
            "input_tokens": 12000, "output_tokens": 150, "cache_read_input_tokens": 9000, "cache_creation_input_tokens": 500,
            "reasoning_output_tokens": 50,
        },
    }  # fmt: skip


def test_totals_at_the_end_count_only_where_nothing_else_does():
    assert len(of(read(LOG), "llm_response")) == 5
    old = of(read(OLD), "llm_response")
    assert [event["data"]["usage"]["input_tokens"] for event in old] == [1000, 1500]
    assert len({event["data"]["response_id"] for event in old}) == 2


def test_an_id_that_comes_again_is_another_response():
    def record(sequence):
        usage = {
            "model": "llama",
            "inputTokens": 1,
            "outputTokens": 1,
            "apiCallId": "chatcmpl-1",
            "accounting": {"sequence": sequence},
        }
        return {
            "type": "session.usage_record",
            "data": {"usage": usage},
            "id": f"r{sequence}",
            "timestamp": "2026-11-22T09:00:00Z",
            "parentId": None,
        }

    translator = copilot_translate.Translator()
    said = [
        event
        for sequence in (1, 1, 2)
        for event in translator.translate(record(sequence), 0.0, str(LOG))
    ]
    assert [event["data"]["response_id"] for event in said] == [
        "chatcmpl-1",
        "chatcmpl-1",
        "chatcmpl-1#2",
    ]


def test_an_old_log():
    events = read(OLD)
    calls = {event["event_id"]: event["data"] for event in of(events, "tool_call")}
    assert calls["o1"]["arguments"] == {"command": "wc -l missing.txt"}
    assert calls["o2"]["arguments"] == {"input": "*** Begin Patch\n*** End Patch"}
    assert (ended(events, "o1")["data"]["reason"], ended(events, "o1")["data"]["exit_code"]) == (
        "exit",
        1,
    )
    assert [event["data"]["cwd"] for event in of(events, "session_start")] == [
        "/home/dev/shop",
        "/home/dev/other",
    ]
    assert [event["data"]["prompt"] for event in of(events, "user_prompt")] == [
        "count the lines",
        "once more",
    ]


def test_on_a_pipe():
    events = read(PIPE)
    assert [event["event_type"] for event in events] == [
        "session_start", "user_prompt", "error", "tool_call", "error", "assistant_response", "session_end",
    ]  # fmt: skip
    assert events[0]["data"]["cannot_tell"] == ["usage"]
    assert events[2]["data"] | {"result_digest": ""} == {
        "error": "transport",
        "result_bytes": 9,
        "result_digest": "",
        "reason": "api",
        "status": 503,
    }
    assert events[-1]["data"] == {"reason": "result", "exit_code": 0, "conversation_id": ID}
    assert {event["session_id"] for event in events} == {"e001"}


def test_a_long_result_is_cut_and_its_digest_is_of_the_whole():
    whole, cut = ended(read(LOG), "c1")["data"], ended(read(LOG, max_result=5), "c1")["data"]
    assert cut["result"] == "1. de"
    assert (cut["result_bytes"], cut["result_digest"]) == (
        whole["result_bytes"],
        whole["result_digest"],
    )


def test_a_second_object_on_a_line_matters():
    assert COPILOT.may_matter(b'{"type":"hook.end","data":{}}{"type":"abort","data":{}}\n')
    assert not COPILOT.may_matter(b'{"type":"hook.end","data":{}}\n')


# Recorded sessions: counts taken from the raw lines equal those of the translator's events.


@recorded
@pytest.mark.parametrize(
    "path", RECORDED, ids=lambda path: str(path.relative_to(SHARED / "sessions"))
)
def test_nothing_of_a_recorded_session_is_lost(path):
    records = [record for line in lines_of(path) for record in objects(line)]
    began: Counter = Counter()
    calls = failures = 0
    used: dict = {}
    totals: Counter = Counter()
    for record in records:
        kind, data = record["type"], record.get("data", {})
        if kind == "tool.execution_start":
            calls += 1
            began[data["toolCallId"]] += 1
        elif kind == "tool.execution_complete":
            if not began[data["toolCallId"]]:
                calls += 1
            began[data["toolCallId"]] = 0
            text = (data.get("result") or {}).get("content") or ""
            code = data.get("shellExecution", {}).get("exitCode") or int(
                (re.findall(r"exit code (\d+)>\s*$", text) or [0])[-1]
            )
            failures += data["success"] is False or code != 0
        elif kind == "session.usage_record":
            used[data["usage"]["apiCallId"]] = data["usage"]
        elif kind == "session.shutdown":
            for model in data["modelMetrics"].values():
                totals.update(
                    {
                        key: model.get("usage", {}).get(key, 0)
                        for key in ("inputTokens", "outputTokens", "cacheReadTokens")
                    }
                )
    if used:
        totals = Counter()
        for usage in used.values():
            totals.update(
                {key: usage[key] for key in ("inputTokens", "outputTokens", "cacheReadTokens")}
            )
    events = read(path)
    assert len(of(events, "tool_call")) == calls
    assert (
        len([event for event in of(events, "error") if event["data"]["reason"] in ("exit", "tool")])
        == failures
    )
    said = {
        event["data"]["response_id"]: event["data"]["usage"] for event in of(events, "llm_response")
    }
    assert sum(usage["input_tokens"] for usage in said.values()) == totals["inputTokens"]
    assert sum(usage["output_tokens"] for usage in said.values()) == totals["outputTokens"]
    assert (
        sum(usage["cache_read_input_tokens"] for usage in said.values())
        == totals["cacheReadTokens"]
    )
    assert read(path, matters=False) == events
    check(events)


# Where sessions lie.


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COPILOT_HOME", str(tmp_path))
    return tmp_path / "session-state"


def session_in(home: Path, name: str, cwd: str = "/home/dev/shop", workspace: str = "") -> Path:
    folder = home / name
    folder.mkdir(parents=True)
    start = json.loads(lines_of(LOG)[0])
    start["data"] |= {"sessionId": name, "context": {"cwd": cwd}}
    (folder / "events.jsonl").write_text(json.dumps(start) + "\n")
    if workspace:
        (folder / "workspace.yaml").write_text(f"id: {name}\ncwd: {workspace}\nbranch: main\n")
    return folder / "events.jsonl"


def test_sessions_are_found(home):
    log = session_in(home, "one")
    session_in(home, "two", cwd="/home/dev/before", workspace="/home/dev/it's here")
    session_in(home, "three", workspace="'/home/dev/it''s quoted: '")
    (home / "flat.jsonl").write_bytes(OLD.read_bytes())
    (home / "empty").mkdir()
    (home / ".session-operation-locks").mkdir()
    found = {session.id: session for session in COPILOT.sessions()}
    assert found["one"] == Session(
        "copilot", "one", "/home/dev/shop", log, 1795338001.0, log.stat().st_mtime
    )
    assert {name: session.cwd for name, session in found.items()} == {
        "one": "/home/dev/shop", "two": "/home/dev/it's here", "three": "/home/dev/it's quoted: ", "flat": "/home/dev/shop",
    }  # fmt: skip
    assert COPILOT.files(found["one"]) == [log]


def test_no_copilot_no_sessions(home):
    assert list(COPILOT.sessions()) == []


def test_the_home_directory_is_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("COPILOT_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    session_in(tmp_path / ".copilot" / "session-state", "one")
    assert [session.id for session in COPILOT.sessions()] == ["one"]


# Which process runs one.


@pytest.fixture
def stand_in():
    """Starts processes that look like Copilot (or like something else) and wait."""
    started = []

    def begin(name: str) -> Identity:
        process = subprocess.Popen(
            [name, "-c", "read -r _"], executable=shutil.which("bash"), stdin=subprocess.PIPE
        )
        started.append(process)
        until(lambda: command_line(process.pid)[:1] == [name], what="the stand-in")
        return identify(process.pid)

    yield begin
    for process in started:
        process.communicate()


def lock(log: Path, pid: int, age: float = 0.0) -> None:
    path = log.parent / f"inuse.{pid}.lock"
    path.write_text(f"{pid}\n")
    if age:
        os.utime(path, (path.stat().st_mtime - age,) * 2)


def the(home: Path, name: str) -> Session:
    return next(session for session in COPILOT.sessions() if session.id == name)


def test_the_process_whose_lock_it_is(home, stand_in):
    log = session_in(home, "one")
    assert COPILOT.process(the(home, "one")) is None
    identity = stand_in("/usr/lib/copilot")
    lock(log, identity.pid)
    assert COPILOT.process(the(home, "one")) == identity


def test_a_lock_that_was_left_behind_is_none(home, stand_in):
    log = session_in(home, "one")
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    lock(log, int(ended.stdout))
    identity = stand_in("/usr/lib/copilot")
    # Its number was another process's when the lock was made.
    lock(log, identity.pid, age=60)
    (log.parent / "inuse.x.lock").write_text("x")
    (log.parent / "inuse.99999999999999999999.lock").write_text("x")
    assert COPILOT.process(the(home, "one")) is None


def test_another_program_is_none(home, stand_in):
    log = session_in(home, "one")
    lock(log, stand_in("/usr/bin/vim").pid)
    assert COPILOT.process(the(home, "one")) is None


def test_two_that_fit_are_none(home, stand_in):
    log = session_in(home, "one")
    for _ in range(2):
        lock(log, stand_in("/usr/lib/copilot").pid)
    assert COPILOT.process(the(home, "one")) is None


def test_the_one_of_several_locks_that_fits(home, stand_in):
    log = session_in(home, "one")
    lock(log, 1)
    lock(log, os.getpid())
    identity = stand_in("copilot")
    lock(log, identity.pid)
    assert COPILOT.process(the(home, "one")) == identity


def test_a_new_session_in_the_same_process(home, stand_in):
    identity = stand_in("copilot")
    old = session_in(home, "old")
    lock(old, identity.pid)
    assert COPILOT.successor(the(home, "old")) is None
    os.utime(old, (old.stat().st_mtime - 5,) * 2)
    lock(old, identity.pid, age=1)
    new = session_in(home, "new")
    lock(new, identity.pid)
    assert (
        COPILOT.process(the(home, "old")),
        COPILOT.process(the(home, "new")),
    ) == (
        None,
        identity,
    )
    assert COPILOT.successor(the(home, "old")) == the(home, "new")
    assert COPILOT.successor(the(home, "new")) is None
    # A session that is still written has not been left.
    os.utime(old, (new.stat().st_mtime + 5,) * 2)
    assert COPILOT.successor(the(home, "old")) is None


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["/opt/node_modules/@github/copilot-linux-x64/copilot", "-p", "fix"], True),
        (["copilot"], True),
        (["node", "/opt/copilot/index.js"], True),
        (["node", "server.js", "--name", "x", "copilot"], False),
        (["vim", "copilot.md"], False),
        ([], False),
    ],
)
def test_what_copilot_is_by_its_command_line(words, is_one):
    assert copilot_sessions.is_copilot(words) is is_one
