"""Wakings of a follower while nothing happens."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bench.bench import ROOT

EXAMPLE = ROOT / "agent_pipes" / "data" / "examples" / "codex" / "rollout-0.169.jsonl"

SETTLE_S, IDLE_S = 7.0, 4.0
MAX_WAKINGS_PER_S = 2.0
"""One for the safety check of each second, and another for a second that begins elsewhere."""


def wakings(pid: int) -> int:
    """Return how often a process has waited so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


def let_pass(process: subprocess.Popen[bytes], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


@pytest.mark.skipif(sys.platform != "linux", reason="wakings are read from /proc")
def test_a_follower_of_one_file_wakes_once_a_second(tmp_path):
    """Issue 17: wakings need no large corpus, and no quiet machine."""
    file = tmp_path / EXAMPLE.name
    file.write_bytes(EXAMPLE.read_bytes())
    process = subprocess.Popen(
        [ROOT / "bin" / "trace-tail", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        let_pass(process, SETTLE_S)
        before = wakings(process.pid)
        let_pass(process, IDLE_S)
        assert process.poll() is None
        assert wakings(process.pid) - before <= MAX_WAKINGS_PER_S * IDLE_S
    finally:
        process.kill()
        process.wait()
