"""trace-detect-stall: it is the agent's turn, and nothing comes."""

import pytest

from agent_pipes.detect.stall import detect_stall
from tests.helpers.detecting import raised, tick
from tests.helpers.support import SESSION, Stream, run, violations


def asked() -> Stream:
    stream = Stream()
    stream.add("session_start", {"cwd": "/"})
    stream.add("user_prompt", {"prompt": "go"})
    return stream


def silence(stream: Stream, *seconds: float) -> list[dict]:
    return [*stream.events, *(tick(stream, each) for each in seconds)]


def test_silence_with_nothing_in_flight():
    [found] = raised(detect_stall, silence(asked(), 1, 300, 599, 600, 601, 5000))
    assert found["message"] == "silent for 10m with nothing in flight (threshold: 10m)"
    assert (found["level"], found["value"], found["limit"], found["behind"]) == (
        "critical",
        600,
        600,
        5,
    )
    assert found["time"] == asked().time + 600


def test_through_the_command():
    stream = asked().bash("ls")
    stream.add("llm_response", {}, after=400)
    done = run("trace-detect-stall", "--max", "5m", input=stream.bytes)
    [found] = violations(done.stdout)
    assert (
        found["message"].startswith("silent for 5m with nothing in flight (threshold: 5m)")
        and found["watcher"] == "stall"
    )


@pytest.mark.parametrize(
    "kind, data",
    [
        ("tool_result", {}),
        ("llm_response", {}),
        ("error", {"reason": "exit"}),
        ("llm_request", {}),
    ],
)
def test_whatever_came_last_if_it_is_the_agents_turn(kind, data):
    stream = asked()
    call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "ls"}})
    stream.add("tool_result", {"tool_name": "Bash", "result": "x"}, parent=call)
    stream.add(kind, data)
    assert len(raised(detect_stall, silence(stream, 601))) == 1


def test_a_tool_that_runs_is_given_longer_and_is_a_warning():
    stream = asked()
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}})
    assert not raised(detect_stall, silence(stream, 601, 1799))
    [found] = raised(detect_stall, silence(stream, 601, 1801))
    assert found["message"] == "silent for 30m while a tool runs (threshold: 30m)"
    assert found["level"] == "warning"
    assert not raised(detect_stall, silence(stream, 90_000), in_flight=0)


@pytest.mark.parametrize("interactive, level", [(False, "critical"), (True, "warning")])
def test_in_a_headless_run_nobody_can_be_asked(interactive, level):
    stream = Stream()
    stream.add("session_start", {"interactive": interactive})
    stream.add("user_prompt", {"prompt": "go"})
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}})
    [found] = raised(detect_stall, silence(stream, 1801))
    assert found["level"] == level


@pytest.mark.parametrize("tool", ["Edit", "Write", "Read", "write_file"])
def test_a_quick_tool_that_takes_long_waits_for_permission(tool):
    stream = asked()
    stream.add("tool_call", {"tool_name": tool, "arguments": {"file_path": "a"}})
    assert not raised(detect_stall, silence(stream, *range(100, 90_000, 1000)))
    stream.events[0]["data"]["interactive"] = False
    assert len(raised(detect_stall, silence(stream, 1801))) == 1


def test_where_the_client_says_that_it_waits_that_decides():
    stream = asked()
    call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "rm x"}})
    stream.add("waiting", {"for": "permission"})
    assert not raised(detect_stall, silence(stream, 90_000))
    stream.add("tool_result", {"tool_name": "Bash", "result": "x"}, parent=call, after=90_000)
    assert len(raised(detect_stall, silence(stream, 601))) == 1


def test_13_18_the_status_of_the_client_decides_until_it_says_something_else():
    stream = asked()
    call = stream.add("tool_call", {"tool_name": "Edit", "arguments": {"file_path": "a"}})
    stream.add("waiting", {"for": "permission", "status": "waiting"})
    # What a subagent in the background does meanwhile gives nobody's turn away.
    stream.add("tool_result", {"tool_name": "Bash", "result": "x", "agent_id": "a1"})
    assert not raised(detect_stall, silence(stream, *range(100, 90_000, 1000)))
    stream.add("waiting", {"for": "nobody", "status": "busy"}, after=90_000)
    # It works: a quick tool waits for no permission, and its silence is critical.
    [found] = raised(detect_stall, silence(stream, 1799, 1801))
    assert (found["level"], found["value"]) == ("critical", 1800)
    stream.add("tool_result", {"tool_name": "Edit", "result": "x"}, parent=call, after=1900)
    # Between two texts of one turn the client still works.
    stream.add("assistant_response", {"text": "Now the next file."})
    assert len(raised(detect_stall, silence(stream, 601))) == 2
    stream.add("waiting", {"for": "prompt", "status": "idle"})
    assert len(raised(detect_stall, silence(stream, 90_000))) == 1


