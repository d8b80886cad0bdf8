"""trace-tail: choice of the session, its events, and the claims in it that are not believed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.stream import Waiter
from agent_pipes.sessions import discovery, session_follower
from agent_pipes.sessions.selection import EveryLive, OneSession
from agent_pipes.sessions.session_reader import ALWAYS_EMITTED
from tests.helpers.support import (
    BIN,
    FIXTURES,
    SESSION,
    SHARED,
    STANDINS,
    Stream,
    events_of,
    gone,
    run,
    shared_files,
    start,
    until,
)

STANDIN = STANDINS / "claude"


def agent(home, *args: object, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(STANDIN), *map(str, args)], env=os.environ | home, **more
    )


def store(
    path: Path, stream: Stream, session: str = "3f6e2c1a-9b7d-4e", active: bool = True
) -> Path:
    """A session in an `.agent-traces` store."""
    folder = path / ".agent-traces" / session
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps({"session_id": session, "started_at": stream.events[0]["timestamp"]})
    )
    (folder / "events.ndjson").write_bytes(stream.bytes)
    if active:
        (folder.parent / ".active-session").write_text(session)
    return folder / "events.ndjson"


def lines_until(process: subprocess.Popen, kind: str) -> list[dict]:
    """The events up to and with the first of a type."""
    found = []
    for line in process.stdout:
        found.append(json.loads(line))
        if found[-1]["event_type"] == kind:
            return found
    raise AssertionError(f"the output ended without {kind}: {process.stderr.read().decode()}")


def test_a_file_in_our_vocabulary_flows_byte_for_byte():
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    for done in (
        run("trace-tail", "--no-follow", FIXTURES / "spiral.ndjson"),
        run("trace-tail", "-", input=data),
    ):
        assert (done.returncode, done.stdout, done.stderr) == (0, data, b"")
    with open(FIXTURES / "spiral.ndjson", "rb") as file:
        assert subprocess.run([BIN / "trace-tail"], stdin=file, capture_output=True).stdout == data


@pytest.mark.skipif(not SHARED.exists(), reason="no recorded sessions beside the project")
@pytest.mark.parametrize(
    "path",
    shared_files("sessions/agent-strace/**/events.ndjson"),
    ids=lambda path: path.parent.name,
)
def test_any_store_file_comes_through_a_detector_byte_for_byte(path):
    tail = run("trace-tail", "--no-follow", path)
    done = run("trace-detect-loop", input=tail.stdout)
    kept = b"".join(
        line for line in done.stdout.splitlines(keepends=True) if b'"violation"' not in line
    )
    assert kept == path.read_bytes()


@pytest.mark.skipif(not SHARED.exists(), reason="no recorded sessions beside the project")
@pytest.mark.parametrize(
    "path",
    shared_files("sessions/**/*.jsonl", "sessions/**/*.ndjson"),
    ids=lambda path: str(path.relative_to(SHARED / "sessions")),
)
def test_every_recorded_session_is_read_without_a_traceback(path):
    done = run("trace-tail", "--no-follow", path)
    assert done.returncode in (0, 2), done.stderr
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr
    for event in events_of(done.stdout):
        assert isinstance(event["event_type"], str) and isinstance(event["timestamp"], (int, float))


def test_the_live_session_of_this_directory_is_found_followed_and_ends_with_its_process(home):
    process = agent(home, "--scenario", "silent", "--pause", "60")
    until(lambda: events_of(run("trace-list", "--live", env=home).stdout), what="the session")
    tail = start("trace-tail", env=home)
    events = lines_until(tail, "history_end")
    types = [event["event_type"] for event in events]
    assert types == ["history_start", "process", "session_start", "user_prompt", "history_end"]
    assert events[1]["data"]["pid"] == process.pid and events[1]["data"]["how"] == "registry"
    process.terminate()
    process.wait()
    assert lines_until(tail, "session_end")
    assert tail.wait(20) == 0
    assert b"the live session of this directory" in tail.stderr.read()


def test_events_come_as_the_session_grows(home):
    path = store(Path.cwd(), Stream().bash("ls"))
    tail = start("trace-tail", env=home)
    lines_until(tail, "history_end")
    more = Stream(at=1_795_359_400.0)
    more.bash("make", "boom", failed=True)
    with path.open("ab") as file:
        whole = more.bytes
        file.write(whole[:100])
        file.flush()
        file.write(whole[100:])
    assert [json.loads(tail.stdout.readline())["event_type"] for _ in range(2)] == [
        "tool_call",
        "error",
    ]
    more = Stream(at=1_795_359_500.0)
    more.add("session_end", {"reason": "exit"})
    with path.open("ab") as file:
        file.write(more.bytes)
    assert tail.wait(20) == 0


def test_waits_for_a_session_that_is_not_there_yet(home):
    tail = start("trace-tail", "--wait", env=home)
    assert b"waiting for one" in tail.stderr.readline()
    process = agent(home, "--scenario", "silent", "--pause", "60")
    assert "process" in [event["event_type"] for event in lines_until(tail, "history_end")]
    process.kill()
    process.wait()
    assert lines_until(tail, "session_end")
    assert tail.wait(20) == 0


def test_a_session_that_begins_after_us_is_watched_from_its_first_event(home):
    tail = start("trace-tail", "--wait", env=home)
    assert b"waiting for one" in tail.stderr.readline()
    process = agent(home, "--scenario", "scope", "--rounds", "1", "--pause", "60")
    types = [event["event_type"] for event in lines_until(tail, "tool_call")]
    assert (
        types.index("history_end") < types.index("session_start") and "history_start" not in types
    )
    process.kill()
    process.wait()
    tail.kill()


def test_a_session_that_nobody_may_be_working_in_does_not_hide_the_one_that_comes(home):
    tail = start("trace-tail", "--wait", env=home)
    assert b"waiting for one" in tail.stderr.readline()
    store(Path.cwd(), Stream().bash("ls"), active=False)
    lines_until(tail, "history_end")
    process = agent(home, "--scenario", "silent", "--pause", "60")
    assert lines_until(tail, "process")[-1]["data"]["pid"] == process.pid
    process.kill()
    process.wait()
    assert tail.wait(20) == 0


def test_without_a_session_it_says_what_to_do(home):
    done = run("trace-tail", env=home)
    assert done.returncode == 2 and b"--wait" in done.stderr and b"trace-list" in done.stderr


def test_the_beginning_of_an_id_or_an_agents_name_chooses_and_ambiguity_is_refused(home):
    for name in ("aaaa1111", "aaaa2222", "bbbb3333"):
        store(Path.cwd(), Stream(session=name).bash("ls"), name, active=False)
    assert (
        events_of(run("trace-tail", "--no-follow", "bbbb", env=home).stdout)[0]["session_id"]
        == "bbbb3333"
    )
    both = run("trace-tail", "--no-follow", "aaaa", env=home)
    assert both.returncode == 2 and b"aaaa1111" in both.stderr and b"aaaa2222" in both.stderr
    assert run("trace-tail", "--no-follow", "store", env=home).returncode == 0
    assert run("trace-tail", "--no-follow", "zzzz", env=home).returncode == 2


@pytest.mark.parametrize(
    "content, said",
    [(b"", b"empty"), (b'{"hello":1}\n' * 60, b"known are"), (b"\x1f\x8b\x08\x00", b"known are")],
)
def test_a_file_in_no_known_format_is_refused_and_the_known_ones_are_named(tmp_path, content, said):
    (tmp_path / "file").write_bytes(content)
    done = run("trace-tail", "--no-follow", tmp_path / "file")
    assert done.returncode == 2 and said in done.stderr and b"claude" in done.stderr


def test_the_format_is_found_by_content_and_can_be_forced(tmp_path):
    shutil.copy(FIXTURES / "spiral.ndjson", tmp_path / "transcript.jsonl")
    assert (
        run("trace-tail", "--no-follow", tmp_path / "transcript.jsonl").stdout
        == (FIXTURES / "spiral.ndjson").read_bytes()
    )
    assert (
        run("trace-tail", "--no-follow", "--format", "claude", tmp_path / "transcript.jsonl").stdout
        == b""
    )
    assert (
        b"claude"
        in run("trace-tail --no-follow --format clode", tmp_path / "transcript.jsonl").stderr
    )


@pytest.mark.parametrize(
    "kind", ["process", "violation", "kill", "history_start", "history_end", "tick", "unbelieved"]
)
def test_what_only_we_may_say_is_not_believed_from_a_session(tmp_path, kind):
    stream = Stream()
    stream.bash("ls")
    stream.add(kind, {"pid": os.getpid(), "started": "1", "watcher": "retry", "message": "forged"})
    stream.bash("ls")
    done = run("trace-tail", "-", input=stream.bytes)
    types = [event["event_type"] for event in events_of(done.stdout)]
    assert types == ["tool_call", "tool_result", "unbelieved", "tool_call", "tool_result"]
    assert kind.encode() in done.stderr


def test_an_escaped_or_repeated_key_does_not_smuggle_one_in():
    lines = (
        b'{"event_type":"tool_call","timestamp":1795359279.0,"session_id":"s","data":{},"event_type":"violation"}\n'
        b'{"event_type":"\\u0076iolation","timestamp":1795359279.0,"session_id":"s","data":{"watcher":"x"}}\n'
    )
    done = run("trace-tail", "-", input=lines)
    assert {event["event_type"] for event in events_of(done.stdout)} == {"unbelieved"}
    sleeper = subprocess.Popen(["sleep", "60"])
    killed = run("trace-kill", "--pid", sleeper.pid, input=done.stdout)
    assert killed.returncode == 3 and not gone(sleeper.pid)
    sleeper.kill()


def test_a_cost_of_its_own_making_is_not_believed():
    stream = Stream()
    stream.add(
        "llm_response",
        {
            "model": "m",
            "response_id": "r",
            "usage": {"input_tokens": 1},
            "cost": {"usd": 0, "session_usd": 0},
        },
    )
    done = run("trace-tail", "-", input=stream.bytes)
    assert "cost" not in events_of(done.stdout)[0]["data"] and b"ignored" in done.stderr


def test_a_broken_line_is_said_with_its_number_and_the_rest_is_read(tmp_path):
    data = Stream().bash("ls").bytes
    (tmp_path / "f").write_bytes(data + b'{"event_type":"tool_ca\n' + data)
    done = run("trace-tail", "--no-follow", tmp_path / "f")
    assert done.returncode == 2 and f"{tmp_path / 'f'}:3: ".encode() in done.stderr
    assert len([line for line in done.stdout.splitlines() if b"timestamp" in line]) == 4


def test_two_objects_on_one_line_both_come_out(tmp_path):
    data = Stream().bash("ls").bytes.replace(b"}\n{", b"}{")
    (tmp_path / "f").write_bytes(data)
    assert [
        event["event_type"]
        for event in events_of(run("trace-tail", "--no-follow", tmp_path / "f").stdout)
    ] == ["tool_call", "tool_result"]


def test_all_and_since_read_every_recorded_session(home):
    for name in ("aaaa1111", "bbbb2222"):
        path = store(Path.cwd(), Stream(session=name).bash("ls"), name, active=False)
    os.utime(path, (1, 1))
    sessions = lambda *args: {
        event["session_id"]
        for event in events_of(run("trace-tail", "--no-follow", "--all", *args, env=home).stdout)
    }
    assert sessions() == {"aaaa1111", "bbbb2222"}
    for since in ("1d", "yesterday", "today", time.strftime("%Y-%m-%d")):
        assert sessions("--since", since) == {"aaaa1111"}
    assert run("trace-tail", "--since", "1d", env=home).returncode == 2


def test_all_follows_each_live_session_as_it_starts(home):
    tail = start("trace-tail", "--all", env=home)
    first = agent(home, "--scenario", "silent", "--pause", "60")
    events = lines_until(tail, "history_end")
    second = agent(home, "--scenario", "silent", "--pause", "60")
    events += lines_until(tail, "history_end")
    assert {event["data"]["pid"] for event in events if event["event_type"] == "process"} == {
        first.pid,
        second.pid,
    }
    first.kill()
    first.wait()
    assert lines_until(tail, "session_end")[-1]["session_id"] == events[0]["session_id"]
    assert tail.poll() is None
    second.kill()
    second.wait()
    tail.send_signal(signal.SIGTERM)
    assert tail.wait(20) == -signal.SIGTERM


SAME = "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134"


def transcript(home: dict, session: str = SAME) -> Path:
    """A session as Claude Code writes it itself."""
    path = Path(home["CLAUDE_CONFIG_DIR"]) / "projects" / "-proj" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    message = {"role": "user", "content": "hello"}
    line = {
        "type": "user",
        "uuid": "u1",
        "timestamp": "2026-11-20T10:00:00Z",
        "sessionId": session,
        "cwd": os.getcwd(),
        "message": message,
    }
    path.write_text(json.dumps(line) + "\n")
    return path


def test_a_session_that_its_hooks_write_too_is_read_once(home):
    path = store(Path.cwd(), Stream(session=SAME[:16]).bash("ls"), SAME[:16])
    transcript(home)
    events = events_of(run("trace-tail", "--no-follow", "--all", env=home).stdout)
    assert {event["session_id"] for event in events} == {SAME}
    for chosen in ([], [SAME[:16]], ["claude"]):
        events = events_of(run("trace-tail", "--no-follow", *chosen, env=home).stdout)
        assert {event["session_id"] for event in events} == {SAME}, "the agent's own has more"
    for chosen in ("store", path):
        assert run("trace-tail", "--no-follow", chosen, env=home).stdout == path.read_bytes(), (
            "unless the store is asked for"
        )


def test_the_folder_of_a_store_names_its_newest_session(home):
    old = store(Path.cwd(), Stream(session="old").bash("ls"), "old")
    new = store(Path.cwd(), Stream(session="new").bash("ls"), "new")
    os.utime(old, (1, 1))
    assert run("trace-tail", "--no-follow", ".agent-traces", env=home).stdout == new.read_bytes()


@pytest.mark.parametrize("arguments", [["--all"], ["--wait"]])
def test_what_hooks_wrote_first_is_left_for_what_the_agent_writes(home, arguments):
    """A hook tells of a session's start before there is a transcript."""
    tail = start("trace-tail", *arguments, env=home)
    store(Path.cwd(), Stream(session=SAME[:16]).bash("ls"), SAME[:16])
    lines_until(tail, "tool_result")
    transcript(home)
    *events, over = lines_until(tail, "session_end")
    assert (over["session_id"], over["data"]["reason"]) == (SAME[:16], f"goes on as {SAME}")
    assert [event["session_id"] for event in events if event["event_type"] == "user_prompt"] == [
        SAME
    ]
    tail.send_signal(signal.SIGTERM)
    assert (
        tail.wait(20) == -signal.SIGTERM
        and f"session {SAME[:16]} goes on as {SAME}" in tail.stderr.read().decode()
    )


