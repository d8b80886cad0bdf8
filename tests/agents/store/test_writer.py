"""Writing to the store: whole lines whatever happens, mode 0600, and through no link."""

import fcntl
import json
import os
import random
import resource
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_pipes.agents.store import writer
from agent_pipes.agents.store.writer import Store, Unwritable
from tests.helpers.hooked import SESSION, call, claude, events, hook, lines, meta, record, success


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forked(work: Callable[[], object]) -> int:
    """A process of ours that does `work` and ends; its number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def statuses(pids: list[int]) -> set[int]:
    return {os.waitpid(pid, 0)[1] for pid in pids}


# Parallel hooks


def test_fifty_parallel_hooks_lose_nothing(project, monkeypatch):
    # Each writer is a fork of the test process, so it takes longer than a hook.
    monkeypatch.setattr(writer, "LOCK_TIMEOUT_S", 60.0)
    record(claude("SessionStart", project, source="startup"))
    gate, opened = os.pipe()

    def at_once(payload: dict) -> None:
        os.close(opened)
        os.read(gate, 1)
        record(payload)

    for payloads in (
        [
            call(project, "Bash", number, command=f"make {number} {'x' * 5000}")
            for number in range(50)
        ],
        [
            success(
                project, "Bash", number, f"made {number}", command=f"make {number} {'x' * 5000}"
            )
            for number in range(50)
        ],
    ):
        gate, opened = os.pipe()
        pids = [forked(lambda payload=payload: at_once(payload)) for payload in payloads]
        os.close(opened)
        assert statuses(pids) == {0}
        os.close(gate)
    found = events(project / ".agent-traces")
    assert len(found) == 101
    calls = {
        event["event_id"]: event["data"]["tool_use_id"]
        for event in found
        if event["event_type"] == "tool_call"
    }
    assert sorted(calls.values()) == sorted(f"toolu_{number}" for number in range(50))
    results = [event for event in found if event["event_type"] == "tool_result"]
    assert {calls[event["parent_id"]]: event["data"]["result"] for event in results} == {
        f"toolu_{number}": f"made {number}" for number in range(50)
    }
    assert meta(project / ".agent-traces")["tool_calls"] == 50
    assert not list((project / ".agent-traces").glob(".pending-calls.*"))


def test_parallel_hooks_of_a_new_store_make_it_once(project):
    pids = [
        forked(lambda number=number: record(call(project, "Bash", number))) for number in range(20)
    ]
    assert statuses(pids) == {0}
    assert (
        len(events(project / ".agent-traces"))
        == 20
        == meta(project / ".agent-traces")["tool_calls"]
    )


def test_lock_that_is_never_given_back_stops_no_hook(project, monkeypatch, capfd):
    record(claude("SessionStart", project, source="startup"))
    monkeypatch.setattr(writer, "LOCK_TIMEOUT_S", 0.05)
    with open(project / ".agent-traces" / ".store.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        record(call(project, "Bash"))
    assert len(events(project / ".agent-traces")) == 2
    assert "timed out" in capfd.readouterr().err


# Killed writers, full disks


def test_half_a_line_that_a_killed_writer_left_spoils_no_other(project):
    record(claude("SessionStart", project, source="startup"))
    with open(project / ".agent-traces" / SESSION[:16] / "events.ndjson", "ab") as file:
        file.write(b'{"event_type":"tool_call","timest')
    record(call(project, "Bash"))
    raw = lines(project / ".agent-traces")
    assert [line.endswith(b"\n") for line in raw] == [True] * 3
    assert (
        raw[1] == b'{"event_type":"tool_call","timest\n'
        and json.loads(raw[2])["event_type"] == "tool_call"
    )


RUNS = 30
"""Times that a hook is killed at a random moment."""


def test_hook_that_is_killed_spoils_no_line_but_its_own(project):
    """The kernel writes long lines a page at a time and drops the rest if the writer is killed."""
    record(claude("SessionStart", project, source="startup"))
    path = project / ".agent-traces" / SESSION[:16] / "events.ndjson"
    chance = random.Random(6)

    def write_on(run: int) -> None:
        for number in range(1000):
            record(call(project, "Write", run * 1000 + number, content="x" * 200_000))

    for run in range(RUNS):
        size = path.stat().st_size
        pid = forked(lambda run=run: write_on(run))
        while path.stat().st_size == size:
            time.sleep(0.0001)
        time.sleep(chance.random() * 0.004)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        record(call(project, "Read", 999_999_000 + run))
        *before, last = path.read_bytes().splitlines()
        assert json.loads(last)["data"]["tool_name"] == "Read"
        assert sum(not line.endswith(b"}") for line in before) <= 1, "half a line at most"
        path.write_bytes(b"")
    assert meta(project / ".agent-traces")["session_id"] == SESSION[:16], "meta.json is whole"


def test_full_disk_leaves_no_half_of_a_line_and_the_status_is_0(project):
    record(claude("SessionStart", project, source="startup"))
    before = lines(project / ".agent-traces")

    def without_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        with pytest.raises(OSError):
            record(call(project, "Write", content="x" * 60_000))

    assert statuses([forked(without_room)]) == {0}
    assert lines(project / ".agent-traces") == before


# Whose it is


def test_store_is_its_owners_alone_whatever_the_umask(project):
    before = os.umask(0)
    try:
        record(claude("SessionStart", project, source="startup"))
        record(call(project, "Bash"))
    finally:
        os.umask(before)
    store = project / ".agent-traces"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [store, *store.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert (store / ".gitignore").read_text() == "*\n"


def test_what_is_there_already_is_left_as_it_is(project):
    (project / ".agent-traces").mkdir(mode=0o755)
    (project / ".agent-traces" / ".gitignore").write_text("# mine\n")
    record(claude("SessionStart", project, source="startup"))
    assert (project / ".agent-traces" / ".gitignore").read_text() == "# mine\n"


@pytest.mark.parametrize("name", ["", SESSION[:16], f"{SESSION[:16]}/events.ndjson", ".store.lock"])
def test_nothing_is_written_through_a_link(project, name):
    elsewhere = project / "elsewhere"
    if name in ("", SESSION[:16]):
        elsewhere.mkdir()
    else:
        elsewhere.write_text("precious")
    link = project / ".agent-traces" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    done = hook(claude("SessionStart", project, source="startup"), cwd=project)
    assert done.returncode == 0 and done.stderr
    assert (
        list(elsewhere.iterdir()) == []
        if elsewhere.is_dir()
        else elsewhere.read_text() == "precious"
    )


def test_notes_are_replaced_not_written_through(project):
    record(claude("SessionStart", project, source="startup"))
    elsewhere = project / "elsewhere"
    elsewhere.write_text("precious")
    for name in (".active-session", f"{SESSION[:16]}/meta.json", f"{SESSION[:16]}/.meta.json.new"):
        (project / ".agent-traces" / name).unlink(missing_ok=True)
        (project / ".agent-traces" / name).symlink_to(elsewhere)
    record(claude("SessionStart", project, source="resume"))
    assert elsewhere.read_text() == "precious"
    assert (project / ".agent-traces" / ".active-session").read_text() == SESSION[:16]
    assert not (project / ".agent-traces" / ".active-session").is_symlink()


def test_pipe_in_the_place_of_a_file_is_not_waited_for(project):
    folder = project / ".agent-traces" / SESSION[:16]
    folder.mkdir(parents=True)
    for name in ("events.ndjson", "meta.json"):
        os.mkfifo(folder / name)
    done = hook(claude("SessionStart", project, source="startup"), cwd=project)
    assert done.returncode == 0 and b"is not a regular file" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_another_users_directory_is_refused(project):
    (project / ".agent-traces").mkdir()
    os.chown(project / ".agent-traces", 12345, 12345)
    with pytest.raises(Unwritable, match="belongs to another user"):
        Store(str(project / ".agent-traces"))


def test_no_file_descriptor_is_left_open(project):
    record(claude("SessionStart", project, source="startup"))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        record(call(project, "Bash", number))
    assert len(os.listdir("/proc/self/fd")) == before


def test_last_line_of_any_length_is_tied_to_the_next(project):
    record(claude("SessionStart", project, source="startup"))
    for number, size in enumerate((10, 4000, 5000, 40_000)):
        record(call(project, "Write", number, content="ü" * size))
    assert len(events(project / ".agent-traces")) == 5