def test_a_failed_request_of_the_main_agent_gives_the_turn_to_the_user():
    stream = asked().bash("ls")
    stream.add("error", {"reason": "api", "error": "API Error: 500"})
    assert not raised(detect_stall, silence(stream, 90_000))
    stream.add("llm_request", {})
    assert len(raised(detect_stall, silence(stream, 601))) == 1
    other = asked().bash("ls")
    other.add("error", {"reason": "api", "error": "API Error: 500", "agent_id": "a1"})
    assert len(raised(detect_stall, silence(other, 601))) == 1


def test_a_call_that_the_source_does_not_show_yet_is_in_flight():
    stream = asked().bash("ls")
    stream.add("llm_response", {"model": "m", "in_flight": True})
    [found] = raised(detect_stall, silence(stream, 601, 1801))
    assert (found["level"], found["value"]) == ("warning", 1800)
    for kind, data in (
        ("llm_response", {"model": "m"}),
        ("user_prompt", {"prompt": "go on"}),
        ("llm_request", {}),
    ):
        stream.add("llm_response", {"model": "m", "in_flight": True})
        stream.add(kind, data)
        assert len(raised(detect_stall, silence(stream, 601))) == 1, kind


def test_a_source_that_never_tells_what_runs_is_given_longer():
    stream = Stream()
    stream.add("session_start", {"interactive": False, "cannot_tell": ["in_flight"]})
    stream.add("user_prompt", {"prompt": "go"})
    stream.bash("ls")
    [found] = raised(detect_stall, silence(stream, 601, 1801))
    assert (found["level"], found["value"]) == ("critical", 1800)


def test_one_of_two_parallel_calls_still_runs():
    stream = asked()
    calls = [
        stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": name}, "step": "m"})
        for name in ("a", "b")
    ]
    stream.add("tool_result", {"tool_name": "Bash", "result": "x"}, parent=calls[0])
    assert not raised(detect_stall, silence(stream, 900))


def test_waiting_for_the_user_is_no_stall():
    stream = asked().bash("ls")
    stream.add("assistant_response", {"text": "Done."})
    stream.add("llm_response", {"model": "m"})
    assert not raised(detect_stall, silence(stream, 90_000))
    stream.add("user_prompt", {"prompt": "and now?"}, after=90_000)
    assert len(raised(detect_stall, silence(stream, 601))) == 1


def test_before_anything_was_asked_nothing_is_waited_for():
    stream = Stream()
    stream.add("session_start", {})
    assert not raised(detect_stall, silence(stream, 90_000))
    assert not raised(detect_stall, [tick(stream, 90_000)])


@pytest.mark.parametrize("tool", ["AskUserQuestion", "ExitPlanMode", "ask_user"])
def test_a_question_to_the_user_is_no_stall(tool):
    stream = asked()
    stream.add("tool_call", {"tool_name": tool, "arguments": {}})
    assert not raised(detect_stall, silence(stream, 90_000))


@pytest.mark.parametrize("reason", ["rejected", "interrupted"])
def test_what_its_user_has_stopped_is_no_stall(reason):
    stream = asked()
    call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "ls"}})
    stream.add("error", {"tool_name": "Bash", "error": "no", "reason": reason}, parent=call)
    assert not raised(detect_stall, silence(stream, 90_000))


def test_a_message_between_two_calls_ends_no_turn_for_long():
    stream = asked()
    stream.add("assistant_response", {"text": "I will run it."})
    stream.bash("make")
    assert len(raised(detect_stall, silence(stream, 601))) == 1


def test_what_a_subagent_says_does_not_end_the_turn_and_what_it_does_is_no_silence():
    stream = asked()
    task = stream.add("tool_call", {"tool_name": "Task", "arguments": {"prompt": "look"}})
    stream.add("assistant_response", {"text": "Found.", "agent_id": "a1"})
    assert len(raised(detect_stall, silence(stream, 1801))) == 1
    for _ in range(5):
        stream.time += 1000
        stream.bash("ls", agent_id="a1")
    assert not raised(detect_stall, silence(stream, 700))
    stream.add("tool_result", {"tool_name": "Task", "result": "x"}, parent=task)
    assert len(raised(detect_stall, silence(stream, 700))) == 1


