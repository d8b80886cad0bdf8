"""Latency from the appended line that passes the limit to SIGTERM in the agent's process."""

import json
import os
import select
import subprocess
import sys
import time

from tests.bench.measure import Place

# Waits for SIGTERM and prints when it came.
VICTIM = """
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.write(1, b"ready\\n")
signal.sigwait({signal.SIGTERM})
os.write(1, b"%d\\n" % time.monotonic_ns())
"""

OURS = (
    "trace-tail --pid {pid} {file} 2>/dev/null | trace-detect-retry --max 3 "
    "| trace-kill >/dev/null 2>&1"
)
PEER = (
    "tail -n +1 -F {file} 2>/dev/null | jq -cn --unbuffered 'foreach inputs as $e ({{}};"
    ' if $e.event_type == "tool_call" then .calls[$e.event_id] = $e.data.arguments.command'
    ' elif $e.event_type == "error" then .failed[.calls[$e.parent_id]] += 1 else . end;'
    " select((.failed[.calls[$e.parent_id]] // 0) >= 3) | 1)'"
    " | while read -r line; do kill {pid}; done"
)
SETTLE_S = 1.5
"""Time for all stages to read what is there, and to wait."""

TIMEOUT_S = 20


def measured(place: Place, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from append to signal of each round, ours and the peer's, in turns."""
    ours, peer = [], []
    for number in range(rounds):
        ours.append(_one(OURS, place, number))
        peer.append(_one(PEER, place, number))
    return ours, peer


def in_turns(places: list[Place], rounds: int) -> list[list[float]]:
    """Return the seconds from append to signal of each round, for each place."""
    found: list[list[float]] = [[] for _ in places]
    for number in range(rounds):
        for each, place in zip(found, places, strict=True):
            each.append(_one(OURS, place, number))
    return found


def _one(pipeline: str, place: Place, number: int) -> float:
    file = place.cwd / f"live{number}.ndjson"
    lines = [_line(at, kind) for at in range(3) for kind in ("tool_call", "error")]
    file.write_bytes(b"".join(lines[:-1]))
    victim = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE)
    assert victim.stdout
    victim.stdout.readline()
    breaker = subprocess.Popen(
        ["bash", "-c", pipeline.format(pid=victim.pid, file=file)],
        env=place.environment,
        cwd=place.cwd,
        start_new_session=True,
    )
    try:
        time.sleep(SETTLE_S)
        with file.open("ab") as out:
            begin = time.monotonic_ns()
            out.write(lines[-1])
        if not select.select([victim.stdout], [], [], TIMEOUT_S)[0]:
            raise SystemExit(f"bench: latency: no signal within {TIMEOUT_S} seconds: {pipeline}")
        return (int(victim.stdout.readline()) - begin) / 1e9
    finally:
        victim.kill()
        victim.wait()
        os.killpg(breaker.pid, 9)
        breaker.wait()
        file.unlink()


def _line(at: int, kind: str) -> bytes:
    """Return the `at`th event of the failing command."""
    data: dict[str, object] = (
        {"tool_name": "Bash", "arguments": {"command": "make test"}}
        if kind == "tool_call"
        else {"tool_name": "Bash", "error": "Exit code 2", "exit_code": 2}
    )
    event = {
        "event_type": kind,
        "timestamp": time.time() + at / 1000,
        "event_id": f"{kind}{at}",
        "session_id": "bench",
        "parent_id": f"tool_call{at}",
        "data": data,
    }
    return json.dumps(event).encode() + b"\n"
