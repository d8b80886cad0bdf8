"""make bench: how fast and how light this is, each figure beside that of a peer, on this machine, in this run.

Peers and we take turns, several rounds; what is compared is the median. The table goes to stdout and to tests/bench/results.md.

    BENCH_EVENTS   events of the throughput rows (1,000,000)
    BENCH_MEMORY   events of the memory rows (10,000,000)
    BENCH_ROUNDS   rounds (5)
    BENCH_ONLY     the rows to measure, by their first word: throughput, preset, pipeline, latency, start, first, memory, idle
"""

import datetime
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
HERE = Path(__file__).resolve().parent

import tomllib  # noqa: E402

from tests.bench import latency, weight  # noqa: E402
from tests.bench.trace import POLICY, events  # noqa: E402

EVENTS = int(os.environ.get("BENCH_EVENTS", 1_000_000))
MEMORY = int(os.environ.get("BENCH_MEMORY", 10_000_000))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
DETECTORS = ("retry", "loop", "cost", "duration", "stall", "scope")
START_ROUNDS = 25


class Row(NamedTuple):
    """A line of the table: what was measured, beside what, both figures, and whether the target was met."""

    what: str
    ours: str
    peer: str
    reached: str
    target: str
    met: bool


def scripts(where: Path) -> Path:
    """The commands as pip installs them: a script each, that calls its function."""
    where.mkdir()
    with open(ROOT / "pyproject.toml", "rb") as file:
        entries = tomllib.load(file)["project"]["scripts"]
    for name, target in entries.items():
        module, function = target.split(":")
        script = where / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        script.chmod(0o755)
    return where


def environment(folder: Path) -> dict[str, str]:
    """What the commands run in: modules compiled beforehand, as an installed package's are, and buffering as users have it."""
    unwanted = (
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "AGENT_PIPES_WEBHOOK",
        "AGENT_TRACE_DIR",
    )
    found = {name: value for name, value in os.environ.items() if name not in unwanted}
    found.update(
        PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        PYTHONPYCACHEPREFIX=str(folder / "pyc"),
        HOME=str(folder / "home"),
    )
    (folder / "home").mkdir()
    return found


def seconds(command: str, env: dict[str, str], cwd: Path) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=env,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    taken = time.perf_counter() - begin
    # A stage whose reader has had enough (head) dies of SIGPIPE.
    if done.returncode not in (0, 1, 128 + signal.SIGPIPE):
        sys.exit(
            f"bench: {command}: exit status {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
        )
    return taken


def medians(
    commands: Sequence[str], env: dict[str, str], cwd: Path, rounds: int = ROUNDS
) -> list[float]:
    """Of each command the median time, in seconds. They take turns; the first round warms caches and is not counted."""
    taken: list[list[float]] = [[] for _ in commands]
    for number in range(rounds + 1):
        for each, command in zip(taken, commands, strict=True):
            found = seconds(command, env, cwd)
            if number:
                each.append(found)
    return [statistics.median(each) for each in taken]


def faster(what: str, ours: float, peer: float, name: str, least: float) -> Row:
    ratio = peer / ours
    return Row(
        what, rate(ours), f"{rate(peer)} {name}", f"{ratio:.2f} ×", f"≥ {least:g} ×", ratio >= least
    )


def rate(taken: float) -> str:
    return f"{EVENTS / taken / 1000:,.0f} k events/s"


