"""Following live sessions: none is lost at a resume, a switch or a second session."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent_pipes.sessions import discovery
from tests.helpers.following import unprivileged
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


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of its own with one project; `claude()` starts an agent, `tail()` follows."""
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
    started: list = []

    class Machine:
        project = tmp_path / "proj"

        def claude(self, session: str = "", cwd: Path | None = None) -> Claude:
            started.append(Claude(tmp_path / "claude", cwd or self.project, session))
            return started[-1]

        def tail(self, *args: object) -> Tail:
            started.append(Tail(*args, env=env))
            return started[-1]

    yield Machine()
    for each in started:
        each.exit() if isinstance(each, Claude) else each.stop()


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


def test_13_6_a_session_of_a_parent_directory_in_the_same_repository_is_one_of_this(machine):
    agent = machine.claude()
    (machine.project / "src" / "deep").mkdir(parents=True)
    os.chdir(machine.project / "src" / "deep")
    assert discovery.sessions_here() == []
    (machine.project / ".git").mkdir()
    assert [each.id for each in discovery.sessions_here()] == [agent.session]
    tail = machine.tail()
    tail.until("history_end", agent.session)
    (machine.project / "src" / ".git").mkdir()
    assert discovery.sessions_here() == []


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


def test_13_12_a_folder_of_sessions_that_cannot_be_read_is_reported_once(monkeypatch, capfd):
    # Modules are imported while they can be read.
    discovery.unreadable_folders()
    with unprivileged() as directory:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(directory))
        folder = directory / "projects" / "-secret"
        folder.mkdir(parents=True)
        assert folder not in discovery.unreadable_folders()
        folder.chmod(0)
        for _ in range(2):
            discovery.sessions(["claude"])
        assert discovery.unreadable_folders(["claude"]) == {folder: "Permission denied"}
        folder.chmod(0o700)
    message = f"{folder}: cannot read (Permission denied); sessions in it are not found"
    assert capfd.readouterr().err.count(message) == 1
