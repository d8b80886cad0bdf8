"""A follower's lines under any sequence of changes to its file, found by Hypothesis."""

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
    rule,
    run_state_machine_as_test,
)

from agent_pipes.sessions.files.file_follower import ROTATED_S
from tests.helpers.following import Following, append, overwrite, replace

EXAMPLES = int(os.environ.get("AGENT_PIPES_EXAMPLES", "200"))
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=30, derandomize="AGENT_PIPES_EXAMPLES" not in os.environ, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

BYTES = st.lists(
    st.sampled_from([b"a", b"b", b"\n", b"\n", b"\r", b"\0", b"\xff", b"ab\n"]), max_size=8
).map(b"".join)


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
    """Writes, truncations and replacements of any bytes: no line is invented, none is left out."""

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

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, ROTATED_S + 1]))
    def read(self, seconds: float) -> None:
        came = self.following.later(seconds)
        self.came += came
        assert set(came) <= self.ever, "a line that was never written"
        if self.only_appended:
            assert self.came == whole_lines(self.appended)
        missing = Counter(whole_lines(self.content)) - Counter(self.came)
        assert not missing, "a line that stands there and was not given"


@pytest.mark.parametrize("poll", [False, True], ids=["inotify", "polling"])
def test_whatever_is_done_to_a_file(poll):
    run_state_machine_as_test(type("AnyBytes", (AnyBytes,), {"poll": poll}), settings=SETTINGS)
