"""trace-detect-duration: the session runs too long, from its own start."""

import pytest

from agent_pipes.detect.duration import detect_duration
from tests.helpers.detecting import raised, tick
from tests.helpers.support import SESSION, START, Stream, run, violations


def session(*minutes: float) -> Stream:
    """A session that starts, is asked for something, and says something at each of `minutes` after its start."""
    stream = Stream()
    stream.add("session_start", {"cwd": "/"}, after=0)
    stream.add("user_prompt", {"prompt": "go"}, after=0)
    for minute in minutes:
        stream.add("llm_response", {"model": "m"}, after=START + minute * 60 - stream.time)
    return stream


def test_duration_limit():
    [found] = raised(detect_duration, session(10, 29.9, 31, 32, 60))
    assert (
        found["message"] == "running for 31m (threshold: 30m); raise the limit with --max-duration"
    )
    assert (found["level"], found["value"], found["limit"], found["behind"]) == (
        "critical",
        1860,
        1800,
        4,
    )


def test_through_the_command():
    done = run("trace-detect-duration", "--max", "20m", input=session(10, 25, 26).bytes)
    [found] = violations(done.stdout)
    assert (
        found["message"].startswith("running for 25m (threshold: 20m)")
        and found["watcher"] == "duration"
    )


def test_at_the_limit_and_not_before():
    assert not raised(detect_duration, session(29.99))
    assert len(raised(detect_duration, session(30))) == 1


def test_while_the_agent_is_silent_no_event_is_needed():
    stream = session(1)
    found = raised(
        detect_duration,
        [*stream.events, *(tick(stream, seconds) for seconds in range(1, 3))],
        max=62.0,
    )
    assert [each["behind"] for each in found] == [4] and found[0]["message"].startswith(
        "running for 1m2s (threshold: 1m2s)"
    )


def test_it_counts_from_the_sessions_own_start_not_from_attaching():
    stream = session(90)
    history = [
        {"event_type": "history_start", "timestamp": START, "session_id": SESSION}, *stream.events,
        {"event_type": "history_end", "timestamp": stream.time + 600, "session_id": SESSION},
    ]  # fmt: skip
    [found] = raised(detect_duration, history, max=3600.0)
    assert (
        found["message"].startswith("running for 1h40m (threshold: 1h)")
        and found["behind"] == len(history) - 1
    )


def test_attached_before_the_limit_it_is_raised_when_it_is_passed():
    stream = session(20)
    history = [
        {"event_type": "history_start", "timestamp": START, "session_id": SESSION}, *stream.events,
        {"event_type": "history_end", "timestamp": stream.time, "session_id": SESSION}, tick(stream, 599), tick(stream, 601),
    ]  # fmt: skip
    assert [each["behind"] for each in raised(detect_duration, history)] == [len(history) - 1]


def test_without_a_start_the_first_event_is_it():
    stream = Stream()
    stream.bash("ls")
    stream.add("llm_response", {}, after=1900)
    assert len(raised(detect_duration, stream)) == 1


def test_clocks_that_step_back_are_not_followed():
    stream = session(10)
    stream.add("llm_response", {}, after=-500)
    assert not raised(detect_duration, [*stream.events, tick(stream, 1100)])
    stream.add("llm_response", {}, after=1900)
    assert len(raised(detect_duration, stream)) == 1


def test_an_event_without_a_time_is_of_the_latest():
    stream = session(1)
    stream.events.append({"event_type": "llm_response", "session_id": SESSION, "data": {}})
    assert not raised(detect_duration, stream)


def test_a_warning_before():
    found = raised(detect_duration, session(10, 26, 27, 31, 40), warn=1500.0)
    assert [(each["level"], each["message"]) for each in found] == [
        ("warning", "running for 26m (threshold: 25m)"), ("critical", "running for 31m (threshold: 30m); raise the limit with --max-duration"),
    ]  # fmt: skip


def test_off():
    assert not raised(detect_duration, session(5000), max=0)


@pytest.mark.parametrize(
    "options",
    [("--max", "10m", "--warn", "10m"), ("--max", "-1"), ("--max", "soon"), ("--warn", "5x")],
)
def test_a_bad_option_stops_the_start(options):
    done = run("trace-detect-duration", *options)
    assert done.returncode == 2 and done.stdout == b"" and b"expected" in done.stderr


def worked(*pairs: tuple[float, float]) -> Stream:
    """For each pair: the user asks, the agent works for so many minutes and says it is done, and so many pass."""
    stream = Stream()
    stream.add("session_start", {})
    for work, rest in pairs:
        stream.add("user_prompt", {"prompt": "go"})
        stream.add(
            "tool_call",
            {"tool_name": "Bash", "arguments": {"command": "make"}},
            id=f"c{stream.number}",
        )
        stream.add(
            "tool_result",
            {"tool_name": "Bash", "result": "ok"},
            parent=f"c{stream.number - 1}",
            after=work * 60,
        )
        stream.add("llm_response", {})
        stream.add("assistant_response", {"text": "Done."})
        stream.time += rest * 60
    return stream


def test_active_leaves_out_the_time_that_the_user_was_waited_for():
    stream = worked((10, 600), (10, 600), (9, 600))
    assert len(raised(detect_duration, stream)) == 1
    assert not raised(detect_duration, stream, active=True)
    [found] = raised(detect_duration, worked((10, 600), (10, 600), (11, 1)), active=True)
    assert found["message"].startswith(
        "running for 31m (threshold: 30m), without the time its user was waited for"
    )


def test_active_does_not_run_while_the_user_is_away():
    stream = worked((20, 0))
    assert not raised(
        detect_duration,
        [*stream.events, *(tick(stream, minutes * 60) for minutes in range(1, 300))],
        active=True,
    )


def test_active_runs_while_a_tool_does_and_while_the_model_thinks():
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    assert len(raised(detect_duration, [*stream.events, tick(stream, 1900)], active=True)) == 1
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}})
    assert len(raised(detect_duration, [*stream.events, tick(stream, 1900)], active=True)) == 1


def test_what_an_agent_says_before_it_goes_on_is_no_waiting():
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    for _ in range(4):
        stream.add("assistant_response", {"text": "I will now run it."})
        stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}}, after=500)
    assert len(raised(detect_duration, stream, active=True)) == 1


@pytest.mark.parametrize(
    "tool, reason", [("AskUserQuestion", ""), ("ExitPlanMode", ""), ("Bash", "rejected")]
)
def test_a_question_and_a_refusal_are_waiting(tool, reason):
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    call = stream.add("tool_call", {"tool_name": tool, "arguments": {}})
    kind = "error" if reason else "tool_result"
    stream.add(
        kind, {"tool_name": tool, "result": "yes", "reason": reason}, parent=call, after=3000
    )
    assert (
        not raised(detect_duration, stream, active=True)
        and len(raised(detect_duration, stream)) == 1
    )


def test_sessions_run_each_for_itself_and_subagents_with_theirs():
    one, other = session(10), session(10)
    for event in other.events:
        event["session_id"] = "other"
        event["timestamp"] += 1500
    merged = sorted(one.events + other.events, key=lambda event: event["timestamp"])
    assert not raised(detect_duration, merged)
    stream = session(10)
    stream.add("llm_response", {"agent_id": "a1"}, after=1300)
    assert len(raised(detect_duration, stream)) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "llm_response", "timestamp": "x"},
        {"event_type": "user_prompt", "timestamp": 1e400, "data": []},
        {"event_type": "tick"},
    ],
)
def test_wrong_types_never_raise(event):
    assert not raised(detect_duration, [event, event], active=True)
