"""Pipelines of which a part ends or stops: nothing hangs, and the kill still happens."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agent_pipes.core.stream import CHUNK_BYTES, Output
from tests.commands.test_contract import FILTERS, NEEDS
from tests.helpers.support import BIN, ENVIRONMENT, Stream, command, gone, run, start, until

ON_PATH = ENVIRONMENT | {"PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')


def session_file(stream: Stream, name: str = "session.ndjson") -> Path:
    Path(name).write_bytes(stream.bytes)
    return Path(name)


def more(path: Path, content: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        file.write(content)


def test_the_first_line_goes_out_at_once_and_later_ones_by_the_pipeful():
    read, write = os.pipe()
    os.set_blocking(read, False)
    output, line = Output(write), b"x" * 99 + b"\n"
    came = []
    for _ in range(20 * CHUNK_BYTES // len(line)):
        output.write(line)
        with suppress(BlockingIOError):
            came.append(len(os.read(read, 2 * CHUNK_BYTES)))
    assert came[0] == len(line) and came == sorted(came)
    assert CHUNK_BYTES <= came[-1] < CHUNK_BYTES + len(line) and came.count(came[-1]) > 15
    os.close(read)
    os.close(write)


def pipeline(*stages: list[str], stdout: int = subprocess.DEVNULL) -> list[subprocess.Popen]:
    """The stages with pipes between them, as a shell makes them; stderr of each can be read."""
    running: list[subprocess.Popen] = []
    for number, words in enumerate(stages):
        source = running[-1].stdout if running else subprocess.DEVNULL
        sink = stdout if number == len(stages) - 1 else subprocess.PIPE
        running.append(
            subprocess.Popen(
                words, stdin=source, stdout=sink, stderr=subprocess.PIPE, env=ENVIRONMENT
            )
        )
        if number:
            source.close()
    return running


def guarding(path: Path, victim: subprocess.Popen) -> list[subprocess.Popen]:
    """Start the pipeline on a live session, and wait until trace-kill is armed."""
    stages = pipeline(
        command("trace-tail", "--pid", victim.pid, path),
        command("trace-detect-retry", "--max", 3),
        command("trace-kill"),
        stdout=subprocess.PIPE,
    )
    for line in stages[-1].stdout:
        if json.loads(line)["event_type"] == "history_end":
            return stages
    raise AssertionError(stages[-1].stderr.read())


# Downstream gone.


@pytest.mark.parametrize("name", FILTERS)
def test_dies_of_sigpipe_when_its_reader_goes_in_the_midst_of_the_flood(name):
    Path("flood").write_bytes(Stream().bash("ls", "x" * 500).bytes * 5000)
    needs = " ".join(NEEDS.get(name, ()))
    done = subprocess.run(
        ["bash", "-c", f"cat flood | {name} {needs} | head -1 >/dev/null; echo ${{PIPESTATUS[1]}}"],
        env=ON_PATH,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"141\n" and b"Traceback" not in done.stderr


def test_the_reader_of_a_session_dies_of_sigpipe_in_the_midst_of_it():
    session_file(Stream().bash("ls", "x" * 500), "one")
    Path("session.ndjson").write_bytes(Path("one").read_bytes() * 5000)
    done = subprocess.run(
        ["bash", "-c", "trace-tail session.ndjson | head -1 >/dev/null; echo ${PIPESTATUS[0]}"],
        env=ON_PATH,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"141\n" and b"Traceback" not in done.stderr


def test_watch_dies_of_sigpipe_when_its_reader_has_gone_also_while_idle():
    path = session_file(Stream().bash("ls"))
    watch = start("agent-strace", "watch", path)
    until(lambda: b"history_end" in watch.stdout.readline())
    watch.stdout.close()
    assert watch.wait(20) == -signal.SIGPIPE


# Upstream gone, or a stage of it.


@pytest.mark.parametrize("stage", [0, 1], ids=["the-reader", "the-detector"])
def test_a_stage_that_is_killed_leaves_no_breaker_that_ends_well(victim, stage):
    stages = guarding(session_file(Stream().spiral(1)), victim)
    stages[stage].kill()
    assert stages[-1].wait(20) == 3
    said = stages[-1].stderr.read()
    assert b"nothing watches it now" in said and str(victim.pid).encode() in said
    assert [each.wait(20) for each in stages[:stage]] == [-signal.SIGPIPE] * stage, (
        "what stands before it must not wait for ever"
    )
    assert not gone(victim.pid)


def test_a_breaker_that_is_killed_takes_the_stages_before_it_along(victim):
    stages = guarding(session_file(Stream().spiral(1)), victim)
    stages[-1].kill()
    stages[-1].stdout.close()
    assert [each.wait(20) for each in stages[:2]] == [-signal.SIGPIPE] * 2


def test_the_shell_sees_a_stream_that_broke_off(victim):
    session_file(Stream().spiral(1))
    words = f"exec 3>&1; (sh -c 'echo $$ >&3; exec trace-tail --pid {victim.pid} session.ndjson' | trace-detect-retry | trace-kill >out); echo status $? >&3"
    shell = subprocess.Popen(
        ["bash", "-c", words], env=ON_PATH, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    reader = int(shell.stdout.readline())
    until(lambda: Path("out").exists() and b"history_end" in Path("out").read_bytes())
    os.kill(reader, signal.SIGKILL)
    assert shell.stdout.readline() == b"status 3\n"
    shell.wait(20)


def test_a_stream_that_ends_with_its_session_did_not_break_off(victim):
    path = session_file(Stream().spiral(1))
    stages = guarding(path, victim)
    over = Stream(at=1_795_359_500.0)
    over.add("session_end", {"reason": "exit"})
    more(path, over.bytes)
    assert [each.wait(20) for each in stages] == [0, 0, 0]


# Downstream that reads nothing.


def deaf_pipe(full: bool) -> tuple[int, int]:
    """A pipe that nobody reads; `full` already."""
    read, write = os.pipe()
    if full:
        os.set_blocking(write, False)
        try:
            while True:
                os.write(write, b"\n" * 4096)
        except BlockingIOError:
            os.set_blocking(write, True)
    return read, write


@pytest.mark.parametrize("deaf", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("form", ["pipeline", "watch"])
def test_the_kill_does_not_wait_for_a_reader_that_reads_nothing(victim, form, deaf):
    path = session_file(Stream().spiral(1))
    read, write = deaf_pipe(full=True)
    to = {
        "stdout": write if deaf != "stderr" else subprocess.DEVNULL,
        "stderr": write if deaf != "stdout" else subprocess.PIPE,
    }
    if form == "watch":
        tail, breaker = (
            None,
            subprocess.Popen(
                command(
                    "agent-strace watch --max-duration off --max-stall off --pid",
                    victim.pid,
                    "--max-retries",
                    3,
                    "--on-violation",
                    "kill",
                    path,
                ),
                env=ENVIRONMENT,
                **to,
            ),
        )
    else:
        words = command("trace-detect-retry", "--max", 3)
        tail = pipeline(
            command("trace-tail", "--pid", victim.pid, path), words, stdout=subprocess.PIPE
        )
        breaker = subprocess.Popen(
            command("trace-kill"), stdin=tail[-1].stdout, env=ENVIRONMENT, **to
        )
        tail[-1].stdout.close()
    until(
        lambda: f"{path.resolve()}" in opened(breaker.pid if tail is None else tail[0].pid),
        what="the session being read",
    )
    # Events before the start of the process belong to no run.
    flood = Stream(at=time.time())
    for number in range(500):
        flood.bash(f"echo {number}", "x" * 500)
    more(path, flood.bytes)
    began = time.monotonic()
    more(path, Stream(at=flood.time).spiral(5).bytes)
    assert victim.wait(20) == -signal.SIGTERM
    assert time.monotonic() - began < 10
    os.close(read)
    os.close(write)
    for process in (*(tail or ()), breaker):
        process.wait(20)


def opened(pid: int) -> set[str]:
    """The paths that a process has open."""
    found = set()
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
        except OSError:
            continue
    return found


def test_what_nobody_read_is_counted_and_said_once_somebody_does():
    read, write = deaf_pipe(full=True)
    code = f"""
