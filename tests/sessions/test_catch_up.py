"""trace-tail --catch-up: a restarted centre raises what an unbroken run raises."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipes.core.event import Event, from_fields, tick
from agent_pipes.detect.cost import detect_cost
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.sessions.catch_up import IDLE_S, CatchUp
from tests.commands.test_cost import response
from tests.helpers.support import START, Stream, events_of, run, start, violations

NAMES = "abcd"


class FixedClock:
    """A clock that is set by hand."""

    def __init__(self, began: float) -> None:
        self.began = self.time = began

    def now(self) -> float:
        return self.time


def marked(events: list[Event], began: float) -> list[Event]:
    return list(CatchUp(FixedClock(began)).mark(events))


def shown(events: list[Event]) -> list[str]:
    """Types, in short: the marks, and the ids of the others."""
    names = {"history_start": "[", "history_end": "]"}
    return [f"{names.get(each.type, each.id)}{each.session}" for each in events]


def prompts(session: str, *times: float) -> list[Event]:
    stream = Stream(session)
    for at in times:
        stream.time = START + at
        stream.add("user_prompt", {"prompt": "x"}, id=f"{at:g}", after=0.0)
    return [from_fields(each) for each in stream.events]


def test_each_session_ends_its_history_with_its_first_later_event():
    a, b = prompts("a", 1, 2, 11, 12), prompts("b", 3, 13)
    found = shown(marked([a[0], a[1], b[0], a[2], b[1], a[3]], START + 10))
    assert found == ["[a", "1a", "2a", "[b", "3b", "]a", "11a", "]b", "13b", "12a"]


def test_a_session_that_says_no_more_ends_its_history_with_the_stream():
    assert shown(marked(prompts("a", 1, 2), START + 10)) == ["[a", "1a", "2a", "]a"]


def test_it_ends_once_no_old_events_come_while_others_are_live():
    clock = FixedClock(START + 10)

    def stream():
        yield from prompts("a", 1)
        for at in (11, 12, 13):
            yield from prompts("b", at)
        clock.time += IDLE_S
        yield tick(START + 20, "b")
        yield from prompts("a", 2)

    found = shown(list(CatchUp(clock).mark(stream())))
    # What comes late is no history any more.
    assert found == ["[a", "1a", "11b", "12b", "13b", "b", "]a", "2a"]


def test_marks_of_the_log_itself_do_not_end_the_history():
    stream = Stream("a")
    for kind in ("history_start", "user_prompt", "history_end", "user_prompt", "session_end"):
        stream.add(kind, {}, id=kind)
    events = [from_fields(each) for each in stream.events]
    types = [each.type for each in marked(events, START + 60)]
    assert types == ["history_start", "user_prompt", "user_prompt", "session_end"]
    # What is live flows as it came.
    assert marked(events, START - 60) == events


def test_lines_without_a_session_or_a_time_flow_on():
    lines = [Event(b"no event\n", {}), Event(b"{}\n", {"event_type": "user_prompt"})]
    nameless = from_fields({"event_type": "user_prompt", "session_id": "a", "data": {}})
    assert marked([*lines, nameless], START) == [*lines, nameless]


def log(steps, lags) -> list[Event]:
    """A stream in the order of its arrival: each session's events in order, some sessions late."""
    streams = {name: Stream(name, START - lag) for name, lag in zip(NAMES, lags, strict=True)}
    events = []
    for number, (name, kind, after) in enumerate(steps):
        stream, before = streams[name], len(streams[name].events)
        if kind == "spend":
            response(stream, id=f"{name}{number}", input=200_000, after=after)
        elif kind in ("fail", "pass"):
            stream.time += after
            stream.bash("make test", failed=kind == "fail")
        elif kind == "again":
            events += stream.events[-2:]
        else:
            stream.add(kind, {}, id=f"{name}{kind}{number}", after=after)
        events += stream.events[before:]
    return [from_fields(each) for each in events]


