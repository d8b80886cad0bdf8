"""SECURITY.md's advice: the agent runs as another user, and the breaker may signal it."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from agent_pipes.process.table import identify
from tests.helpers.support import start, until

SESSION = "7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03"
NOBODY = 65534


def line(kind: str, number: int, content: object) -> str:
    """A line of Claude Code's transcript."""
    return json.dumps(
        {
            "type": kind,
            "uuid": f"u{number}",
            "sessionId": SESSION,
            "cwd": "/tmp",
            "timestamp": f"2026-11-30T12:00:{number:02}.000Z",
            "version": "2.1.332",
            "message": {"role": kind, "content": content},
        }
    )


def failures(first: int, number: int) -> str:
    lines = []
    for each in range(first, first + 2 * number, 2):
        call = {"type": "tool_use", "id": f"t{each}", "name": "Bash"}
        result = {"type": "tool_result", "tool_use_id": f"t{each}", "is_error": True}
        lines += [
            line("assistant", each, [{**call, "input": {"command": "pytest -q"}}]),
            line("user", each + 1, [{**result, "content": "Exit code 1\nFAILED"}]),
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be the breaker of another user")
def test_13_13_a_breaker_of_root_ends_an_agent_of_another_user(tmp_path):
    """Issue 13, number 13."""
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001 and folder.owner() == "root":
            folder.chmod(folder.stat().st_mode | 0o011)
    home, work = tmp_path / "home", tmp_path / "work"
    project = home / ".claude" / "projects" / "-work"
    project.mkdir(parents=True)
    work.mkdir()
    script = tmp_path / "claude"
    script.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    script.chmod(0o755)
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    agent = subprocess.Popen(
        [python, "-S", str(script)],
        cwd=work,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        stdout=subprocess.PIPE,
    )
    try:
        agent.stdout.readline()
        transcript = project / f"{SESSION}.jsonl"
        transcript.write_text(failures(0, 1).replace('"/tmp"', json.dumps(str(work))))
        entry = home / ".claude" / "sessions" / f"{agent.pid}.json"
        entry.parent.mkdir()
        entry.write_text(
            json.dumps(
                {
                    "pid": agent.pid,
                    "sessionId": SESSION,
                    "cwd": str(work),
                    "startedAt": 1795359278000,
                    "procStart": identify(agent.pid).started,
                }
            )
        )
        for path in (home, *home.rglob("*"), work):
            os.chown(path, NOBODY, NOBODY)
        words = ["watch", SESSION, "--max-retries", "3", "--on-violation", "kill"]
        environment = {"HOME": str(home)}
        with start("agent-strace", *words, env=environment, cwd=work) as breaker:
            until(lambda: b"onitoring" in breaker.stderr.readline(), what="the breaker's start")
            with transcript.open("a") as file:
                file.write(failures(2, 3).replace('"/tmp"', json.dumps(str(work))))
            assert agent.wait(20) == -signal.SIGTERM
            assert breaker.wait(20) == 124
    finally:
        agent.kill()
        agent.wait()
