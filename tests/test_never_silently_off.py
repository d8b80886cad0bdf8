"""Each way in which a breaker can be off without a word, or on when it must not be: issue 13.

A test is named after the number that it is about. Numbers 10 (prices) and 13 (another user) are
tested in tests/cost and tests/commands/test_other_user.py, too; the real clients in tests/real.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.helpers.machine import WAIT_S, live_machine
from tests.helpers.support import (
    FIXTURES,
    SHARED,
    Stream,
    events_of,
    run,
    start,
    violations,
)

HOUR_S = 3600.0

TRANSCRIPT = next((FIXTURES / "claude" / "projects").rglob("*.jsonl"))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of its own with one project."""
    with live_machine(tmp_path, monkeypatch) as machine:
        yield machine


@pytest.fixture
def spawn():
    """Start processes that do nothing, as `process` events have them."""
    started = []

    def spawn() -> tuple[subprocess.Popen, dict]:
        process = subprocess.Popen(["sleep", "120"])
        started.append(process)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return process, {"pid": process.pid, "started": fields[19], "how": "registry"}

    yield spawn
    for process in started:
        process.kill()
        process.wait()


def critical(output: bytes) -> list[dict]:
    return [each for each in violations(output) if each["level"] == "critical"]


@pytest.mark.parametrize("filter", ["trace-detect-retry", "trace-detect-cost", "trace-kill"])
def test_13_1_a_transcript_without_trace_tail_is_refused(filter):
    done = run(filter, input=TRANSCRIPT.read_bytes())
    assert done.returncode == 2
    assert b"put trace-tail before it" in done.stderr


def test_13_1_what_is_no_stream_at_all_is_reported_once():
    done = run("trace-detect-retry", input="root:x:0:0:root:/root:/bin/bash\n" * 40)
    assert done.returncode == 2
    assert done.stderr.count(b"trace-detect-retry:") == 1


@pytest.mark.parametrize("arguments", [["--all"], ["--wait"]])
def test_13_2_a_session_that_is_resumed_after_its_end_is_followed_again(machine, arguments):
    """`claude --resume`, or a supervisor that restarts with the same id."""
    first = machine.claude()
    second = machine.claude()
    tail = machine.tail(*arguments)
    tail.until("history_end", first.session)
    first.exit()
    tail.until("session_end", first.session)
    resumed = machine.claude(first.session)
    resumed.prompt("go on")
    assert tail.until("process", first.session)["data"]["pid"] == resumed.pid
    tail.until("user_prompt", first.session, "go on")
    tail.until("history_end", first.session)
    resumed.prompt("and on")
    tail.until("user_prompt", first.session, "and on")
    assert second.session in {event["session_id"] for event in tail.events}


@pytest.mark.parametrize("arguments", [["--all"], ["--wait"], []])
def test_13_3_a_process_that_goes_to_another_session_and_back_is_followed(machine, arguments):
    """/clear, then /resume of the first session."""
    agent = machine.claude()
    first, second = agent.session, str(uuid.uuid4())
    tail = machine.tail(*arguments)
    tail.until("history_end", first)
    agent.switch(second)
    agent.prompt("in the second")
    tail.until("user_prompt", second, "in the second")
    agent.switch(first)
    agent.prompt("in the first again")
    tail.until("user_prompt", first, "in the first again")
    agent.switch(second)
    agent.prompt("in the second again")
    tail.until("user_prompt", second, "in the second again")


@pytest.mark.parametrize("arguments", [["--wait"], []])
def test_13_5_every_live_session_of_the_directory_is_followed_until_none_is_left(
    machine, arguments
):
    first, second = machine.claude(), machine.claude()
    tail = machine.tail(*arguments)
    for agent in (first, second):
        agent.prompt("hello")
        tail.until("user_prompt", agent.session, "hello")
    third = machine.claude()
    third.prompt("later")
    tail.until("user_prompt", third.session, "later")
    for agent in (second, first, third):
        assert tail.process.poll() is None
        agent.exit()
        tail.until("session_end", agent.session)
    assert tail.process.wait(WAIT_S) == 0


def test_13_5_a_named_session_is_followed_alone(machine):
    first, second = machine.claude(), machine.claude()
    tail = machine.tail(first.session)
    tail.until("history_end", first.session)
    second.prompt("not followed")
    first.prompt("followed")
    tail.until("user_prompt", first.session, '"followed"')
    assert {event["session_id"] for event in tail.events} == {first.session}


