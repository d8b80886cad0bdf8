"""200 files written by 20 processes that fail at random, followed for an hour: no line lost, none twice.

    SOAK_SECONDS=60 make soak

A writer appends numbered lines, in parts and in bursts, renames its file away and begins another in its place, or
breaks off in the midst of a line and is killed; another then takes its place. What a writer has finished, it says in
a file of its own, by which the follower's lines are checked.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent_pipes.follow import Follower

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
    os.write(record, b"%d.%d.%d\\n" % (writer, generation, count))
    # One that comes and goes between two looks nobody can follow: a file is renamed when it has stood for a while.
    if chance.random() < 0.005 and time.monotonic() - born[path] > 2:
        os.close(open_files.pop(path))
        os.rename(path, f"{path}.old")
    if chance.random() < 0.3:
        time.sleep(chance.random() * 0.02)
"""


def soak(seconds: float) -> None:
    chance = random.Random(6)
    said: list[str] = []
    seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        follower = Follower(poll=False, max_line=64 << 20, warn=said.append)
        for number in range(FILES):
            follower.add(folder / f"{number}.ndjson")
        generations = [0] * WRITERS
        start = lambda writer: subprocess.Popen([sys.executable, "-I", "-c", WRITER, name, str(writer), str(generations[writer])])
        writers = [start(writer) for writer in range(WRITERS)]

        def take() -> None:
            for piece in follower.read():
                for line in piece.lines:
                    found = line.partition(b'{"id":"')[2].partition(b'"')[0].decode()
                    if found and line.endswith(b'"}\n'):
                        seen[found] = seen.get(found, 0) + 1

        end = time.monotonic() + seconds
        due = time.monotonic() + 1
        while time.monotonic() < end:
            take()
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
        written = {line for path in folder.glob("written.*") for line in path.read_text().splitlines()}
    lost, twice = written - set(seen), [line for line, times in seen.items() if times > 1]
    print(f"{len(written)} lines in {seconds:.0f} s, {sum(generations)} writers killed; lost {len(lost)}, twice {len(twice)}, said {len(said)}")
    for line in [line for line in said if "waiting for it" not in line][:20]:
        print(f"  {line}")
    if lost or twice:
        sys.exit(f"lost: {sorted(lost)[:10]}; twice: {twice[:10]}")


if __name__ == "__main__":
    soak(float(os.environ.get("SOAK_SECONDS", "3600")))