def test_what_hooks_write_is_read_while_the_agent_itself_writes_nothing(home):
    """A Claude that is told to keep no session stands in its registry all the same."""
    sleeper = agent(home, "--scenario", "silent", "--pause", "60")
    (entry,) = until(
        lambda: list((Path(home["CLAUDE_CONFIG_DIR"]) / "sessions").glob("*.json")),
        what="the registry",
    )
    name = until(
        lambda: entry.read_text() and json.loads(entry.read_text())["sessionId"], what="the entry"
    )
    (path,) = until(
        lambda: list(Path(home["CLAUDE_CONFIG_DIR"]).glob("projects/*/*.jsonl")),
        what="the transcript",
    )
    path.unlink()
    tail = start("trace-tail", "--all", env=home)
    written = store(Path.cwd(), Stream(session=name[:16]).bash("ls"), name[:16])
    assert lines_until(tail, "tool_result")[-1]["session_id"] == name[:16]
    with written.open("ab") as file:
        file.write(Stream(session=name[:16], at=time.time()).bash("pwd").bytes)
    assert lines_until(tail, "tool_result")[-1]["session_id"] == name[:16]
    for process in (tail, sleeper):
        process.kill()
        process.wait()


def test_a_store_that_was_asked_for_is_not_left(home):
    path = store(Path.cwd(), Stream(session=SAME[:16]).bash("ls"), SAME[:16])
    transcript(home)
    tail = start("trace-tail", path, env=home)
    lines_until(tail, "history_end")
    with path.open("ab") as file:
        file.write(Stream(session=SAME[:16], at=time.time()).bash("ls").bytes)
    assert lines_until(tail, "tool_result")[-1]["session_id"] == SAME[:16]
    tail.kill()
    tail.wait()


