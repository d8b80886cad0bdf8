"""Follow 200 files of 20 writers that fail at random, for an hour: no line lost or doubled.

    SOAK_SECONDS=60 make soak

A writer appends numbered lines, in parts and in bursts, renames its file away and begins another in its place, or
breaks off in the midst of a line and is killed; another then takes its place. What a writer has finished, it says in
a file of its own, by which the follower's lines are checked.

A file exists for some seconds before it is renamed, since files that appear and vanish between two
reads cannot be followed.
"""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from agent_pipes.sessions.files.file_follower import FileFollower

FILES, WRITERS = 200, 20

WRITER = """
import os, random, sys, time
folder, writer, generation = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(f"{writer} {generation}")
mine = [f"{folder}/{number}.ndjson" for number in range(writer, 200, 20)]
record = os.open(f"{folder}/written.{writer}.{generation}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
open_files, born = {}, {}
for count in range(10**9):
    path = chance.choice(mine)
    if path not in open_files:
        open_files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        born[path] = time.monotonic()
        # End a killed writer's half line, so that the next writer's own line is whole.
        os.write(open_files[path], b"\\n")
    line = b'{"id":"%d.%d.%d","pad":"%s"}\\n' % (writer, generation, count, b"x" * chance.choice([10, 300, 9000]))
    cut = chance.randrange(len(line)) if chance.random() < 0.2 else 0
    if cut:
        os.write(open_files[path], line[:cut])
        time.sleep(chance.random() * 0.01)
    os.write(open_files[path], line[cut:])
    os.write(record, b"%d %s\\n" % (count, path.encode()))
    if chance.random() < 0.005 and time.monotonic() - born[path] > 3:
        os.close(open_files.pop(path))
        os.rename(path, f"{path}.old")
    if chance.random() < 0.3:
        time.sleep(chance.random() * 0.02)
"""


LOST = re.compile("(.*?)(:\\d+)?: .*(may be missing|skipped)")
"""A warning about lines that were not read."""


class Writers:
    """Processes that append lines to files in `folder`, and are killed at random."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.generations = [0] * WRITERS
        self.processes = [self._start(writer) for writer in range(WRITERS)]

    def _start(self, writer: int) -> subprocess.Popen[bytes]:
        words = ["-I", "-c", WRITER, self.folder, str(writer), str(self.generations[writer])]
        return subprocess.Popen([sys.executable, *words])

    def kill_one(self, chance: random.Random) -> None:
        """Kill one writer and start its next generation."""
        writer = chance.randrange(WRITERS)
        self.processes[writer].send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        self.processes[writer].wait()
        self.generations[writer] += 1
        self.processes[writer] = self._start(writer)

    def end(self) -> None:
        """Kill all writers."""
        for process in self.processes:
            process.kill()
            process.wait()


def count_lines(follower: FileFollower, seen: dict[bytes, bytearray]) -> None:
    """Count the lines that `follower` reads now: `seen[writer][number]`."""
    for chunk in follower.read():
        for line in chunk.lines:
            found = line.partition(b'{"id":"')[2].partition(b'"')[0]
            if found and line.endswith(b'"}\n'):
                writer, _, count = found.rpartition(b".")
                counts = seen[writer]
                if len(counts) <= int(count):
                    counts.extend(bytes(int(count) + 1000 - len(counts)))
                counts[int(count)] += 1


def lost_lines(folder: Path, seen: dict[bytes, bytearray]) -> tuple[int, dict[str, str]]:
    """Return the number of lines written, and the files of those that were not read, by line."""
    written, lost = 0, {}
    for record in folder.glob("written.*"):
        counts = seen[record.name.removeprefix("written.").encode()]
        for line in record.read_text().splitlines():
            count, path = line.split()
            written += 1
            if int(count) >= len(counts) or not counts[int(count)]:
                lost[f"{record.name}.{count}"] = path
    return written, lost


def soak(seconds: float) -> None:
    """Follow the writers' files for a time; exit with a message if a line is lost or doubled."""
    chance = random.Random(6)
    warnings: list[str] = []
    seen: dict[bytes, bytearray] = defaultdict(bytearray)
    memory_at_start = resident()
    with tempfile.TemporaryDirectory() as name:
        follower = FileFollower(poll=False, max_line=64 << 20, warn=warnings.append)
        for number in range(FILES):
            follower.add(Path(name) / f"{number}.ndjson")
        writers = Writers(name)
        end = time.monotonic() + seconds
        due, report = time.monotonic() + 1, time.monotonic() + seconds / 10
        while (now := time.monotonic()) < end:
            count_lines(follower, seen)
            if now > report:
                report += seconds / 10
                lines = sum(len(counts) - counts.count(0) for counts in seen.values())
                killed, memory = sum(writers.generations), resident() >> 20
                print(f"{lines} lines, {killed} writers killed, {memory} MB", flush=True)
            if now > due:
                due = now + chance.random() * 2
                writers.kill_one(chance)
            time.sleep(0.02)
        writers.end()
        # The follower reads renamed files for some seconds more; a last look comes after that.
        last = time.monotonic() + 7
        while time.monotonic() < last:
            count_lines(follower, seen)
            time.sleep(0.05)
        follower.close()
        written, lost = lost_lines(Path(name), seen)
    reported = {found[1] for line in warnings if (found := LOST.match(line))}
    silent = [line for line, path in lost.items() if path not in reported]
    twice = [
        f"{writer.decode()}.{count}"
        for writer, counts in seen.items()
        for count, times in enumerate(counts)
        if times > 1
    ]
    print(f"{written} lines in {seconds:.0f} s, {sum(writers.generations)} writers killed")
    print(f"lost {len(lost)}, {len(silent)} of them without a warning; twice {len(twice)}")
    print(f"{memory_at_start >> 20} MB at the start, {resident() >> 20} MB at the end")
    expected = ("from the start", "waiting for it", "no newline; skipped")
    print(*[f"  {line}" for line in warnings if not line.endswith(expected)][:20], sep="\n")
    if lost or twice:
        sys.exit(f"lost: {list(lost)[:10]}; without a warning: {silent[:10]}; twice: {twice[:10]}")


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    soak(float(os.environ.get("SOAK_SECONDS", "3600")))