def test_each_silence_is_told_once():
    stream = asked()
    first = silence(stream, 601, 602)
    stream.time += 700
    stream.bash("ls")
    found = raised(detect_stall, [*first, *stream.events[2:], tick(stream, 700), tick(stream, 800)])
    assert len(found) == 2


def test_a_recording_says_what_was_said_live():
    stream = asked().bash("ls")
    stream.add("llm_response", {}, after=700)
    live = [*stream.events[:-1], tick(Stream(at=stream.time - 700), 650), stream.events[-1]]
    assert (
        [each["limit"] for each in raised(detect_stall, live)]
        == [each["limit"] for each in raised(detect_stall, stream)]
        == [600]
    )


def test_a_replay_raises_what_live_would_have_before_the_event_that_ends_it():
    stream = asked()
    call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "make"}})
    stream.add("tool_result", {"tool_name": "Bash", "result": "x"}, parent=call, after=9000)
    stream.add("user_prompt", {"prompt": "hello?"}, after=9000)
    slow, hung = raised(detect_stall, stream)
    assert (slow["level"], hung["level"]) == ("warning", "critical")
    assert (slow["behind"], hung["behind"]) == (2, 3)
    assert slow["time"] == stream.events[2]["timestamp"] + 1800


def test_a_busy_session_does_not_hide_a_silent_one():
    silent, busy = asked(), Stream(session="busy")
    busy.add("user_prompt", {"prompt": "go"})
    for _ in range(2000):
        busy.add("llm_response", {}, after=0.4)
    ticks = [{**tick(silent, each), "session_id": silent.session} for each in range(1, 700)]
    merged = sorted([*silent.events, *busy.events, *ticks], key=lambda event: event["timestamp"])
    [found] = raised(detect_stall, merged)
    assert found["session"] == silent.session


def test_a_call_that_was_lost_is_not_in_flight_for_ever():
    stream = asked()
    stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "lost"}})
    stream.add("assistant_response", {"text": "Done."})
    assert not raised(detect_stall, silence(stream, 90_000))


def test_after_the_session_has_ended_there_is_no_silence():
    stream = asked()
    stream.add("session_end", {})
    assert not raised(detect_stall, silence(stream, 90_000))


def test_attaching_to_a_silent_session_says_so_and_what_is_over_is_not_said():
    stream = asked().bash("ls")
    stream.add("llm_response", {}, after=5000)
    start = stream.events[0]["timestamp"]
    history = [
        {"event_type": "history_start", "timestamp": start, "session_id": SESSION},
        *stream.events,
        {"event_type": "history_end", "timestamp": stream.time + 1200, "session_id": SESSION},
    ]
    [found] = raised(detect_stall, history)
    assert found["message"].startswith("silent for 20m with nothing in flight")


def test_off():
    assert not raised(detect_stall, silence(asked(), 90_000), max=0)


@pytest.mark.parametrize("options", [("--max", "-1"), ("--max", "later"), ("--in-flight", "5x")])
def test_a_bad_option_stops_the_start(options):
    done = run("trace-detect-stall", *options)
    assert done.returncode == 2 and done.stdout == b"" and b"expected" in done.stderr


def refusals(times: int, apart: float = 1.0, **data: object) -> Stream:
    stream = asked()
    for _ in range(times):
        stream.add("error", {"reason": "api", "error": "overloaded", **data}, after=apart)
    return stream


@pytest.mark.parametrize(
    "times, apart, levels",
    [
        (3, 60, []),
        (9, 60, []),
        (10, 1, ["warning"]),
        (3, 301, ["warning"]),
        (29, 10, ["warning"]),
        (30, 10, ["warning", "critical"]),
    ],
)
def test_requests_that_are_refused_again_and_again(times, apart, levels):
    found = raised(detect_stall, refusals(times, apart))
    assert [each["level"] for each in found] == levels
    assert not raised(detect_stall, refusals(times, apart), max_refused=0)


@pytest.mark.parametrize(
    "data",
    [{"status": 401}, {"status": 402}, {"error": "API Error: 402 credit balance is too low"}],
)
def test_no_retry_mends_a_quota_or_a_login(data):
    assert not raised(detect_stall, refusals(4, **data))
    [found] = raised(detect_stall, refusals(5, **data))
    assert (found["level"], found["count"]) == ("critical", 5)


@pytest.mark.parametrize(
    "kind, data", [("llm_response", {}), ("user_prompt", {"prompt": "again"}), ("tool_call", {})]
)
def test_an_answer_or_a_prompt_ends_the_count_of_refusals(kind, data):
    stream = refusals(9)
    stream.add(kind, data)
    stream.events += refusals(9).events[2:]
    assert not raised(detect_stall, stream)
