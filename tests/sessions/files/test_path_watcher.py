"""A follower's wakings, by inotify or else by polling, and its open descriptors."""

import ctypes
import errno
import os
import resource
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_pipes.sessions.files import inotify
from agent_pipes.sessions.files.file_follower import FileFollower
from agent_pipes.sessions.files.path_watcher import POLL_INTERVAL_S, SWEEP_INTERVAL_S
from tests.helpers.following import Following, append, numbered, overwrite, replace

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


def told(follower: FileFollower, seconds: float = 0) -> bool:
    return bool(select.select([follower.fileno()], [], [], seconds)[0])


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def watches(follower: FileFollower) -> int:
    return Path(f"/proc/self/fdinfo/{follower.fileno()}").read_text().count("inotify wd:")


def overflow(*paths: Path) -> None:
    """Let more happen to these files than inotify's queue can hold."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the queue is too long to be filled here")
    # By turns, since the kernel joins equal events.
    for _ in range(limit // len(paths) + 1):
        for path in paths:
            os.utime(path)


@contextmanager
def at_most_open(more: int) -> Iterator[None]:
    """So many more files may be opened by this process than are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    # The limit is on the number, not on how many there are: fill the gaps below it.
    highest = max(map(int, os.listdir("/proc/self/fd")))
    while (fd := os.open("/dev/null", os.O_RDONLY)) < highest:
        held.append(fd)
    held.append(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1 + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


# Told, or looking


@linux
def test_the_descriptor_can_be_read_when_there_is_something_and_not_before(path):
    following = Following(path)
    following.read()
    assert not told(following.follower)
    append(path, b"one\n")
    assert told(following.follower)
    assert following.read() == [b"one\n"]
    assert not told(following.follower)
    append(path, b"two\n")
    assert told(following.follower)
    assert following.follower.interval == SWEEP_INTERVAL_S
    following.close()


def test_polling_has_no_descriptor_and_a_short_interval(path):
    following = Following(path, poll=True)
    following.read()
    assert (following.follower.fileno(), following.follower.interval) == (-1, POLL_INTERVAL_S)
    following.close()


@linux
@pytest.mark.parametrize(
    "change",
    [
        append,
        overwrite,
        replace,
        lambda path, content: path.rename(path.with_suffix(".1")),
        lambda path, content: path.chmod(0),
    ],
)
def test_every_kind_of_change_wakes(path, change):
    append(path, b"one\n")
    following = Following(path)
    following.read()
    assert not told(following.follower)
    change(path, b"two\n")
    assert told(following.follower)
    following.close()


@linux
def test_a_line_that_another_thread_writes_comes_long_before_the_interval_is_over(path):
    follower = FileFollower(warn=print)
    follower.add(path)
    list(follower.read())
    writer = threading.Thread(target=append, args=(path, b"one\n"))
    writer.start()
    assert told(follower, 20)
    writer.join()
    assert [chunk.lines for chunk in follower.read()] == [[b"one\n"]]
    follower.close()


@linux
def test_a_change_of_which_nobody_tells_is_seen_when_the_interval_is_over(path):
    append(path, b"one\n")
    following = Following(path)
    assert following.read() == [b"one\n"]
    following.follower._watcher._watches.drop(str(path))
    append(path, b"two\n")
    assert following.read() == []
    assert following.later(SWEEP_INTERVAL_S) == [b"two\n"]
    following.close()


@linux
def test_idle_it_looks_once_a_second_and_touches_no_content(tmp_path, monkeypatch):
    paths = [tmp_path / str(number) for number in range(50)]
    for path in paths:
        path.write_bytes(b"one\n")
    following = Following(*paths)
    following.read()
    for _ in range(5):
        following.later(1)
    looked: list[object] = []
    stat = os.stat
    monkeypatch.setattr(os, "pread", lambda *args: pytest.fail("content was read"))
    monkeypatch.setattr(os, "stat", lambda *args: looked.append(args) or stat(*args))
    assert following.read() == []
    assert looked == []
    assert following.later(1) == []
    assert len(looked) <= 52
    following.close()


def test_polling_reads_no_content_of_files_that_do_not_change(path, monkeypatch):
    append(path, b"one\n")
    following = Following(path, poll=True)
    following.read()
    following.later(3)
    monkeypatch.setattr(os, "pread", lambda *args: pytest.fail("content was read"))
    assert following.later(3) == []
    following.close()


def test_a_whole_line_comes_within_the_interval_while_the_writer_never_stops(poll, path):
    """One call of `read` ends, however fast the file grows."""
    append(path, b"".join(numbered(1000)))
    following = Following(path, poll=poll)
    came = 0
    for chunk in following.follower.read():
        came += len(chunk.lines)
        append(path, b"more\n")
    assert came == 1000
    assert following.read() == [b"more\n"]
    following.close()


# Directories


def test_entries_that_appear_and_vanish_are_told(poll, tmp_path):
    following = Following(poll=poll)
    follower = following.follower
    follower.watch_directory(tmp_path)

    def changed() -> bool:
        following.later(0.1)
        was, follower.directories_changed = follower.directories_changed, False
        return was

    assert changed()
    assert poll or not changed()
    for change in (
        (tmp_path / "a").mkdir,
        (tmp_path / "b").touch,
        lambda: (tmp_path / "b").rename(tmp_path / "c"),
        (tmp_path / "c").unlink,
    ):
        change()
        # A poller cannot see two changes at one coarse time: give the directory another.
        os.utime(tmp_path, ns=(0, time.time_ns()))
        assert changed()
    following.later(3)
    follower.directories_changed = False
    assert not changed()
    following.close()


def test_a_directory_that_is_listed_may_appear_later_and_go(poll, tmp_path):
    directory = tmp_path / "a" / "b"
    following = Following(poll=poll)
    following.follower.watch_directory(directory)
    for change in (
        lambda: directory.mkdir(parents=True),
        (directory / "x").touch,
        (directory / "x").unlink,
        directory.rmdir,
        directory.mkdir,
    ):
        following.later(3)
        following.later(3)
        following.follower.directories_changed = False
        following.later(0.1)
        assert not following.follower.directories_changed
        change()
        following.later(0.1)
        assert following.follower.directories_changed
    following.close()


@linux
def test_a_directory_above_that_is_replaced_is_noticed_within_the_interval(tmp_path):
    directory = tmp_path / "a" / "b"
    directory.mkdir(parents=True)
    following = Following()
    following.follower.watch_directory(directory)
    following.read()
    following.follower.directories_changed = False
    directory.parent.rename(tmp_path / "old")
    directory.mkdir(parents=True)
    following.later(SWEEP_INTERVAL_S)
    assert following.follower.directories_changed
    following.close()


@linux
def test_a_directory_that_appears_while_its_parent_begins_to_be_watched_is_watched_itself(
    tmp_path, monkeypatch
):
    directory = tmp_path / "a" / "b"
    following = Following()
    following.follower.watch_directory(directory)
    following.read()
    watches = following.follower._watcher._watches
    put = watches.put

    def late(owner, where: str, mask: int) -> bool:
        if where == str(directory.parent):
            directory.mkdir()
        return put(owner, where, mask)

    monkeypatch.setattr(watches, "put", late)
    directory.parent.mkdir()
    following.read()
    following.follower.directories_changed = False
    (directory / "new").touch()
    following.read()
    assert following.follower.directories_changed
    following.close()


# inotify that fails


def failing(name: str, number: int):
    """A libc whose `name` fails with `number`."""

    class Failing:
        def __getattr__(self, attribute: str) -> object:
            if attribute != name:
                return getattr(libc, attribute)

            def fail(*args: object) -> int:
                ctypes.set_errno(number)
                return -1

            return fail

    libc = ctypes.CDLL(None, use_errno=True)
    return Failing()


@linux
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSYS])
def test_without_an_instance_it_polls_and_says_so(path, monkeypatch, number):
    monkeypatch.setattr(inotify, "_libc", lambda: failing("inotify_init1", number))
    following = Following(path)
    assert (
        f"inotify is not available ({os.strerror(number)}; see fs.inotify.max_user_instances); checking files 20 times"
        in following.warnings()
    )
    following.read()
    assert (following.follower.fileno(), following.follower.interval) == (-1, POLL_INTERVAL_S)
    append(path, b"one\n")
    assert following.read() == [b"one\n"]
    following.close()


