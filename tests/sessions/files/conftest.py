import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.following import Following

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(params=[pytest.param(False, marks=linux), True], ids=["inotify", "polling"])
def poll(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


@pytest.fixture
def following(poll: bool, path: Path) -> Iterator[Following]:
    """A follower of `path`, which is not there yet."""
    follower = Following(path, poll=poll)
    follower.read()
    follower.warnings()
    yield follower
    follower.close()
