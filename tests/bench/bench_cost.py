"""make bench-cost: ccusage and ours over the same real transcripts, side by side, in one run.

Both run on one thread, each as a process of its own, in turn, so that what else the machine does hits both: ccusage as
npm installs it, offline, and `trace-cost --recorded FILE...`. Printed are the dollars of both, the time (wall clock,
median) and what it is in MB/s, with and without what each takes to start, and the ratio of the medians. Below stand
the sessions and cases in which the two differ, and why.

ccusage comes from npm, once, into $BENCH_NPM; the transcripts are those in $AGENT_PIPES_SHARED/sessions, repeated with
other ids until there is enough to measure. Skipped by name where either is not to be had.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.helpers.support import SHARED  # noqa: E402

VERSION = "20.0.24"
NPM = Path(os.environ.get("BENCH_NPM") or Path(tempfile.gettempdir()) / "agent-pipes-bench-npm")

FOLDERS = {"claude": "claude-code", "codex": "codex"}

WHY = {
    "agent_progress_nested": "a subagent's usage stands in a progress line, and is billed",
    "bedrock_id": "a regional Bedrock profile costs a tenth more",
    "cache_breakdown_zero_but_total": "all of the cache writes count, also where their breakdown is all zero",
    "cache_read_opus55": "the model came after ccusage's prices, which it has no other source for offline",
    "dup_no_msgid": "without an id to know a repetition by, each line counts",
    "fable52": "the model came after ccusage's prices",
    "fast_opus55": "the model came after ccusage's prices",
    "gpt6sol_in_claude": "the model came after ccusage's prices",
    "haiku55_150k": "the model came after ccusage's prices",
    "inference_geo_us": "inference within the US costs a tenth more",
    "opus46_250k_preMar13": "above the threshold the whole request costs the higher price, not the part above it",
    "same_mid_diff_rid": "one message id is one response, whatever the ids of its requests",
    "service_tier_batch": "a batch costs half",
    "sonnet45_250k_in_1k_out": "above the threshold the whole request costs the higher price, not the part above it",
    "sonnet4_250k_read_10k_in_1k_out": "the prompt is what counts against the threshold, cached parts included, and it lifts all prices",
    "usage_space_after_colon": "white space in JSON means nothing",
    "web_search_10": "web searches are billed",
    "3c-162d1d8ad4-1": "an aborted request is in the thread's total and in no response's own counts; and nobody has published a price for "
    "gpt-5.3-codex-spark, which ccusage takes for another model and ours reports as unpriced",
    "cachewrite_gpt56terra": "cache writes are a part of the input, and billed instead of it",
    "exec_turn_completed": "no model is named, and ours guesses none",
    "no_turn_context": "no model is named, and ours guesses none",
    "over272k_gpt54": "above the threshold the whole request costs the higher price",
    "over272k_gpt55": "above the threshold the whole request costs the higher price",
    "skip_aborted": "an aborted request is in the thread's total and in no response's own counts",
}
"""Where the two differ, and why ours is right."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--megabytes", type=float, default=300.0, help="size of the transcripts to measure with"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rollouts", action="store_true", help="measure Codex's rollouts too")
    options = parser.parse_args()
    if not (SHARED / "sessions" / "claude-code").exists():
        sys.exit(print("bench-cost: SKIPPED, no recorded sessions beside the project"))
    if not installed():
        sys.exit(print(f"bench-cost: SKIPPED, ccusage {VERSION} is not to be had from npm"))
    with tempfile.TemporaryDirectory() as scratch:
        for agent in FOLDERS if options.rollouts else ("claude",):
            measure(agent, Path(scratch) / agent, options.megabytes, options.runs)
        for agent in FOLDERS:
            compare(agent, Path(scratch) / "compare")


def installed() -> bool:
    """Whether ccusage is there, got from npm if need be."""
    if not shutil.which("npm"):
        return False
    package = NPM / "node_modules" / "ccusage" / "package.json"
    if not package.exists() or json.loads(package.read_text())["version"] != VERSION:
        subprocess.run(
            [
                "npm",
                "install",
                "--prefix",
                str(NPM),
                "--no-fund",
                "--no-audit",
                "--silent",
                f"ccusage@{VERSION}",
            ],
            check=False,
        )
    return package.exists()