@pytest.mark.parametrize("arguments", [[], ["claude"], ["claude", "--wait"]])
def test_13_6_without_a_session_here_the_live_ones_elsewhere_are_named(
    machine, tmp_path, arguments
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    agent = machine.claude(cwd=elsewhere)
    tail = machine.tail(*arguments)
    assert tail.process.wait(WAIT_S) == 2
    message = tail.stop()
    assert "in this directory" in message
    assert f"claude {agent.session} in {elsewhere}" in message


def test_13_6_live_sessions_of_the_project_that_are_not_watched_are_named_once(machine, tmp_path):
    def git(*words: str) -> None:
        who = ("-c", "user.name=dev", "-c", "user.email=dev@example.invalid")
        subprocess.run(["git", *who, *words], cwd=machine.project, check=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "start")
    git("worktree", "add", "-q", str(tmp_path / "tree"))
    (machine.project / "src").mkdir()
    (tmp_path / "other").mkdir()
    below = machine.claude(cwd=machine.project / "src")
    tree = machine.claude(cwd=tmp_path / "tree")
    other = machine.claude(cwd=tmp_path / "other")
    here = machine.claude()
    tail = machine.tail("--wait")
    tail.until("history_end", here.session)
    here.prompt("go on")
    tail.until("user_prompt", here.session, "go on")
    message = tail.stop()
    for agent in (below, tree):
        where = f"claude {agent.session} in {agent.cwd}: NOT watched from here"
        assert message.count(where) == 1, message
    assert other.session not in message


def test_13_18_the_state_that_the_client_registers_becomes_events(machine):
    agent = machine.claude()
    tail = machine.tail()
    tail.until("history_end", agent.session)
    for state, waited_for in (
        ({"status": "busy"}, "nobody"),
        ({"status": "waiting", "waitingFor": "permission prompt"}, "permission"),
        ({"status": "waiting", "waitingFor": "input needed"}, "question"),
        ({"status": "shell"}, "prompt"),
        ({"status": "busy"}, "nobody"),
    ):
        agent.say(**state)
        event = tail.until("waiting", agent.session)
        assert event["data"] == {"for": waited_for, "status": state["status"]}


def test_13_4_a_thread_that_the_same_process_opens_later_is_followed(machine):
    """Codex's /new: the process goes on with a rollout of its own beside the first."""
    folder = machine.root / "codex" / "sessions" / "2026" / "11" / "30"
    folder.mkdir(parents=True)
    names = [str(uuid.uuid4()) for _ in range(2)]
    paths = [folder / f"rollout-2026-11-30T10-00-0{n}-{name}.jsonl" for n, name in enumerate(names)]
    holding = (
        "import sys, time\nheld = []\n"
        "for line in sys.stdin:\n"
        "    path, _, content = line.partition(' ')\n"
        "    held.append(open(path, 'a'))\n    held[-1].write(content)\n    held[-1].flush()\n"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", holding], cwd=machine.project, stdin=subprocess.PIPE, text=True
    )

    def write(number: int, kind: str, payload: dict) -> None:
        line = {"timestamp": "2026-11-30T10:00:00.000Z", "type": kind, "payload": payload}
        agent.stdin.write(f"{paths[number]} {json.dumps(line)}\n")
        agent.stdin.flush()

    def begin(number: int) -> None:
        meta = {"id": names[number], "cwd": str(machine.project), "source": "cli"}
        write(number, "session_meta", {**meta, "originator": "codex-tui", "cli_version": "0.171.0"})

    def prompt(number: int, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        write(number, "response_item", {"type": "message", "role": "user", "content": content})

    try:
        begin(0)
        tail = machine.tail("--wait")
        tail.until("session_start", names[0])
        begin(1)
        prompt(1, "in the new thread")
        tail.until("user_prompt", names[1], "in the new thread")
    finally:
        agent.kill()
        agent.wait()


def test_13_7_a_busy_session_does_not_hide_a_silent_one():
    silent, busy = Stream("silent", time.time()), Stream("busy", time.time())
    for stream in (silent, busy):
        for kind in ("history_start", "session_start", "history_end", "user_prompt"):
            stream.add(kind, after=0.0)
    detector = start("trace-detect-stall", "--max", "1s", "-e")
    detector.stdin.write(silent.bytes + busy.bytes)
    for _ in range(10):
        busy.events.clear()
        busy.add("assistant_response", {"text": "Still at it."}, after=0.3)
        detector.stdin.write(busy.bytes)
        detector.stdin.flush()
        time.sleep(0.3)
    for stream in (silent, busy):
        stream.events.clear()
        stream.add("session_end")
        detector.stdin.write(stream.bytes)
    output, _ = detector.communicate(timeout=WAIT_S)
    assert {event["session_id"] for event in events_of(output, "violation")} == {"silent"}


def test_13_8_duration_holds_for_a_command_in_which_no_agent_is_known(machine):
    limits = ("--max-duration", "1s", "--on-violation", "kill")
    done = run("agent-strace", "watch", *limits, "--", "sleep", "100", env=machine.env)
    assert done.returncode == 124
    assert b"no agent is known" in done.stderr


@pytest.mark.parametrize("soon", [True, False], ids=["while it is killed", "later"])
def test_13_9_a_session_that_comes_back_after_its_kill_is_killed_again(spawn, soon):
    first, process = spawn()
    again, later = spawn()
    stream = Stream(at=time.time() - 60)
    stream.add("session_start", {"interactive": False, "cwd": "/"})
    stream.add("process", process)
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": "failed"})
    killer = start("trace-kill")
    killer.stdin.write(stream.bytes)
    killer.stdin.flush()
    assert first.wait(WAIT_S) == -signal.SIGTERM
    if not soon:
        line = killer.stdout.readline()
        while b'"kill"' not in line:
            line = killer.stdout.readline()
    stream.events.clear()
    stream.add("process", later)
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "pytest"}})
    killer.stdin.write(stream.bytes)
    killer.stdin.flush()
    try:
        assert again.wait(WAIT_S) == -signal.SIGTERM
    finally:
        output, said = killer.communicate(timeout=WAIT_S)
    assert len(events_of(output, "kill")) == 1 + soon
    assert b"was restarted as process" in said


