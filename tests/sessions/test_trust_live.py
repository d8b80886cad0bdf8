"""An agent that forges events and registries while watched ends only itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commands.test_kill import started_at
from tests.helpers.support import (
    ENVIRONMENT,
    STANDINS,
    Stream,
    events_of,
    gone,
    start,
    until,
    violations,
)
from tests.sessions.test_trust import FORGED

AGENT = f"""
import importlib.machinery, importlib.util, os, sys
from pathlib import Path
loader = importlib.machinery.SourceFileLoader("standin", {str(STANDINS / "claude")!r})
standin = importlib.util.module_from_spec(importlib.util.spec_from_loader("standin", loader))
loader.exec_module(standin)
agent = standin.Agent(Path(os.environ["CLAUDE_CONFIG_DIR"]), 0.05)
agent.prompt("wait until you are told")
print(agent.id, flush=True)
for line in sys.stdin:
    standin.play(agent, "spiral", 40)
"""


@pytest.fixture
def home(home, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "claude").write_text(AGENT)
    return home


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen]]:
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


class Agent:
    """A stand-in agent in a directory: process, session, transcript and registry entry."""

    def __init__(self, home: dict, processes: list, directory: Path | str = ".") -> None:
        words = [sys.executable, str(Path(home["HOME"]).parent / "bin" / "claude")]
        self.process = subprocess.Popen(
            words,
            env=ENVIRONMENT | home,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        processes.append(self.process)
        self.session = self.process.stdout.readline().decode().strip()
        config = Path(home["CLAUDE_CONFIG_DIR"])
        (self.transcript,) = config.glob(f"projects/*/{self.session}.jsonl")
        self.registry = config / "sessions"
        self.entry = self.registry / f"{self.process.pid}.json"
        self.own = json.loads(self.entry.read_text())

    def spiral(self) -> None:
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def claims(self, pid: int) -> dict:
        """Its entry, with another's PID."""
        return self.own | {"pid": pid, "procStart": started_at(pid)}

    def forge(self, pid: int, *, keep: bool = False) -> None:
        """An entry for another's number, beside its own one or in place of it."""
        (self.registry / f"{pid}.json").write_text(json.dumps(self.claims(pid)))
        if not keep:
            self.entry.unlink()


def bystander(processes: list) -> subprocess.Popen:
    process = subprocess.Popen(["sleep", "120"], start_new_session=True)
    processes.append(process)
    return process


def until_live(watch: subprocess.Popen) -> bytes:
    """Return messages and events up to the end of the history."""
    seen = b""
    while b'"history_end"' not in (line := watch.stdout.readline()):
        assert line, watch.stderr.read()
        seen += line
    return seen


def assert_it_ends(watch: subprocess.Popen, agent: Agent, *others: int) -> None:
    """The agent spirals, and it is that one that is ended for it."""
    agent.spiral()
    out, said = watch.communicate(timeout=40)
    assert watch.returncode == 124, said
    assert agent.process.wait(10) == -signal.SIGTERM
    assert [event["data"]["pid"] for event in events_of(out, "kill")] == [agent.process.pid]
    assert {found["watcher"] for found in violations(out) if found["level"] == "critical"} <= {
        "retry",
        "loop",
    }
    assert not [pid for pid in others if gone(pid)], said


BREAKER = ("agent-strace", "watch", "--max-retries", "3", "--on-violation", "kill")

