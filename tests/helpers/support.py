"""Helpers for all tests: commands as users run them, streams to feed them, bounded waits."""

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "bin"
FIXTURES = ROOT / "agent_pipes" / "data" / "examples"
STANDINS = ROOT / "tests" / "standin"
SHARED = Path(os.environ.get("AGENT_PIPES_SHARED") or ROOT.parent / "shared")
"""Recorded sessions beside the project; a test that needs them is skipped without them."""

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

FOREIGN_VARIABLES = (
    "PYTHONUNBUFFERED",  # would hide a missing flush
    "AGENT_PIPES_WEBHOOK",
    "AGENT_TRACE_DIR",
    "AGENT_STRACE_WORKSPACE",
    "CLAUDE_PROJECT_DIR",
    "GEMINI_PROJECT_DIR",
)
"""Variables of whoever runs the tests, which these must not see."""

ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in FOREIGN_VARIABLES}

SESSION = "3f6e2c1a-9b7d-4e10-8a52-6d1c0f9be771"
START = 1_795_359_278.0


def command(line: str, *args: object) -> list[str]:
    """Return the words of a command: its name, and arguments without blanks, are in `line`."""
    name, *words = line.split(" ")
    # The Python of the tests has the packages, whatever PATH contains.
    return [sys.executable, str(BIN / name), *words, *map(str, args)]


def run(
    line: str, *args: object, input: bytes | str = b"", env: dict[str, str] | None = None, **more
) -> subprocess.CompletedProcess:
    """Run a command to its end on `input`; outputs are bytes."""
    data = input.encode() if isinstance(input, str) else input
    return subprocess.run(
        command(line, *args),
        input=data,
        capture_output=True,
        env=ENVIRONMENT | (env or {}),
        timeout=60,
        **more,
    )


def start(line: str, *args: object, env: dict[str, str] | None = None, **more) -> subprocess.Popen:
    """Start a command with pipes on stdin, stdout and stderr, unless told otherwise."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(line, *args), env=ENVIRONMENT | (env or {}), **(pipes | more))


def until(
    condition: Callable[[], object], seconds: float = 20.0, what: str = "the condition"
) -> object:
    """Return the value of `condition` as soon as it is true; fail if it does not become so."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about within {seconds} s"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return value


def gone(pid: int) -> bool:
    """Return True if the process has ended; a zombie has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


class Stream:
    """Builds a stream of events, a second apart."""

    def __init__(self, session: str = SESSION, at: float = START) -> None:
        self.session = session
        self.time = at
        # Streams that begin at different times have different ids: what comes twice counts once.
        self.number = 0 if at == START else round(at) % 10**8 * 10
        self.events: list[dict] = []

    def add(
        self,
        event_type: str,
        data: dict | None = None,
        *,
        id: str = "",
        parent: str = "",
        after: float = 1.0,
    ) -> str:
        self.number += 1
        self.time = round(self.time + after, 3)
        event = {
            "event_type": event_type,
            "timestamp": self.time,
            "event_id": id or f"{self.session[:4]}{self.number:04d}",
            "session_id": self.session,
        }
        if parent:
            event["parent_id"] = parent
        event["data"] = data or {}
        self.events.append(event)
        return event["event_id"]

    def call(
        self,
        tool: str,
        arguments: dict,
        result: str = "ok",
        *,
        failed: bool = False,
        reason: str = "exit",
        **data: object,
    ) -> "Stream":
        call = self.add("tool_call", {"tool_name": tool, "arguments": arguments, **data})
        if failed:
            self.add(
                "error",
                {"tool_name": tool, "error": result, "reason": reason, "exit_code": 1, **data},
                parent=call,
            )
        else:
            self.add("tool_result", {"tool_name": tool, "result": result, **data}, parent=call)
        return self

    def bash(
        self, command: str, result: str = "ok", *, failed: bool = False, **data: object
    ) -> "Stream":
        return self.call("Bash", {"command": command}, result, failed=failed, **data)

    def spiral(self, times: int, command: str = "python -m pytest") -> "Stream":
        for _ in range(times):
            self.bash(command, "Exit code 1\nFAILED test_app.py", failed=True)
        return self

    @property
    def bytes(self) -> bytes:
        return b"".join(
            json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in self.events
        )


def events_of(output: bytes, kind: str = "") -> list[dict]:
    """The events on an output, or those of one type."""
    events = [json.loads(line) for line in output.splitlines() if line.strip()]
    return [event for event in events if not kind or event.get("event_type") == kind]


def violations(output: bytes) -> list[dict]:
    return [event["data"] for event in events_of(output, "violation")]


def shared_files(*patterns: str) -> Iterable[Path]:
    return sorted(path for pattern in patterns for path in SHARED.glob(pattern))