import os, sys
sys.path.insert(0, {str(BIN.parent)!r})
from agent_pipes.core import stderr
stderr.WRITE_TIMEOUT_S = 0.05
for number in range(3):
    stderr.write_line(f"lost {{number}}")
print("lost", flush=True)
sys.stdin.readline()
stderr.write_line("heard")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=write,
        env=ENVIRONMENT,
    )
    os.close(write)
    assert process.stdout.readline() == b"lost\n"
    os.read(read, 1 << 20)
    process.communicate(b"go on\n", timeout=20)
    said = os.read(read, 1 << 20).decode().strip().splitlines()
    assert "3 messages were dropped" in said[0] and said[1] == "heard"
    os.close(read)


# Full disks.


@pytest.mark.parametrize("name", FILTERS)
def test_a_full_disk_on_standard_error_changes_nothing(name):
    stream = Stream().spiral(6)
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": "m"})
    data = stream.bytes + b"not json\n"
    with open("/dev/full", "wb") as full:
        deaf = subprocess.run(
            command(name, *NEEDS.get(name, ())),
            input=data,
            stdout=subprocess.PIPE,
            stderr=full,
            env=ENVIRONMENT,
        )
    heard = run(name, *NEEDS.get(name, ()), input=data)
    assert (deaf.returncode, deaf.stdout) == (heard.returncode, heard.stdout)


