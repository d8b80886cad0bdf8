"""Self-test: the breaker as users start it, with a stand-in for the agent."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from agent_pipes.checks import Check

TIMEOUT_S = 20.0

FAILURES = 3

STAND_IN = """
import json, os, time
folder = ".agent-traces/self-test"
os.makedirs(folder)
with open(f"{folder}/meta.json", "w") as meta:
    json.dump({"session_id": "self-test", "started_at": time.time()}, meta)
with open(".agent-traces/.active-session", "w") as active:
    active.write("self-test")
with open(f"{folder}/events.ndjson", "a", buffering=1) as events:
    def write(id, kind, parent="", **data):
        event = {"event_type": kind, "timestamp": time.time(), "event_id": id}
        event |= {"session_id": "self-test", "parent_id": parent, "data": data}
        events.write(json.dumps(event) + "\\n")
    write(f"{1:012x}", "session_start", agent="stand-in", cwd=os.getcwd())
    for number in range(2, 300, 2):
        call, answer = f"{number:012x}", f"{number + 1:012x}"
        write(call, "tool_call", tool_name="Bash", arguments={"command": "make test"})
        text = f"Exit code 1 in run {number}"
        write(answer, "error", call, tool_name="Bash", error=text, reason="exit", exit_code=1)
        time.sleep(0.1)
"""
"""An agent whose command fails ten times a second; it exits by itself after 15 s."""


def self_test() -> Iterator[Check]:
    """Check that `watch` kills a stand-in agent that passes a limit, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="agent-pipes-self-test-") as directory:
        began = time.monotonic()
        try:
            done = subprocess.run(
                _command(),
                cwd=directory,
                env=_environment(directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            said = f"watch has not killed a stand-in agent in {TIMEOUT_S:.0f} s"
            yield Check("self-test", "problem", said, {"exit_status": None})
            return
        except OSError as error:
            yield Check("self-test", "warning", f"could not be run: {error}", {"exit_status": None})
            return
        took_s = time.monotonic() - began
    more = {"exit_status": done.returncode, "took_s": round(took_s, 3)}
    if done.returncode == 124:
        said = f"watch killed a stand-in agent at its limit of {FAILURES} failures"
        yield Check("self-test", "ok", f"{said}, {took_s:.1f} s after its start", more)
        return
    last = (done.stderr.splitlines() or ["nothing was printed"])[-1]
    said = f"watch did not kill a stand-in agent (exit status {done.returncode}): {last}"
    yield Check("self-test", "problem", said, more)


def _command() -> list[str]:
    """Return the command line of a watch that starts the stand-in."""
    program = "import sys; from agent_pipes.commands.strace import main; sys.exit(main())"
    limits = ["--max-retries", str(FAILURES), "--on-violation", "kill", "--alert", "terminal"]
    watch = [sys.executable, "-c", program, "watch", *limits]
    return [*watch, "--", sys.executable, "-c", STAND_IN]


def _environment(directory: str) -> dict[str, str]:
    """Return an environment in which only the stand-in's session and no settings are found."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AGENT_", "CLAUDE_", "CODEX_", "COPILOT_", "GEMINI_", "XDG_"))
    }
    return kept | {"HOME": directory, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
