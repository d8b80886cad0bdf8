"""Waits for the user: each is reported once, after it has lasted, and none of a run without a person."""

import pytest

from agent_pipes.core.event import Event, make, tick
from agent_pipes.detect.waits import SETTLE_S, Waits
from tests.helpers.support import SESSION, START

AT = START + 100


def begun(**data: object) -> Waits:
    """The waits of a session that is followed live, and whose agent works."""
    waits = Waits()
    for event in (
        make("history_start", AT, SESSION, {}),
        make("session_start", AT, SESSION, {"agent": "claude", "cwd": "/p", **data}),
        make("history_end", AT, SESSION, {}),
        make("user_prompt", AT, SESSION, {"prompt": "go"}),
    ):
        assert list(waits.see(event)) == []
    return waits


def called(tool: str, at: float = AT + 1) -> Event:
    return make("tool_call", at, SESSION, {"tool_name": tool, "arguments": {"file_path": "a"}})


def said(waits: Waits, *events: Event, until: float = 200.0) -> list[str]:
    """The messages while `events` and then ticks flow, `until` so many seconds after AT."""
    ticks = [tick(AT + second, SESSION if second % 2 else "") for second in range(2, int(until))]
    return [wait.text("message") for event in (*events, *ticks) for wait in waits.see(event)]


def test_turn_that_has_ended_is_reported_once():
    waits = begun()
    ended = make("assistant_response", AT + 1, SESSION, {"text": "done"})
    assert said(waits, ended) == ["waits for your next prompt"]
    assert said(waits, make("user_prompt", AT + 200, SESSION, {"prompt": "more"})) == []


def test_wait_is_reported_when_it_has_lasted_and_not_before():
    waits = begun()
    ended = make("assistant_response", AT + 1, SESSION, {"text": "let me see"})
    assert said(waits, ended, until=SETTLE_S) == []
    assert said(waits, called("Bash", AT + 6), until=60) == [], "it went on by itself"


@pytest.mark.parametrize(
    "event, message",
    [
        (make("waiting", AT + 1, SESSION, {"for": "permission"}), "waits for your permission"),
        (make("waiting", AT + 1, SESSION, {"for": "question"}), "waits for your answer"),
        (called("AskUserQuestion"), "waits for your answer"),
        (called("Write"), "waits for your permission for Write"),
    ],
)
def test_reason_is_the_sources_or_follows_from_the_calls(event, message):
    assert said(begun(), event) == [message]


def test_each_wait_is_reported_anew():
    waits = begun()
    for at in (AT, AT + 300):
        asked = make("waiting", at + 1, SESSION, {"for": "permission"})
        for event in (asked, tick(at + 2, SESSION)):
            assert list(waits.see(event)) == []
        assert [len(list(waits.see(tick(at + each, SESSION)))) for each in (10, 20)] == [1, 0]
        answer = make("tool_result", at + 30, SESSION, {"tool_name": "Bash", "result": "ok"})
        assert list(waits.see(answer)) == []


def test_run_without_a_person_waits_for_nobody():
    ended = make("assistant_response", AT + 1, SESSION, {"text": "done"})
    assert said(begun(interactive=False), ended) == []


def test_wait_that_history_has_is_known_already():
    waits = Waits()
    for event in (
        make("history_start", AT, SESSION, {}),
        make("session_start", AT, SESSION, {"agent": "claude"}),
        make("user_prompt", AT, SESSION, {"prompt": "go"}),
        make("assistant_response", AT + 1, SESSION, {"text": "done"}),
        make("history_end", AT + 1, SESSION, {}),
    ):
        assert list(waits.see(event)) == []
    assert said(waits) == []


def test_session_that_has_ended_waits_no_more():
    waits = begun()
    ended = make("assistant_response", AT + 1, SESSION, {"text": "done"})
    assert said(waits, ended, make("session_end", AT + 2, SESSION, {})) == []
