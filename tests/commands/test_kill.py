"""trace-kill: the right process, really gone, and the shell knows it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.support import (
    BIN,
    ENVIRONMENT,
    Stream,
    command,
    events_of,
    gone,
    run,
    start,
    until,
)

# A process that says when it is ready, and then does as it is told.
STUBBORN = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(120)"
FAMILY = """
import os, subprocess, sys, time
children = [subprocess.Popen(['sleep', '121'], start_new_session=True), subprocess.Popen(['sleep', '121'])]
print(*[child.pid for child in children], flush=True)
time.sleep(120)
"""


@pytest.fixture
def spawn():
    started = []

    def spawn(
        code: str = "import time; print('ready', flush=True); time.sleep(120)",
    ) -> tuple[subprocess.Popen, list[str]]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().split()

    yield spawn
    for process in started:
        process.kill()
        process.wait()


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the process's name: the first is its state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started_at(pid: int) -> str:
    return stat(pid)[19]


def armed(pid: int, started: str | None = None, **more: object) -> Stream:
    """A live session whose process is known."""
    stream = Stream()
    stream.add("history_start")
    stream.add("session_start", {"cwd": "/"})
    stream.add(
        "process",
        {
            "pid": pid,
            "started": started_at(pid) if started is None else started,
            "how": "registry",
            **more,
        },
    )
    stream.add("history_end")
    return stream


def tripped(stream: Stream, **data: object) -> Stream:
    stream.add(
        "violation", {"watcher": "retry", "level": "critical", "message": "failed 3 times", **data}
    )
    return stream


def outcome(done: subprocess.CompletedProcess) -> dict:
    (kill,) = events_of(done.stdout, "kill")
    return kill["data"]


def test_session_kill(spawn):
    process, _ = spawn()
    done = run("trace-kill", input=tripped(armed(process.pid)).bytes)
    assert done.returncode == 124
    assert process.wait(10) == -signal.SIGTERM
    said = outcome(done)
    assert (said["pid"], said["signal"], said["outcome"]) == (
        process.pid,
        "TERM",
        "terminated",
    ) and said["waited_ms"] > 0
    assert f"killed process {process.pid} (SIGTERM)".encode() in done.stderr


def test_the_whole_pipeline_ends_a_real_process(spawn, tmp_path):
    process, _ = spawn()
    folder = tmp_path / ".agent-traces" / "3f6e2c1a-9b7d-4e"
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_bytes(Stream().spiral(2).bytes)
    words = f"trace-tail {folder / 'events.ndjson'} | trace-detect-retry --max 3 | trace-kill --pid {process.pid} >/dev/null"
    shell = subprocess.Popen(
        ["sh", "-c", words],
        env=ENVIRONMENT | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    until(
        lambda: b"trace-kill" in subprocess.run(["ps", "-eo", "args"], capture_output=True).stdout
    )
    assert not gone(process.pid)
    with (folder / "events.ndjson").open("ab") as file:
        file.write(Stream(at=1_795_359_400.0).spiral(1).bytes)
    assert process.wait(20) == -signal.SIGTERM
    assert shell.wait(20) == 124


def test_one_that_ignores_sigterm_is_killed(spawn):
    process, _ = spawn(STUBBORN)
    done = run("trace-kill", "--kill-after", "300ms", input=tripped(armed(process.pid)).bytes)
    assert done.returncode == 124 and outcome(done)["outcome"] == "killed"
    assert process.wait(10) == -signal.SIGKILL


def test_one_that_is_stopped_is_ended(spawn):
    process, _ = spawn()
    process.send_signal(signal.SIGSTOP)
    until(lambda: stat(process.pid)[0] == "T")
    assert run("trace-kill", input=tripped(armed(process.pid)).bytes).returncode == 124
    assert process.wait(10) == -signal.SIGTERM


def test_everything_that_it_has_started_is_ended_too(spawn):
    process, children = spawn(FAMILY)
    assert run("trace-kill", input=tripped(armed(process.pid)).bytes).returncode == 124
    assert gone(process.pid) and all(gone(int(child)) for child in children)


def test_a_later_process_of_the_same_number_is_not_hit(spawn):
    process, _ = spawn()
    done = run("trace-kill", input=tripped(armed(process.pid, started="1")).bytes)
    assert (
        done.returncode == 125
        and outcome(done)["outcome"] == "refused"
        and "PID" in outcome(done)["reason"]
    )
    assert not gone(process.pid)


def test_an_agent_that_has_ended_before_it_was_armed_is_no_cause_for_a_warning(spawn):
    process, _ = spawn()
    stream = armed(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    done = run("trace-kill", input=stream.bytes)
    assert (done.returncode, done.stderr) == (0, b"")
    done = run("trace-kill", input=tripped(stream).bytes)
    assert done.returncode == 124 and outcome(done)["outcome"] == "not_running"


@pytest.mark.parametrize("pid", [0, 1, -1, -5])
def test_numbers_that_are_no_agents_are_refused(pid):
    assert run("trace-kill", "--pid", pid, input=tripped(Stream()).bytes).returncode == 2
    done = run("trace-kill", input=tripped(armed(pid, started="1")).bytes)
    assert done.returncode == 125 and outcome(done)["outcome"] == "refused"


def test_ourselves_are_refused():
    process = start("trace-kill")
    process.stdin.write(tripped(armed(process.pid)).bytes)
    process.stdin.close()
    assert process.wait(20) == 125
    assert b"itself" in process.stderr.read()


def test_an_ancestor_is_ended_only_where_it_is_the_agent(tmp_path):
    # A hook of the agent started the breaker: the agent is the one ancestor that may be ended.
    code = f"""
