"""trace-detect-duration: the agent has worked too long on its own."""

import pytest

from agent_pipes.detect.duration import detect_duration
from tests.helpers.detecting import raised, tick
from tests.helpers.support import SESSION, START, Stream, run, violations


def session(*minutes: float, prompt: bool = True, **start: object) -> Stream:
    """A session with one prompt, in which a response comes at each of `minutes` after its start."""
    stream = Stream()
    stream.add("session_start", {"cwd": "/", **start}, after=0)
    if prompt:
        stream.add("user_prompt", {"prompt": "go"}, after=0)
    for minute in minutes:
        stream.add("llm_response", {"model": "m"}, after=START + minute * 60 - stream.time)
    return stream


def busy(until: float, step: float = 5.0) -> Stream:
    """A session in which the agent works on one prompt for `until` minutes."""
    return session(*(step * n for n in range(1, int(until / step) + 1)), until)


def test_the_limit_is_raised_at_the_time_at_which_it_was_passed():
    [found] = raised(detect_duration, busy(61))
    assert found["message"] == "worked for 30m without a prompt (threshold: 30m)"
    assert (found["level"], found["value"], found["limit"]) == ("critical", 1800, 1800)
    assert found["time"] == START + 1800


def test_through_the_command():
    done = run("trace-detect-duration", "--max", "20m", input=busy(26).bytes)
    [found] = violations(done.stdout)
    assert found["message"].startswith("worked for 20m") and found["watcher"] == "duration"


def test_at_the_limit_and_not_before():
    assert not raised(detect_duration, busy(29.99))
    assert len(raised(detect_duration, busy(30))) == 1


def test_live_ticks_and_a_replay_raise_the_same():
    stream = busy(25)
    live = [*stream.events, *(tick(stream, seconds) for seconds in range(1, 400))]
    [one] = raised(detect_duration, live)
    stream.add("llm_response", {}, after=400)
    [other] = raised(detect_duration, stream)
    assert (one["time"], one["message"], one["value"]) == (
        other["time"],
        other["message"],
        other["value"],
    )


def test_an_agent_that_answers_its_user_all_day_raises_nothing():
    stream = Stream()
    stream.add("session_start", {})
    for _ in range(60):
        stream.add("user_prompt", {"prompt": "next"}, after=1500)
        stream.bash("make")
        stream.add("llm_response", {}, after=500)
        stream.add("assistant_response", {"text": "Done."})
    assert not raised(detect_duration, stream)
    assert len(raised(detect_duration, stream, per="run")) == 1
    assert len(raised(detect_duration, stream, wall=True)) == 1


@pytest.mark.parametrize("origin", ["hook", "autopilot", "notification", "schedule", "agent"])
def test_only_a_persons_prompt_begins_anew(origin):
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go", "origin": "person"})
    for _ in range(8):
        stream.add("llm_response", {}, after=300)
        stream.add("user_prompt", {"prompt": "go on", "origin": origin})
    assert len(raised(detect_duration, stream)) == 1
    for event in stream.events:
        event["data"].pop("origin", None)
    assert not raised(detect_duration, stream)


def test_a_silence_counts_ten_minutes_at_most():
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}}, id="c1")
    assert not raised(detect_duration, [*stream.events, tick(stream, 40_000)])
    stream.add("tool_result", {"tool_name": "Bash", "result": "ok"}, parent="c1", after=40_000)
    assert not raised(detect_duration, stream)
    [found] = raised(detect_duration, stream, max=600.0)
    assert found["time"] == START + 601


def test_waiting_for_the_user_does_not_count():
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    stream.add("llm_response", {}, after=600)
    stream.add("assistant_response", {"text": "Which one?"})
    ticks = [tick(stream, minutes * 60) for minutes in range(1, 600)]
    assert not raised(detect_duration, [*stream.events, *ticks])
    assert len(raised(detect_duration, [*stream.events, *ticks], wall=True)) == 1


@pytest.mark.parametrize(
    "tool, reason", [("AskUserQuestion", ""), ("ExitPlanMode", ""), ("Edit", "rejected")]
)
def test_a_question_and_a_refusal_are_waiting(tool, reason):
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    for _ in range(10):
        call = stream.add("tool_call", {"tool_name": tool, "arguments": {}})
        kind = "error" if reason else "tool_result"
        data = {"tool_name": tool, "result": "yes", "reason": reason}
        stream.add(kind, data, parent=call, after=590)
        stream.add("tool_call", {"tool_name": "Bash", "arguments": {}}, id=f"{call}b")
        stream.add("tool_result", {"tool_name": "Bash"}, parent=f"{call}b")
    assert not raised(detect_duration, stream)