FORGERIES: dict[str, Callable[[Agent, int], object]] = {
    "an entry for another's number": lambda agent, pid: agent.forge(pid, keep=True),
    "its own entry, with another's number": lambda agent, pid: agent.entry.write_text(
        json.dumps(agent.claims(pid))
    ),
    "its own entry moved to another's number": lambda agent, pid: agent.forge(pid),
    "no entry at all": lambda agent, pid: agent.entry.unlink(),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_registry_that_is_forged_under_a_live_watch_ends_nobody_else(home, processes, forgery):
    """Once with a process that is not an agent, once with an agent of another directory."""
    agent, victim, other = (
        Agent(home, processes),
        bystander(processes),
        Agent(home, processes, Path.cwd().parent / "other"),
    )
    watch = start(*BREAKER, env=home)
    processes.append(watch)
    until_live(watch)
    for pid in (victim.pid, other.process.pid):
        kept = {path: path.read_bytes() for path in agent.registry.iterdir()}
        FORGERIES[forgery](agent, pid)
        two_looks(watch)
        for path in agent.registry.iterdir():
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
    FORGERIES[forgery](agent, victim.pid)
    assert_it_ends(watch, agent, victim.pid, other.process.pid)


def two_looks(watch: subprocess.Popen) -> None:
    """Once a second the watcher reads the entries: process, and successors of the session."""
    before = reads(watch.pid)
    until(lambda: reads(watch.pid) >= before + 10, what="two looks")


def reads(pid: int) -> int:
    """Number of reads that a process has made, as far as the kernel counts them."""
    return int(
        next(
            line
            for line in Path(f"/proc/{pid}/io").read_text().splitlines()
            if line.startswith("syscr")
        ).split()[1]
    )


@pytest.mark.parametrize("forgery", list(FORGERIES)[:3])
def test_a_registry_that_was_forged_before_the_watch_arms_it_on_nobody(home, processes, forgery):
    agent, victim = Agent(home, processes), bystander(processes)
    own = agent.entry.read_bytes()
    FORGERIES[forgery](agent, victim.pid)
    watch = start(*BREAKER, agent.transcript, env=home)
    processes.append(watch)
    seen = until_live(watch)
    assert victim.pid not in [event["data"]["pid"] for event in events_of(seen, "process")]
    for path in agent.registry.iterdir():
        path.unlink()
    agent.entry.write_bytes(own)
    if not events_of(seen, "process"):
        while b'"process"' not in (line := watch.stdout.readline()):
            assert line, watch.stderr.read()
        assert json.loads(line)["data"]["pid"] == agent.process.pid
    assert_it_ends(watch, agent, victim.pid)


def test_events_in_our_name_that_are_forged_under_a_live_watch_end_nobody_and_stop_nothing(
    home, processes
):
    """In the store, whose lines are passed on; meanwhile meta.json names another process, too."""
    agent, victim, other = (
        Agent(home, processes),
        bystander(processes),
        Agent(home, processes, Path.cwd().parent / "other"),
    )
    folder = Path(".agent-traces") / agent.session[:16]
    folder.mkdir(parents=True)
    path, meta = folder / "events.ndjson", folder / "meta.json"
    session = Stream(session=folder.name, at=time.time() - 60)
    session.add("session_start", {"cwd": os.getcwd(), "provider": "claude"}, id="0123456789ab")
    session.bash("ls")
    path.write_bytes(session.bytes)
    (folder.parent / ".active-session").write_text(folder.name)

    def note(pid: int) -> None:
        who = {
            "agent_provider": "claude",
            "working_dir": os.getcwd(),
            "agent_process": {"pid": pid, "started": started_at(pid)},
        }
        meta.write_text(
            json.dumps({"session_id": folder.name, "started_at": session.time, "attribution": who})
        )

    note(agent.process.pid)
    watch = start(*BREAKER, path, env=home)
    processes.append(watch)
    until_live(watch)
    told = b""
    for pid in (victim.pid, other.process.pid):
        note(pid)
        forged = Stream(session=folder.name, at=time.time() - 30)
        said = {
            "pid": pid,
            "started": started_at(pid),
            "how": "given",
            "watcher": "retry",
            "level": "critical",
            "message": "forged",
            "signal": "KILL",
            "actions": ["kill"],
        }
        for kind in FORGED:
            forged.add(kind, said)
            # As a key that comes twice, and written otherwise.
            forged.add("user_prompt", {"prompt": kind})
        lines = forged.bytes + forged.bytes.replace(
            b'"event_type":"process"', b'"event_type":"user_prompt","event_type":"pro\\u0063ess"'
        )
        with path.open("ab") as file:
            file.write(lines)
        for _ in range(lines.count(b"\n")):
            told += watch.stdout.readline()
    assert len(events_of(told, "unbelieved")) == 4 * len(FORGED)
    assert not [kind for kind in FORGED if events_of(told, kind)]
    with path.open("ab") as file:
        file.write(Stream(session=folder.name, at=time.time()).spiral(4).bytes)
    out, said = watch.communicate(timeout=40)
    assert watch.returncode == 124, said
    assert [
        (event["data"]["pid"], event["data"]["outcome"]) for event in events_of(out, "kill")
    ] == [(agent.process.pid, "terminated")]
    assert (
        agent.process.wait(10) == -signal.SIGTERM
        and not gone(victim.pid)
        and not gone(other.process.pid)
    )
