"""A failing watcher of the preset stops no event and no other watcher; --strict ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    ROOT,
    START,
    Stream,
    events_of,
    gone,
    violations,
)

FAILING = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
chosen, where = sys.argv[1].split(","), sys.argv[2]
sys.argv = ["agent-strace", *sys.argv[3:]]
from agent_pipes.core.event import KNOWN
from agent_pipes.detect.finding import Finding
from agent_pipes.detect.registry import DETECTORS

class Failing:
    '''A detector that sees what it should see, and fails at one place.'''

    types = frozenset((*KNOWN, "tick"))

    def __init__(self, detector):
        self.detector = detector
        self.live = False
        self.seen = 0

    def see(self, event, call, now):
        self.seen += event.type != "tick"
        if event.type == "tick":
            if where == "tick":
                raise RuntimeError("oops at a tick")
        elif where == "event" and self.seen == 4 or where == "end" and event.type == "session_end":
            raise RuntimeError("oops \\x1b[2J at an event")
        elif where == "finding" and self.seen == 4:
            return self.broken()
        return self.detector.see(event, call, now) if event.type in self.detector.types else ()

    def broken(self):
        yield Finding("first", "found before it failed")
        raise RuntimeError("oops among the findings")

    def holding(self, now):
        if where == "history":
            raise RuntimeError("oops where history ends")
        return self.detector.holding(now)

def broken(rules):
    return lambda **options: [lambda turns, new=new: Failing(new(turns)) for new in rules(**options)]

for name in chosen:
    if name:
        DETECTORS[name].rules = broken(DETECTORS[name].rules)
from agent_pipes.commands import strace
sys.exit(strace.main())
"""

DETECTORS = ("retry", "loop", "cost", "scope", "duration", "stall")
RUN = (sys.executable, "-c", FAILING)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".agent-scope.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')
    return tmp_path


def recorded(failing: str, where: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*RUN, failing, where, "watch", "--no-follow", *words],
        capture_output=True,
        env=ENVIRONMENT,
        timeout=60,
    )


def watched(failing: str, where: str, *words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*RUN, failing, where, "watch", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )


def quiet(at: float = START) -> Stream:
    """A session in which no watcher has anything to say."""
    stream = Stream(at=at)
    stream.add("session_start", {"cwd": "/home/dev/proj"})
    stream.add("user_prompt", {"prompt": "look around"})
    for number in range(3):
        stream.bash(f"ls {number}").call("Write", {"file_path": f"src/{number}.py"})
        stream.add(
            "llm_response",
            {
                "model": "claude-opus-4-6",
                "response_id": f"r{number}",
                "usage": {"input_tokens": 10, "output_tokens": 10},
            },
        )
    return stream


def without_ours(output: bytes) -> list[bytes]:
    """The lines of a session that passed through, as far as nothing was added to them."""
    return [
        line
        for line in output.splitlines(keepends=True)
        if b'"violation"' not in line and b'"llm_response"' not in line
    ]


@pytest.mark.parametrize("where", ["event", "finding", "end"])
@pytest.mark.parametrize("failing", DETECTORS)
def test_a_watcher_that_fails_is_said_once_and_loses_no_event(failing, where):
    stream = quiet()
    stream.add("session_end", {})
    Path("session.ndjson").write_bytes(stream.bytes)
    done = recorded(failing, where, "session.ndjson")
    said = done.stderr.decode()
    assert (
        done.returncode == 0
        and said.count(f"trace-detect-{failing} failed (RuntimeError: oops") == 1
    ), said
    assert "\x1b" not in said, "what it failed of may hold what an agent wrote"
    assert without_ours(done.stdout) == without_ours(stream.bytes)
    assert [found["message"] for found in violations(done.stdout)] == (
        ["found before it failed"] if where == "finding" else []
    )


@pytest.mark.parametrize("failing", DETECTORS[1:])
def test_the_others_go_on_with_what_they_had_seen(failing):
    stream = quiet().spiral(6)
    Path("session.ndjson").write_bytes(stream.bytes)
    for where in ("event", "finding"):
        done = recorded(failing, where, "--max-retries", "5", "session.ndjson")
        raised = [
            found
            for found in violations(done.stdout)
            if found["watcher"] == "retry" and found["level"] == "critical"
        ]
        assert len(raised) == 1 and raised[0]["count"] == 5, done.stderr


def test_all_but_one_may_fail():
    stream = quiet().spiral(6)
    Path("session.ndjson").write_bytes(stream.bytes)
    done = recorded(",".join(DETECTORS[1:]), "event", "--max-retries", "5", "session.ndjson")
    assert done.stderr.count(b"failed (RuntimeError") == len(DETECTORS) - 1
    assert "retry" in [found["watcher"] for found in violations(done.stdout)]
    assert without_ours(done.stdout) == without_ours(stream.bytes)