def test_pid_is_told_and_reading_ends_with_it(home, tmp_path):
    sleeper = subprocess.Popen(["sleep", "60"])
    path = store(Path.cwd(), Stream().bash("ls"))
    tail = start("trace-tail", "--pid", sleeper.pid, path, env=home)
    events = lines_until(tail, "history_end")
    assert (
        next(event["data"] for event in events if event["event_type"] == "process")["pid"]
        == sleeper.pid
    )
    sleeper.kill()
    sleeper.wait()
    assert tail.wait(20) == 0
    assert run("trace-tail", "--pid", 2**22 - 1, path, env=home).returncode == 2


def test_dies_of_sigpipe_also_while_nothing_happens(home):
    store(Path.cwd(), Stream().bash("ls"))
    tail = start("trace-tail", env=home)
    lines_until(tail, "history_end")
    tail.stdout.close()
    assert tail.wait(20) == -signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_dies_of_the_signal_that_ends_it(home, number):
    store(Path.cwd(), Stream().bash("ls"))
    tail = start("trace-tail", env=home)
    lines_until(tail, "history_end")
    tail.send_signal(number)
    assert tail.wait(20) == -number and b"Traceback" not in tail.stderr.read()


def test_a_huge_result_is_cut_and_keeps_its_digest(home):
    message = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": "é" * 10_000, "is_error": False}
        ],
    }
    call = {
        "id": "m",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "x"}}],
    }
    common = {
        "timestamp": "2026-11-22T10:00:00.000Z",
        "sessionId": SESSION,
        "cwd": "/",
        "version": "2.1.197",
    }
    data = b"".join(
        json.dumps({"type": kind, "uuid": f"u{number}", "message": body, **common}).encode() + b"\n"
        for number, (kind, body) in enumerate([("assistant", call), ("user", message)])
    )
    result = lambda *args: next(
        e["data"]
        for e in events_of(run("trace-tail", "-", *args, input=data).stdout)
        if e["event_type"] == "tool_result"
    )
    assert len(result()["result"].encode()) == 4096 and result()["result_bytes"] == 20_000
    assert len(result("--max-result", "101")["result"].encode()) == 100
    assert result("--max-result", "1M")["result"] == "é" * 10_000
    assert result()["result_digest"] == result("--max-result", "10")["result_digest"]


