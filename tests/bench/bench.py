"""Benchmarks: `make bench`. Each figure beside a peer's, in turns, on this machine.

Each group of rows becomes a section of tests/bench/results.md, with its time and the machine's load;
sections that were not measured stay as they are. Settings:

    BENCH_ONLY    groups to measure, by name (all but `bounds`, which takes two hours)
    BENCH_MB      size of the corpus, the recorded sessions repeated (250)
    BENCH_EVENTS  events of each kind for the group `bounds`, which is measured only by name (1000000)
    BENCH_OLD     another checkout to measure beside this one
    BENCH_OLD_SESSIONS  old sessions for the groups `waiting`, `armed` and `commands` (20000)
    BENCH_ROUNDS  rounds (3)
    BENCH_CCUSAGE path of ccusage (npm install ccusage@20.0.24)
    BENCH_RESULTS file of the results
"""

import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.bench import bounds, corpus, judging, latency, results  # noqa: E402
from tests.bench.measure import Place, first_line_s, in_turns, run, share_of_a_core  # noqa: E402
from tests.bench.results import Row  # noqa: E402

MEGABYTES = float(os.environ.get("BENCH_MB", corpus.DEFAULT_MB))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
OLD_SESSIONS = int(os.environ.get("BENCH_OLD_SESSIONS", 20_000))
EVENTS = int(os.environ.get("BENCH_EVENTS", bounds.MILLION))
OLD = os.environ.get("BENCH_OLD", "")
RESULTS = Path(os.environ.get("BENCH_RESULTS") or results.OURS)
CCUSAGE = os.environ.get("BENCH_CCUSAGE") or shutil.which("ccusage") or ""
START_ROUNDS = 15
TIMES = 4
"""Sessions of the corpus by those of the quarter that `growth` compares it with."""
IDLE_S, SETTLE_S = 20.0, 8.0
LONG_LINE_MB = 600

PIPELINE = "trace-tail --no-follow --all | trace-cost --summary"
BILL = "trace-cost --all --by day"
BACKTEST = "agent-strace backtest --since off --jobs 1"
EACH_FILE = "find $HOME/.claude $HOME/.codex -name '*.jsonl' -exec"