def test_text_before_the_next_call_is_no_waiting():
    stream = Stream()
    stream.add("user_prompt", {"prompt": "go"})
    for _ in range(5):
        stream.add("assistant_response", {"text": "I will now run it."})
        call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}})
        stream.add("tool_result", {"tool_name": "Bash"}, parent=call, after=500)
    assert len(raised(detect_duration, stream)) == 1


def history(stream: Stream, *, began: float = 0.0, later: float = 0.0) -> list[dict]:
    """The stream as it is read on attaching, with the start of the agent's process if given."""
    events: list[dict] = [{"event_type": "history_start", "timestamp": START}]
    if began:
        found = {"event_type": "process", "timestamp": stream.time + later}
        events.append({**found, "data": {"began": began}})
    events += stream.events
    events.append({"event_type": "history_end", "timestamp": stream.time + later})
    return [{"session_id": SESSION, **event} for event in events]


def test_attached_after_the_limit_it_is_raised_once_when_history_ends():
    stream = busy(45)
    events = history(stream, later=60)
    [found] = raised(detect_duration, [*events, tick(stream, 61), tick(stream, 62)])
    assert found["behind"] == len(events) - 1
    assert found["message"].startswith("worked for 46m without a prompt (threshold: 30m)")


def test_the_time_at_which_the_process_is_found_is_none_of_the_session():
    stream = busy(45)
    [found] = raised(detect_duration, history(stream, began=START - 5, later=60))
    assert found["message"].startswith("worked for 46m")
    assert not raised(detect_duration, history(busy(20), began=START - 5, later=60))


def test_attached_before_the_limit_it_is_raised_when_it_is_passed():
    stream = busy(25)
    events = [*history(stream), tick(stream, 299), tick(stream, 301)]
    [found] = raised(detect_duration, events)
    assert found["time"] == START + 1800


def test_a_resumed_session_is_not_raised_for_its_past():
    stream = busy(45)
    began = stream.time + 7 * 86400
    events = history(stream, began=began)
    resumed = Stream(at=began)
    resumed.number = stream.number
    resumed.add("user_prompt", {"prompt": "and now"})
    for _ in range(2):
        resumed.add("llm_response", {}, after=300)
    assert not raised(detect_duration, [*events, *resumed.events])
    for _ in range(6):
        resumed.add("llm_response", {}, after=300)
    assert len(raised(detect_duration, [*events, *resumed.events])) == 1


def test_headless_resumes_within_a_minute_are_one_run():
    events: list[dict] = []
    at = START
    for number in range(8):
        one = Stream(at=at)
        one.number = number * 100
        one.add("process", {"began": at + 1})
        one.add("session_start", {"interactive": False, "resumed": number > 0})
        one.add("user_prompt", {"prompt": "go on", "origin": "agent"})
        one.add("llm_response", {}, after=280)
        events += one.events
        at = one.time + 30
    assert len(raised(detect_duration, events, per="run")) == 1
    for event in events:
        if event["event_type"] == "session_start":
            event["data"]["interactive"] = True
    assert not raised(detect_duration, events, per="run")


def test_a_source_that_cannot_tell_turns_is_counted_by_elapsed_time():
    stream = session(10, 20, 45, prompt=False, cannot_tell=["turns"])
    [found] = raised(detect_duration, stream)
    assert found["message"].startswith("running for 30m")


def test_a_warning_before():
    found = raised(detect_duration, busy(60), warn=1500.0)
    assert [(each["level"], each["time"] - START) for each in found] == [
        ("warning", 1500),
        ("critical", 1800),
    ]
    gap = raised(detect_duration, session(9, 18, 27, 36), warn=1700.0)
    assert [each["level"] for each in gap] == ["warning", "critical"]


def test_off():
    assert not raised(detect_duration, busy(500), max=0)


@pytest.mark.parametrize(
    "options, message",
    [
        (("--max", "10m", "--warn", "10m"), b"must be less than"),
        (("--max", "-1"), b"expected"),
        (("--max", "soon"), b"expected"),
        (("--warn", "5x"), b"expected"),
        (("--per", "day"), b"prompt"),
    ],
)
def test_a_bad_option_stops_the_start(options, message):
    done = run("trace-detect-duration", *options)
    assert done.returncode == 2 and done.stdout == b"" and message in done.stderr


def test_each_session_has_its_own_time_and_subagents_share_it():
    one, other = busy(20), busy(20)
    for event in other.events:
        event["session_id"] = "other"
        event["timestamp"] += 1500
    merged = sorted(one.events + other.events, key=lambda event: event["timestamp"])
    assert not raised(detect_duration, merged)
    stream = busy(25)
    stream.add("llm_response", {"agent_id": "a1"}, after=400)
    assert len(raised(detect_duration, stream)) == 1


def test_a_clock_that_steps_back_is_not_followed():
    stream = busy(25)
    stream.add("llm_response", {}, after=-500)
    stream.add("llm_response", {}, after=700)
    assert not raised(detect_duration, stream)
