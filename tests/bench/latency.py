"""From the line that passes the limit, appended to a live file, to SIGTERM in the process that is meant."""

import json
import os
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

# It waits for SIGTERM as an agent would be hit by it, and says when it came.
VICTIM = """
import os, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.write(1, b"ready\\n")
signal.sigwait({signal.SIGTERM})
os.write(1, b"%d\\n" % time.monotonic_ns())
"""

OURS = "trace-tail --pid {pid} {file} 2>/dev/null | trace-detect-retry --max 3 | trace-kill >/dev/null 2>&1"
PEER = (
    'tail -n +1 -F {file} 2>/dev/null | jq -cn --unbuffered \'foreach inputs as $e ({{}}; if $e.event_type == "tool_call" then'
    ' .calls[$e.event_id] = $e.data.arguments.command elif $e.event_type == "error" then .failed[.calls[$e.parent_id]] += 1 else . end;'
    " select((.failed[.calls[$e.parent_id]] // 0) >= 3) | 1)' | while read -r line; do kill {pid}; done"
)
SETTLED = 1.5
"""Seconds that all stages are given to have read what was there, and to wait."""

PATIENCE = 20


def measured(env: dict[str, str], cwd: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from append to signal, ours and the peer's, in turns."""
    ours, peer = [], []
    for number in range(rounds):
        ours.append(_one(OURS, env, cwd, number))
        peer.append(_one(PEER, env, cwd, number))
    return ours, peer


def _one(pipeline: str, env: dict[str, str], cwd: Path, number: int) -> float:
    file = cwd / f"live{number}.ndjson"
    lines = [_line(at, kind) for at in range(3) for kind in ("tool_call", "error")]
    file.write_bytes(b"".join(lines[:-1]))
    victim = subprocess.Popen([sys.executable, "-c", VICTIM], stdout=subprocess.PIPE)
    assert victim.stdout
    victim.stdout.readline()
    breaker = subprocess.Popen(
        ["bash", "-c", pipeline.format(pid=victim.pid, file=file)],
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        time.sleep(SETTLED)
        with file.open("ab") as out:
            begin = time.monotonic_ns()
            out.write(lines[-1])
        if not select.select([victim.stdout], [], [], PATIENCE)[0]:
            raise SystemExit(f"bench: latency: no signal within {PATIENCE} seconds: {pipeline}")
        return (int(victim.stdout.readline()) - begin) / 1e9
    finally:
        victim.kill()
        victim.wait()
        os.killpg(breaker.pid, 9)
        breaker.wait()
        file.unlink()


def stages(env: dict[str, str], cwd: Path, rounds: int = 9) -> dict[str, float]:
    """Of the stages before trace-kill, the seconds from what each reads to what it writes; medians."""
    file = cwd / "stages.ndjson"
    lines = [_line(at, kind) for at in range(3) for kind in ("tool_call", "error")]
    found: dict[str, list[float]] = {"trace-tail": [], "trace-detect-retry": []}
    for _ in range(rounds):
        file.write_bytes(b"".join(lines[:-1]))
        with subprocess.Popen(
            ["trace-tail", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=cwd,
        ) as tail:
            time.sleep(SETTLED)
            os.read(tail.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            begin = time.monotonic()
            with file.open("ab") as out:
                out.write(lines[-1])
            os.read(tail.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            found["trace-tail"].append(time.monotonic() - begin)
            tail.kill()
        command = ["trace-detect-retry", "--max", "3"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            cwd=cwd,
            bufsize=0,
        ) as detect:
            detect.stdin.write(b"".join(lines[:-1]))  # type: ignore[union-attr]
            time.sleep(SETTLED)
            os.read(detect.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            begin = time.monotonic()
            detect.stdin.write(lines[-1])  # type: ignore[union-attr]
            os.read(detect.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            found["trace-detect-retry"].append(time.monotonic() - begin)
            detect.kill()
    file.unlink()
    return {name: statistics.median(each) for name, each in found.items()}


def _line(at: int, kind: str) -> bytes:
    """The failing command, made or answered, for the `at`th time."""
    data: dict[str, object] = (
        {"tool_name": "Bash", "arguments": {"command": "make test"}}
        if kind == "tool_call"
        else {"tool_name": "Bash", "error": "Exit code 2", "exit_code": 2}
    )
    event = {
        "event_type": kind,
        "timestamp": time.time() - 60 + at,
        "event_id": f"{kind}{at}",
        "session_id": "bench",
        "parent_id": f"tool_call{at}",
        "data": data,
    }
    return json.dumps(event).encode() + b"\n"