@linux
def test_when_watches_are_used_up_it_polls_what_is_not_watched_says_so_once_and_recovers(
    tmp_path, monkeypatch
):
    paths = [tmp_path / name for name in "abc"]
    watched, *unwatched = paths
    append(watched, b"one\n")
    following = Following(watched)
    assert following.read() == [b"one\n"]
    add = following.follower._watcher._watches._libc
    monkeypatch.setattr(
        following.follower._watcher._watches, "_libc", failing("inotify_add_watch", errno.ENOSPC)
    )
    for path in unwatched:
        append(path, b"1\n")
        following.follower.add(path)
    assert following.read() == [b"1\n", b"1\n"]
    assert (
        following.warnings().count(
            "inotify has no watches left (No space left on device; see fs.inotify.max_user_watches)"
        )
        == 1
    )
    assert following.follower.interval == POLL_INTERVAL_S
    for path in unwatched:
        append(path, b"2\n")
    assert following.read() == [b"2\n", b"2\n"]
    monkeypatch.setattr(following.follower._watcher._watches, "_libc", add)
    following.later()
    assert following.follower.interval == SWEEP_INTERVAL_S
    for path in paths:
        append(path, b"3\n")
    assert told(following.follower)
    assert following.read() == [b"3\n"] * 3
    assert following.warned == []
    following.close()