import subprocess, sys, time
stream = sys.stdin.buffer.read()
child = subprocess.Popen({command("trace-kill")!r}, stdin=subprocess.PIPE, stdout=open({str(tmp_path / "out")!r}, "wb"), start_new_session=True)
child.stdin.write(stream); child.stdin.close()
time.sleep(60)
"""
    agent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=ENVIRONMENT)
    agent.stdin.write(tripped(armed(agent.pid)).bytes)
    agent.stdin.close()
    assert agent.wait(20) == -signal.SIGTERM
    until(lambda: b'"kill"' in (tmp_path / "out").read_bytes())
    assert (
        outcome(subprocess.CompletedProcess([], 0, (tmp_path / "out").read_bytes()))["outcome"]
        == "terminated"
    )


def test_what_an_agent_that_has_ended_meanwhile_left_running_is_ended_by_its_mark(spawn):
    """An agent that crashes at the limit leaves its tools running in sessions of their own."""
    tools = [
        subprocess.Popen(
            ["sleep", "120"],
            env=ENVIRONMENT | {"CLAUDE_CODE_SESSION_ID": session},
            start_new_session=True,
        )
        for session in ("mine", "another")
    ]
    try:
        agent, _ = spawn()
        breaker = start("trace-kill")
        breaker.stdin.write(armed(agent.pid, marker="CLAUDE_CODE_SESSION_ID=mine").bytes)
        breaker.stdin.flush()
        while b'"history_end"' not in breaker.stdout.readline():
            pass
        agent.kill()
        agent.wait()
        out, said = breaker.communicate(tripped(Stream()).bytes, timeout=30)
        done = outcome(subprocess.CompletedProcess([], 0, out))
        assert (
            done["outcome"] == "not_running"
            and "killed 1 that it had left running" in done["reason"]
        ), said
        assert (
            breaker.returncode == 124
            and tools[0].wait(5) == -signal.SIGTERM
            and tools[1].poll() is None
        )
    finally:
        for tool in tools:
            tool.kill()
            tool.wait()


def test_a_limit_passed_before_the_process_is_known_ends_it_as_soon_as_it_is(spawn):
    process, _ = spawn()
    live = Stream()
    live.add("history_end")
    tripped(live).add(
        "process", {"pid": process.pid, "started": started_at(process.pid), "how": "registry"}
    )
    done = run("trace-kill", input=live.bytes)
    assert done.returncode == 124 and outcome(done)["outcome"] == "terminated"
    assert process.wait(10) == -signal.SIGTERM


def test_a_limit_passed_in_the_history_ends_the_process_once_it_is_known(spawn):
    """A user's own detector may raise in the history; the process follows it."""
    process, _ = spawn()
    attached = Stream()
    attached.add("history_start")
    tripped(attached).bash("ls").add(
        "process",
        {"pid": process.pid, "started": started_at(process.pid), "how": "registry"},
        after=600.0,
    )
    attached.add("history_end")
    done = run("trace-kill", input=attached.bytes)
    assert done.returncode == 124 and outcome(done)["outcome"] == "terminated"
    assert process.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("then, after", [("tool_call", 6.0), ("session_end", 1.0)])
def test_a_process_that_does_not_become_known_is_not_waited_for_long(spawn, then, after):
    process, _ = spawn()
    live = Stream()
    live.add("history_end")
    tripped(live).add(then, after=after)
    live.add("process", {"pid": process.pid, "started": started_at(process.pid), "how": "registry"})
    live.add("session_end")
    done = run("trace-kill", input=live.bytes)
    assert done.returncode == 125 and outcome(done)["outcome"] == "failed" and not gone(process.pid)
    assert [event["event_type"] for event in events_of(done.stdout)] == [
        "history_end",
        "violation",
        then,
        "kill",
        "process",
        "session_end",
    ]


def test_a_warning_and_a_violation_bound_elsewhere_end_nothing(spawn):
    process, _ = spawn()
    stream = tripped(armed(process.pid), level="warning")
    stream = tripped(stream, actions=["terminal", "file"])
    done = run("trace-kill", input=stream.bytes)
    assert not events_of(done.stdout, "kill") and not gone(process.pid)
    stream.add("session_end")
    assert run("trace-kill", input=stream.bytes).returncode == 0
    assert (
        run("trace-kill", input=tripped(armed(process.pid), actions=["kill"]).bytes).returncode
        == 124
    )


