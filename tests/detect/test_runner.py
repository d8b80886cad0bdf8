"""The driver of all detectors: what they are shown, what is raised, and one that fails."""

from collections.abc import Iterable

import pytest

from agent_pipes.core.event import KNOWN, Event, from_fields, tick
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.detect.session_state import DetectorSpec
from tests.helpers.detecting import raised
from tests.helpers.support import Stream, run

START = 1_790_000_000.0
EVERY = frozenset((*KNOWN, "odd"))
TIMED = EVERY | {"tick"}


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

    def __init__(self, name: str, fails: str, types: frozenset[str]) -> None:
        self.name = name
        self.fails = fails
        self.types = types
        self.number = 0

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
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


def spec(
    name: str, fails: str = "", *, per_agent: bool = False, types: frozenset[str] = EVERY
) -> DetectorSpec:
    return DetectorSpec(name, [lambda _: Counting(name, fails, types)], per_agent=per_agent)


def test_a_detector_is_shown_all_but_violations_kills_and_what_is_no_event():
    events = [
        said("tool_call", 2),
        said("violation", 3, message="theirs"),
        said("kill", 4),
        from_fields({}),
        said("odd", 5),
    ]
    assert told(DetectorRunner(events, [spec("a")])) == [
        "tool_call",
        "a tool_call 2",
        "theirs",
        "kill",
        "",
        "odd",
        "a odd 5",
    ]


def test_one_driver_finds_what_a_pipeline_finds_in_the_same_order():
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
    specs = [spec("a", per_agent=True, types=TIMED), spec("b", types=TIMED)]
    together = told(DetectorRunner(events, specs))
    one = DetectorRunner(events, specs[:1])
    assert sorted(together) == sorted(told(DetectorRunner(one, specs[1:])))
    assert together[:6] == [
        "history_start",
        "tool_call",
        "llm_response",
        "history_end",
        "b holds",
        "a holds",
    ]


def test_a_tick_of_one_session_is_shown_to_that_session_alone():
    events = [said("tool_call"), said("tool_call", session="t"), tick(START + 9, "t")]
    runner = DetectorRunner(events, [spec("a", types=TIMED)])
    found = [event.session for event in runner if event.type == "violation"]
    assert found == ["s", "t", "t"]


def test_a_rule_is_shown_the_types_that_it_names_alone():
    events = [said("tool_call"), said("llm_response", 1), said("tool_call", 2, agent_id="x")]
    alone = spec("a", per_agent=True, types=frozenset({"llm_response"}))
    assert [each for each in told(DetectorRunner(events, [alone])) if each[:2] == "a "] == [
        "a llm_response 1"
    ]


def test_a_call_is_shown_with_its_result():
    class Pairs:
        types = EVERY

        def __init__(self) -> None:
            self.shown: list[tuple[str, str, str]] = []

        def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
            answer = call.answer.id if call and call.answer else ""
            return [Finding(len(self.shown), f"{event.id} {call.id if call else None} {answer}")]

        def holding(self, now: float) -> Iterable[Finding]:
            return ()

    def event(kind: str, id: str, parent: str = "") -> Event:
        fields = {"event_type": kind, "event_id": id, "parent_id": parent, "session_id": "s"}
        return from_fields({**fields, "timestamp": START, "data": {}})

    events = [event("tool_result", "r0", "c0"), event("tool_call", "c0"), event("tool_call", "c1")]
    events += [event("user_prompt", "p"), event("error", "r1", "c1")]
    pairs = Pairs()
    runner = DetectorRunner(events, [DetectorSpec("a", [lambda _: pairs])])
    shown = []
    for each in runner:
        if each.type == "violation":
            shown.append(each.text("message"))
            pairs.shown.append(("", "", ""))
    assert shown == ["r0 None ", "c0 c0 r0", "c1 c1 ", "p None ", "r1 c1 r1"]


@pytest.mark.parametrize("fails", ["tool_call", "tick", "holding"])
def test_one_that_fails_is_dropped_and_the_others_find_what_they_find(fails, capfd):
    events = [
        said("tool_call", 1),
        said("tool_call", 1, session="t"),
        tick(START + 2),
        said("history_start", 3),
        said("llm_response", 4),
        said("history_end", 5),
        said("tool_call", 6),
    ]
    both = DetectorRunner(
        events, [spec("a", fails, types=TIMED), spec("b", types=TIMED)], isolated=True
    )
    messages = told(both)
    assert capfd.readouterr().err.count("trace-detect-a failed (RuntimeError: a)") == 1
    alone = told(DetectorRunner(events, [spec("b", types=TIMED)]))
    assert [each for each in messages if not each.startswith("a ")] == alone
    assert not any(each.startswith("a ") for each in messages[-2:])


def test_alone_one_that_fails_ends_the_stream():
    with pytest.raises(RuntimeError):
        told(DetectorRunner([said("tool_call")], [spec("a", "tool_call")]))


def test_strict_raises_the_failure_once_in_each_session():
    events = [said("odd"), said("odd", session="t"), said("tool_call", 1), said("odd", 2)]
    runner = DetectorRunner(events, [spec("a", "tool_call")], isolated=True, strict=True)
    raised = [each for each in runner if each.text("watcher") == "internal"]
    assert sorted(each.session for each in raised) == ["s", "t"]


def test_events_that_come_twice_count_once():
    events = [said("tool_call", 1), said("tool_call", 2), said("odd", 3)]
    found = told(DetectorRunner(events * 2, [spec("a")]))
    assert [each for each in found if each.startswith("a tool_call")] == [
        "a tool_call 1",
        "a tool_call 2",
    ]
    assert found.count("tool_call") == 4, "they flow on"


def test_a_detector_leaves_alone_what_it_is_told_to(tmp_path):
    stream = Stream()
    for _ in range(6):
        stream.bash("cd app && gdb -batch x", "Exit code 1\nno symbol", failed=True)
        stream.call("mcp__browser__click", {"at": 1}, "same")
    names = [part.watcher for part in (detect_retry, detect_loop)]
    assert names == ["retry", "loop"]
    assert raised(detect_retry, stream) and raised(detect_loop, stream)
    ignored = ("gdb*", "mcp__browser__*")
    assert not raised(detect_retry, stream, ignored=ignored)
    assert not raised(detect_loop, stream, ignored=ignored)
    done = run("trace-detect-retry", "--except", "gdb*", input=stream.bytes)
    assert done.returncode == 0 and done.stdout == stream.bytes
