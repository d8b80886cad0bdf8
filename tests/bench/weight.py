"""How much memory the preset takes, and how much processor time a follower that has nothing to do."""

import os
import subprocess
import time
from pathlib import Path

from tests.bench.trace import events

SAMPLES = 40
SETTLED = 8.0
"""Seconds in which it looks often for the process that works in the session, before it takes it that there is none."""

IDLE = 20.0
"""Seconds for which a follower is watched that has nothing to do."""


def resident(
    env: dict[str, str], cwd: Path, count: int, sessions: int
) -> tuple[int, list[tuple[int, int]]]:
    """Bytes that `agent-strace watch` holds after `count` events, and what it held on its way: after how many, how much."""
    file = cwd / "long.ndjson"
    with file.open("wb") as out:
        out.writelines(events(count, sessions))
    watch = subprocess.Popen(
        ["agent-strace", "watch", "--no-follow", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
        cwd=cwd,
        bufsize=1 << 20,
    )
    assert watch.stdout
    seen, samples = 0, []
    try:
        while chunk := os.read(watch.stdout.fileno(), 1 << 20):
            before, seen = seen, seen + chunk.count(b"\n")
            if before * SAMPLES // count != seen * SAMPLES // count:
                samples.append((seen, _held(watch.pid)))
    finally:
        watch.kill()
        watch.wait()
        file.unlink()
    return samples[-1][1], samples


def _held(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def idle(env: dict[str, str], cwd: Path) -> tuple[float, float]:
    """Which part of a core `trace-tail` and `tail -F` take while nothing comes."""
    file = cwd / "quiet.ndjson"
    file.write_bytes(b"".join(events(100)))
    found = []
    for command in (["trace-tail", str(file)], ["tail", "-n", "+1", "-F", str(file)]):
        follower = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, cwd=cwd
        )
        assert follower.stdout
        for _ in range(100):
            follower.stdout.readline()
        time.sleep(SETTLED)
        before = _used(follower.pid)
        time.sleep(IDLE)
        found.append((_used(follower.pid) - before) / IDLE)
        follower.kill()
        follower.wait()
    return found[0], found[1]


def _used(pid: int) -> float:
    """Seconds of processor time of all its threads."""
    return (
        sum(
            int((task / "schedstat").read_text().split()[0])
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
        / 1e9
    )
