"""Killing in step with a stream, whose time is the only clock."""

import os
import signal
import sys
from pathlib import Path

import pytest

from agent_pipes.core.event import make
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.stream import Waiter
from agent_pipes.process.killer import MAX_TARGETS, InterruptError, Killer
from agent_pipes.process.machine import machine_id
from agent_pipes.process.table import identify

START = 1_795_359_278.0


def killer(**options) -> Killer:
    def interrupt(control: str, session: str) -> str:
        raise InterruptError("no daemon is running")

    values = {
        "pid": None,
        "signal": signal.SIGTERM,
        "kill_after": 10.0,
        "dry_run": False,
        "interrupt": interrupt,
    }
    return Killer(Waiter(), **values | options)


def event(kind: str, after: float, session: str = "s", **data: object):
    return make(kind, START + after, session, data)


def violation(after: float, session: str = "s"):
    return event(
        "violation", after, session, watcher="retry", level="critical", message="failed 3 times"
    )


def see(breaker: Killer, *events) -> list[dict]:
    """The kill events that `events` bring about."""
    return [kill.data for each in events for kill in breaker.see(each)]


def process_of(pid: int, **more: object) -> dict:
    identity = identify(pid)
    return {"pid": pid, "started": identity.started, "how": "registry", **more}


def test_a_live_session_without_a_process_is_reported_once_after_five_seconds(capfd):
    breaker = killer()
    assert see(breaker, event("history_end", 0), event("tick", 4.9)) == []
    assert capfd.readouterr().err == ""
    see(breaker, event("tick", 5), event("tick", 60))
    assert capfd.readouterr().err.count("no process found for session s") == 1


def test_a_session_with_a_process_is_not_reported(victim, capfd):
    breaker = killer()
    see(
        breaker,
        event("history_end", 0),
        event("process", 1, **process_of(victim.pid)),
        event("tick", 6),
    )
    assert capfd.readouterr().err == ""
    breaker.forget("s")


def test_a_violation_without_a_process_is_a_kill_that_failed(capfd):
    breaker = killer()
    see(breaker, event("history_end", 0))
    assert list(breaker.trip(violation(1))) == [], "the process may still become known"
    (kill,) = see(breaker, event("tick", 6))
    assert kill["outcome"] == "failed" and breaker.status == ExitStatus.NOT_KILLED
    assert "could NOT kill session s" in capfd.readouterr().err


def test_a_session_in_a_daemon_is_interrupted_and_each_violation_counts(victim, capfd):
    calls = []
    breaker = killer(interrupt=lambda *words: calls.append(words) or "its turn was interrupted")
    see(breaker, event("process", 0, **process_of(victim.pid, control="/run/codex.sock")))
    for after in (1, 2):
        (kill,) = breaker.trip(violation(after))
        assert kill.data["outcome"] == "interrupted"
    assert calls == [("/run/codex.sock", "s")] * 2 and victim.poll() is None
    assert breaker.status == ExitStatus.KILLED
    breaker.forget("s")


def test_an_interruption_that_fails_is_a_kill_that_failed(victim, capfd):
    breaker = killer()
    see(breaker, event("process", 0, **process_of(victim.pid, control="/run/codex.sock")))
    (kill,) = breaker.trip(violation(1))
    assert (kill.data["outcome"], kill.data["reason"]) == ("failed", "no daemon is running")
    assert breaker.status == ExitStatus.NOT_KILLED and victim.poll() is None
    breaker.forget("s")


@pytest.mark.parametrize("given", [False, True])
def test_at_the_end_of_the_stream_what_was_begun_is_finished(victim, given):
    breaker = killer(pid=identify(victim.pid) if given else None)
    see(breaker, event("process", 0, **process_of(victim.pid)))
    kills = [*breaker.trip(violation(1)), *breaker.finish()]
    assert [kill.data["outcome"] for kill in kills] == ["terminated"]
    assert victim.wait(10) == -signal.SIGTERM
    assert [target.at_risk for target in breaker.targets()] == [False]
    for target in breaker.targets():
        target.handle.close()


def test_a_process_of_another_machine_is_refused(victim, capfd):
    """Issue 13, number 20: two machines use the same PIDs and start times."""
    breaker = killer()
    elsewhere = process_of(victim.pid, machine="4f7c-another-boot:4026531836")
    see(breaker, event("process", 0, **elsewhere), event("process", 1, **elsewhere))
    (kill,) = breaker.trip(violation(1))
    assert (kill.data["outcome"], kill.data["reason"]) == (
        "refused",
        f"process {victim.pid} is on another machine",
    )
    assert breaker.status == ExitStatus.NOT_KILLED and victim.poll() is None
    assert capfd.readouterr().err.count("run trace-kill --local there") == 1


def test_a_process_of_this_machine_is_killed(victim):
    breaker = killer()
    see(breaker, event("process", 0, **process_of(victim.pid, machine=machine_id())))
    kills = [*breaker.trip(violation(1)), *breaker.finish()]
    assert [kill.data["outcome"] for kill in kills] == ["terminated"]
    breaker.targets()[0].handle.close()


def test_the_machine_is_this_boot_and_this_namespace():
    assert machine_id() == machine_id() and machine_id()
    if sys.platform == "linux":
        boot, _, namespace = machine_id().partition(":")
        assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert os.readlink("/proc/self/ns/pid") == f"pid:[{namespace}]"


def test_a_million_sessions_take_no_more_room_than_ten_thousand(victim):
    """Issue 17, number 5. The session that has a process is not the one that goes."""
    breaker = killer()
    see(breaker, event("process", 0, "armed", **process_of(victim.pid)))
    for number in range(1_000_000):
        breaker.target(f"session {number}")
    assert len(breaker.sessions) <= MAX_TARGETS and "armed" in breaker.sessions
    kills = [*breaker.trip(violation(1, "armed")), *breaker.finish()]
    assert [kill.data["outcome"] for kill in kills] == ["terminated"]
    breaker.target("armed").handle.close()


def test_the_agent_is_named_if_it_is_known(victim, capfd):
    breaker = killer()
    see(
        breaker,
        event("session_start", 0, agent="claude", cwd="/work"),
        event("process", 0, **process_of(victim.pid)),
    )
    assert len([*breaker.trip(violation(1)), *breaker.finish()]) == 1
    expected = f"killed claude (pid {victim.pid}, SIGTERM) (retry: failed 3 times)"
    assert expected in capfd.readouterr().err
    target = breaker.targets()[0]
    assert target.named(f"killed process {target.pid} and its 2 child processes (SIGTERM)") == (
        f"killed claude (pid {target.pid}) and 2 child processes (SIGTERM)"
    )
    target.handle.close()
