"""Pausing on a violation, and `agent-strace resume` with new limits."""

import json
import os
import signal
import stat
import subprocess

import pytest

from agent_pipes.commands.resume import watch_arguments
from agent_pipes.process.pause_record import PauseRecord
from tests.commands.test_kill import armed, outcome, spawn, tripped
from tests.commands.test_kill import stat as proc_stat
from tests.helpers.support import SESSION, events_of, gone, run, start, until

__all__ = ["spawn"]

FAMILY = """
import subprocess, time
child = subprocess.Popen(['sleep', '121'], start_new_session=True)
print(child.pid, flush=True)
time.sleep(120)
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    """A directory of its own for what our processes leave for each other."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / "agent-pipes"


def environment(runtime) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(runtime.parent)}


def state(pid: int) -> str:
    return proc_stat(pid)[0]


class Paused:
    """An agent that a running trace-kill has paused."""

    def __init__(self, agent: subprocess.Popen, runtime, **violation: object) -> None:
        self.agent = agent
        self.env = environment(runtime)
        self.breaker = start("trace-kill", "--signal", "STOP", env=self.env)
        self.stream = tripped(armed(agent.pid), **violation)
        self.breaker.stdin.write(self.stream.bytes)
        self.breaker.stdin.flush()
        until(lambda: state(agent.pid) == "T", what="the agent's pause")
        until(lambda: list(runtime.glob("paused-*")), what="the record of the pause")

    def resume(self, *arguments: object) -> subprocess.CompletedProcess:
        return run("agent-strace", "resume", *arguments, env=self.env)

    def end(self) -> tuple[int, bytes, bytes]:
        out, said = self.breaker.communicate(timeout=30)
        return self.breaker.returncode, out, said


def limits(runtime) -> dict:
    (path,) = runtime.glob("limits-*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return json.loads(path.read_bytes())


def test_the_whole_tree_is_paused_and_goes_on(spawn, runtime):
    agent, (child,) = spawn(FAMILY)
    paused = Paused(agent, runtime)
    assert state(int(child)) == "T"
    done = paused.resume()
    assert done.returncode == 0 and b"and its 1 child process" in done.stderr
    until(lambda: state(agent.pid) == state(int(child)) == "S", what="their going on")
    assert not list(runtime.glob("paused-*"))
    status, out, said = paused.end()
    assert status == 3, "it runs, and nothing watches it any more"
    (kill,) = events_of(out, "kill")
    assert (kill["data"]["outcome"], kill["data"]["signal"]) == ("paused", "STOP")
    assert f"to continue: agent-strace resume {SESSION}".encode() in said


def test_a_breaker_that_ends_while_its_agent_is_paused_says_how_to_go_on(spawn, runtime):
    agent, _ = spawn()
    status, _, said = Paused(agent, runtime).end()
    assert status == 124 and state(agent.pid) == "T"
    assert said.splitlines()[-1].endswith(
        f"is still paused; to continue it: agent-strace resume {SESSION}".encode()
    )


@pytest.mark.parametrize(
    ("arguments", "limit", "shown"),
    [
        ([], 16.0, "$16 ($11 so far + $5)"),
        (["--max-cost", "+0.06"], 11.06, "$11.06 ($11 so far + $0.06)"),
        (["--max-cost", "40"], 40.0, "$40 ($11 so far + $29)"),
    ],
)
def test_half_of_the_limit_is_added_unless_another_is_given(
    spawn, runtime, arguments, limit, shown
):
    agent, _ = spawn()
    paused = Paused(agent, runtime, watcher="cost", value=11.0, limit=10.0)
    done = paused.resume(*arguments)
    assert done.returncode == 0
    assert f"new limit of the cost watcher: {shown}".encode() in done.stderr
    found = limits(runtime)
    assert (found["limits"], found["pid"]) == ({"cost": limit}, agent.pid)
    paused.end()


def test_a_finding_can_be_ignored(spawn, runtime):
    agent, _ = spawn()
    paused = Paused(agent, runtime, watcher="retry", count=5, limit=5)
    assert paused.resume("--ignore").returncode == 0
    assert (limits(runtime)["limits"], limits(runtime)["ignored"]) == ({}, ["retry"])
    paused.end()


def test_a_paused_agent_can_be_killed(spawn, runtime):
    agent, (child,) = spawn(FAMILY)
    paused = Paused(agent, runtime)
    assert paused.resume("--kill").returncode == 0
    assert agent.wait(10) == -signal.SIGTERM and gone(int(child))
    assert not list(runtime.glob("*-*"))
    status, _, said = paused.end()
    assert status == 124, "it was stopped by the breaker, for good"
    assert b"continued by something else" not in said


def test_an_agent_that_is_killed_slowly_is_not_taken_for_continued(spawn, runtime):
    agent, _ = spawn(
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), exit()));"
        "print('ready', flush=True); time.sleep(120)"
    )
    paused = Paused(agent, runtime)
    assert paused.resume("--kill").returncode == 0
    paused.breaker.stdin.write(b'{"event_type":"tick"}\n')
    assert agent.wait(10) == 0
    status, _, said = paused.end()
    assert status == 124 and b"continued by something else" not in said


