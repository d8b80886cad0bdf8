"""trace-detect-spawn: agents that start agents."""

import pytest

from agent_pipes.detect.spawn import detect_spawn
from tests.helpers.detecting import critical, raised
from tests.helpers.support import Stream, run, violations


def spawn(stream: Stream, name: str, by: str = "", *, call: bool = True, **data: object) -> str:
    """Start subagent `name`, called by agent `by`; return the id of the call."""
    about = {"agent_id": by} if by else {}
    parent = ""
    if call:
        arguments = {"prompt": "look"}
        parent = stream.add("tool_call", {"tool_name": "Task", "arguments": arguments, **about})
    stream.add("subagent_start", {"agent_id": name, **data}, parent=parent)
    return parent


def fan(count: int) -> Stream:
    stream = Stream()
    for number in range(count):
        spawn(stream, f"a{number}")
    return stream


def test_many_subagents_at_once():
    assert not raised(detect_spawn, fan(9))
    assert [each["level"] for each in raised(detect_spawn, fan(19))] == ["warning"]
    [found] = critical(detect_spawn, fan(200))
    assert found["message"] == "20 subagents at once (threshold: 20)"
    assert (found["count"], found["limit"], found["behind"]) == (20, 20, 39)


def test_through_the_command():
    done = run("trace-detect-spawn", "--max", "2", input=fan(3).bytes)
    assert violations(done.stdout)[-1]["watcher"] == "spawn"


@pytest.mark.parametrize("end", ["subagent_stop", "tool_result", "error"])
def test_one_after_another_raises_nothing(end):
    stream = Stream()
    for number in range(100):
        call = spawn(stream, f"a{number}")
        if end == "subagent_stop":
            stream.add(end, {"agent_id": f"a{number}"})
        else:
            stream.add(end, {"tool_name": "Task", "result": "done", "reason": "tool"}, parent=call)
    assert not raised(detect_spawn, stream)


def test_a_subagent_in_the_background_lives_on_after_the_answer_to_its_call():
    stream = Stream()
    for number in range(30):
        call = spawn(stream, f"a{number}")
        stream.add("tool_result", {"tool_name": "Task", "running": True}, parent=call)
    assert len(critical(detect_spawn, stream)) == 1


def nested(depth: int, *, named: bool = False) -> Stream:
    stream, by = Stream(), ""
    for number in range(depth):
        data = {"parent_agent_id": by} if named else {}
        spawn(stream, f"a{number}", by, call=not named, **data)
        by = f"a{number}"
    return stream


@pytest.mark.parametrize("named", [False, True])
def test_nested_too_deep(named):
    assert not raised(detect_spawn, nested(1, named=named))
    assert [each["level"] for each in raised(detect_spawn, nested(2, named=named))] == ["warning"]
    [found] = critical(detect_spawn, nested(6, named=named))
    assert found["message"] == "subagents nested 3 deep (threshold: 3)"


def test_the_depth_that_the_source_tells_is_taken():
    stream = Stream()
    spawn(stream, "a1", call=False, depth=2)
    spawn(stream, "a2", call=False, depth=3)
    assert [each["level"] for each in raised(detect_spawn, stream)] == ["warning", "critical"]


def test_without_a_parent_a_subagent_is_the_main_agents():
    stream = Stream()
    for number in range(5):
        spawn(stream, f"a{number}", call=False)
    assert not raised(detect_spawn, stream)


def test_off():
    assert not raised(detect_spawn, fan(200), max=0)
    assert not raised(detect_spawn, nested(9), depth=0)


def test_attaching_raises_what_still_holds():
    stream = fan(30)
    base = {"session_id": stream.session}
    history = [
        {"event_type": "history_start", "timestamp": stream.time - 90, **base},
        *stream.events,
        {"event_type": "history_end", "timestamp": stream.time, **base},
    ]
    [found] = raised(detect_spawn, history)
    assert found["count"] == 30 and found["level"] == "critical"