@pytest.mark.parametrize("model", ["gpt-6.2-sol", "claude-mythos-9", "gpt-daybreak-2027"])
def test_13_10_a_model_without_a_price_is_counted_at_an_assumed_one(model):
    stream = Stream()
    stream.add("session_start")
    for number in range(40):
        usage = {"input_tokens": 200_000, "output_tokens": 30_000}
        stream.add("llm_response", {"model": model, "response_id": f"r{number}", "usage": usage})
    (found, *_) = critical(run("trace-detect-cost", "--max", "2", input=stream.bytes).stdout)
    assert found["watcher"] == "cost"
    assert not critical(
        run("trace-detect-cost", "--max", "2", "--unpriced-as", "off", input=stream.bytes).stdout
    )


def test_13_11_a_breach_of_scope_before_the_watcher_came_is_a_warning(tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')
    stream = Stream()
    stream.add("history_start")
    stream.add("session_start", {"cwd": "/home/dev/proj"})
    stream.call("Write", {"file_path": "/home/dev/proj/deploy/prod.yml", "content": "x"})
    stream.add("history_end")
    (found,) = violations(run("trace-detect-scope", "--policy", policy, input=stream.bytes).stdout)
    assert (found["level"], found["watcher"]) == ("warning", "scope")


@pytest.mark.parametrize("name", ["directory", "pipe"])
def test_13_14_an_alert_file_that_cannot_be_written_is_status_2(tmp_path, name):
    place = tmp_path / "alerts.log"
    place.mkdir() if name == "directory" else os.mkfifo(place)
    stream = Stream()
    stream.add("session_start")
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": "failed"})
    done = run("trace-alert --to file", input=stream.bytes, env={"AGENT_TRACE_DIR": str(tmp_path)})
    assert done.returncode == 2
    assert b"alerts.log" in done.stderr


def test_13_14_an_armed_killer_without_any_event_is_status_3(spawn):
    _, process = spawn()
    done = run("trace-kill", "--pid", str(process["pid"]), input=b"")
    assert done.returncode == 3
    assert b"without any event: nothing was watched" in done.stderr
    assert run("trace-detect-retry", input=b"").returncode == 0


def test_13_14_a_guard_whose_policy_is_a_pipe_denies_and_does_not_wait_for_it(tmp_path):
    os.mkfifo(tmp_path / ".agent-scope.json")
    payload = {
        "hook_event_name": "PreToolUse",
        "session_id": str(uuid.uuid4()),
        "cwd": str(tmp_path),
        "transcript_path": "",
        "tool_name": "Bash",
        "tool_input": {"command": "ls"},
        "tool_use_id": "t1",
    }
    guard = start("agent-strace", "hook", "--guard", cwd=tmp_path)
    output, _ = guard.communicate(json.dumps(payload).encode(), timeout=WAIT_S)
    assert b'"deny"' in output and b".agent-scope.json" in output


def test_13_16_a_resumed_session_is_not_raised_for_its_past():
    stream = Stream()
    stream.add("history_start")
    stream.add("session_start", {"cwd": "/"})
    stream.add("user_prompt", {"prompt": "fix it", "origin": "person"})
    stream.spiral(6)
    week = stream.time + 7 * 24 * HOUR_S
    stream.add("process", {"pid": 2**22, "started": "1", "how": "registry", "began": week})
    stream.add("history_end", after=week - stream.time + 5)
    filters = ("trace-detect-retry", "trace-detect-loop", "trace-detect-duration")
    assert not [each for name in filters for each in critical(run(name, input=stream.bytes).stdout)]


def test_13_17_an_agent_that_answers_its_user_all_day_is_left_alone():
    stream = Stream()
    stream.add("session_start")
    for _ in range(8):
        stream.add("user_prompt", {"prompt": "and now?", "origin": "person"}, after=HOUR_S)
        stream.bash("make")
        stream.add("assistant_response", {"text": "Done."}, after=600)
    assert not violations(run("trace-detect-duration", input=stream.bytes).stdout)
    # On its own for as long, it is not.
    alone = Stream()
    alone.add("session_start")
    alone.add("user_prompt", {"prompt": "go", "origin": "person"})
    for number in range(8):
        alone.add("llm_request", after=500)
        alone.bash(f"make step{number}")
    assert critical(run("trace-detect-duration", input=alone.bytes).stdout)


def test_13_18_a_permission_prompt_is_no_silence():
    """Asked live: a tool that is open may wait for its user, unless the run is headless."""
    for headless, level in ((False, "warning"), (True, "critical")):
        stream = Stream(at=time.time())
        for kind, data in (
            ("history_start", {}),
            ("session_start", {"interactive": not headless}),
            ("history_end", {}),
            ("user_prompt", {"prompt": "go"}),
            ("tool_call", {"tool_name": "Bash", "arguments": {"command": "rm -r build"}}),
        ):
            stream.add(kind, data, after=0.0)
        detector = start("trace-detect-stall", "--in-flight", "1s")
        detector.stdin.write(stream.bytes)
        detector.stdin.flush()
        line = detector.stdout.readline()
        while b'"violation"' not in line:
            line = detector.stdout.readline()
        assert json.loads(line)["data"]["level"] == level
        detector.stdin.close()
        detector.wait(WAIT_S)


CASE = SHARED / "cases" / "faults" / "claude-edit-waits-for-permission.jsonl"


@pytest.mark.skipif(not CASE.exists(), reason=f"no {CASE.name} beside the project")
def test_13_18_an_edit_that_is_open_for_hours_waits_for_its_user():
    events = run("trace-tail", "--no-follow", CASE).stdout
    assert not violations(run("trace-detect-stall", input=events).stdout)


def test_13_19_a_stream_that_comes_twice_counts_once():
    stream = Stream()
    stream.add("session_start")
    stream.spiral(2)
    done = run("trace-detect-retry", "--max", "3", "-e", input=stream.bytes * 2)
    assert (done.returncode, violations(done.stdout)) == (0, [])
    stream.spiral(1)
    assert critical(run("trace-detect-retry", "--max", "3", input=stream.bytes).stdout)


def test_13_20_a_process_of_another_machine_is_refused(spawn):
    process, fields = spawn()
    stream = Stream()
    stream.add("session_start", {"cwd": "/"})
    stream.add("process", {**fields, "machine": "another-boot:pid:[1]"})
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": "failed"})
    done = run("trace-kill", input=stream.bytes)
    assert done.returncode == 125
    assert process.poll() is None
    assert b"another machine" in done.stderr


def test_13_20_prompts_of_others_than_a_person_reset_no_count():
    stream = Stream()
    stream.add("session_start")
    for _ in range(3):
        stream.spiral(1)
        stream.add("user_prompt", {"prompt": "go on", "origin": "hook"})
    assert critical(run("trace-detect-retry", "--max", "3", input=stream.bytes).stdout)
