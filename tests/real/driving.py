"""Driving a real client, offline, with the breaker beside it or around it; and what came of it.

The client is started by the harness that lies beside the project, in a network namespace where it can reach nothing
but a scripted model. Everything that it starts has its home directory in the environment: by that it is seen here,
from outside, without asking the breaker.
"""

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.helpers.support import BIN, ENVIRONMENT, SHARED, events_of, until  # noqa: E402

CLIENTS = ("claude", "codex", "gemini", "copilot")

RUN_AGENT = (SHARED / "real" / "run-agent").resolve()

MISSING = [name for name in ("npm", "node", "unshare", "ip", "git") if not shutil.which(name)] + (
    [] if RUN_AGENT.exists() else ["run-agent beside the project"]
)

needs_a_client = pytest.mark.skipif(bool(MISSING), reason=f"not here: {', '.join(MISSING)}")

ARGUMENTS = {"copilot": ("--model", "gpt-5.5")}
"""Settings beside the harness's own: a model that has a price."""

LIMIT = 90
"""Seconds that a client may run."""

PATIENCE = 300
"""Seconds until a client has been fetched and started, the first time."""

POLICY = {"files": {"write": {"deny": ["deploy/**"]}}}

HARNESS = ("stub.py", "timeout", "agent-strace", "breaker", "gate")
"""First words of processes with the client's home that are not the client's."""


@dataclass
class Seen:
    """A process that was seen to run; `ended` in seconds since the epoch, None while it runs."""

    pid: int
    line: list[str]
    ended: float | None = None


