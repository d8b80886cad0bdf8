"""Faults of the present tool of this kind, row by row, which ours does not have.

Where a row is a matter of one module (scope, prices, following, config), its test stands in that module's own file.
"""

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.support import (
    ENVIRONMENT,
    STANDINS,
    Stream,
    events_of,
    run,
    start,
    until,
    violations,
)

STANDIN = STANDINS / "claude"


def agent(home: dict, *args: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(STANDIN), *map(str, args)], env=ENVIRONMENT | home)


def raised(stream: Stream, command: str, *args: object) -> list[dict]:
    done = run(command, *args, input=stream.bytes)
    assert done.returncode == 0, done.stderr
    return [found for found in violations(done.stdout) if found["level"] == "critical"]


# It never kills.


@pytest.mark.parametrize(
    "scenario, flags, config",
    [
        ("spiral", ["--max-retries", "3", "--on-violation", "kill"], {}),
        ("silent", ["--max-duration", "1s", "--on-violation", "kill"], {}),
        ("costly", ["--max-cost", "0.0001", "--on-violation", "kill"], {}),
        ("spiral", [], {"retry": {"max": 3, "alert": "kill"}}),
        ("costly", [], {"cost": {"max_dollars": 0.0001, "alert": ["terminal", "kill"]}}),
        ("silent", [], {"duration": {"max_minutes": 0.01, "alert": "kill"}}),
        ("silent", [], {"stall": {"max_minutes": 0.01, "alert": "kill"}}),
        ("scope", [], {"scope": {"policy": "policy.json", "alert": "kill"}}),
    ],
)
def test_a_kill_that_is_asked_for_kills(home, scenario, flags, config):
    Path(".agent-watch.json").write_text(json.dumps({"watchers": config}))
    Path("policy.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')
    process = agent(
        home,
        "--scenario",
        scenario,
        "--pause",
        "60" if scenario == "silent" else "0.3",
        "--rounds",
        "100",
    )
    done = run("agent-strace", "watch", *flags, env=home)
    assert process.wait(10) == -signal.SIGTERM
    assert done.returncode == 124, done.stderr


# Retry: it counts runs and not failures, over the whole session, of Bash alone, by their letters.


def test_six_runs_that_succeed_are_no_retry():
    stream = Stream()
    for _ in range(6):
        stream.bash("python -m pytest")
    assert raised(stream, "trace-detect-retry", "--max", "3") == []


def test_successes_spread_over_a_session_are_no_retry():
    stream = Stream()
    for number in range(300):
        stream.bash("git status" if number % 50 == 0 else f"echo {number}")
    assert raised(stream, "trace-detect-retry", "--max", "3") == []


def test_failing_and_passing_in_turn_is_no_retry():
    stream = Stream()
    for number in range(8):
        stream.bash(
            "python -m pytest", "FAILED" if number % 2 else "passed", failed=bool(number % 2)
        )
    assert raised(stream, "trace-detect-retry", "--max", "3") == []


def test_the_same_command_in_other_letters_is_the_same():
    stream = Stream()
    for command in (
        "npm test",
        "npm test 2>&1",
        "npm test | tail -20",
        "cd app && npm test",
        "npm  test",
        "CI=1 npm test",
        "time npm test",
        " npm test ",
    ):
        stream.bash(command, "Exit code 1\nboom", failed=True)
    (found,) = raised(stream, "trace-detect-retry", "--max", "8")
    assert found["count"] == 8 and found["message"].startswith('"npm test" failed 8 times')


@pytest.mark.parametrize(
    "tool, arguments",
    [
        ("run_shell_command", {"command": "npm test"}),
        ("exec_command", {"cmd": "npm test", "yield_time_ms": 1000}),
        ("shell", {"command": ["bash", "-lc", "npm test"], "workdir": "/"}),
        ("Edit", {"file_path": "/p/app.py", "old_string": "a", "new_string": "b"}),
        ("mcp__db__query", {"sql": "select 1"}),
    ],
)
def test_any_tool_that_fails_again_and_again_is_a_retry(tool, arguments):
    stream = Stream()
    for _ in range(8):
        stream.call(
            tool,
            arguments,
            "Exit code 1\nboom",
            failed=True,
            reason="tool" if tool == "Edit" else "exit",
        )
    assert len(raised(stream, "trace-detect-retry")) == 1


def test_twelve_failures_are_one_violation():
    assert len(raised(Stream().spiral(12), "trace-detect-retry", "--max", "3")) == 1


# Loop: a fixed period of three events, whatever they are, so that it misses its own example.


def looped(period: int, rounds: int) -> Stream:
    stream = Stream()
    for _ in range(rounds):
        for number in range(period):
            stream.call("Read", {"file_path": f"/p/{number}.py"}, f"content {number}")
    return stream


@pytest.mark.parametrize("period", [3, 4, 5, 6, 10, 25, 50])
def test_a_loop_of_any_length_is_found_once_in_the_round_that_completes_it(period):
    for rounds, times in ((2, 0), (3, 1)):
        assert len(raised(looped(period, rounds), "trace-detect-loop")) == times


def test_read_edit_test_fail_is_a_loop_although_each_edit_differs():
    stream = Stream()
    for number in range(3):
        stream.call("Read", {"file_path": "/p/app.py"}, f"return {number}")
        stream.call(
            "Edit",
            {
                "file_path": "/p/app.py",
                "old_string": f"return {number}",
                "new_string": f"return {number + 1}",
            },
            "updated",
        )
        stream.bash(
            "python -m pytest",
            "Exit code 1\nFAILED test_app.py::test_total - assert 7 == 6",
            failed=True,
        )
    (found,) = raised(stream, "trace-detect-loop")
    assert (
        found["message"].startswith("detected loop (read→edit→test) × 3")
        and len(found["evidence"]) >= 3
    )


@pytest.mark.parametrize(
    "name, build",
    [
        (
            "other files and a passing test",
            lambda s, n: s.call(
                "Edit", {"file_path": f"/p/{n}.py", "old_string": "a", "new_string": "b"}
            ).bash("pytest", f"{n} passed"),
        ),
        (
            "git status now and then",
            lambda s, n: s.bash("git status", f"on branch {n}").bash(f"echo {n}", str(n)),
        ),
        (
            "polling with new output",
            lambda s, n: s.call("BashOutput", {"bash_id": "1"}, f"line {n}"),
        ),
        ("distinct calls", lambda s, n: s.bash(f"echo {n}", str(n))),
        (
            "one file at other places",
            lambda s, n: s.call("Read", {"file_path": "/p/a.py", "offset": n * 100}, f"lines {n}"),
        ),
        (
            "a test that fails differently",
            lambda s, n: s.call(
                "Edit", {"file_path": "/p/a.py", "old_string": str(n), "new_string": "x"}
            ).bash("pytest", f"Exit code 1\n{9 - n} failed", failed=True),
        ),
    ],
)
def test_healthy_work_is_no_loop(name, build):
    stream = Stream()
    for number in range(8):
        build(stream, number)
    assert (
        raised(stream, "trace-detect-loop") == []
        and raised(stream, "trace-detect-retry", "--max", "9") == []
    )


def test_fixing_and_testing_in_turn_is_no_loop():
    stream = Stream()
    for number in range(12):
        stream.call(
            "Edit",
            {"file_path": "/p/app.py", "old_string": str(number), "new_string": str(number + 1)},
            "updated",
        )
        stream.bash(
            "pytest",
            "Exit code 1\nFAILED test_app.py" if number % 2 else "1 passed",
            failed=bool(number % 2),
        )
    assert raised(stream, "trace-detect-loop") == []


def test_nine_reads_at_once_are_no_loop():
    stream = Stream()
    calls = [
        stream.add(
            "tool_call",
            {"tool_name": "Read", "arguments": {"file_path": f"/p/{number}.py"}, "step": "m1"},
        )
        for number in range(9)
    ]
    for number, call in enumerate(calls):
        stream.add("tool_result", {"tool_name": "Read", "result": f"content {number}"}, parent=call)
    assert raised(stream, "trace-detect-loop") == []


# Duration: noticed at the next event, counted from the attach, over after 300 s of silence.


def test_duration_limit(home):
    process = agent(home, "--scenario", "silent", "--pause", "60")
    watch = start("agent-strace", "watch", "--max-duration", "2s", env=home)
    began = time.monotonic()
    for line in watch.stdout:
        if b'"violation"' in line:
            break
    # The agent has said nothing since its start: no event was needed.
    assert json.loads(line)["data"]["watcher"] == "duration" and time.monotonic() - began < 10
    process.kill()
    process.wait()
    assert watch.wait(20) == 0


def test_a_session_that_was_too_long_before_we_came_is_told_at_once(home):
    folder = Path(".agent-traces/3f6e2c1a-9b7d-4e")
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_bytes(Stream(at=time.time() - 7300).bash("ls").bytes)
    (folder.parent / ".active-session").write_text(folder.name)
    options = ("--max-duration", "1h", "--wall", "--max-stall", "off")
    watch = start("agent-strace", "watch", *options, env=home)
    found = next(json.loads(line) for line in watch.stdout if b'"violation"' in line)
    assert found["data"]["watcher"] == "duration" and found["data"]["message"].startswith(
        "running for 2h"
    )
    watch.kill()


def test_ten_minutes_of_silence_end_no_watch():
    # Time is in the ticks: as much of it as one likes passes without an event.
    code = """
from agent_pipes.core.event import make, tick
from agent_pipes.core.stream import Waiter
from agent_pipes.detect.duration import detect_duration
events = [make("session_start", 1795359278.0, "s", {})] + [tick(1795359278.0 + second) for second in range(7300)]
stage = detect_duration.stage(Waiter(), max=7200.0, wall=True)
print([event.data["value"] for event in stage(events) if event.type == "violation"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.startswith("[72"), done.stderr


# Robustness.


def store(session: str = "3f6e2c1a-9b7d-4e", stream: Stream | None = None) -> Path:
    folder = Path(".agent-traces") / session
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_bytes(stream.bytes if stream else b"")
    (folder.parent / ".active-session").write_text(session)
    return folder / "events.ndjson"


def test_events_that_are_written_in_two_halves_all_arrive(home):
    path = store(stream=Stream().bash("ls"))
    watch = start("trace-tail", env=home)
    for line in watch.stdout:
        if b"history_end" in line:
            break
    with path.open("ab", buffering=0) as file:
        for line in Stream(at=time.time()).spiral(3).bytes.splitlines(keepends=True):
            file.write(line[:50])
            file.write(line[50:])
            assert watch.stdout.readline() == line
    watch.kill()


def test_history_counts_towards_the_limit(home):
    stream = Stream(at=time.time()).spiral(4)
    path = store(stream=stream)
    watch = start("agent-strace", "watch", "--max-retries", "5", env=home)
    for line in watch.stdout:
        assert b'"critical"' not in line
        if b"history_end" in line:
            break
    later = Stream(at=time.time())
    later.number = stream.number
    with path.open("ab") as file:
        file.write(later.spiral(1).bytes)
    found = next(
        json.loads(line)["data"]
        for line in watch.stdout
        if b'"critical"' in line and b'"retry"' in line
    )
    assert found["count"] == 5
    watch.kill()


def test_the_active_session_is_watched_not_the_one_that_started_last(home):
    store("aaaa1111", Stream(session="aaaa1111").bash("ls"))
    store("bbbb2222", Stream(session="bbbb2222", at=1_795_370_000.0).bash("ls"))
    (Path(".agent-traces") / ".active-session").write_text("aaaa1111")
    watch = start("agent-strace", "watch", env=home)
    assert json.loads(watch.stdout.readline())["session_id"] == "aaaa1111"
    watch.kill()


def test_both_of_two_live_sessions_are_followed_and_named(home):
    first, second = (agent(home, "--scenario", "silent", "--pause", "60") for _ in range(2))
    until(
        lambda: len(events_of(run("trace-list", "--live", env=home).stdout)) == 2,
        what="both sessions",
    )
    tail = start("trace-tail", env=home)
    named = {tail.stderr.readline().split()[2] for _ in range(2)}
    begun = {json.loads(tail.stdout.readline())["session_id"].encode()}
    while len(begun) < 2:
        begun.add(json.loads(tail.stdout.readline())["session_id"].encode())
    assert named == begun
    for process in (tail, first, second):
        process.kill()
        process.wait()


def test_a_violation_is_in_the_exit_status_when_asked_for(home):
    path = store(stream=Stream().spiral(5))
    assert run("agent-strace", "watch", "--no-follow", "-e", path, env=home).returncode == 1
    assert run("agent-strace", "watch", "--no-follow", path, env=home).returncode == 0


def test_the_store_that_is_named_gets_the_alerts(home, tmp_path):
    path = store(stream=Stream().spiral(5))
    run(
        "agent-strace watch --no-follow --alert file",
        path,
        env=home | {"AGENT_TRACE_DIR": str(tmp_path / "elsewhere")},
    )
    assert "RetryWatcher" in (tmp_path / "elsewhere" / "alerts.log").read_text()


# Webhooks: in the loop, before the kill.


def test_a_webhook_that_never_answers_delays_no_kill(home):
    hang = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            hang.wait(30)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Path(".agent-watch.json").write_text(
        json.dumps({"webhook": {"url": f"http://127.0.0.1:{server.server_address[1]}/SECRET"}})
    )
    process = agent(home, "--scenario", "spiral", "--pause", "0.2", "--rounds", "100")
    watch = start(
        "agent-strace watch --max-retries 3 --on-violation kill --alert webhook", env=home
    )
    try:
        violated = next(
            time.monotonic()
            for line in watch.stdout
            if b'"violation"' in line and b'"critical"' in line
        )
        assert process.wait(20) == -signal.SIGTERM
        assert time.monotonic() - violated < 3
        watch.stdout.read()
        assert watch.wait(40) == 124
        assert b"SECRET" not in watch.stderr.read()
    finally:
        hang.set()
        server.shutdown()
