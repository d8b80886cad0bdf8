"""Between a word and a kill, with the real clients: a hint, a pause, the files back.

The breaker runs beside the client, in its namespace; what is done by hand is done from outside.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.support import BIN, ENVIRONMENT, run, until
from tests.real.driving import CLIENTS, RUN_AGENT, _requests, needs_a_client

pytestmark = needs_a_client

HERE = Path(__file__).resolve().parent

TRUST = {"codex": ("--dangerously-bypass-hook-trust",)}

PAUSE_S = 10
"""Seconds for which a paused client must not ask the model."""


class Place:
    """Directory of a run, and the environment of whoever works beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "run" / "proj"
        self.runtime = folder / "runtime"
        self.runtime.mkdir(mode=0o700)
        self.dump = folder / "dump"
        self.dump.mkdir()
        self.project.mkdir(parents=True)

    @property
    def said(self) -> str:
        """The breaker's words so far."""
        try:
            return (self.folder / "said").read_text()
        except OSError:
            return ""

    def requests(self) -> int:
        """Count the client's requests to the model so far."""
        return len(_requests(self.folder / "run"))

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.project, capture_output=True, text=True, check=True
        )
        return done.stdout

    def strace(self, *words: str) -> subprocess.CompletedProcess:
        environment = {
            "XDG_RUNTIME_DIR": str(self.runtime),
            "HOME": str(self.folder / "run" / "home"),
        }
        return run("agent-strace", *words, env=environment, cwd=self.project)


@contextmanager
def playing(
    place: Place, client: str, scenario: str, breaker: str, setup: str = ""
) -> Iterator[subprocess.Popen]:
    """Let the client play the scenario with the pipeline `breaker` beside it."""
    beside = f'cd "$proj" && PATH={BIN}:$PATH; {{ {breaker}; }} >{place.folder}/events 2>{place.folder}/said'
    environment = {
        **ENVIRONMENT,
        "DURING": beside,
        "SETUP": setup,
        "STUB_DUMP": str(place.dump),
        "XDG_RUNTIME_DIR": str(place.runtime),
        "LIMIT": "90",
    }
    words = ["--", *TRUST[client]] if client in TRUST else []
    running = subprocess.Popen(
        [RUN_AGENT, client, scenario, place.folder / "run", *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield running
        running.wait(200)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, 9)
            running.wait()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("client", CLIENTS)
def test_nudge_reaches_the_next_request_of_the_client(place, client):
    setup = f"{BIN}/agent-strace setup --agent {client} --write"
    watch = "agent-strace watch --max-retries 3 --max-repeats off --on-violation nudge"
    with playing(place, client, "spiral", watch, setup):
        pass
    assert "left a hint for the agent" in place.said
    asked = sorted(place.dump.iterdir())
    with_hint = [each for each in asked if b"Stop repeating it" in each.read_bytes()]
    assert with_hint, place.said
    # The breaker sees the third failure while the client asks already, and its hook acts with
    # the next call.
    assert len(asked) - len(with_hint) <= 8, [each.name for each in with_hint]


def test_paused_claude_asks_nothing_and_goes_on_until_the_next_trip(place):
    watch = "agent-strace watch --max-retries 3 --on-violation pause"
    with playing(place, "claude", "spiral", watch):
        until(lambda: "to continue: agent-strace resume" in place.said, 120, "the pause")
        before = place.requests()
        time.sleep(PAUSE_S)
        assert place.requests() == before, "no request while it stands still"
        done = place.strace("resume")
        assert done.returncode == 0 and b"continued" in done.stderr, done.stderr
        until(lambda: place.requests() > before, 30, "the next request")
        until(lambda: place.said.count("to continue:") == 2, 60, "the next pause")
        done = place.strace("resume", "--kill")
        assert done.returncode == 0 and b"killed" in done.stderr, done.stderr
    assert place.requests() < 16


def test_snapshots_of_the_start_and_of_the_trip_give_the_files_back(place):
    setup = "printf 'def f():\\n    return 1  # by hand\\n' > a.py; echo mine > new.txt"
    pipeline = "trace-tail --wait | trace-detect-retry --max 3 | trace-snapshot | trace-kill --kill-after 2s"
    scenario = os.path.relpath(HERE / "break", RUN_AGENT.parent / "scenarios")
    with playing(place, "claude", scenario, pipeline, setup):
        pass
    broken = (place.project / "a.py").read_text()
    assert broken == "def f():\n    return 1 +  # by hand\n", place.said
    refs = place.git("for-each-ref", "--format=%(refname)", "refs/agent-pipes/").split()
    assert [ref.rpartition("/")[2] for ref in refs] == ["1", "2"], place.said
    (place.project / "a.py").unlink()
    place.git("restore", "--source", refs[1], "--", "a.py")
    assert (place.project / "a.py").read_text() == broken, "as it was at the trip"
    place.git("restore", "--source", refs[0], "--", "a.py", "new.txt")
    assert (place.project / "a.py").read_text() == "def f():\n    return 1  # by hand\n"
    assert place.git("diff", "--cached") == "" and place.git("stash", "list") == ""
    events = [json.loads(line) for line in (place.folder / "events").read_text().splitlines()]
    kinds = [each["event_type"] for each in events if each["event_type"] in ("snapshot", "kill")]
    assert sorted(kinds) == ["kill", "snapshot", "snapshot"]