def layout(agent: str, home: Path, name: str) -> Path:
    """Where ccusage looks for a session of this name."""
    path = (
        home
        / ("projects/p" if agent == "claude" else "sessions/2026/05/01")
        / f"{name if agent == 'claude' else f'rollout-2026-05-01T00-00-00-{name}'}.jsonl"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def other_ids(content: bytes, copy: int) -> bytes:
    """A session like this one that is another: its responses, requests and lines have ids and times of their own."""
    for key in (b'"id":"msg_', b'"requestId":"req_', b'"uuid":"', b'"id":"0', b'"turn_id":"'):
        content = content.replace(key, key + b"%d" % copy)
    return re.sub(rb'("timestamp":"[^"]{19}\.)\d\d', rb"\g<1>%02d" % (copy % 100), content)


def fill(agent: str, home: Path, megabytes: float) -> int:
    """Lay out transcripts of at least so many MB; how many bytes they are."""
    paths = sorted((SHARED / "sessions" / FOLDERS[agent]).glob("*.jsonl"))
    size = copy = 0
    while size < megabytes * 1e6:
        for path in paths:
            content = path.read_bytes() if copy == 0 else other_ids(path.read_bytes(), copy)
            size += layout(agent, home, f"{path.stem}.{copy}").write_bytes(content)
        copy += 1
    return size


def commands(agent: str, home: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The two programs as they are run over what lies in `home`."""
    variable = {"claude": "CLAUDE_CONFIG_DIR", "codex": "CODEX_HOME"}[agent]
    options = [
        "--offline",
        "--json",
        "--single-thread",
        *(["--mode", "calculate"] if agent == "claude" else []),
    ]
    # Its daily report counts subagents, as the bill does; its session report leaves some of them out.
    theirs = [str(NPM / "node_modules" / ".bin" / "ccusage"), agent, "daily", *options]
    mine = [
        sys.executable,
        str(ROOT / "bin" / "trace-cost"),
        "--recorded",
        *map(str, sorted(home.rglob("*.jsonl"))),
    ]
    return {"ccusage": (theirs, {variable: str(home)}), "ours": (mine, {})}


def timed(command: list[str], variables: dict[str, str]) -> tuple[float, float, bytes]:
    """Seconds by the wall clock and of the processor, and what it printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env=os.environ | variables,
        )
        assert process.stdout
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            sys.exit(f"bench-cost: {command[0]} failed: {said.read().decode(errors='replace')}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, printed


def dollars(name: str, printed: bytes) -> float:
    if name == "ours":
        return float(sum(json.loads(line)["data"]["usd"] for line in printed.splitlines()))
    totals = json.loads(printed or b"{}").get("totals") or {}
    return float(totals.get("totalCost", totals.get("costUSD", 0.0)))


def measure(agent: str, scratch: Path, megabytes: float, runs: int) -> None:
    size = fill(agent, scratch / "full", megabytes) / 1e6
    layout(agent, scratch / "empty", "x").unlink(missing_ok=True)
    full, empty = commands(agent, scratch / "full"), commands(agent, scratch / "empty")
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in full}
    usd = {}
    for run in range(runs + 1):
        for name in full:
            start = timed(*empty[name])[0]
            wall, cpu, printed = timed(*full[name])
            usd[name] = dollars(name, printed)
            if run:
                times[name].append((wall, cpu, wall - start))
    print(f"{agent}: {size:.0f} MB, median of {runs} runs")
    print(
        f"  {'':8} {'dollars':>12} {'seconds':>8} {'CPU s':>8} {'MB/s':>8} {'MB/s without start':>20}"
    )
    medians = {
        name: [median(column) for column in zip(*each, strict=True)] for name, each in times.items()
    }
    for name, (wall, cpu, net) in medians.items():
        print(
            f"  {name:8} {usd[name]:12.6f} {wall:8.3f} {cpu:8.3f} {size / wall:8.0f} {size / net:20.0f}"
        )
    wall, cpu, net = (
        theirs / mine for theirs, mine in zip(medians["ccusage"], medians["ours"], strict=True)
    )
    print(
        f"  ours is {wall:.2f} times as fast ({cpu:.2f} by processor time, {net:.2f} without start)\n"
    )


def compare(agent: str, scratch: Path) -> None:
    """Each session and each case for itself: where the two differ."""
    cases = SHARED / "cases" / f"cost-{agent}"
    right = (
        {
            name: case["usd"]
            for name, case in json.loads((cases / "expected.json").read_text()).items()
        }
        if cases.exists()
        else {}
    )
    paths = [
        *sorted((SHARED / "sessions" / FOLDERS[agent]).glob("*.jsonl")),
        *sorted(cases.glob("*.jsonl")),
    ]
    same, differ = 0, []
    for path in paths:
        home = scratch / agent / path.stem
        shutil.copyfile(path, layout(agent, home, path.stem))
        theirs, mine = (
            dollars(name, timed(*command)[2]) for name, command in commands(agent, home).items()
        )
        if abs(theirs - mine) < 1e-6:
            same += 1
        elif right.get(path.stem, mine) is not None:
            differ.append((path.stem, theirs, mine, right.get(path.stem)))
    print(
        f"{agent}: {len(paths)} sessions and cases, {same} alike to a millionth of a dollar; where ccusage and ours differ:"
    )
    for name, theirs, mine, usd in differ:
        mark = "" if usd is None or abs(mine - usd) < 1e-6 else f"  EXPECTED {usd:.6f}"
        print(f"  {name:32} {theirs:10.6f} {mine:10.6f}  {WHY.get(name, 'NOT EXPLAINED')}{mark}")
    print()


if __name__ == "__main__":
    main()
