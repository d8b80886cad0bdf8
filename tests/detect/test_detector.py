"""What all detectors share: who is shown what, what is raised once, and what becomes of one that throws."""

from collections.abc import Iterable

import pytest

from agent_pipes.core.event import Event, from_fields, tick
from agent_pipes.detect.detector import CALLS, Detection, Finding, detect

START = 1_790_000_000.0


def said(kind: str, at: float = 0.0, session: str = "s", **data: object) -> Event:
    return from_fields(
        {
            "event_type": kind,
            "timestamp": START + at,
            "event_id": f"{kind}{at}",
            "session_id": session,
            "data": data,
        }
    )


class Counting:
    """Finds each event it is shown, and holds the last."""

    def __init__(self, name: str, fails: str = "") -> None:
        self.name = name
        self.fails = fails
        self.number = 0

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        if event.type == self.fails:
            raise RuntimeError(self.name)
        self.number += 1
        return [Finding((self.name, self.number), f"{self.name} {event.type} {now - START:g}")]

    def holding(self, now: float) -> Iterable[Finding]:
        if self.fails == "holding":
            raise RuntimeError(self.name)
        return [Finding((self.name, self.number), f"{self.name} holds")]


def told(events: Iterable[Event]) -> list[str]:
    return [event.text("message") if event.type == "violation" else event.type for event in events]


def test_a_detector_is_shown_what_it_sees_and_no_more():
    events = [
        said("llm_response", 1),
        said("tool_call", 2),
        said("violation", 3, message="theirs"),
        said("kill", 4),
        from_fields({}),
        said("odd", 5),
    ]
    calls = told(detect(events, "a", lambda: Counting("a"), sees=CALLS))
    assert calls == ["llm_response", "tool_call", "a tool_call 2", "theirs", "kill", "", "odd"]
    every = told(detect(events, "a", lambda: Counting("a")))
    assert every == [
        "llm_response",
        "a llm_response 1",
        "tool_call",
        "a tool_call 2",
        "theirs",
        "kill",
        "",
        "odd",
        "a odd 5",
    ]


def test_two_in_one_loop_find_what_two_in_a_pipe_find_in_the_same_order():
    events = [
        said("history_start"),
        said("tool_call", 1),
        said("llm_response", 2),
        said("history_end", 3),
        said("tool_call", 4, agent_id="x"),
        tick(START + 9),
        said("tool_call", 5, session="t"),
        said("session_end", 6),
        tick(START + 12),
        said("tool_call", 13),
    ]

    def one(events: Iterable[Event]) -> Detection:
        return detect(events, "a", lambda: Counting("a"), sees=CALLS, per_agent=True)

    def other(events: Iterable[Event]) -> Detection:
        return detect(events, "b", lambda: Counting("b"))

    joined = one(events)
    joined.join(other(()))
    assert told(joined) == told(other(iter(one(events))))
    assert told(joined)[:6] == [
        "history_start",
        "tool_call",
        "llm_response",
        "history_end",
        "b holds",
        "a holds",
    ]


def test_what_stands_behind_another_directly_is_one_loop_with_it():
    first = detect([], "a", lambda: Counting("a"))
    assert detect(first, "b", lambda: Counting("b")) is first


@pytest.mark.parametrize("fails", ["tool_call", "tick", "holding"])
def test_one_that_throws_is_left_out_wherever_it_does_and_the_others_find_what_they_find(fails):
    events = [
        said("tool_call", 1),
        said("tool_call", 1, session="t"),
        tick(START + 2),
        said("history_start", 3),
        said("llm_response", 4),
        said("history_end", 5),
        said("tool_call", 6),
    ]
    failures: list[str] = []
    found = detect(events, "a", lambda: Counting("a", fails))
    found.join(detect((), "b", lambda: Counting("b")))
    found.shield = lambda name, error, event: failures.append(f"{name} {error} {event.type}") or []
    messages = told(found)
    assert failures == [f"a a {'history_end' if fails == 'holding' else fails}"]
    alone = told(detect(events, "b", lambda: Counting("b")))
    assert [each for each in messages if not each.startswith("a ")] == alone
    assert not any(each.startswith("a ") for each in messages[-2:])


def test_alone_one_that_throws_ends_the_stream():
    with pytest.raises(RuntimeError):
        told(detect([said("tool_call")], "a", lambda: Counting("a", "tool_call")))
