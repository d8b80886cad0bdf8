"""A machine of its own: stand-ins of Claude Code whose sessions a test writes, and trace-tail."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.helpers.support import STANDINS, start, until

WAIT_S = 20


class Claude:
    """A stand-in process of Claude Code whose sessions the test writes."""

    def __init__(self, config: Path, cwd: Path, session: str = "") -> None:
        self.cwd = cwd
        self._config = config
        self._process = subprocess.Popen(
            [sys.executable, str(STANDINS / "claude"), "--scenario", "silent", "--pause", "300"],
            cwd=cwd,
            env=os.environ | {"CLAUDE_CONFIG_DIR": str(config)},
        )
        self._entry = config / "sessions" / f"{self._process.pid}.json"
        until(lambda: self._entry.exists() and self._entry.read_text(), what="the registry")
        self.session = json.loads(self._entry.read_text())["sessionId"]
        until(lambda: self.transcript.exists() and self.transcript.stat().st_size, what="a prompt")
        if session:
            self.transcript.unlink()
            self.switch(session)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def transcript(self) -> Path:
        (folder,) = (
            each
            for each in (self._config / "projects").iterdir()
            if each.name == str(self.cwd).translate(str.maketrans("/_.", "---"))
        )
        return folder / f"{self.session}.jsonl"

    def switch(self, session: str) -> None:
        """Go on with another session, as /clear and /resume do."""
        self.say(sessionId=session)
        self.session = session

    def say(self, **state: str) -> None:
        """Write the client's state into its registry entry."""
        entry = json.loads(self._entry.read_text()) | state
        other = self._entry.with_suffix(".tmp")
        other.write_text(json.dumps(entry))
        other.rename(self._entry)

    def prompt(self, text: str) -> None:
        """Append a prompt to the session's transcript."""
        line = {
            "type": "user",
            "uuid": str(uuid.uuid4()),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "sessionId": self.session,
            "cwd": str(self.cwd),
            "version": "2.1.332",
            "message": {"role": "user", "content": text},
        }
        with self.transcript.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def exit(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._entry.unlink(missing_ok=True)


class Tail:
    """A running trace-tail and its events, which a thread reads."""

    def __init__(self, *args: object, env: dict[str, str]) -> None:
        self.process = start("trace-tail", *args, env=env)
        self.events: list[dict] = []
        self._queue: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._queue.put(json.loads(line))

    def until(self, kind: str, session: str, text: str = "") -> dict:
        """Return the next event of this type and session whose data contain `text`."""
        deadline = time.monotonic() + WAIT_S
        while True:
            event = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            self.events.append(event)
            if (
                event["event_type"] == kind
                and event["session_id"] == session
                and text in json.dumps(event["data"])
            ):
                return event

    def stop(self) -> str:
        """End trace-tail and return its stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)
        return self.process.stderr.read().decode()


@contextmanager
def live_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Machine"]:
    """Yield a machine with one project; `claude()` starts an agent, `tail()` follows."""
    for name in ("home", "claude", "proj"):
        (tmp_path / name).mkdir()
    env = {
        "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"),
        "CODEX_HOME": str(tmp_path / "codex"),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "proj")

    machine = Machine(tmp_path, env)
    yield machine
    for each in machine.started:
        each.exit() if isinstance(each, Claude) else each.stop()


class Machine:
    """A home, a project, and what was started in them."""

    def __init__(self, root: Path, env: dict[str, str]) -> None:
        self.root = root
        self.project = root / "proj"
        self.env = env
        self.started: list[Claude | Tail] = []

    def claude(self, session: str = "", cwd: Path | None = None) -> Claude:
        """Start an agent in the project or in `cwd`, in a new session or in the one named."""
        agent = Claude(self.root / "claude", cwd or self.project, session)
        self.started.append(agent)
        return agent

    def tail(self, *args: object) -> Tail:
        """Start trace-tail in the current directory."""
        tail = Tail(*args, env=self.env)
        self.started.append(tail)
        return tail