class Bench:
    """The places that are measured, filled when they are first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.filled: set[str] = set()

    def place(
        self, name: str, checkout: Path = ROOT, megabytes: float = 0.0, times: int = 1
    ) -> Place:
        """Return a home called `name`, with a corpus of so many megabytes, `times` as large."""
        home = self.folder / name
        cwd = home / "work"
        if name not in self.filled:
            self.filled.add(name)
            cwd.mkdir(parents=True)
            if megabytes:
                corpus.build(home, megabytes, times)
        return Place(checkout, home, cwd)

    def corpus(self, checkout: Path = ROOT) -> Place:
        """Return the home with the whole corpus."""
        return self.place("corpus", checkout, MEGABYTES / TIMES, TIMES)

    def quarter(self) -> Place:
        """Return the home with a quarter of the corpus: a quarter of the copies of each session."""
        return self.place("quarter", ROOT, MEGABYTES / TIMES)

    def old_sessions(self, number: int = OLD_SESSIONS) -> Place:
        """Return the home with so many small sessions that ended long ago."""
        name = f"old{number}"
        fresh = name not in self.filled
        place = self.place(name)
        if fresh:
            _add_old_sessions(place.home, number)
        return place


def _add_old_sessions(home: Path, number: int) -> None:
    """Add so many sessions of 200 projects, and one of the working directory.

    Beside them is an empty registry of live sessions: Claude Code has one since March 2026.
    """
    (home / ".claude" / "sessions").mkdir(parents=True)
    for at in range(number):
        _add_old_session(home, at, f"-home-ann-p{at % 200}", "/home/ann")
    here = str(home / "work")
    _add_old_session(home, number, re.sub(r"[^A-Za-z0-9]", "-", here), here)


def _add_old_session(home: Path, at: int, project: str, cwd: str) -> None:
    session = f"{at:08x}-0000-4000-8000-000000000000"
    path = home / ".claude" / "projects" / project / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'{{"type":"user","uuid":"u","sessionId":"{session}","cwd":"{cwd}","timestamp":'
        '"2026-01-01T00:00:00.000Z","message":{"role":"user","content":"hello"}}\n'
    )
    os.utime(path, (1_767_225_600, 1_767_225_600))


def old_name() -> str:
    """Return the name of the checkout in BENCH_OLD."""
    done = subprocess.run(
        ["git", "-C", OLD, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return f"at {done.stdout.strip()}"


def ratio(what: str, ours: float, peer: float, name: str, target: float) -> Row:
    return Row(what, results.seconds(ours), f"{results.seconds(peer)} {name}", ours / peer, target)


def _against_old(what: str, command: str, bench: Bench, target: float) -> Iterator[Row]:
    """Yield a row that compares this checkout with the one in BENCH_OLD."""
    if OLD:
        places = [(command, bench.corpus(Path(OLD))), (command, bench.corpus())]
        before, now = in_turns(places, ROUNDS)
        yield ratio(f"{what}, processor time", now.cpu, before.cpu, old_name(), target)


def bill(bench: Bench) -> Iterator[Row]:
    """Yield the rows of the bill, beside ccusage."""
    yield from _against_old(f"`{PIPELINE}`", PIPELINE, bench, 1.3)
    if not CCUSAGE:
        print("bench: bill: SKIPPED, no ccusage (BENCH_CCUSAGE)", file=sys.stderr)
        return
    theirs = (
        f"{CCUSAGE} claude daily --offline --json --single-thread --mode calculate && "
        f"{CCUSAGE} codex daily --offline --json --single-thread"
    )
    place = bench.corpus()
    ours, peer = in_turns([(BILL, place), (theirs, place)], ROUNDS)
    name = "ccusage, one thread"
    yield ratio(f"`{BILL}`, about {MEGABYTES:.0f} MB, processor time", ours.cpu, peer.cpu, name, 4)
    yield ratio(f"`{BILL}`, wall clock", ours.wall, peer.wall, name, 0)
    yield Row(f"`{BILL}`, memory", f"{ours.rss >> 20} MB", f"{peer.rss >> 20} MB", 0, 0)


def backtest(bench: Bench) -> Iterator[Row]:
    """Yield the rows of backtest, beside jq."""
    yield from _against_old(f"`{BACKTEST}`", BACKTEST, bench, 1.3)
    place = bench.corpus()
    ours, peer = in_turns([(BACKTEST, place), (f"{EACH_FILE} jq -c . {{}} +", place)], ROUNDS)
    yield ratio(f"`{BACKTEST}`, processor time", ours.cpu, peer.cpu, "`jq -c .`", 1)
    yield ratio(f"`{BACKTEST}`, wall clock", ours.wall, peer.wall, "`jq -c .`", 0)


def growth(bench: Bench) -> Iterator[Row]:
    """Yield how the time grows from a quarter of the corpus to all of it."""
    for command in (BILL, BACKTEST):
        few, many = in_turns([(command, bench.quarter()), (command, bench.corpus())], ROUNDS)
        start = run("trace-cost --version", bench.corpus()).cpu
        what = f"`{command}`, four times as many sessions"
        yield ratio(what, many.cpu - start, few.cpu - start, "for a quarter", 4.4)


def waiting(bench: Bench) -> Iterator[Row]:
    """Yield what a `watch` and a follower take while nothing happens."""
    place = bench.old_sessions()
    for what, command, target in (
        (f"`watch --all`, waiting, {OLD_SESSIONS:,} old sessions", "agent-strace watch --all", 0.1),
        ("`trace-tail FILE`, idle", f"trace-tail {_quiet_file(place)}", 0.03),
    ):
        ours = share_of_a_core(command, place, SETTLE_S, IDLE_S) * 100
        peer = share_of_a_core(f"tail -F {_quiet_file(place)}", place, 1.0, IDLE_S / 4) * 100
        yield Row(what, f"{ours:.3f} % of a core", f"{peer:.3f} % `tail -F`", ours, target, "%")


def _quiet_file(place: Place) -> Path:
    return next(iter(sorted((place.home / ".claude").rglob("*.jsonl"))))


def armed(bench: Bench) -> Iterator[Row]:
    """Yield the time until `watch` waits for a session, with many old ones."""
    place = bench.old_sessions()
    command = "agent-strace watch"
    ours = min(first_line_s(command, place, "waiting for one") for _ in range(ROUNDS + 2))
    (peer,) = in_turns([("ls -lR $HOME/.claude", place)], ROUNDS)
    what = f"`watch` is armed, {OLD_SESSIONS:,} old sessions"
    yield Row(what, results.seconds(ours), f"{results.seconds(peer.wall)} `ls -lR`", ours, 0.3, "s")


COMMANDS = (
    "trace-list",
    "trace-list --all-dirs",
    BILL,
    "trace-tail --no-follow ID",
    "agent-strace report --output /dev/null ID",
    "trace-tail --no-follow --all | trace-status --once",
    "agent-strace backtest --since 7d --jobs 1",
    "agent-strace doctor",
)


def commands(bench: Bench) -> Iterator[Row]:
    """Yield what each command takes with many old sessions, beside a tenth of them.

    In proportion it would be ten times as long; the target leaves room for noise.
    """
    many, few = bench.old_sessions(), bench.old_sessions(OLD_SESSIONS // 10)
    session = _quiet_file(few).stem
    (start,) = in_turns([("trace-cost --version", few)], ROUNDS)
    for command in COMMANDS:
        # doctor has something to complain of in an empty home.
        line = f"{command.replace('ID', session)} || true"
        less, more = in_turns([(line, few), (line, many)], 1)
        what = f"`{command}`, {OLD_SESSIONS:,} old sessions, processor time"
        peer = f"{results.seconds(less.cpu)} with {OLD_SESSIONS // 10:,}"
        reached = (more.cpu - start.cpu) / (less.cpu - start.cpu)
        yield Row(what.replace("|", "\\|"), results.seconds(more.cpu), peer, reached, 15)


def memory(bench: Bench) -> Iterator[Row]:
    """Yield the memory that one very long line takes."""
    place = bench.place("long")
    file = place.cwd / "long.jsonl"
    with file.open("wb") as out:
        out.write(b'{"event_type":"session_start","timestamp":1790000000.0,"session_id":"s","x":"')
        for _ in range(LONG_LINE_MB):
            out.write(b"x" * 1_000_000)
        out.write(b'"}\n')
    command = f"exec trace-tail --no-follow --format native --max-line 1M {file} || true"
    taken = run(command, place)
    what = f"`trace-tail --max-line 1M`, a line of {LONG_LINE_MB} MB"
    yield Row(what, f"{taken.rss >> 20} MB", "", taken.rss / (1 << 20), 64, "MB")
    file.unlink()


def delay(bench: Bench) -> Iterator[Row]:
    """Yield the time from an append to SIGTERM."""
    place = bench.place("delay")
    rounds = max(15, ROUNDS * 5)
    if OLD:
        before = bench.place("delay", Path(OLD))
        old, new = latency.in_turns([before, place], rounds)
        old_ms, new_ms = statistics.median(old), statistics.median(new)
        yield ratio("append to SIGTERM, composed pipeline", new_ms, old_ms, old_name(), 1.1)
    ours, peer = latency.measured(place, rounds)
    median, worst = statistics.median(ours), statistics.quantiles(ours, n=100)[98]
    beside = f"{results.seconds(statistics.median(peer))} `tail -F \\| jq \\| kill`"
    what = "append to SIGTERM, composed pipeline"
    yield Row(f"{what}, median", results.seconds(median), beside, median * 1e3, 2, "ms")
    yield Row(f"{what}, 99 %", results.seconds(worst), "", worst * 1e3, 5, "ms")


def endless(bench: Bench) -> Iterator[Row]:
    """Yield the memory of a breaker with every stage while one kind of thing goes on."""
    for thing in bounds.THINGS:
        command = [sys.executable, bounds.__file__, thing, str(EVENTS)]
        printed = subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True)
        yield endless_row(thing, EVENTS, *map(int, printed.split()))


def endless_row(thing: str, events: int, third: int, whole: int) -> Row:
    """Return the row of a thing: resident bytes after a third of the events, and after all."""
    grown = (whole - third) / 1e6
    before = f"{third / 1e6:.0f} MB after a third"
    return Row(f"{events:,} events: {thing}", f"{whole / 1e6:.0f} MB", before, grown, 5, "MB")


def hook(bench: Bench) -> Iterator[Row]:
    """Yield the time of a hook's call."""
    place = bench.place("hook")
    payload = place.cwd / "payload.json"
    payload.write_text(
        '{"session_id":"s","hook_event_name":"PreToolUse","tool_name":"Bash",'
        '"tool_input":{"command":"ls"},"tool_use_id":"t","cwd":"/tmp"}'
    )
    call = f"exec agent-strace hook < {payload}"
    bare = f"exec {sys.executable} -c 'import orjson'"
    commands = [(call, place), (bare, place)]
    if OLD:
        commands.append((call, bench.place("hook", Path(OLD))))
    ours, peer, *before = in_turns(commands, START_ROUNDS)
    yield ratio("a hook's call", ours.cpu, peer.cpu, "`import orjson`", 1.2)
    for each in before:
        yield ratio("a hook's call", ours.cpu, each.cpu, old_name(), 1.1)