def test_a_stream_that_breaks_off_while_the_agent_runs_is_exit_status_3(spawn):
    process, _ = spawn()
    done = run("trace-kill", input=armed(process.pid).bytes)
    assert done.returncode == 3 and b"nothing watches it now" in done.stderr
    process.kill()
    process.wait()
    assert run("trace-kill", input=armed(process.pid, started="1").bytes).returncode == 0


def test_a_session_ends_once(spawn):
    process, _ = spawn()
    done = run("trace-kill", input=tripped(tripped(armed(process.pid))).bytes)
    assert done.returncode == 124 and len(events_of(done.stdout, "kill")) == 1


def test_dry_run_says_and_ends_nothing(spawn):
    process, _ = spawn()
    done = run("trace-kill", "--dry-run", input=tripped(armed(process.pid)).bytes)
    assert outcome(done)["outcome"] == "dry_run" and not gone(process.pid)
    assert f"would kill process {process.pid}".encode() in done.stderr


def test_stop_pauses_and_cont_goes_on(spawn):
    process, _ = spawn()
    done = run("trace-kill", "--signal", "STOP", input=tripped(armed(process.pid)).bytes)
    assert outcome(done)["outcome"] == "paused"
    state = lambda: stat(process.pid)[0]
    assert state() == "T"
    os.kill(process.pid, signal.SIGCONT)
    until(lambda: state() != "T")


def test_signal_names_and_numbers(spawn):
    for name in ("INT", "SIGINT", "int", "2"):
        process, _ = spawn(
            "import signal, time; signal.signal(2, signal.SIG_DFL); print('ready', flush=True); time.sleep(120)"
        )
        assert (
            run("trace-kill", "--signal", name, input=tripped(armed(process.pid)).bytes).returncode
            == 124
        )
        assert process.wait(10) == -signal.SIGINT
    assert run("trace-kill", "--signal", "KIL", input=b"").returncode == 2


def test_two_sessions_are_ended_each_by_its_own_violation(spawn):
    first, _ = spawn(STUBBORN)
    second, _ = spawn()
    one, two = armed(first.pid), armed(second.pid)
    two.session = "another"
    for event in two.events:
        event["session_id"] = "another"
    process = start("trace-kill", "--kill-after", "30s")
    process.stdin.write(two.bytes + tripped(one).bytes)
    process.stdin.write(tripped(two).bytes)
    process.stdin.flush()
    # The second does not wait for the first, which will not end for a while.
    assert second.wait(10) == -signal.SIGTERM and not gone(first.pid)
    process.send_signal(signal.SIGTERM)
    # Asked to end, the breaker leaves no grace to what it was ending.
    assert first.wait(10) == -signal.SIGKILL
    assert process.wait(10) == -signal.SIGTERM


def test_a_reader_that_reads_nothing_delays_no_kill(spawn):
    process, _ = spawn()
    read, write = os.pipe()
    breaker = subprocess.Popen(
        command("trace-kill"),
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    os.close(write)
    flood = Stream()
    for number in range(2000):
        flood.bash(f"echo {number}", "x" * 200)
    breaker.stdin.write(armed(process.pid).bytes + flood.bytes)
    breaker.stdin.flush()
    began = time.monotonic()
    breaker.stdin.write(tripped(Stream()).bytes)
    breaker.stdin.flush()
    assert process.wait(10) == -signal.SIGTERM
    assert time.monotonic() - began < 5
    os.close(read)
    breaker.stdin.close()
    breaker.wait(20)


def test_the_kill_goes_on_without_a_disk_to_write_to(spawn):
    process, _ = spawn()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("trace-kill"),
            input=tripped(armed(process.pid)).bytes,
            stdout=full,
            stderr=full,
            env=ENVIRONMENT,
        )
    assert done.returncode == 124 and process.wait(10) == -signal.SIGTERM


def test_a_forged_process_event_needs_the_right_start_time(spawn):
    process, _ = spawn()
    forged = Stream()
    forged.add("process", {"pid": process.pid, "how": "registry"})
    forged.add("process", {"pid": str(process.pid), "started": started_at(process.pid)})
    forged.add("process", {"pid": True, "started": ["x"]})
    done = run("trace-kill", input=tripped(forged).bytes)
    assert done.returncode == 125 and not gone(process.pid)
    json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("armed", [False, True])
def test_a_stream_without_any_event_is_reported(spawn, armed):
    """Issue 13, number 14: a broker's subscriber that never connected."""
    process, _ = spawn()
    done = run("trace-kill", *(["--pid", process.pid] if armed else []), input=b"")
    assert b"without any event: nothing was watched" in done.stderr
    assert done.returncode == (3 if armed else 0) and not gone(process.pid)
