"""Pairing of results with their calls."""

from agent_pipes.core.event import Event, from_fields
from agent_pipes.detect.call_tracker import MAX_EARLY_RESULTS, MAX_OPEN_CALLS, CallTracker
from agent_pipes.detect.calls import Call


def called(tool: str, command: str, id: str, **data: object) -> Event:
    data = {"tool_name": tool, "arguments": {"command": command}, **data}
    return from_fields(
        {"event_type": "tool_call", "timestamp": 1795359278.0, "event_id": id, "data": data}
    )


def answer(parent: str = "", **data: object) -> Event:
    event = {"event_type": "tool_result", "timestamp": 1795359279.0, "event_id": "r", "data": data}
    return from_fields(event | ({"parent_id": parent} if parent else {}))


def see(calls: CallTracker, event: Event) -> Call:
    call = calls.see(event)
    assert call
    return call


def test_a_result_finds_its_call_by_parent_by_ticket_and_by_tool():
    calls = CallTracker()
    first = calls.see(called("Bash", "a", "e1", tool_use_id="t1"))
    second = calls.see(called("Read", "b", "e2", tool_use_id="t2"))
    third = calls.see(called("Bash", "c", "e3", request_id=3))
    assert calls.see(answer("e2")) is second
    assert calls.see(answer(request_id=3)) is third
    assert calls.see(answer(tool_name="Bash")) is first
    assert calls.see(answer(tool_name="Bash")) is None


def test_a_result_without_a_parent_answers_a_call_of_its_own_agent():
    calls = CallTracker()
    main = calls.see(called("Bash", "a", "e1"))
    other = calls.see(called("Bash", "a", "e2", agent_id="x"))
    assert calls.see(answer(tool_name="Bash", agent_id="x")) is other
    assert calls.see(answer(tool_name="Bash", agent_id="x")) is None
    assert calls.see(answer(tool_name="Bash")) is main


def test_a_result_of_an_unknown_call_answers_none():
    calls = CallTracker()
    call = calls.see(called("Bash", "a", "e1", tool_use_id="t1"))
    assert calls.see(answer("e9", tool_name="Bash")) is None
    assert calls.see(answer(tool_use_id="t9", tool_name="Bash")) is None
    assert calls.see(answer("e1")) is call


def test_a_result_that_comes_before_its_call_answers_it():
    calls = CallTracker()
    early = answer("e1", result="fast")
    assert calls.see(early) is None
    assert see(calls, called("Bash", "a", "e1")).answer is early
    assert calls.see(answer("e1")) is None, "it was answered"


def test_early_results_are_forgotten_oldest_first():
    calls = CallTracker()
    for number in range(MAX_EARLY_RESULTS + 10):
        calls.see(answer(f"e{number}"))
    assert see(calls, called("Bash", "a", "e0")).answer is None
    assert see(calls, called("Bash", "a", f"e{MAX_EARLY_RESULTS + 9}")).answer


def test_the_last_word_on_a_call_counts_once():
    calls = CallTracker()
    call = calls.see(called("Bash", "a", "e1"))
    assert calls.see(answer("e1", result="first")) is call
    assert calls.see(answer("e1", result="again")) is None
    assert call and call.answer and call.answer.text("result") == "first"


def test_a_call_that_is_recorded_again_is_one_call():
    calls = CallTracker()
    assert calls.see(called("Bash", "a", "e1")) is not None
    assert calls.see(called("Bash", "a", "e1")) is None


def test_calls_that_never_end_are_given_up_oldest_first():
    calls = CallTracker()
    for number in range(2 * MAX_OPEN_CALLS):
        calls.see(called("Bash", f"c{number}", f"e{number}"))
    assert len(calls._open) <= MAX_OPEN_CALLS
    assert calls.see(answer("e1")) is None
    assert calls.see(answer(f"e{2 * MAX_OPEN_CALLS - 1}"))


def test_the_end_of_a_command_that_ran_on_is_that_of_the_call_that_started_it():
    calls = CallTracker()
    start = calls.see(called("exec_command", "make", "e1"))
    calls.see(answer("e1", running=True))
    calls.see(called("write_stdin", "", "e2"))
    wait = see(calls, answer("e2", started_by="e1", exit_code=1))
    assert wait.started_by is start