@pytest.mark.parametrize("stderr", ["/dev/full", None], ids=["full", "closed"])
def test_watch_ends_the_agent_without_standard_error_without_a_disk_and_without_a_place_for_alerts(
    victim, stderr
):
    path = session_file(Stream(at=time.time()).spiral(5))
    words = command(
        "agent-strace watch --pid",
        victim.pid,
        "--max-retries",
        3,
        "--alert",
        "file",
        "--alert",
        "terminal",
        "--on-violation",
        "kill",
        path,
    )
    os.mkdir(".agent-traces")
    os.symlink("/dev/full", ".agent-traces/alerts.log")
    redirect = "2>&-" if stderr is None else f"2>{stderr}"
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" >/dev/full {redirect}', "bash", *words],
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 124 and victim.wait(20) == -signal.SIGTERM


# Signals.


MODES = {
    "a session": ["watch", "session.ndjson"],
    "a session, killing": ["watch", "--on-violation", "kill", "session.ndjson"],
    "every session": ["watch", "--all"],
    "waiting for one": ["watch"],
    "to a file": ["watch", "--output", "events", "session.ndjson"],
}


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=["TERM", "HUP", "INT"]
)
@pytest.mark.parametrize("mode", MODES)
def test_watch_ends_cleanly_on_a_signal_in_every_mode(mode, number, tmp_path, victim):
    session_file(Stream(at=time.time() - 10).spiral(1))
    (tmp_path / "home").mkdir()
    pid = ["--pid", str(victim.pid)] if "session" in mode and "every" not in mode else []
    watch = start(
        "agent-strace",
        *MODES[mode][:1],
        *pid,
        *MODES[mode][1:],
        env={"HOME": str(tmp_path / "home")},
    )
    until(lambda: any(path.endswith("inotify") for path in opened(watch.pid)), what="watching")
    until(lambda: caught(watch.pid) & (1 << number - 1))
    watch.send_signal(number)
    assert watch.wait(20) == -number
    said = watch.stderr.read()
    assert b"Traceback" not in said and b"internal error" not in said
    assert not gone(victim.pid), "the agent of a session is not ours to end with us"
    if mode == "to a file":
        assert (Path("events").read_bytes() or b"\n").endswith(b"\n")


def caught(pid: int) -> int:
    """The signals that a process handles itself, as a mask."""
    return int(
        next(
            line
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("SigCgt")
        ).split()[1],
        16,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_watch_around_a_command_passes_the_signal_on_and_ends_with_it(number):
    watch = start(
        "agent-strace watch -- sh -c",
        "trap 'echo told; exit 7' TERM HUP; echo $$; while :; do sleep 0.05; done",
        start_new_session=True,
    )
    child = int(watch.stdout.readline())
    watch.send_signal(number)
    assert watch.stdout.readline() == b"told\n"
    assert watch.wait(20) == 7 and gone(child)
    assert b"Traceback" not in watch.stderr.read()


def test_a_breaker_that_is_told_to_end_leaves_no_grace_to_what_it_is_ending():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(120)"
    agent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    agent.stdout.readline()
    watch = start(
        "agent-strace watch --pid",
        agent.pid,
        "--max-retries",
        3,
        "--on-violation",
        "kill",
        session_file(Stream(at=time.time()).spiral(5)),
    )
    until(lambda: b"killing session" in watch.stderr.readline())
    watch.send_signal(signal.SIGHUP)
    assert agent.wait(5) == -signal.SIGKILL
    assert watch.wait(20) == -signal.SIGHUP