def test_an_agent_that_is_continued_from_elsewhere_is_watched_on(spawn, runtime):
    agent, _ = spawn()
    paused = Paused(agent, runtime)
    os.kill(agent.pid, signal.SIGCONT)
    until(lambda: not list(runtime.glob("paused-*")), what="that the breaker has noticed")
    paused.breaker.stdin.write(tripped(paused.stream).bytes)
    paused.breaker.stdin.flush()
    until(lambda: state(agent.pid) == "T", what="its second pause")
    _, out, said = paused.end()
    assert len(events_of(out, "kill")) == 2 and b"continued by something else" in said


def test_a_violation_that_is_to_kill_kills_also_where_another_would_pause(spawn):
    agent, _ = spawn()
    stream = tripped(armed(agent.pid), actions=["file", "kill"])
    done = run("trace-kill", "--signal", "STOP", input=stream.bytes)
    assert (done.returncode, outcome(done)["outcome"]) == (124, "terminated")


def test_a_violation_that_is_to_pause_pauses(spawn, runtime):
    agent, _ = spawn()
    stream = tripped(armed(agent.pid), actions=["terminal", "pause"])
    done = run("trace-kill", input=stream.bytes, env=environment(runtime))
    assert (done.returncode, outcome(done)["outcome"]) == (124, "paused")
    assert state(agent.pid) == "T"


def test_nothing_is_paused(runtime):
    done = run("agent-strace", "resume", env=environment(runtime))
    assert (done.returncode, done.stdout) == (2, b"") and b"no agent is paused" in done.stderr


def test_several_paused_agents_are_named(spawn, runtime):
    first, _ = spawn()
    second, _ = spawn()
    one = Paused(first, runtime)
    two = armed(second.pid)
    for event in two.events:
        event["session_id"] = two.session = "another"
    run("trace-kill", "--signal", "STOP", input=tripped(two).bytes, env=one.env)
    done = one.resume()
    assert done.returncode == 2 and b"name one: another, " in done.stderr
    assert b"not a paused session" in one.resume("third").stderr
    assert one.resume(SESSION[:8]).returncode == 0
    until(lambda: state(first.pid) == "S", what="its going on")
    assert state(second.pid) == "T"
    one.end()


def test_a_directory_that_others_can_write_is_not_used(spawn, runtime):
    agent, _ = spawn()
    runtime.mkdir(mode=0o777)
    runtime.chmod(0o777)
    done = run(
        "trace-kill --signal STOP", input=tripped(armed(agent.pid)).bytes, env=environment(runtime)
    )
    assert done.returncode == 124 and state(agent.pid) == "T"
    assert b"cannot be recorded" in done.stderr
    assert f"kill -CONT {agent.pid}".encode() in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (["watch", "--max-cost", "5", "--", "claude", "-p", "x"], ["--max-cost", "5"]),
        (["watch", "--strict", "3f6e", "--max-cost=5"], ["--strict", "--max-cost=5"]),
        (["watch", "--all", "--kill-after", "1s"], ["--kill-after", "1s"]),
    ],
)
def test_a_resumption_without_a_watch_becomes_one_with_the_same_options(command, arguments):
    record = PauseRecord("session-1", 2, "1", command=("agent-strace", *command))
    assert watch_arguments(record) == ["watch", *arguments, "session-1"]


def test_a_resumption_without_a_watch_of_its_own_becomes_a_plain_one():
    record = PauseRecord("session-1", 2, "1", command=("trace-kill", "--signal", "STOP"))
    assert watch_arguments(record) == ["watch", "--on-violation", "pause", "session-1"]
