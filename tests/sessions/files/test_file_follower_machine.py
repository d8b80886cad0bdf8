"""What a follower gives of a file, whatever sequence of things is done to it: found out by Hypothesis."""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent_pipes.sessions.files.file_follower import ROTATED
from agent_pipes.sessions.files.followed_file import QUIET
from tests.helpers.following import Following, append, overwrite, replace

EXAMPLES = int(os.environ.get("AGENT_PIPES_EXAMPLES", "200"))
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=30, derandomize="AGENT_PIPES_EXAMPLES" not in os.environ, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

BYTES = st.lists(
    st.sampled_from([b"a", b"b", b"\n", b"\n", b"\r", b"\0", b"\xff", b"ab\n"]), max_size=8
).map(b"".join)

CHANGES = {
    "kept": st.just(0xFFFF) | st.integers(0, 0xFFFF),
    "before": st.integers(0, 1),
    "after": st.integers(0, 2),
}


def whole_lines(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


class Machine(RuleBasedStateMachine):
    poll = False

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY))
        self.path = self.directory / "a"
        self.path.touch()
        self.following = Following(self.path, poll=self.poll)
        self.following.read()
        self.came: list[bytes] = []

    def teardown(self) -> None:
        self.following.close()
        shutil.rmtree(self.directory)

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()


class AnyBytes(Machine):
    """Whatever bytes are written, truncated and replaced: nothing is made up, and nothing that stands there is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: set[bytes] = set()
        self.appended = b""
        self.only_appended = True

    def wrote(self, how, *args: object) -> None:
        how(self.path, *args)
        self.ever.update(whole_lines(self.content))

    @rule(content=BYTES)
    def append(self, content: bytes) -> None:
        self.appended += content
        self.wrote(append, content)

    @rule(content=BYTES)
    def overwrite(self, content: bytes) -> None:
        self.only_appended = False
        self.wrote(overwrite, content)

    @rule(content=BYTES)
    def replace(self, content: bytes) -> None:
        self.only_appended = False
        self.wrote(replace, content)

    @rule(back=st.integers(0, 10))
    def truncate(self, back: int) -> None:
        self.only_appended = False
        self.wrote(os.truncate, max(0, len(self.content) - back))

    @rule()
    def rotate(self) -> None:
        self.only_appended = False
        self.path.rename(self.directory / "old")
        self.path.touch()

    @rule(seconds=st.sampled_from([0.0, QUIET / 2, QUIET, ROTATED + 1]))
    def read(self, seconds: float) -> None:
        came = self.following.later(seconds)
        self.came += came
        assert set(came) <= self.ever, "a line that was never written"
        if self.only_appended:
            assert self.came == whole_lines(self.appended)
        missing = Counter(whole_lines(self.content)) - Counter(self.came)
        assert not missing, "a line that stands there and was not given"


class Unique(Machine):
    """Every line is another one: each comes exactly once, however the file is copied, changed and rotated meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.due: set[bytes] = set()
        self.half = self.rest_of_half = b""
        self.replaced = False
        self.old = -1
        self.rest_of_old = b""
        self.old_deadline = 0.0
        self.old_written = False
        self.step = 1

    def teardown(self) -> None:
        if self.old >= 0:
            os.close(self.old)
        super().teardown()

    def new(self, count: int) -> list[bytes]:
        self.number += count
        return [
            b'{"seq":%d,"text":"%s"}\n' % (number, b"x" * (number * 7 % 50))
            for number in range(self.number - count, self.number)
        ]

    def passing(self) -> None:
        # The real clock hardly moves while ours does: what is modified at another time has another time.
        if self.poll:
            os.utime(self.path, ns=(0, self.step * 1_000_000_000))
        self.step += 1

    @rule(count=st.integers(1, 4))
    def append(self, count: int) -> None:
        append(self.path, self.rest_of_half + b"".join(self.new(count)))
        self.rest_of_half = b""
        self.passing()

    @precondition(lambda self: not self.rest_of_half)
    @rule(cut=st.integers(1, 15))
    def append_half(self, cut: int) -> None:
        (line,) = self.new(1)
        append(self.path, line[:cut])
        self.rest_of_half = line[cut:]
        self.passing()

    def other(self, kept: int, before: int, after: int) -> bytes:
        """What stands there with some of its lines left out and new ones at both ends."""
        lines = [
            line for index, line in enumerate(whole_lines(self.content)) if kept >> index % 16 & 1
        ]
        self.rest_of_half = b""
        return b"".join([*self.new(before), *lines, *self.new(after)])

    @rule(**CHANGES, cut=st.integers(0, 200))
    def write_anew(self, kept: int, before: int, after: int, cut: int) -> None:
        content = self.other(kept, before, after)
        overwrite(self.path, content[:cut])
        self.passing()
        if cut < len(content):
            self.read(0.0)
            append(self.path, content[cut:])
            self.passing()

    @rule(**CHANGES)
    def replace(self, kept: int, before: int, after: int) -> None:
        self.leave()
        content = self.other(kept, before, after)
        replace(self.path, content)
        self.passing()

    @rule()
    def rotate(self) -> None:
        self.leave()
        self.path.rename(self.directory / f"old.{self.number}")
        self.path.touch()
        self.rest_of_half = b""
        self.passing()

    def leave(self) -> None:
        """Another file takes the place of this one. If this is known to the follower, it must still read it to its end."""
        if not self.replaced:
            self.due |= set(whole_lines(self.content))
            if self.old >= 0:
                os.close(self.old)
            self.old = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            self.rest_of_old = self.rest_of_half or (
                b"\n" if self.content[-1:] not in (b"", b"\n") else b""
            )
            self.old_deadline = float("inf")
            self.old_written = False
        self.replaced = True

    @precondition(lambda self: self.old >= 0 and self.following.now < self.old_deadline)
    @rule()
    def write_to_the_old_file(self) -> None:
        (line,) = self.new(1)
        os.write(self.old, self.rest_of_old + line)
        self.rest_of_old = b""
        self.due.add(line)
        self.old_written = True

    @rule(seconds=st.sampled_from([0.0, QUIET / 2, QUIET, ROTATED + 1]))
    def read(self, seconds: float) -> None:
        self.came += self.following.later(seconds)
        now = self.following.now
        if self.old_written or self.old_deadline == float("inf"):
            self.old_deadline = now + ROTATED
        self.old_written = self.replaced = False
        self.due |= set(whole_lines(self.content))
        assert self.due <= set(self.came), "a line that did not come"

    @invariant()
    def nothing_comes_twice(self) -> None:
        assert len(self.came) == len(set(self.came)), "a line that came twice"


@pytest.mark.parametrize("poll", [False, True], ids=["inotify", "polling"])
@pytest.mark.parametrize("machine", [AnyBytes, Unique])
def test_whatever_is_done_to_a_file(machine, poll):
    run_state_machine_as_test(type(machine.__name__, (machine,), {"poll": poll}), settings=SETTINGS)