LIMITED = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from tests.helpers.following import Following, append
paths = [Path({directory!r}, str(number)) for number in range(20)]
following = Following(*paths)
following.read()
for path in paths:
    append(path, b"one\\n")
assert following.read() == [b"one\\n"] * 20
for path in paths:
    append(path, b"two\\n")
assert following.read() == [b"two\\n"] * 20
print(following.follower.interval, following.warnings())
"""


@linux
@pytest.mark.parametrize(
    ("name", "limit", "said"),
    [("instances", 0, "inotify is not available"), ("watches", 5, "inotify has no watches left")],
)
def test_the_kernels_own_limits(tmp_path, name, limit, said):
    root = Path(__file__).resolve().parents[3]
    program = LIMITED.format(root=str(root), tests=str(root / "tests"), directory=str(tmp_path))
    limited = f'echo {limit} 2>/dev/null > /proc/sys/user/max_inotify_{name} || exit 77; exec "$0" -c "$1"'
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare(1) is not installed")
    done = subprocess.run(
        [unshare, "-Ur", "sh", "-c", limited, sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip("user namespaces are not allowed here")
    assert done.stderr == ""
    assert done.stdout.startswith("0.05 ")
    assert said in done.stdout


@linux
def test_a_queue_that_overflows_loses_nothing(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path in paths[:2]:
        path.write_bytes(b"one\n")
    following = Following(*paths)
    assert following.read() == [b"one\n"] * 2
    following.warnings()
    overflow(*paths[:2])
    for path in paths:
        append(path, b"two\n")
    assert following.read() == [b"two\n"] * 3
    for path in paths:
        append(path, b"three\n")
    assert following.read() == [b"three\n"] * 3
    assert following.warned == []
    following.close()


@linux
def test_a_directory_replaced_while_the_queue_overflows_is_watched_again(tmp_path):
    listed, path, other = tmp_path / "listed", tmp_path / "a" / "one", tmp_path / "a" / "two"
    listed.mkdir()
    path.parent.mkdir()
    path.write_bytes(b"1\n")
    other.write_bytes(b"2\n")
    following = Following(path, other)
    following.follower.watch_directory(listed)
    following.read()
    following.follower.directories_changed = False
    overflow(path, other)
    listed.rename(tmp_path / "old listed")
    listed.mkdir()
    path.parent.rename(tmp_path / "old")
    path.parent.mkdir()
    assert following.read() == []
    assert following.follower.directories_changed
    following.follower.directories_changed = False
    path.write_bytes(b"3\n")
    (listed / "new").touch()
    assert following.read() == [b"3\n"]
    assert following.follower.directories_changed
    following.close()


@linux
def test_network_and_fuse_file_systems_are_polled(path, monkeypatch):
    monkeypatch.setattr(inotify, "remote", lambda path: True)
    append(path, b"one\n")
    following = Following(path)
    assert following.read() == [b"one\n"]
    assert following.follower.interval == POLL_INTERVAL_S
    append(path, b"two\n")
    assert following.read() == [b"two\n"]
    assert following.warned == []
    following.close()


@linux
def test_a_remote_file_behind_a_local_link_is_polled(path, tmp_path, monkeypatch):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm, which stands for the other file system")
    monkeypatch.setattr(
        inotify, "remote", lambda path: os.stat(path).st_dev == os.stat("/dev/shm").st_dev
    )
    target = Path("/dev/shm") / f"agent-pipes-{os.getpid()}"
    try:
        target.write_bytes(b"one\n")
        path.symlink_to(target)
        following = Following(path)
        assert following.read() == [b"one\n"]
        assert following.follower.interval == POLL_INTERVAL_S
        following.close()
    finally:
        target.unlink()


@linux
def test_the_type_of_a_file_system_is_read_rightly(tmp_path, monkeypatch):
    proc, tmpfs = 0x9FA0, 0x01021994
    assert not inotify.remote("/proc")
    monkeypatch.setattr(inotify, "_REMOTE", {proc})
    assert inotify.remote("/proc")
    assert not inotify.remote(str(tmp_path))
    if Path("/dev/shm").is_mount():
        monkeypatch.setattr(inotify, "_REMOTE", {tmpfs})
        assert inotify.remote("/dev/shm")
    with pytest.raises(FileNotFoundError):
        inotify.remote(str(tmp_path / "none"))


# Many files


def test_five_hundred_files_at_once(poll, tmp_path):
    paths = [tmp_path / f"{number:03}" for number in range(500)]
    following = Following(*paths, poll=poll)
    following.read()
    for turn in range(3):
        for path in paths:
            append(path, b"%s %d\n" % (path.name.encode(), turn))
        chunks = following.chunks()
        assert [chunk.path for chunk in chunks] == paths
        assert all(
            chunk.lines == [b"%s %d\n" % (chunk.path.name.encode(), turn)] for chunk in chunks
        )
        assert {chunk.number for chunk in chunks} == {turn + 1}
    following.close()


@pytest.mark.parametrize(
    "known", [True, False], ids=["with a known limit", "with a limit found out by failing"]
)
def test_more_files_than_may_be_open(poll, tmp_path, monkeypatch, known):
    paths = [tmp_path / f"{number:03}" for number in range(100)]
    for path in paths:
        path.write_bytes(b"0\n")
    with at_most_open(20):
        following = Following(*paths, poll=poll)
        following.follower._max_open = 10 if known else 4096
        assert following.read() == [b"0\n"] * 100
        assert len(following.follower._open_files) < 20
        os.close(os.open("/dev/null", os.O_RDONLY))
        for path in paths:
            append(path, b"1\n")
        overwrite(paths[7], b"other\n")
        assert sorted(following.read()) == [b"1\n"] * 99 + [b"other\n"]
        assert "007: rewritten; reading it again from the start" in following.warnings()
        following.close()


def test_a_file_rotated_while_closed_is_reported_as_incomplete(poll, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    following = Following(one, two, poll=poll)
    following.follower._max_open = 1
    append(one, b"1\n")
    append(two, b"2\n")
    assert following.read() == [b"1\n", b"2\n"]
    append(one, b"more\n")
    one.unlink()
    append(one, b"new\n")
    following.warnings()
    assert following.read() == [b"new\n"]
    lost = (
        "replaced while closed (too many open files); lines after its first 2 bytes may be missing"
    )
    assert lost in following.warnings()
    append(one, b"newer\n")
    assert following.read() == [b"newer\n"]
    following.close()


@linux
def test_no_file_at_all_may_be_opened(path):
    append(path, b"one\n")
    following = Following()
    with at_most_open(0):
        following.follower.add(path)
        assert following.later() == following.later() == []
    assert following.warnings().endswith("cannot read (Too many open files); retrying every 2 s")
    assert following.later() == [b"one\n"]
    following.close()


def test_a_thousand_rotations_leak_neither_files_nor_watches(poll, path):
    append(path, b"first\n")
    following = Following(path, poll=poll)
    following.read()
    counts = set()
    for number in range(1000):
        path.rename(path.with_suffix(".1"))
        append(path, b"%d\n" % number)
        assert following.later(0.1) == [b"%d\n" % number]
        if number >= 10:
            counts.add((open_files(), 0 if poll else watches(following.follower)))
    assert len(counts) == 1
    following.later(100)
    following.later(100)
    assert len(following.follower._open_files) == 1
    assert poll or watches(following.follower) == 2
    following.close()


def test_files_and_directories_that_are_no_longer_followed_leave_nothing_behind(poll, tmp_path):
    before = open_files()
    following = Following(poll=poll)
    for number in range(200):
        path = tmp_path / str(number) / "a"
        path.parent.mkdir()
        path.write_bytes(b"one\n")
        following.follower.add(path)
        assert following.read() == [b"one\n"]
        following.follower.remove(path)
    assert open_files() == before + (not poll)
    assert poll or watches(following.follower) == 0
    following.close()
    assert open_files() == before


def test_a_long_line_takes_linear_time(poll, path):
    """Sixteen times the length in small parts: quadratic is 256 times the time; 64 are allowed."""

    def seconds(size: int) -> float:
        path.unlink(missing_ok=True)
        following = Following(path, poll=poll)
        part = b"x" * (size // 64)
        began = time.process_time()
        for _ in range(64):
            append(path, part)
            assert following.read() == []
        append(path, b"\n")
        assert len(following.read()[0]) == size + 1
        following.close()
        return time.process_time() - began

    short = min(seconds(2 << 20) for _ in range(3))
    assert seconds(32 << 20) < 64 * max(short, 0.002)
