"""200 files written by 20 processes that fail at random, followed for an hour: no line lost, none twice.

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
        # A killed writer's half line is ended, as a client that is started again does not: its own line must be whole.
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


def soak(seconds: float) -> None:
    chance = random.Random(6)
    said: list[str] = []
    # How often each line came: by its writer, then by its number.
    seen: dict[bytes, bytearray] = defaultdict(bytearray)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        follower = FileFollower(poll=False, max_line=64 << 20, warn=said.append)
        for number in range(FILES):
            follower.add(folder / f"{number}.ndjson")
        generations = [0] * WRITERS
        start = lambda writer: subprocess.Popen(
            [sys.executable, "-I", "-c", WRITER, name, str(writer), str(generations[writer])]
        )
        writers = [start(writer) for writer in range(WRITERS)]

        def take() -> None:
            for chunk in follower.read():
                for line in chunk.lines:
                    found = line.partition(b'{"id":"')[2].partition(b'"')[0]
                    if found and line.endswith(b'"}\n'):
                        writer, _, count = found.rpartition(b".")
                        counts = seen[writer]
                        if len(counts) <= int(count):
                            counts.extend(bytes(int(count) + 1000 - len(counts)))
                        counts[int(count)] += 1

        end = time.monotonic() + seconds
        due = time.monotonic() + 1
        begun, look = resident(), time.monotonic() + seconds / 10
        while time.monotonic() < end:
            take()
            if time.monotonic() > look:
                look += seconds / 10
                print(
                    f"{sum(len(counts) - counts.count(0) for counts in seen.values())} lines, {sum(generations)} writers killed, {resident() >> 20} MB",
                    flush=True,
                )
            if time.monotonic() > due:
                due = time.monotonic() + chance.random() * 2
                writer = chance.randrange(WRITERS)
                writers[writer].send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
                writers[writer].wait()
                generations[writer] += 1
                writers[writer] = start(writer)
            time.sleep(0.02)
        for process in writers:
            process.kill()
            process.wait()
        # What was renamed away is read on for some seconds; a last look comes after that.
        last = time.monotonic() + 7
        while time.monotonic() < last:
            take()
            time.sleep(0.05)
        follower.close()
        told = {found[1] for line in said if (found := LOST.match(line))}
        written, lost, unsaid = 0, [], []
        for record in folder.glob("written.*"):
            counts = seen[record.name.removeprefix("written.").encode()]
            with record.open() as lines:
                for line in lines:
                    count, path = line.split()
                    written += 1
                    if int(count) >= len(counts) or not counts[int(count)]:
                        lost.append(f"{record.name}.{count}")
                        if path not in told:
                            unsaid.append(f"{record.name}.{count}")
    twice = [
        f"{writer.decode()}.{count}"
        for writer, counts in seen.items()
        for count, times in enumerate(counts)
        if times > 1
    ]
    killed, memory = (
        f"{sum(generations)} writers killed",
        f"{begun >> 20} MB of memory at first and {resident() >> 20} MB at last",
    )
    print(
        f"{written} lines in {seconds:.0f} s, {killed}; lost {len(lost)}, of which not said {len(unsaid)}; twice {len(twice)}; {memory}; said {len(said)}"
    )
    for line in [
        line
        for line in said
        if not line.endswith(("from the start", "waiting for it", "no newline; skipped"))
    ][:20]:
        print(f"  {line}")
    if unsaid or twice or lost:
        sys.exit(f"not said: {unsaid[:10]}; lost: {lost[:10]}; twice: {twice[:10]}")


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    soak(float(os.environ.get("SOAK_SECONDS", "3600")))
