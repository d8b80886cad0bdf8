"""make bench-profile: where the time of each stage goes, by a sample of what runs, taken each millisecond of processor time.

A sample counts for the function of ours that runs or has called what runs. Sampling hardly slows what it looks at, so
that the microseconds an event are those of the benchmark.

    BENCH_EVENTS   events (200,000)
"""

import collections
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.bench.trace import POLICY  # noqa: E402

EVENTS = int(os.environ.get("BENCH_EVENTS", 200_000))
INTERVAL = 0.001
SHOWN = 12

COMMANDS = {
    **{
        f"trace-detect-{name}": f"agent_pipes.detect_{name}"
        for name in ("retry", "loop", "cost", "duration", "stall", "scope")
    },
    "trace-cost": "agent_pipes.commands.cost",
    "trace-kill": "agent_pipes.commands.kill",
    "trace-alert": "agent_pipes.commands.alert",
    "trace-tail": "agent_pipes.commands.tail",
    "agent-strace watch": "agent_pipes.commands.strace",
}


def sampled(command: str, module: str, file: str) -> None:
    """Run the command here, on the events in `file`, and say on stderr where its time went."""
    ours = str(ROOT / "agent_pipes")
    seen: collections.Counter[str] = collections.Counter()

    def sample(number: int, frame: FrameType | None) -> None:
        while frame and not frame.f_code.co_filename.startswith(ours):
            frame = frame.f_back
        seen[
            "the interpreter"
            if frame is None
            else f"{Path(frame.f_code.co_filename).relative_to(ours)} {frame.f_code.co_qualname}"
        ] += 1

    sys.argv = [*command.split()]
    if command in ("trace-tail", "agent-strace watch"):
        sys.argv += ["--no-follow", file]
    main = importlib.import_module(module).main
    out = os.dup(2)
    os.dup2(os.open(file, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    begin = time.process_time()
    try:
        main()
    except SystemExit:
        pass
    taken = time.process_time() - begin
    signal.setitimer(signal.ITIMER_PROF, 0)
    lines = [f"\n{command}: {taken / EVENTS * 1e6:.1f} µs an event"]
    whole = sum(seen.values())
    lines += [f"  {count / whole:6.1%}  {place}" for place, count in seen.most_common(SHOWN)]
    os.write(out, ("\n".join(lines) + "\n").encode())


def main() -> None:
    if len(sys.argv) > 1:
        sampled(*sys.argv[1:4])
        return
    with tempfile.TemporaryDirectory(prefix="agent-pipes-profile-") as folder:
        file = Path(folder) / "trace.ndjson"
        with file.open("wb") as out:
            subprocess.run(
                [sys.executable, str(Path(__file__).with_name("trace.py")), str(EVENTS)],
                stdout=out,
                check=True,
            )
        (Path(folder) / ".agent-scope.json").write_text(POLICY)
        for command, module in COMMANDS.items():
            env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": folder}
            subprocess.run(
                [sys.executable, __file__, command, module, str(file)],
                env=env,
                cwd=folder,
                check=False,
            )


if __name__ == "__main__":
    main()