@pytest.mark.parametrize(
    "place",
    [
        "{session}/subagents/agent-a1.jsonl",
        "{session}/subagents/workflows/wf_1/agent-a1.jsonl",
        "agent-a1.jsonl",
    ],
)
@pytest.mark.parametrize("poll", [False, True])
def test_a_subagents_file_is_read_as_soon_as_it_appears(home, monkeypatch, place, poll):
    """Not with the next look for sessions, which is far off here."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", home["CLAUDE_CONFIG_DIR"])
    monkeypatch.setattr(session_follower, "SCAN_INTERVAL_S", 600.0)
    monkeypatch.setattr(session_follower, "FIRST_SCAN_INTERVAL_S", 600.0)
    main = transcript(home)
    session = next(each for each in discovery.sessions() if each.id == SAME)
    follower = session_follower.SessionFollower(Waiter(), OneSession(session), poll=poll)
    events = follower.follow()
    next(event for event in events if event.type == "history_end")
    path = main.parent / place.format(session=SAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    message = {
        "role": "assistant",
        "id": "m",
        "model": "claude-opus-4-6",
        "content": [{"type": "text", "text": "I look."}],
    }
    line = {
        "type": "assistant",
        "uuid": "s1",
        "timestamp": "2026-11-20T10:00:01Z",
        "sessionId": SAME,
        "agentId": "a1",
        "isSidechain": True,
        "cwd": "/x",
    }
    began = time.monotonic()
    path.write_text(json.dumps({**line, "message": message}) + "\n")
    seen = next(event for event in events if event.type == "subagent_start")
    assert seen.data["agent_id"] == "a1" and time.monotonic() - began < 60
    events.close()
    follower.close()


def test_poll_gives_the_same(home):
    path = store(Path.cwd(), Stream().bash("ls"))
    tail = start("trace-tail", "--poll", env=home)
    lines_until(tail, "history_end")
    with path.open("ab") as file:
        file.write(Stream(at=1_795_359_400.0).bash("make").bytes)
    assert json.loads(tail.stdout.readline())["event_type"] == "tool_call"
    tail.kill()
    until(lambda: tail.poll() is not None)


def rollout(home: dict, began: float, name: str = "01a20420-92c4-7e51-8096-dc1d3d96799d") -> Path:
    """A session of Codex in this directory."""
    path = Path(
        home["CODEX_HOME"],
        "sessions",
        "2026",
        "11",
        "22",
        f"rollout-2026-11-22T10-00-00-{name}.jsonl",
    )
    path.parent.mkdir(parents=True)
    said = (
        datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    payload = {
        "id": name,
        "timestamp": said,
        "cwd": os.getcwd(),
        "originator": "codex_exec",
        "cli_version": "0.169.0",
        "source": "exec",
    }
    path.write_text(
        json.dumps({"timestamp": said, "type": "session_meta", "payload": payload}) + "\n"
    )
    return path


@pytest.fixture
def codex_session(home, monkeypatch):
    """A function that stores a session of Codex and returns it as discovered."""
    monkeypatch.setenv("CODEX_HOME", home["CODEX_HOME"])

    def store_and_find(began: float) -> Session:
        rollout(home, began)
        (session,) = agent_named("codex").sessions()
        return session

    return store_and_find


def test_a_run_whose_process_was_never_known_is_abandoned_when_its_file_is_closed(
    codex_session, monkeypatch
):
    monkeypatch.setattr(session_follower, "ABANDONED_S", 0.0)
    session = codex_session(time.time() + 1)
    follower = session_follower.SessionFollower(Waiter(), OneSession(session), poll=True)
    assert follower.is_new(session)
    followed = follower.begin(session)
    list(followed.reader.end_history())
    with session.path.open("a"):
        assert not follower.is_abandoned(followed)
    assert follower.is_abandoned(followed)
    follower.close()


def test_a_session_that_is_not_live_is_checked_again_only_when_it_changes(
    codex_session, monkeypatch
):
    checked = []
    monkeypatch.setattr(discovery, "is_live", lambda session: checked.append(session) or False)
    now = time.time()
    session = codex_session(now - 7200)._replace(modified=now - 3600)
    selection = EveryLive()
    for _ in range(3):
        assert not selection.is_live(session, now)
    assert len(checked) == 1
    assert not selection.is_live(session._replace(modified=now), now) and len(checked) == 2


@pytest.mark.parametrize("types", ["llm_response", "llm_response,tool_call", "error"])
def test_only_these_types_are_emitted_beside_what_delimits_sessions_and_turns(types):
    for path in (FIXTURES / "claude", FIXTURES / "codex"):
        for file in sorted(path.glob("*.jsonl")):
            every = events_of(run("trace-tail", "--no-follow", file).stdout)
            only = events_of(run("trace-tail", "--no-follow", "--only", types, file).stdout)
            for event in every + only:
                del event["timestamp"]  # The time of reading, in formats that record none.
            wanted = ALWAYS_EMITTED | set(types.split(","))
            assert only == [event for event in every if event["event_type"] in wanted]


def test_an_unknown_type_is_refused_with_the_nearest():
    done = run("trace-tail", "--only", "llm_respons")
    assert done.returncode == 2 and b"did you mean 'llm_response'?" in done.stderr


def test_options_of_tail_are_accepted_or_answered(home):
    path = store(Path.cwd(), Stream().bash("ls"), active=False)
    assert run("trace-tail", "-f", "--no-follow", path).returncode == 2
    done = run("trace-tail", "-n", "100", path)
    assert done.returncode == 2 and b"trace-tail --no-follow | tail -n 100" in done.stderr
    tail = start("trace-tail", "-f", path, env=home)
    lines_until(tail, "tool_result")
    tail.kill()
    tail.wait()


PROMPT = {"type": "user", "uuid": "u1", "timestamp": "2026-11-20T10:00:00Z", "sessionId": SESSION}


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
sys.exit(f"peak {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
"""
# A process of its own, since a child's peak contains that of the process that forked it.


