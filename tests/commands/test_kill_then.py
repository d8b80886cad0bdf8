"""trace-kill --then: a command of the user's learns why, and how to go on (issue 20, 5)."""

import json
import os
import sys

import pytest

from tests.commands.test_kill import armed, spawn, tripped
from tests.helpers.support import SESSION, Stream, run

__all__ = ["spawn"]


@pytest.fixture
def told(tmp_path):
    """A command that keeps what it reads, and what it was told."""
    script = tmp_path / "then.py"
    script.write_text(
        "import pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())\n"
        "print('and so on')\n"
    )
    path = tmp_path / "why it is.json"

    def read() -> dict:
        return json.loads(path.read_text())

    read.command = f"{sys.executable} {script} '{path}'"
    return read


def worked(stream: Stream) -> Stream:
    stream.add("session_start", {"agent": "claude", "cwd": "/work"})
    stream.call("Write", {"file_path": "/srv/app/a.py", "content": "x" * 5000})
    stream.call("apply_patch", {"input": "*** Begin Patch\n*** Update File: b.py\n@@\n"})
    stream.spiral(12)
    stream.add("llm_response", {"model": "m", "cost": {"usd": 0.5, "session_usd": 1.25}})
    return stream


def test_the_command_is_told_why_and_how_to_go_on(spawn, told):
    agent, _ = spawn()
    stream = tripped(worked(armed(agent.pid)), hint="--max-retries 5")
    done = run("trace-kill", "--then", told.command, input=stream.bytes)
    assert done.returncode == 124 and b"and so on" in done.stderr
    found = told()
    assert (found["session"], found["agent"], found["cwd"]) == (SESSION, "claude", "/work")
    assert found["violation"]["message"] == "failed 3 times"
    assert found["kill"]["outcome"] == "terminated" and found["usd"] == 1.25
    assert found["files"] == ["/srv/app/a.py", "b.py"]
    assert found["resume"] == f"claude --resume {SESSION}"
    assert len(found["calls"]) == 10 and found["calls"][-1] == {
        "tool": "Bash",
        "arguments": {"command": "python -m pytest"},
        "outcome": "failed",
        "result": "Exit code 1\nFAILED test_app.py",
    }
    assert found["hint"].startswith("failed 3 times. Stop repeating it")


def test_only_this_run_is_told_of(spawn, told):
    agent, _ = spawn()
    stream = worked(armed(agent.pid))
    stream.add("session_start", {"agent": "claude", "cwd": "/work", "resumed": True}, after=86400)
    stream.call("Write", {"file_path": "new.py", "content": ""})
    assert run("trace-kill", "--then", told.command, input=tripped(stream).bytes).returncode == 124
    assert told()["files"] == ["new.py"] and len(told()["calls"]) == 1


def test_a_paused_agent_is_resumed_by_us(spawn, told, tmp_path):
    agent, _ = spawn()
    os.makedirs(tmp_path / "run", mode=0o700)
    done = run(
        "trace-kill --signal STOP --then",
        told.command,
        input=tripped(armed(agent.pid)).bytes,
        env={"XDG_RUNTIME_DIR": str(tmp_path / "run")},
    )
    assert done.returncode == 124
    assert told()["resume"] == f"agent-strace resume {SESSION}"


def test_a_trial_runs_nothing(spawn, told, tmp_path):
    agent, _ = spawn()
    stream = tripped(armed(agent.pid))
    run("trace-kill", "--dry-run", "--then", told.command, input=stream.bytes)
    assert not list(tmp_path.glob("*.json"))


def test_no_shell_reads_the_command(spawn, tmp_path):
    agent, _ = spawn()
    words = f"touch {tmp_path}/a;b $HOME"
    run("trace-kill", "--then", words, input=tripped(armed(agent.pid)).bytes, cwd=tmp_path)
    assert (tmp_path / "a;b").exists() and (tmp_path / "$HOME").exists()


@pytest.mark.parametrize("command", ["", "no-such-program x", "unclosed 'quote"])
def test_a_command_that_cannot_be_run_stops_the_start(spawn, command):
    done = run("trace-kill", "--then", command, input=b"")
    assert done.returncode == 2 and b"--then" in done.stderr


def test_a_command_that_fails_changes_no_status_and_is_reported(spawn):
    agent, _ = spawn()
    done = run("trace-kill", "--then", "false", input=tripped(armed(agent.pid)).bytes)
    assert done.returncode == 124 and b"--then false: exited with status 1" in done.stderr