def test_when_all_have_failed_the_session_still_flows():
    Path("session.ndjson").write_bytes(quiet().spiral(6).bytes)
    done = recorded(",".join(DETECTORS), "event", "session.ndjson")
    assert (
        done.stderr.count(b"failed (RuntimeError") == len(DETECTORS)
        and violations(done.stdout) == []
    )
    assert without_ours(done.stdout) == without_ours(quiet().spiral(6).bytes)


@pytest.mark.parametrize("kills", [True, False], ids=["--on-violation kill", "--strict alone"])
@pytest.mark.parametrize("failing", DETECTORS)
def test_strict_ends_the_agent_whichever_watcher_fails(victim, failing, kills):
    Path("session.ndjson").write_bytes(quiet(time.time() - 60).bytes)
    watch = watched(
        failing,
        "event",
        "--strict",
        *(("--on-violation", "kill") if kills else ()),
        "--pid",
        victim.pid,
        "session.ndjson",
    )
    assert victim.wait(15) == -signal.SIGTERM
    out, said = watch.communicate(timeout=30)
    assert watch.returncode == 124, said
    (raised,) = [found for found in violations(out) if found["level"] == "critical"]
    assert raised["watcher"] == "internal" and f"trace-detect-{failing} failed" in raised["message"]
    assert [event["data"]["outcome"] for event in events_of(out, "kill")] == ["terminated"]


@pytest.mark.parametrize("where", ["tick", "history", "finding"])
@pytest.mark.parametrize("failing", ["retry", "stall"])
def test_strict_ends_the_agent_wherever_the_watcher_fails(victim, failing, where):
    # Events of this run: those before the start of the agent's process do not count.
    Path("session.ndjson").write_bytes(quiet(time.time()).bytes)
    watch = watched(
        failing, where, "--strict", "--on-violation", "kill", "--pid", victim.pid, "session.ndjson"
    )
    assert victim.wait(15) == -signal.SIGTERM
    out, said = watch.communicate(timeout=30)
    assert watch.returncode == 124, said
    assert "internal" in [found["watcher"] for found in violations(out)]


def test_without_strict_a_watcher_that_fails_ends_nobody_and_another_still_does(victim):
    path = Path("session.ndjson")
    path.write_bytes(quiet(time.time() - 60).bytes)
    watch = watched(
        "loop,cost",
        "event",
        "--max-retries",
        "3",
        "--on-violation",
        "kill",
        "--pid",
        victim.pid,
        path,
    )
    while b'"history_end"' not in watch.stdout.readline():
        pass
    assert not gone(victim.pid)
    with path.open("ab") as file:
        file.write(Stream(at=time.time()).spiral(3).bytes)
    assert victim.wait(15) == -signal.SIGTERM
    out, said = watch.communicate(timeout=30)
    assert watch.returncode == 124 and [found["watcher"] for found in violations(out)] == [
        "retry"
    ], said


def test_strict_ends_every_session_that_the_watcher_watched(tmp_path):
    """The watcher fails at an event of one session; the other has lost it as well."""
    streams = [quiet(), quiet()]
    for number, stream in enumerate(streams):
        for event in stream.events:
            event["session_id"] = f"session-{number}"
    Path("session.ndjson").write_bytes(
        streams[0].bytes[: streams[0].bytes.index(b"\n") + 1]
        + streams[1].bytes
        + streams[0].bytes.partition(b"\n")[2]
    )
    done = recorded("retry", "event", "--strict", "session.ndjson")
    raised = [event["session_id"] for event in events_of(done.stdout, "violation")]
    assert sorted(raised) == ["session-0", "session-1"], done.stderr


def test_a_reader_that_goes_after_a_watcher_has_failed_is_noticed():
    path = Path("session.ndjson")
    path.write_bytes(quiet().bytes)
    watch = watched("retry", "event", path)
    while b'"history_end"' not in watch.stdout.readline():
        pass
    watch.stdout.close()
    assert watch.wait(20) == -signal.SIGPIPE
    assert b"internal error" not in watch.stderr.read()


def test_a_policy_that_cannot_be_kept_to_stops_the_start_and_is_no_failure_of_its_watcher():
    Path(".agent-scope.json").write_text('{"fils": {}}')
    done = recorded("retry", "event", str(FIXTURES / "spiral.ndjson"))
    assert (
        done.returncode == 2
        and done.stdout == b""
        and b"did you mean 'files'" in done.stderr
        and b"failed" not in done.stderr
    )
