"""Statements of agent-pipes-reliability(7) about GNU tail and timeout(1)."""

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.following import append, overwrite, replace
from tests.helpers.support import gone, until


def version(program: str) -> str:
    if not shutil.which(program):
        return ""
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout.partition(
        "\n"
    )[0]


pytestmark = pytest.mark.skipif(
    "(GNU coreutils) 9.1" not in version("tail") or "(GNU coreutils) 9.1" not in version("timeout"),
    reason="the page speaks of GNU coreutils 9.1, which is not here",
)


class Follow:
    """`tail -F` of a file, and what it has given so far."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            ["tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.out = self.err = b""

    def take(self) -> None:
        while ready := select.select([self.process.stdout, self.process.stderr], [], [], 0)[0]:
            parts = [(pipe, os.read(pipe.fileno(), 1 << 20)) for pipe in ready]
            self.out += b"".join(part for pipe, part in parts if pipe is self.process.stdout)
            self.err += b"".join(part for pipe, part in parts if pipe is self.process.stderr)
            if not any(part for _, part in parts):
                return

    def gives(self, what: bytes) -> bytes:
        """All it has given, once `what` is in it."""
        until(lambda: self.take() or what in self.out, what=f"{what!r} of tail")
        return self.out

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop tail meanwhile, so that it sees truncation and writing as one change."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)
        yield
        self.process.send_signal(signal.SIGCONT)

    def says(self, what: bytes) -> None:
        until(lambda: self.take() or what in self.err, what=f"{what!r} from tail")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log").write_bytes(b"one\n")
    return tmp_path / "log"


@pytest.fixture
def tail(path: Path) -> Iterator[Follow]:
    following = Follow(path)
    following.gives(b"one\n")
    yield following
    following.process.kill()
    following.process.wait()


def test_tail_passes_half_a_line_on(tail, path):
    append(path, b'{"par')
    assert tail.gives(b'{"par') == b'one\n{"par'


def test_tail_gives_nothing_of_a_file_that_was_truncated_and_written_to_the_same_size(tail, path):
    with tail.standing_still():
        overwrite(path, b"two\n")
        append(path, b"three\n")
    assert b"two" not in tail.gives(b"three\n")


def test_tail_loses_the_first_bytes_of_a_file_that_was_truncated_and_written_longer(tail, path):
    with tail.standing_still():
        overwrite(path, b"first line\nlast\n")
    assert tail.gives(b"last\n") == b"one\nt line\nlast\n"


def test_tail_joins_a_half_line_and_what_was_written_after_a_truncation(tail, path):
    append(path, b'{"par')
    tail.gives(b'{"par')
    overwrite(path, b"n\n")
    assert tail.gives(b"n\n")
    until(lambda: tail.take() or tail.out.endswith(b'{"parn\n'))


def test_tail_loses_what_is_written_to_a_file_that_was_renamed_away(tail, path):
    with path.open("ab", buffering=0) as old:
        path.rename(path.with_suffix(".1"))
        append(path, b"new\n")
        tail.gives(b"new\n")
        old.write(b"late\n")
        append(path, b"last\n")
        assert b"late" not in tail.gives(b"last\n")


def test_tail_repeats_a_file_that_was_renamed_away_and_back(tail, path):
    path.rename(path.with_suffix(".1"))
    tail.says(b"inaccessible")
    path.with_suffix(".1").rename(path)
    assert tail.gives(b"one\none\n")


def test_tail_does_not_notice_that_a_symbolic_link_was_switched(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() + b"1\n")
    link = tmp_path / "link"
    link.symlink_to("a")
    following = Follow(link)
    try:
        following.gives(b"a1\n")
        (tmp_path / "new").symlink_to("b")
        (tmp_path / "new").rename(link)
        append(tmp_path / "b", b"b2\n")
        append(tmp_path / "a", b"a2\n")
        assert b"b" not in following.gives(b"a2\n")
    finally:
        following.process.kill()
        following.process.wait()


def test_tail_exits_where_the_name_becomes_a_fifo(tail, path):
    path.unlink()
    tail.says(b"inaccessible")
    os.mkfifo(path)
    assert tail.process.wait(20) == 1


def test_tail_follows_a_file_that_was_deleted_and_made_again_and_one_that_was_replaced(tail, path):
    path.unlink()
    tail.says(b"inaccessible")
    append(path, b"two\n")
    assert tail.gives(b"two\n") == b"one\ntwo\n"
    replace(path, b"three\n")
    assert tail.gives(b"three\n") == b"one\ntwo\nthree\n"


def test_tail_gives_a_line_of_30_mb(tail, path):
    append(path, b"x" * 30_000_000 + b"\n")
    assert len(tail.gives(b"x\n")) == 30_000_005


def test_timeout_is_124_where_the_command_ends_on_sigterm():
    assert subprocess.run(["timeout", "-k", "10", "0.2", "sleep", "60"]).returncode == 124


def test_timeout_is_137_where_it_had_to_kill():
    code = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    done = subprocess.run(["timeout", "-k", "0.2", "0.5", "sh", "-c", code], stdout=subprocess.PIPE)
    assert done.stdout == b"ready\n" and done.returncode in (137, -signal.SIGKILL), (
        "it dies of its own signal"
    )


def test_timeout_leaves_a_descendant_in_a_session_of_its_own():
    done = subprocess.run(
        ["timeout", "-k", "1", "0.5", "sh", "-c", "setsid sleep 60 >/dev/null & echo $!; wait"],
        stdout=subprocess.PIPE,
    )
    child = int(done.stdout)
    assert done.returncode == 124 and not gone(child)
    os.kill(child, signal.SIGKILL)
