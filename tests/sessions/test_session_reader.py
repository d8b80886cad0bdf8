"""Reading a session: its time, its format, and what neither may keep from being watched."""

import json
import time

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.live_clock import LiveClock
from agent_pipes.detect.stall import detect_stall
from agent_pipes.sessions.session_reader import Clock, SessionReader
from tests.helpers.detecting import raised
from tests.helpers.support import START

HOUR = 3600.0


def test_it_goes_on_from_the_latest_event_and_never_back():
    awake = iter([0.0, 10.0, 10.0, 10.0, 15.0, 16.0, 16.0, 18.0])
    clock = LiveClock(START, lambda: next(awake))
    assert clock.now() == START + 10
    clock.see(START + HOUR)
    assert clock.now() == START + HOUR + 5
    clock.see(START)
    assert clock.now() == START + HOUR + 6


def live(*events: tuple[str, float]) -> list[dict]:
    """Return the beginning of a live session in which the agent works, and these events."""
    begun = [
        ("history_start", 0.0),
        ("session_start", 0.0),
        ("history_end", 0.0),
        ("user_prompt", 1.0),
        ("tick", 2.0),
    ]
    return [
        {"event_type": kind, "timestamp": START + at, "session_id": "s", "data": {}}
        for kind, at in (*begun, *events)
    ]


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR])
def test_a_machine_that_sleeps_or_a_clock_that_is_set_is_no_silence(jump):
    """Close the lid for two hours while the agent works: nothing is raised when it goes on."""
    woken = live(("llm_request", 3.0 + jump), ("tick", max(4.0, 4.0 + jump)))
    assert not raised(detect_stall, woken)
    # A silence thereafter is one.
    since = max(4.0, 3.0 + jump)
    assert len(raised(detect_stall, [*woken, *live(("tick", since + 601))[5:]])) == 1


def test_a_silence_that_ticks_have_shown_is_raised():
    ticks = [("tick", 2.0 + second) for second in range(1, 602)]
    assert len(raised(detect_stall, live(*ticks))) == 1


def test_a_session_in_an_unknown_form_is_reported_once(capfd):
    """Claude Code 9 writes its lines in another way: nothing of them is understood."""
    agent = agent_named("claude")
    reader = SessionReader(
        Session("claude", "s", "", __file__, 0.0, 0.0), agent, Clock(), live=True
    )
    line = json.dumps({"kind": "turn-v9", "session": "s", "body": {"tool": "Bash"}}).encode()
    for _ in range(30):
        assert not list(reader.events("file", 1, [line] * 10))
    assert capfd.readouterr().err.count("lines contain no known event: NOT watched") == 1


def test_an_event_of_the_future_happens_now(capfd):
    """One line that is dated 2099 would keep every watcher of time from acting until then."""
    agent = agent_named("claude")
    session = Session("claude", "s", "", __file__, 0.0, 0.0)
    reader = SessionReader(session, agent, Clock(), live=True)
    list(reader.end_history())
    line = {
        "type": "user",
        "uuid": "u",
        "timestamp": "2099-01-01T00:00:00Z",
        "sessionId": "s",
        "cwd": "/",
        "message": {"role": "user", "content": "go"},
    }
    events = list(reader.events("file", 1, [json.dumps(line).encode()] * 2))
    assert events and all(event.time <= time.time() + 61 for event in events)
    assert reader.live_clock.now() <= time.time() + 61
    assert capfd.readouterr().err.count("dated in the future") == 1