@pytest.mark.parametrize("shape", ["line", "sparse", "cut"])
@pytest.mark.parametrize("on_stdin", [False, True])
def test_max_line_bounds_memory(tmp_path, shape, on_stdin):
    """A line of 150 MB, a hole, and a last line without its end take no more than a short one."""
    prompts = [
        json.dumps(PROMPT | {"uuid": text, "message": {"role": "user", "content": text}}).encode()
        + b"\n"
        for text in ("first", "last")
    ]
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(prompts[0])
        if shape == "sparse":
            file.seek(150 << 20)
        else:
            file.write(b'{"type":"user","x":"')
            for _ in range(150):
                file.write(b"x" * (1 << 20))
        if shape != "cut":
            file.write((b'"}\n' if shape == "line" else b"") + prompts[1])
    command = [BIN / "trace-tail", "--no-follow", "--max-line", "1M", "-" if on_stdin else path]
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, command)], stdin=file, capture_output=True
        )
    found = [event["data"].get("prompt") for event in events_of(done.stdout)]
    message, _, peak = done.stderr.rpartition(b"peak ")
    assert [each for each in found if each] == ["first", "last"][: 1 if shape == "cut" else 2]
    assert (b"NUL bytes" if shape == "sparse" else b"longer than 1048576") in message
    assert int(peak) < 64 << 10