def throughput(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    commands = [
        f"jq -c . < {file} | cat",
        *(f"trace-detect-{name} < {file} | cat" for name in DETECTORS),
    ]
    peer, *ours = medians(commands, env, cwd)
    for name, taken in zip(DETECTORS, ours, strict=True):
        yield faster(
            f"`trace-detect-{name}`, {EVENTS:,} events, file to pipe", taken, peer, "`jq -c .`", 12
        )


def preset(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    peer, ours = medians(
        [f"jq -c . < {file} | cat", f"agent-strace watch --no-follow {file} | cat"],
        env,
        cwd,
        max(1, ROUNDS // 2),
    )
    yield faster("`agent-strace watch --no-follow`, every detector", ours, peer, "`jq -c .`", 5)


def pipeline(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    mine = f"trace-tail --no-follow {file} | trace-cost | trace-detect-retry | trace-detect-cost --max 100000 | trace-alert | cat"
    peer, ours = medians(
        [f"jq -cn --argjson max 100000 -f {HERE / 'peers.jq'} {file} | cat", mine],
        env,
        cwd,
        max(1, ROUNDS // 2),
    )
    yield faster(
        "`trace-tail \\| trace-cost \\| trace-detect-retry \\| trace-detect-cost \\| trace-alert`",
        ours,
        peer,
        "one jq program",
        3,
    )


def delay(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    ours, peer = latency.measured(env, cwd, rounds=max(15, ROUNDS * 5))
    mine, its = statistics.median(ours), statistics.median(peer)
    worst = statistics.quantiles(ours, n=100)[98]
    what = "append to SIGTERM, `trace-tail \\| trace-detect-retry \\| trace-kill`"
    beside = f"{its * 1e3:.1f} ms `tail -F \\| jq \\| while read; do kill`"
    yield Row(
        what,
        f"{mine * 1e3:.1f} ms median",
        beside,
        f"{mine / its:.2f} × its median",
        "≤ 1 ×",
        mine <= its,
    )
    yield Row(
        what, f"{mine * 1e3:.1f} ms median", "", f"{mine * 1e3:.1f} ms", "≤ 3 ms", mine <= 0.003
    )
    yield Row(
        what,
        f"{worst * 1e3:.1f} ms 99th percentile",
        "",
        f"{worst * 1e3:.1f} ms",
        "≤ 15 ms",
        worst <= 0.015,
    )


def start(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    names = sorted(each.name for each in Path(env["PATH"].split(":")[0]).iterdir())
    peer, *ours = medians(
        [
            f"exec {sys.executable} -c 'import click, orjson'",
            *(f"exec {name} --version" for name in names),
        ],
        env,
        cwd,
        START_ROUNDS,
    )
    for name, taken in zip(names, ours, strict=True):
        ratio = taken / peer
        yield Row(
            f"`{name} --version`",
            f"{taken * 1e3:.0f} ms",
            f"{peer * 1e3:.0f} ms `import click, orjson`",
            f"{ratio:.2f} ×",
            "≤ 1.15 ×",
            ratio <= 1.15,
        )


def first(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    small = cwd / "small.ndjson"
    small.write_bytes(b"".join(events(40)))
    commands = [
        "exec trace-detect-retry --version",
        f"agent-strace watch --no-follow {small} | head -n 1",
    ]
    peer, ours = medians(commands, env, cwd, START_ROUNDS)
    ratio = ours / peer
    yield Row(
        "first event through `agent-strace watch`",
        f"{ours * 1e3:.0f} ms",
        f"{peer * 1e3:.0f} ms one command's start",
        f"{ratio:.2f} ×",
        "≤ 1.5 ×",
        ratio <= 1.5,
    )


def memory(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    few, _ = weight.resident(env, cwd, 10_000, 1)
    _, one = weight.resident(env, cwd, MEMORY, 1)
    many, _ = weight.resident(env, cwd, MEMORY, 10_000)
    beside = f"{few >> 20} MB after 10,000 events"
    yield Row(
        f"memory of the preset, {MEMORY:,} events, 10,000 sessions",
        f"{many >> 20} MB",
        beside,
        f"{many >> 20} MB",
        "≤ 400 MB",
        many <= 400 << 20,
    )
    later = [size for at, size in one if at * 5 >= MEMORY]
    change = max(later) / min(later) - 1
    what = f"memory of the preset, {MEMORY:,} events, one session, from a fifth of it on"
    yield Row(
        what,
        f"{min(later) >> 20} to {max(later) >> 20} MB",
        beside,
        f"± {change:.1%}",
        "± 5 %",
        change <= 0.05,
    )


def idle(env: dict[str, str], cwd: Path, file: Path) -> Iterable[Row]:
    ours, peer = weight.idle(env, cwd)
    yield Row(
        "idle follower, processor time",
        f"{ours:.3%} of a core",
        f"{peer:.3%} `tail -F`",
        f"{ours:.3%}",
        "< 0.05 %",
        ours < 0.0005,
    )


ROWS: dict[str, Callable[[dict[str, str], Path, Path], Iterable[Row]]] = {
    "throughput": throughput,
    "preset": preset,
    "pipeline": pipeline,
    "latency": delay,
    "start": start,
    "first": first,
    "memory": memory,
    "idle": idle,
}


def why(missed: set[str], env: dict[str, str], cwd: Path, file: Path) -> Iterable[str]:
    """The profile that says why, for the rows of which a target was not met."""
    if missed & {"throughput", "preset", "pipeline"}:
        profile = {**env, "BENCH_EVENTS": "100000"}
        done = subprocess.run(
            [sys.executable, str(HERE / "profile.py")], env=profile, capture_output=True, text=True
        )
        jq = seconds(f"jq -c . < {file}", env, cwd) / EVENTS
        yield f"Where the time of each stage goes, beside the {jq * 1e6:.1f} µs that `jq -c .` takes for an event:\n\n```{done.stderr}```\n"
    if "memory" in missed:
        told = subprocess.run(
            [sys.executable, str(HERE / "state.py")],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
        ).stdout
        yield f"What the stages of the preset hold of a session of 1,000 events; there may be 10,000 sessions:\n\n```\n{told}```\n"
    if "latency" in missed:
        taken = latency.stages(env, cwd)
        told = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in taken.items())
        yield f"From append to signal: {told}; the rest is trace-kill, and three wakings.\n"
    if missed & {"start", "first"}:
        said = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "import agent_pipes.commands.watch"],
            env=env,
            capture_output=True,
            text=True,
        ).stderr
        found = sorted(
            ((int(line[12:22]), line.rpartition("|")[2].strip()) for line in said.splitlines()[1:]),
            reverse=True,
        )
        modules = "\n".join(f"{taken / 1000:6.1f} ms  {name}" for taken, name in found[:20])
        yield f"What `agent-strace watch` loads, {len(found)} modules in {sum(taken for taken, _ in found) / 1000:.0f} ms, by its own time:\n\n```\n{modules}\n```\n"


def main() -> None:
    if not shutil.which("jq"):
        sys.exit("bench: SKIPPED, no jq here to compare with")
    wanted = os.environ.get("BENCH_ONLY", " ".join(ROWS)).replace(",", " ").split()
    when = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    jq = subprocess.run(["jq", "--version"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"{when}, Python {platform.python_version()}, {jq}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; medians of {ROUNDS} rounds.",
        "",
        "| what | ours | beside | reached | to reach | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    missed: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="agent-pipes-bench-") as name:
        folder = Path(name)
        scripts(folder / "bin")
        env = environment(folder)
        cwd = folder / "project"
        cwd.mkdir()
        (cwd / ".agent-scope.json").write_text(POLICY)
        file = cwd / "trace.ndjson"
        if {"throughput", "preset", "pipeline"} & set(wanted):
            with file.open("wb") as out:
                out.writelines(events(EVENTS))
        for each in wanted:
            print(f"bench: {each} …", file=sys.stderr, flush=True)
            for row in ROWS[each](env, cwd, file):
                missed |= set() if row.met else {each}
                lines.append(
                    f"| {row.what} | {row.ours} | {row.peer} | {row.reached} | {row.target} | {'met' if row.met else '**not met**'} |"
                )
                print(lines[-1], flush=True)
        lines += ["", *why(missed, env, cwd, file)]
    text = "\n".join(lines) + "\n"
    if wanted == list(ROWS):
        (HERE / "results.md").write_text(text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