class Witness(threading.Thread):
    """Sees the processes that have the client's home in their environment begin and end."""

    def __init__(self, home: Path) -> None:
        super().__init__(daemon=True)
        self.mark = f"HOME={home}".encode()
        self.seen: list[Seen] = []
        self.running: dict[int, Seen] = {}
        self.looks: dict[int, int] = {}
        self.poll = select.poll()
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            for fd, _ in self.poll.poll(20):
                self.running.pop(fd).ended = time.time()
                self.poll.unregister(fd)
                os.close(fd)
            there = {int(name) for name in os.listdir("/proc") if name.isdigit()}
            known = {seen.pid for seen in self.running.values()}
            # Between fork and exec a process has its parent's environment: look more than once.
            self.looks = {pid: self.looks.get(pid, 0) + 1 for pid in there - known}
            for pid in [pid for pid, looks in self.looks.items() if looks <= 10]:
                self.look(pid)
            for seen in self.running.values():
                # A zombie has none any more.
                if line := _read(seen.pid, "cmdline"):
                    seen.line = [os.fsdecode(word) for word in line.split(b"\0")[:4]]
        for fd in self.running:
            os.close(fd)

    def look(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        if self.mark in _read(pid, "environ").split(b"\0"):
            self.running[fd] = Seen(pid, [])
            self.seen.append(self.running[fd])
            self.poll.register(fd, select.POLLIN)
        else:
            os.close(fd)

    def alive(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.ended is None]


def _read(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


@dataclass
class Driven:
    """Result of a run.

    exit:     the status of what was started: of the client, or of the breaker around it.
    status:   the breaker's exit status.
    events:   what the breaker wrote.
    said:     what it said on stderr (and the client, where the breaker was around it).
    requests: when the model was asked, in seconds since the epoch, the client's side requests left out.
    seen:     the client's processes.
    left:     those of them that live on at the end.
    """

    exit: int
    status: int
    events: list[dict]
    said: str
    requests: list[float]
    seen: list[Seen]
    left: list[Seen] = field(default_factory=list)

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["event_type"] == kind]

    @property
    def raised(self) -> list[dict]:
        return [
            event["data"] for event in self.of("violation") if event["data"]["level"] == "critical"
        ]

    @property
    def kill(self) -> dict:
        (kill,) = self.of("kill")
        return kill

    @property
    def trigger(self) -> dict:
        """The violation that was acted on."""
        return next(event for event in self.of("violation") if event["data"]["level"] == "critical")

    @property
    def gone(self) -> float:
        """When the process that was ended was gone, in seconds since the epoch."""
        ended = next(seen.ended for seen in self.seen if seen.pid == self.kill["data"]["pid"])
        assert ended is not None
        return ended

    @property
    def took(self) -> float:
        """Return milliseconds from the violating line's time, else the violation's, to the end."""
        line = next(
            (event for event in self.events if event["event_id"] == self.trigger.get("parent_id")),
            self.trigger,
        )
        return (self.gone - line["timestamp"]) * 1000

    @property
    def in_flight(self) -> list[float]:
        """The requests after the violation."""
        return [at for at in self.requests if at > self.trigger["timestamp"]]

    def __str__(self) -> str:
        return f"exit {self.exit}, breaker {self.status}, {len(self.requests)} requests, left {self.left}\n{self.said}"


def drive(
    client: str,
    scenario: str,
    directory: Path,
    *,
    around: bool,
    limits: Sequence[str] = (),
    after: int = 0,
) -> Driven:
    """Let the client play the scenario in `directory`, with the breaker around it, or beside it.

    limits: what the breaker is told beside `--on-violation kill`.
    after:  requests to the model that the breaker beside it waits for before it is started; 0: it is there first.
    """
    directory = directory.resolve()
    (directory / "proj").mkdir(parents=True)
    (directory / "proj" / ".agent-scope.json").write_text(json.dumps(POLICY))
    if Path(__file__).with_name(f"{scenario}.json").exists():
        # The scenarios that the harness knows lie beside it; ours are named from there.
        scenario = os.path.relpath(
            Path(__file__).with_name(scenario), RUN_AGENT.parent / "scenarios"
        )
    events, said, status = directory / "events.ndjson", directory / "said.txt", directory / "status"
    watch = shlex.join([str(BIN / "agent-strace"), "watch", *limits, "--on-violation", "kill"])
    # Each waits to be let go by a line in its own pipe.
    pipes = {name: directory / f"{name}.go" for name in ("breaker", "gate")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    if around:
        hooked = {"WRAP": _script(directory / "breaker", f'exec {watch} --output {events} -- "$@"')}
    else:
        beside = f'cd "$proj"; read -r _ <{pipes["breaker"]}; timeout -s KILL {LIMIT + 30} {watch} >{events} 2>{said}; echo $? >{status}'
        hooked = {
            "DURING": _script(directory / "breaker", beside),
            "WRAP": _script(directory / "gate", f'read -r _ <{pipes["gate"]}; exec "$@"'),
        }
    witness = Witness(directory / "home")
    witness.start()
    running = subprocess.Popen(
        [RUN_AGENT, client, scenario, directory, "--", *ARGUMENTS.get(client, ())],
        env=ENVIRONMENT | hooked | {"LIMIT": str(LIMIT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        if after and not around:
            _let_go(pipes["gate"])
            until(
                lambda: len(_requests(directory)) >= after or running.poll() is not None,
                PATIENCE,
                "the client's first requests",
            )
            _let_go(pipes["breaker"])
        elif not around:
            _let_go(pipes["breaker"])
            until(
                lambda: said.exists() and "waiting for one" in said.read_text(), 30, "the breaker"
            )
            _let_go(pipes["gate"])
        running.wait(PATIENCE)
        with suppress(AssertionError):
            until(lambda: not witness.alive(), 3)
        left = [seen for seen in witness.alive() if _is_clients(seen)]
    finally:
        witness.done.set()
        witness.join()
        for seen in witness.alive():
            with suppress(ProcessLookupError):
                os.kill(seen.pid, 9)
        if running.poll() is None:
            running.kill()
            running.wait()
    own = int((directory / "exit").read_text())
    output = events.read_bytes() if events.exists() else b""
    people = (
        said.read_text()
        if said.exists()
        else (directory / "stderr.txt").read_text(errors="replace")
    )
    seen = [each for each in witness.seen if _is_clients(each)]
    return Driven(
        own,
        own if around else int(status.read_text()),
        events_of(output),
        people,
        _requests(directory),
        seen,
        left,
    )


def _script(path: Path, words: str) -> str:
    path.write_text(f"#!/bin/bash\n{words}\n")
    path.chmod(0o755)
    return str(path)


def _let_go(pipe: Path) -> None:
    def opened() -> int:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return 0

    fd = until(opened, PATIENCE, f"whoever waits for {pipe.name}")
    os.write(fd, b"\n")
    os.close(fd)


def _is_clients(seen: Seen) -> bool:
    return not any(os.path.basename(word) in HARNESS for word in seen.line[:3])


def _requests(directory: Path) -> list[float]:
    try:
        notes = [json.loads(line) for line in (directory / "stub.log").read_text().splitlines()]
    except (OSError, ValueError):
        return []
    return [note["t"] for note in notes if note.get("main")]