STEP = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(
        ["spend", "spend", "spend", "fail", "fail", "pass", "again", "history_end", "user_prompt"]
    ),
    st.sampled_from([0.5, 1.0, 7.0, 300.0]),
)
CENTRES = {
    "budget": (detect_cost, {"per": "all", "max": 3.5, "window": 0}),
    "session": (detect_cost, {"per": "session", "max": 1.5, "window": 0}),
    "run": (detect_cost, {"max": 1.5}),
    "window": (detect_cost, {"per": "all", "max": 1.5, "window": 600}),
    "retry": (detect_retry, {"max": 2}),
}


def raised(part, options, events) -> dict[str, float]:
    """Latest time of a critical violation, by session."""
    found = [each for each in part.stage(None, **options)(events) if each.type == "violation"]
    critical = [each for each in found if each.data["level"] == "critical"]
    return {each.session: each.time for each in critical}


@pytest.mark.parametrize("name", CENTRES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEP, min_size=1, max_size=40),
    lags=st.tuples(*[st.sampled_from([0.0, 0.0, 40.0, 900.0])] * len(NAMES)),
    share=st.floats(0, 1),
)
def test_a_restarted_centre_raises_what_an_unbroken_run_raises(name, steps, lags, share):
    part, options = CENTRES[name]
    events = log(steps, lags)
    times = sorted(each.time for each in events) or [START]
    began = times[round(share * (len(times) - 1))]
    unbroken = raised(part, options, events)
    restarted = raised(part, options, marked(events, began))
    if name in ("budget", "session", "run"):
        # A sum that never falls holds for ever: the same sessions are stopped.
        assert restarted.keys() == unbroken.keys()
    # Nothing is raised that an unbroken run does not, and all that it raises after the restart is.
    assert restarted.keys() <= unbroken.keys()
    assert {session for session, at in unbroken.items() if at >= began} <= restarted.keys()


def test_the_test_can_fail():
    """A centre that does not catch up has forgotten, as the issue describes."""
    part, options = CENTRES["budget"]
    events = log([("a", "spend", 1.0)] * 5, (0.0,) * len(NAMES))
    assert raised(part, options, events) and not raised(part, options, events[3:])


def spent(session: str, ago: float, usd: float = 3.0) -> bytes:
    stream = Stream(session, time.time() - ago)
    return response(stream, id=f"{session}{ago}", input=round(usd * 200_000)).bytes


def test_the_command_reads_a_log_and_a_budget_behind_it_holds():
    data = spent("a", 3000) + spent("b", 2000)
    caught = run("trace-tail", "--catch-up", "-", input=data)
    types = [each["event_type"] for each in events_of(caught.stdout)]
    assert types == ["history_start", "llm_response"] * 2 + ["history_end"] * 2
    assert caught.returncode == 0
    (found,) = violations(
        run("trace-detect-cost", "--per", "all", "--max", "5", input=caught.stdout).stdout
    )
    assert found["value"] == 6


def test_what_was_spent_before_a_restart_counts_against_what_comes_live():
    centre = start("trace-tail", "--catch-up", "-")
    judge = start("trace-detect-cost --per all --max 5 --violations-only", stdin=centre.stdout)
    centre.stdout.close()
    centre.stdin.write(spent("a", 3000))
    centre.stdin.write(spent("b", -2))
    centre.stdin.flush()
    for line in judge.stdout:
        if b'"violation"' in line:
            break
    assert events_of(line)[0]["session_id"] == "b"
    centre.stdin.close()
    assert (centre.wait(20), judge.wait(20)) == (0, 0)


@pytest.mark.parametrize("arguments", [["--catch-up"], ["--catch-up", "claude"]])
def test_it_reads_a_stream_and_nothing_else(arguments):
    done = run("trace-tail", *arguments)
    assert done.returncode == 2 and b"trace-tail --catch-up -" in done.stderr


def test_a_transcript_is_no_log():
    done = run("trace-tail", "--catch-up", "-", input=b'{"type":"user","sessionId":"x"}\n')
    assert done.returncode == 2 and done.stdout == b""
