"""Killed sessions that come back are killed again, and reported (issue 13, 9)."""

import signal
import subprocess

import pytest

from agent_pipes.process.table import identify
from tests.process.test_killer import event, killer, process_of, see, violation


@pytest.fixture
def agents():
    started = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    yield started
    for agent in started:
        agent.kill()
        agent.wait()


def start_of(session: str, after: float, **data: object):
    return event("session_start", after, session, agent="claude", cwd="/work", **data)


def kill(breaker, agent, *, after: float, **start: object) -> None:
    """Have a session killed, which then ends."""
    see(breaker, start_of("s", after, **start), event("process", after, **process_of(agent.pid)))
    kills = [*breaker.trip(violation(after + 1)), *breaker.finish()]
    assert [each.data["outcome"] for each in kills] == ["terminated"]
    agent.wait(10)


@pytest.mark.parametrize("ended", [False, True])
def test_a_headless_session_that_comes_back_is_killed_again(agents, capfd, ended):
    breaker = killer()
    kill(breaker, agents[0], after=0, interactive=False)
    assert breaker.waiter.linger_s == 60, "it is waited for"
    if ended:
        see(breaker, event("session_end", 2))
        breaker.forget("s")
    again = see(breaker, event("process", 12, **process_of(agents[1].pid)))
    again += [each.data for each in breaker.finish()]
    assert [each["outcome"] for each in again] == ["terminated"]
    assert agents[1].wait(10) == -signal.SIGTERM
    assert f"session s was restarted as process {agents[1].pid}" in capfd.readouterr().err


@pytest.mark.parametrize(
    "between",
    [
        [event("user_prompt", 5, prompt="go on", origin="person")],
        [event("tick", 70)],
    ],
    ids=["a person has prompted it", "a minute is over"],
)
def test_a_session_that_somebody_wants_again_is_let_be(agents, between):
    breaker = killer()
    kill(breaker, agents[0], after=0, interactive=False)
    see(breaker, *between)
    assert see(breaker, event("process", 71, **process_of(agents[1].pid))) == []
    assert [*breaker.finish()] == [] and agents[1].poll() is None


@pytest.mark.parametrize("start", [{}, {"interactive": True}])
def test_a_session_that_a_person_may_sit_at_is_let_be(agents, start):
    breaker = killer()
    kill(breaker, agents[0], after=0, **start)
    assert breaker.waiter.linger_s == 0
    assert see(breaker, event("process", 12, **process_of(agents[1].pid))) == []
    assert agents[1].poll() is None


def test_a_background_session_gets_the_signal_that_ends_it_for_good():
    """Claude Code's supervisor restarts its background session after SIGTERM, not after SIGINT."""
    agent = subprocess.Popen(["sleep", "60"])
    breaker = killer()
    process = process_of(agent.pid, restart_signal="INT")
    see(breaker, start_of("s", 0), event("process", 0, **process))
    (found,) = [*breaker.trip(violation(1)), *breaker.finish()]
    assert agent.wait(10) == -signal.SIGINT and found.data["signal"] == "INT"
    assert breaker.waiter.linger_s == 60


def test_a_signal_of_the_users_own_is_sent_as_it_is(agents):
    breaker = killer(signal=signal.SIGHUP)
    see(breaker, event("process", 0, **process_of(agents[0].pid, restart_signal="INT")))
    assert len([*breaker.trip(violation(1)), *breaker.finish()]) == 1
    assert agents[0].wait(10) == -signal.SIGHUP


def test_only_some_signals_are_taken_from_the_stream(agents):
    breaker = killer()
    see(breaker, event("process", 0, **process_of(agents[0].pid, restart_signal="STOP")))
    assert len([*breaker.trip(violation(1)), *breaker.finish()]) == 1
    assert agents[0].wait(10) == -signal.SIGTERM


def test_an_agent_that_is_restarted_with_new_ids_is_reported_once(agents, capfd):
    breaker = killer()
    kill(breaker, agents[0], after=0, interactive=False)
    for number in range(1, 7):
        see(breaker, start_of(f"session {number}", 10.0 * number, interactive=False))
        see(breaker, start_of(f"session {number}", 10.0 * number + 1, interactive=False))
    assert capfd.readouterr().err.count("claude in /work was restarted 3 times") == 1


def test_sessions_that_people_start_are_no_restarts(agents, capfd):
    breaker = killer()
    kill(breaker, agents[0], after=0, interactive=False)
    for number in range(1, 7):
        see(breaker, start_of(f"session {number}", 10.0 * number, interactive=True))
    see(breaker, start_of("late", 500, interactive=False), start_of("later", 501))
    assert "restarted" not in capfd.readouterr().err
    assert identify(agents[1].pid)
