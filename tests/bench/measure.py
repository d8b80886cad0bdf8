"""Measurements: processor time, wall clock and memory of commands, medians of turns."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Taken(NamedTuple):
    """Processor seconds and wall-clock seconds of a command with its children, and bytes of RSS."""

    cpu: float
    wall: float
    rss: int


@dataclass(frozen=True)
class Place:
    """A checkout to measure, and the home and working directory that its commands see."""

    checkout: Path
    home: Path
    cwd: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables for its commands: no settings of ours, its own programs first in PATH."""
        unwanted = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "CODEX_HOME")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in unwanted and not name.startswith(("AGENT_", "CLAUDE"))
        }
        path = f"{self.checkout / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return kept | {"PATH": path, "HOME": str(self.home)}


def run(command: str, place: Place) -> Taken:
    """Run a shell command to its end. Ends the benchmark if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        ["bash", "-c", command],
        env=place.environment,
        cwd=place.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # A stage whose reader has had enough (head) dies of SIGPIPE.
    if process.returncode not in (0, 1, 128 + signal.SIGPIPE):
        raise SystemExit(f"bench: {command}: exit status {process.returncode}")
    cpu = usage.ru_utime + usage.ru_stime
    return Taken(cpu, time.perf_counter() - began, usage.ru_maxrss * 1024)


def in_turns(commands: Sequence[tuple[str, Place]], rounds: int) -> list[Taken]:
    """Return the medians of each command; the first round only warms the caches."""
    taken: list[list[Taken]] = [[] for _ in commands]
    for number in range(rounds + 1):
        for each, (command, place) in zip(taken, commands, strict=True):
            found = run(command, place)
            if number or not rounds:
                each.append(found)
    return [
        Taken(*(statistics.median(column) for column in zip(*each, strict=True))) for each in taken
    ]


def first_line_s(command: str, place: Place, text: str) -> float:
    """Return the seconds from the start of a command to its first line on stderr with `text`."""
    began = time.perf_counter()
    process = _started(command, place, stderr=subprocess.PIPE)
    assert process.stderr
    try:
        while text not in (line := process.stderr.readline().decode()):
            if not line:
                raise SystemExit(f"bench: {command}: no line with {text!r}")
        return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def share_of_a_core(command: str, place: Place, settle_s: float, during_s: float) -> float:
    """Return the part of a core that a command takes, from `settle_s` after its start on."""
    process = _started(command, place, stderr=subprocess.DEVNULL)
    try:
        time.sleep(settle_s)
        before = _cpu_s(process.pid)
        time.sleep(during_s)
        return (_cpu_s(process.pid) - before) / during_s
    finally:
        process.kill()
        process.wait()


def _started(command: str, place: Place, *, stderr: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        env=place.environment,
        cwd=place.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


def _cpu_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
