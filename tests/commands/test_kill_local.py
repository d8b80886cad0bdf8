"""trace-kill --local: violations come from elsewhere, processes from this machine (issue 21)."""

import json
import subprocess
import sys
import time

import pytest

from agent_pipes.process.local_killer import LocalKiller
from agent_pipes.process.table import identify
from tests.helpers.support import Stream, events_of, run
from tests.process.test_killer import START, event, process_of, violation
from tests.process.test_killer import killer as plain_killer

MINE = "7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03"


@pytest.fixture
def place(tmp_path):
    """A Claude Code of ours that is live, and whose session nobody follows."""
    script = tmp_path / "claude"
    script.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    agent = subprocess.Popen(
        [sys.executable, "-S", str(script)], cwd=tmp_path, stdout=subprocess.PIPE
    )
    agent.stdout.readline()
    home = tmp_path / "home"
    (home / ".claude" / "sessions").mkdir(parents=True)
    (home / ".claude" / "projects").mkdir()
    entry = {
        "pid": agent.pid,
        "sessionId": MINE,
        "cwd": str(tmp_path),
        "startedAt": 1795359278000,
        "procStart": identify(agent.pid).started,
    }
    (home / ".claude" / "sessions" / f"{agent.pid}.json").write_text(json.dumps(entry))
    yield home, agent
    agent.kill()
    agent.wait()


def violated(session: str = MINE, *, ago: float = 0.0, **process: object) -> bytes:
    stream = Stream(session, time.time() - ago)
    if process:
        stream.add("process", process)
    data = {"watcher": "cost", "level": "critical", "message": "$501"}
    stream.add("violation", data, after=0.0)
    return stream.bytes


def kill(home, stream: bytes, *arguments: str):
    return run("trace-kill", "--local", *arguments, input=stream, env={"HOME": str(home)}, cwd=home)


def test_a_violation_from_elsewhere_ends_the_live_session_of_that_id(place):
    home, agent = place
    done = kill(home, violated())
    assert done.returncode == 124, done.stderr
    (found,) = events_of(done.stdout, "kill")
    assert (found["data"]["pid"], found["data"]["outcome"]) == (agent.pid, "terminated")


def test_a_session_of_another_machine_is_passed_over(place):
    home, agent = place
    done = kill(home, violated("00000000-another"))
    assert (done.returncode, done.stderr) == (0, b"") and agent.poll() is None
    assert events_of(done.stdout, "kill") == []


def test_a_forged_process_ends_nothing(place, victim):
    home, agent = place
    forged = {"pid": victim.pid, "started": identify(victim.pid).started, "how": "registry"}
    done = kill(home, violated("00000000-another", **forged))
    assert done.returncode == 0 and victim.poll() is None
    done = kill(home, violated(MINE, **forged))
    assert done.returncode == 124 and victim.poll() is None and agent.wait(10)


@pytest.mark.parametrize(("stale", "ends"), [("5m", False), ("1h", True), ("off", True)])
def test_an_old_violation_is_reported_and_not_acted_on(place, stale, ends):
    home, agent = place
    done = kill(home, violated(ago=1800.0), "--stale", stale)
    assert done.returncode == (124 if ends else 0)
    assert (b"is not acted on (cost: $501)" in done.stderr) is not ends
    assert (agent.poll() is not None) is ends


def test_a_stream_without_any_event_leaves_this_machine_unprotected(place):
    home, _ = place
    done = kill(home, b"")
    assert done.returncode == 3 and b"nothing was watched" in done.stderr


def test_a_process_that_is_named_needs_no_search(place):
    home, agent = place
    assert kill(home, b"", "--pid", str(agent.pid)).returncode == 2


def test_a_session_that_was_resumed_is_ended_again(victim):
    other = subprocess.Popen(["sleep", "60"])
    live = [victim, other]

    def lookup(session):
        (agent,) = [each for each in live if each.poll() is None][:1]
        return event("process", 0, **process_of(agent.pid))

    plain = plain_killer()
    breaker = LocalKiller(
        plain.waiter,
        lookup=lookup,
        stale_s=300.0,
        clock=lambda: START + 2,
        pid=None,
        signal=15,
        kill_after=10.0,
        dry_run=False,
        interrupt=plain.interrupt,
    )
    for agent in live:
        kills = [*breaker.trip(violation(1)), *breaker.finish()]
        assert [each.data["pid"] for each in kills] == [agent.pid]
        agent.wait(10)
    breaker.target("s").handle.close()