def start(bench: Bench) -> Iterator[Row]:
    """Yield the time to start each command."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        names = sorted(tomllib.load(file)["project"]["scripts"])
    place = bench.place("start")
    bare = f"exec {sys.executable} -c 'import click, orjson'"
    for name in names:
        # Each beside its own peer: the speed of a shared machine changes within a round of all.
        peer, taken = in_turns([(bare, place), (f"exec {name} --version", place)], START_ROUNDS)
        yield ratio(f"`{name} --version`", taken.cpu, peer.cpu, "`import click, orjson`", 1.2)


def judge(bench: Bench) -> Iterator[Row]:
    """Yield the rows of the judgement of a shell command, without a peer."""
    commands = judging.recorded_commands()
    for name, policy in judging.POLICIES.items():
        taken = judging.judging_us(policy, commands)
        what = f"judging a shell command, {name}, median of {len(commands)}"
        yield Row(what, f"{taken:.0f} µs", "", taken, 100, "µs")


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "bill": bill,
    "backtest": backtest,
    "growth": growth,
    "waiting": waiting,
    "armed": armed,
    "commands": commands,
    "memory": memory,
    "bounds": endless,
    "delay": delay,
    "hook": hook,
    "judge": judge,
    "start": start,
}


IMPORTS = "-X importtime {} 2>&1 >/dev/null | sort -t '|' -k 1.13n | tail -25"
FUNCTIONS = "-m cProfile -s tottime {} 2>&1 | grep -A 25 tottime"

PROFILED = {
    "start": ("trace-detect-scope --version", IMPORTS),
    "hook": ("agent-strace hook < payload.json", IMPORTS),
    "bill": (BILL, FUNCTIONS),
    "backtest": (BACKTEST, FUNCTIONS),
}
"""Command whose profile explains a missed target of a group, and how it is taken."""


TRIED = {
    "backtest": "Reading alone (parsing, translating, digests of results) takes about as long as jq. "
    "What is left is flat: no function has a tenth. Kept of what was tried: whose turn it is is followed once for "
    "all rules; a rule is shown the types of events that it names alone; the lowest threshold of each detector is tried "
    "first and all others in one further pass (1.9 passes of a session instead of 2.8); the built-in prices are read once, "
    "not twice for each session (a tenth here, nine tenths of 2,000 small sessions); a trial that has raised is dropped, and "
    "an assumed price is looked for once (15 % together). Not kept: numbers of failures looked for by fewer patterns (1 %).",
    "growth": "A session takes no longer after others: in one process the first three copies of each take 1.84 s, the last "
    "three 1.90, the mean is 1.78; four times as many sessions make 3.6 times as many function calls, and the garbage "
    "collector takes 0.03 of 40 s. The rest is the shared machine, whose speed changes by a fifth between two runs. Mended: a "
    "quarter by size had other sessions than the whole; now each session has a quarter of the copies.",
    "judge": "Of the judgement by the standard policy the parse of the command takes 36 %, finding what it accesses 26 %, the "
    "paths 27 %, the denied commands 7 %; see the CHANGELOG for what was made faster.",
    "waiting": "The follower of a file took 0.030 % of a core on 2026-11-30; its code has not changed since.",
    "armed": "The start of Python, click and orjson takes two fifths, the modules of this project the rest. Kept of what was "
    "tried: sockets, digests and the detectors' work are imported where they are used, and the live sessions are those of "
    "the client's registry, so that no old transcript is asked for its status at the start (290 ms of processor time, now "
    "187). Without a registry, from clients before March 2026, it takes 0.1 s more.",
    "delay": "Three Python processes are woken one after the other, and each finds the processor's caches cold: trace-tail takes "
    "0.35 to 0.5 ms from the wake-up to its write, the detector 0.45 to 0.6 (some 330 function calls), trace-kill 0.5 to 0.6 "
    "to the signal, and each wake-up about 0.2. Between the append and the signal no module is loaded, and no file is read "
    "but those of /proc. Kept of what was tried: the pattern that rewrites a hint's option is compiled before. No gain: reads "
    "of 64 kB instead of 256, which need no mmap(2), and fewer patterns for numbers of failures.",
}
"""Reasons, by group, why a target is missed, and the attempts to reach it."""


def profile(command: str, how: str, place: Place) -> str:
    """Return where the time of a command goes: the modules or functions with the most of their own."""
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} {how.format(f'{place.checkout}/bin/{command}')} | cut -c 1-110",
        ],
        env=place.environment,
        cwd=place.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return f"Where the time of `{command}` goes:\n\n```\n{done.stdout}```\n"


def main() -> None:
    """Measure the groups, and put each into the results as soon as it is complete."""
    every = " ".join(name for name in ROWS if name != "bounds")
    wanted = os.environ.get("BENCH_ONLY", every).replace(",", " ").split()
    with tempfile.TemporaryDirectory(prefix="agent-pipes-bench-") as name:
        bench = Bench(Path(name))
        for each in wanted:
            print(f"bench: {each} …", file=sys.stderr, flush=True)
            head = (
                f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, Python "
                f"{platform.python_version()}, {os.cpu_count()} cores, load "
                f"{os.getloadavg()[0]:.1f}; medians of {START_ROUNDS if each in ('start', 'hook') else ROUNDS} rounds."
            )
            rows = list(ROWS[each](bench))
            why = ""
            missed = not all(row.met for row in rows)
            if missed and each in PROFILED:
                place = bench.corpus() if each in ("bill", "backtest") else bench.place(each)
                why = profile(*PROFILED[each], place)
            if missed and each in TRIED:
                why = f"{textwrap.fill(TRIED[each], 120)}\n\n{why}"
            text = results.section(each, head, rows, why)
            print(text, flush=True)
            results.put(RESULTS, each, text, list(ROWS))
    if RESULTS == results.OURS:
        results.quote(ROOT / "README.md")


if __name__ == "__main__":
    main()
