"""The steps of a session's violations: in order, once each, and again after a pause."""

from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.core.event import make
from agent_pipes.core.steps import STEPS
from agent_pipes.detect.finding import Finding
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.detect.session_state import DetectorSpec

START = 1_795_359_278.0


class Amounts:
    """Finds the amount that each `llm_response` has, if it is more than the limit."""

    types = frozenset({"llm_response"})

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def see(self, event, call, now):
        amount = event.data["amount"]
        if amount >= self.limit:
            yield Finding("sum", f"{amount} spent", seen={"value": amount, "limit": self.limit})

    def holding(self, now):
        return ()


class Breaches:
    """Finds each `tool_call`: a condition of its own, without an amount."""

    types = frozenset({"tool_call"})

    def see(self, event, call, now):
        yield Finding(event.data["tool_name"], "outside the policy")

    def holding(self, now):
        return ()


def event(kind: str, number: int = 0, **data: object):
    return make(kind, START + number, "s", data)


def amounts(*values: float):
    return [event("llm_response", number, amount=value) for number, value in enumerate(values)]


def violations(events, *specs: DetectorSpec) -> list[dict]:
    return [each.data for each in DetectorRunner(iter(events), specs) if each.type == "violation"]


def cost(*steps: str, sinks: tuple[str, ...] = ()) -> DetectorSpec:
    return DetectorSpec("cost", [lambda _: Amounts(10)], sinks, steps=steps)


def scope(*steps: str) -> DetectorSpec:
    return DetectorSpec("scope", [lambda _: Breaches()], steps=steps)


def taken(events, spec: DetectorSpec) -> list[str]:
    return [each["actions"][-1] for each in violations(events, spec)]


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5), st.integers(0, 8))
def test_the_steps_are_taken_in_order_and_the_last_one_again(steps, number):
    calls = [event("tool_call", each, tool_name=f"tool {each}") for each in range(number)]
    assert taken(calls, scope(*steps)) == [
        steps[min(each, len(steps) - 1)] for each in range(number)
    ]


@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=4),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_what_stays_takes_each_step_once_as_it_grows(steps, additions):
    """At its limit, at 1.5 times its limit, at 2 times: never twice at one of these."""
    sums = [sum(additions[: each + 1]) for each in range(len(additions))]
    reached = sorted(
        {min(int((each / 10 - 1) / 0.5), len(steps) - 1) for each in sums if each >= 10}
    )
    assert taken(amounts(*sums), cost(*steps)) == steps[: len(reached)]


def test_without_steps_what_stays_is_one_violation():
    (only,) = violations(amounts(10, 15, 20, 100), cost())
    assert "actions" not in only


def test_the_sinks_are_told_of_each_step():
    found = violations(amounts(10, 15), cost("nudge", "kill", sinks=("file", "webhook")))
    assert [each["actions"] for each in found] == [
        ["file", "webhook", "nudge"],
        ["file", "webhook", "kill"],
    ]


def test_a_persons_prompt_begins_the_steps_again_where_it_begins_the_count_again():
    calls = [event("tool_call", each, tool_name=f"tool {each}") for each in range(4)]
    retry = DetectorSpec("retry", [lambda _: Breaches()], steps=("nudge", "kill"))
    asked = event("user_prompt", 2, prompt="go on", origin="person")
    hooked = event("user_prompt", 2, prompt="go on", origin="hook")
    assert taken([*calls[:2], asked, *calls[2:]], retry) == ["nudge", "kill", "nudge", "kill"]
    assert taken([*calls[:2], hooked, *calls[2:]], retry) == ["nudge", "kill", "kill", "kill"]
    assert taken([*calls[:2], asked, *calls[2:]], scope("nudge", "kill"))[2:] == ["kill", "kill"]


def test_a_resumed_session_is_paused_again_at_its_new_limit():
    events = [
        *amounts(11),
        event("resume", 1, limits={"cost": 20}, ignored=[]),
        *amounts(12, 19, 20, 25),
    ]
    first, second = violations(events, cost("pause", "kill"))
    assert (first["actions"], first["limit"]) == (["pause"], 10)
    assert (second["actions"], second["value"], second["limit"]) == (["pause"], 20, 20)
    assert second["message"].endswith("the limit was raised to $20")


def test_a_resumed_session_without_steps_trips_again_at_its_new_limit():
    """`trace-kill --signal STOP` behind a detector that knows of no steps."""
    events = [*amounts(11), event("resume", 1, limits={"cost": 20}), *amounts(19, 21)]
    assert [each["value"] for each in violations(events, cost())] == [11, 21]


def test_an_ignored_finding_passes_for_the_rest_of_the_run_and_another_does_not():
    calls = [event("tool_call", each, tool_name="read") for each in range(2)]
    resumed = event("resume", 1, limits={}, ignored=["scope"])
    other = event("tool_call", 3, tool_name="write")
    found = violations([calls[0], resumed, calls[1], other], scope("pause"))
    assert len(found) == 2, "the first, and the other"
    assert violations([resumed, calls[0], other], scope("pause"))[0]["actions"] == ["pause"]
    assert len(violations([resumed, calls[0], other], scope("pause"))) == 1, (
        "a watch that is started by the resumption finds the ignored one first"
    )


def test_time_that_passes_while_the_agent_is_paused_raises_nothing():
    class Silence:
        types = frozenset({"tick"})

        def see(self, event, call, now):
            if now - START >= 100:
                yield Finding("silent", "silent", seen={"value": now - START, "limit": 100})

        def holding(self, now):
            return ()

    stall = DetectorSpec("stall", [lambda _: Silence()], steps=("pause", "kill"))
    ticks = [event("tick", each) for each in range(0, 400, 50)]
    started = event("session_start")
    assert [each["value"] for each in violations([started, *ticks], stall)] == [100]
    resumed = event("resume", 400, limits={"stall": 900})
    later = [event("tick", each) for each in range(400, 2000, 50)]
    assert [each["value"] for each in violations([started, *ticks, resumed, *later], stall)] == [
        100,
        900,
    ]


def test_two_watchers_that_trip_at_one_event_take_one_step():
    call = event("tool_call", 1, tool_name="read")
    other = event("tool_call", 2, tool_name="write")
    retry = DetectorSpec("retry", [lambda _: Breaches()], steps=("pause", "kill"))
    both = [retry, scope("pause", "kill")]
    found = violations([call, event("resume", 1, limits={}), other], *both)
    assert [each["actions"] for each in found[:2]] == [["pause"], ["pause"]]
    assert [each["actions"] for each in found[2:]].count(["kill"]) < 2
