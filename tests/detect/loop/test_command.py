"""trace-detect-loop: the same sequence of calls again and again."""

import functools
import gc
import json
import random
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.agents.results import result_data
from agent_pipes.core.event import from_fields
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.loop.repeats import RepeatedCalls
from agent_pipes.detect.loop.state import Limits
from tests.helpers.detecting import (
    FAILED,
    critical,
    edit,
    messages,
    parallel,
    raised,
    read,
    read_edit_test,
    tick,
)
from tests.helpers.support import FIXTURES, Stream, run, violations


def rounds(period: int, times: int, text: str = "result {0}") -> Stream:
    """A sequence of `period` different calls, `times` in a row, with the same results."""
    stream = Stream()
    for _ in range(times):
        for number in range(period):
            stream.call("Bash", {"command": f"command-{number}"}, text.format(number))
    return stream


def test_loop_detection():
    found = raised(detect_loop, read_edit_test(Stream(), 4))
    assert [each["message"] for each in found] == [
        "detected loop (read→edit→test) × 2",
        "detected loop (read→edit→test) × 3",
    ]
    assert [each["level"] for each in found] == ["warning", "critical"]
    assert [each["behind"] for each in found] == [11, 17]
    assert (
        found[1]["steps"] == ["read", "edit", "test"]
        and found[1]["count"] == 3
        and found[1]["limit"] == 3
    )
    assert len(found[1]["evidence"]) == 9


def test_through_the_command():
    stream = read_edit_test(Stream(), 4)
    done = run("trace-detect-loop", "--max", 4, "--warn", "off", input=stream.bytes)
    [found] = violations(done.stdout)
    assert (
        found["message"].startswith("detected loop (read→edit→test) × 4")
        and found["watcher"] == "loop"
    )
    assert (
        b"".join(
            line for line in done.stdout.splitlines(keepends=True) if b'"violation"' not in line
        )
        == stream.bytes
    )


def test_a_loop_of_the_fixture_that_is_none():
    done = run("trace-detect-loop", input=(FIXTURES / "spiral.ndjson").read_bytes())
    assert [found["level"] for found in violations(done.stdout)] == ["warning", "critical"]


@pytest.mark.parametrize("period", range(3, 51))
def test_every_length_from_3_to_50_one_violation_a_loop(period):
    [found] = critical(detect_loop, rounds(period, 3), max_same_call=0)
    assert found["behind"] == 2 * 3 * period - 1 and found["count"] == 3
    assert not critical(detect_loop, rounds(period, 3).events[:-1])
    assert [each["count"] for each in raised(detect_loop, rounds(period, 2))] == [2]


def test_no_alarm_for_each_rotation_but_one_that_grows():
    found = critical(detect_loop, rounds(4, 13), max_same_result=0, max_same_call=0)
    assert [each["count"] for each in found] == [3, 8]
    assert [
        each["count"]
        for each in critical(detect_loop, rounds(4, 9), max=4, max_same_result=0, max_same_call=0)
    ] == [4, 8]
    assert {tuple(each["steps"]) for each in found} == {
        ("command-0", "command-1", "command-2", "command-3")
    }


def test_a_loop_that_comes_back_is_another():
    stream = rounds(3, 3)
    for number in range(8):
        read(stream, f"{number}", file=f"{number}.py")
    for event in rounds(3, 3).events:
        stream.add(
            event["event_type"],
            event["data"],
            parent=stream.events[-1]["event_id"] if "parent_id" in event else "",
        )
    assert len(critical(detect_loop, stream)) == 2


@pytest.mark.parametrize("times", range(1, 5))
def test_one_call_counts_from_its_fifth_same_result(times):
    assert not critical(detect_loop, rounds(1, times))


def test_one_call_five_times():
    found = raised(detect_loop, rounds(1, 6))
    assert [each["message"] for each in found] == [
        'detected loop: "command-0" × 4, same result each time',
        'detected loop: "command-0" × 5, same result each time',
    ]
    assert [each["hint"] for each in found] == ["raise the limit with --max-same-result"] * 2
    assert [each["count"] for each in critical(detect_loop, rounds(1, 21))] == [5, 16]


def test_a_pair_counts_once_it_fills_nine():
    assert not critical(detect_loop, rounds(2, 4))
    [found] = critical(detect_loop, rounds(2, 5))
    assert found["behind"] == 17 and found["message"].startswith(
        "detected loop (command-0→command-1) × 4"
    )
    assert [each["level"] for each in raised(detect_loop, rounds(2, 3))] == ["warning"]


def test_a_call_scattered_among_others():
    stream = Stream()
    for number in range(5):
        stream.bash("pytest", "3 failed")
        read(stream, f"text {number}", file=f"{number}.py").bash(f"grep x{number} y", str(number))
    [found] = critical(detect_loop, stream)
    assert (
        found["message"] == 'detected loop: "pytest" × 5, same result each time'
        and len(found["evidence"]) == 5
    )


def test_scattered_among_changes_it_is_work():
    stream = Stream()
    for number in range(12):
        stream.bash("pytest", "12 passed")
        edit(stream, number, file=f"{number}.py")
    assert not raised(detect_loop, stream)


def test_two_calls_in_any_order():
    stream = Stream()
    for letter in "abaababaabbaab":
        stream.call(
            "write", {"path": f"/home/dev/{letter}.md", "content": "same"}, f"wrote {letter}"
        )
    [found] = critical(detect_loop, stream, max_same_result=0)
    assert "and another call, with the same results" in found["message"] and found["behind"] == 17


def test_same_call_new_result_is_progress():
    stream = Stream()
    for number in range(15):
        stream.bash("make status", f"step {number}")
    assert not raised(detect_loop, stream)
    stream = Stream()
    for number in range(6):
        for each in range(4):
            stream.bash(f"command-{each}", f"{number} and {each}")
    assert not raised(detect_loop, stream)


def test_a_test_that_fails_differently_is_progress():
    stream = Stream()
    for number in range(6):
        read(stream, f"{number}")
        edit(stream, number).bash(
            "pytest", f"Exit code 1\n{9 - number} failed in 0.1s", failed=True
        )
    assert not raised(detect_loop, stream)


def test_failing_and_passing_in_turn_is_test_driven_work():
    stream = Stream()
    for number in range(8):
        stream.bash("pytest -q", "Exit code 1\n1 failed", failed=True)
        edit(stream, number).bash("pytest -q", "12 passed")
        edit(stream, number, file="tests/test_app.py")
    assert not raised(detect_loop, stream)


def long_failure(number: int, failures: int) -> dict:
    """A failing test's output as our sources cut it: the head is there, the cause is at the end."""
    tail = "".join(
        f"FAILED tests/test_app.py::test_{each} - AssertionError: 1 != 2\n"
        for each in range(failures)
    )
    return result_data(
        "Exit code 1\n"
        + "tests/test_app.py::test_x PASSED\n" * 200
        + tail
        + f"{failures} failed in 1.{number}1s\n",
        4096,
        "error",
    )


@pytest.mark.parametrize("failures, rounds", [([5] * 4, [3]), ([9, 8, 7, 6], [])])
def test_a_long_output_whose_end_tells(failures, rounds):
    stream = Stream()
    for number, count in enumerate(failures):
        read(stream, f"{number}")
        edit(stream, number)
        call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "pytest -v"}})
        stream.add(
            "error",
            {"tool_name": "Bash", **long_failure(number, count), "reason": "exit", "exit_code": 1},
            parent=call,
        )
    assert [each["count"] for each in critical(detect_loop, stream)] == rounds


def test_a_command_that_still_runs_is_not_mended():
    """The same failure every time is a loop, also if it takes longer in between."""
    stream = Stream()
    for number in range(5):
        stream.bash("make", "Exit code 1\nboom", failed=True)
        stream.call("Bash", {"command": "make"}, f"compiled {'abcdefgh'[number]}.c", running=True)
        stream.call("Read", {"file_path": "Makefile"}, "all:")
    assert raised(detect_loop, stream)[0]["message"] == "detected loop (make→make→read) × 2"


def test_a_round_without_a_failure_counts_only_when_every_result_is_the_same():
    stream = Stream()
    for number in range(10):
        read(stream, f"{number}")
        edit(stream, number).bash("pytest", f"{number} passed")
    assert not raised(detect_loop, stream)


@pytest.mark.parametrize(
    "text",
    [
        "done at 2026-11-22T10:00:{0:02}Z",
        "pid {0}",
        "id 550e8400-e29b-41d4-a716-4466554400{0:02}",
        "wrote /tmp/tmpabc{0}/x",
    ],
)
@pytest.mark.parametrize("padding", ["", "the same long line\n" * 20])
def test_results_that_differ_in_what_changes_by_itself_are_the_same(text, padding):
    stream = Stream()
    for number in range(3):
        for each in range(3):
            stream.bash(f"command-{each}", padding + text.format(number))
    assert [found["behind"] for found in critical(detect_loop, stream)] == [17]


def test_changing_output_has_a_ceiling():
    stream = Stream()
    for number in range(25):
        stream.bash("date", f"tick {number}")
    [found] = critical(detect_loop, stream)
    assert found["count"] == 20 and "--max-same-call" in found["hint"] and found["behind"] == 38
    assert not raised(detect_loop, stream, max_same_call=0)


@pytest.mark.parametrize("text", ["{0}%", "{0}/100 done", '{{"progress": {0}.5}}'])
def test_what_rises_has_none(text):
    stream = Stream()
    for number in range(60):
        stream.bash("make status", text.format(number))
    assert not raised(detect_loop, stream)


def test_what_is_changed_in_between_has_none():
    stream = Stream()
    for number in range(40):
        stream.bash("git status", f"modified: {number}.py")
        edit(stream, number, file=f"{number}.py")
    assert not raised(detect_loop, stream)


# Loops that the present tool of this kind reports and misses, by its own table.


def test_editing_different_files_with_a_passing_test_is_work():
    stream = Stream()
    for number in range(6):
        edit(stream, number, file=f"{number}.py").bash("pytest -q", "12 passed")
    assert not raised(detect_loop, stream)


def test_the_same_look_three_times_in_five_calls_is_work():
    stream = Stream()
    for number in range(3):
        stream.bash("git status", "nothing to commit")
        read(stream, str(number), file=f"{number}.py")
    assert not raised(detect_loop, stream)


def test_three_polls_with_new_output_are_work():
    stream = Stream()
    for number in range(3):
        stream.call("BashOutput", {"bash_id": "1"}, f"line {number}")
    assert not raised(detect_loop, stream)


@pytest.mark.parametrize("step", ["msg_1", ""])
def test_nine_reads_at_once_are_one_step(step):
    stream = parallel(
        Stream(),
        step,
        [("Read", {"file_path": f"{number}.py"}, "same text") for number in range(9)],
    )
    assert not raised(detect_loop, stream)


def test_sixty_different_calls_offsets_and_chat_are_work():
    stream = Stream()
    for number in range(60):
        stream.bash(f"command-{number}")
    for number in range(10):
        stream.call("Read", {"file_path": "a.py", "offset": number * 100}, f"text {number}")
        stream.add("user_prompt", {"prompt": "and?"})
        stream.add("assistant_response", {"text": "Done."})
    assert not raised(detect_loop, stream)


def test_six_successes_of_one_command_in_three_hundred_events_are_work():
    stream = Stream()
    for number in range(150):
        stream.bash("git status" if number % 25 == 0 else f"cat {number}", "nothing to commit")
    assert not raised(detect_loop, stream, max_stagnant=0)


@pytest.mark.parametrize("period", range(1, 7))
def test_hook_shaped_calls_of_every_period(period):
    [found] = critical(detect_loop, rounds(period, 7), max_same_call=0)
    assert found["behind"] == {1: 9, 2: 17}.get(period, period * 6 - 1)


# Parallel calls.


def test_a_batch_that_is_made_again_and_again_is_a_loop_in_any_order():
    stream = Stream()
    for number in range(5):
        calls = [("Read", {"file_path": f"{each}.py"}, f"text {each}") for each in range(4)]
        random.Random(number).shuffle(calls)
        parallel(stream, f"msg_{number}", calls)
    [found] = critical(detect_loop, stream)
    assert found["count"] == 3 and found["steps"] == ["read"]


def test_a_loop_of_batches():
    stream = Stream()
    for number in range(3):
        parallel(
            stream,
            f"a{number}",
            [("Read", {"file_path": f"{each}.py"}, f"text {each}") for each in range(3)],
        )
        stream.bash("make", "built", step=f"b{number}")
        parallel(
            stream,
            f"c{number}",
            [("Bash", {"command": f"cat {each}"}, f"{each}") for each in range(3)],
        )
    [found] = critical(detect_loop, stream)
    assert found["steps"] == ["read", "make", "cat"] and found["behind"] == len(stream.events) - 1


def test_the_same_call_several_times_at_once_is_one():
    stream = Stream()
    for number in range(4):
        parallel(stream, f"msg_{number}", [("poll", {"a": 1}, "same")] * 6)
    assert not critical(detect_loop, stream)


def test_a_call_of_a_step_that_comes_after_its_first_result():
    stream = Stream()
    for number in range(3):
        for each in range(3):
            step = f"{number}-{each}"
            stream.bash(f"a{each}", "same", step=step).bash(f"b{each}", "same", step=step)
    [found] = critical(detect_loop, stream)
    assert found["steps"] == ["a0+b0", "a1+b1", "a2+b2"]


# What is left out, and what starts over.


@pytest.mark.parametrize("reason", ["rejected", "sibling", "interrupted"])
def test_what_its_user_refused_is_neither_a_round_nor_between_two(reason):
    stream = Stream()
    for _ in range(20):
        stream.bash("make", "no", failed=True, reason=reason)
    assert not raised(detect_loop, stream)
    mixed = rounds(1, 3)
    mixed.call("Bash", {"command": "make"}, "no", failed=True, reason=reason)
    for _ in range(2):
        mixed.bash("command-0", "result 0")
    assert len(critical(detect_loop, mixed)) == 1


def test_a_user_prompt_starts_over_and_nothing_else_does():
    stream = read_edit_test(Stream(), 2)
    stream.add("user_prompt", {"prompt": "go on"})
    read_edit_test(stream, 2)
    assert not critical(detect_loop, stream)
    for kind in (
        "compaction",
        "assistant_response",
        "llm_response",
        "session_start",
        "subagent_stop",
        "violation",
    ):
        other = read_edit_test(Stream(), 2)
        other.add(kind, {"text": "let me try again"})
        assert len(critical(detect_loop, read_edit_test(other, 1, first=2))) == 1, kind


def test_each_subagent_counts_for_itself():
    stream = Stream()
    for number in range(9):
        stream.bash("make", "the same", agent_id=f"a{number % 3}")
    assert not critical(detect_loop, stream)


def test_calls_without_results_match_nothing_unless_only_calls_are_compared():
    stream = Stream()
    for _ in range(6):
        stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "ls"}})
    assert not raised(detect_loop, stream)
    assert len(critical(detect_loop, stream, key="call")) == 1


def test_what_must_be_the_same_may_be_coarser():
    stream = Stream()
    for number in range(3):
        for tool in ("Read", "Grep", "Edit"):
            stream.call(tool, {"file_path": "a.py", "n": number}, f"{number}")
    assert not raised(detect_loop, stream) and not raised(detect_loop, stream, key="call")
    assert len(critical(detect_loop, stream, key="target")) == 1
    stream = Stream()
    for number in range(3):
        for tool in ("Read", "Grep", "Edit"):
            stream.call(tool, {"file_path": f"{number}.py"}, f"{number}")
    assert not raised(detect_loop, stream, key="target")
    assert len(critical(detect_loop, stream, key="tool")) == 1


# Waiting.


def polls(seconds: float, times: int, text: str = "in_progress") -> Stream:
    stream = Stream()
    for _ in range(times):
        stream.time += seconds - 2
        stream.bash("sleep 30; gh run view 12", text)
    return stream


def test_waiting_at_its_pace_is_warned_of_late_and_never_more():
    assert not raised(detect_loop, polls(30, 15), max_same_call=0)
    found = raised(detect_loop, polls(30, 100), max_same_call=0)
    assert {each["level"] for each in found} == {"warning"} and found[0]["count"] == 20


def test_polling_without_a_pause_is_a_loop_like_any_other():
    assert len(critical(detect_loop, polls(2, 6))) == 1


def test_waiting_with_a_look_in_between():
    stream = Stream()
    for _ in range(6):
        stream.time += 30
        stream.call(
            "write_stdin", {"session_id": 1, "chars": ""}, "Process running with session ID 1"
        ).bash("tail -3 log", "building")
    assert not raised(detect_loop, stream)


def test_silence_is_no_loop():
    stream = rounds(3, 2)
    assert not critical(
        detect_loop, [*stream.events, *(tick(stream, seconds) for seconds in range(1, 4000, 100))]
    )


# Limits.


def test_the_limits_that_people_set():
    assert not critical(detect_loop, rounds(3, 4), max=5)
    assert len(critical(detect_loop, rounds(3, 5), max=5, max_same_result=0)) == 1
    assert not raised(detect_loop, rounds(3, 9), max=0, max_same_result=0, warn=0, max_same_call=0)
    assert {
        each["level"]
        for each in raised(detect_loop, rounds(3, 9), max=0, max_same_result=0, max_same_call=0)
    } == {"warning"}
    assert critical(detect_loop, rounds(4, 3), length=4, max_same_result=0)[0]["behind"] == 23
    assert critical(detect_loop, rounds(3, 5), length=4, max_same_result=0)[0]["behind"] == 23
    assert critical(detect_loop, rounds(2, 5), length=2)[0]["behind"] == 11
    assert not [
        each for each in raised(detect_loop, rounds(3, 3), warn=0) if each["level"] == "warning"
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--max", 1),
        ("--max-same-result", 1),
        ("--max", "-3"),
        ("--length", "x"),
        ("--key", "colour"),
        ("--warn", "2.5"),
    ],
)
def test_a_bad_option_stops_the_start(options):
    done = run("trace-detect-loop", *options)
    assert done.returncode == 2 and done.stdout == b"" and str(options[0]).encode() in done.stderr


def history(stream: Stream, after: list[dict] = ()) -> list[dict]:
    head = {
        "event_type": "history_start",
        "timestamp": stream.events[0]["timestamp"],
        "session_id": stream.session,
    }
    return [
        head,
        *stream.events,
        {"event_type": "history_end", "timestamp": stream.time + 1, "session_id": stream.session},
        *after,
    ]


def test_attaching_late_a_loop_still_turning_is_raised_and_one_that_is_over_is_not():
    [found] = raised(detect_loop, history(read_edit_test(Stream(), 5)))
    assert found["count"] == 5 and found["level"] == "critical"
    over = read_edit_test(Stream(), 5)
    read(over, "other", file="other.py").bash("ls", "x")
    assert not raised(detect_loop, history(over))
    prompted = read_edit_test(Stream(), 5)
    prompted.add("user_prompt", {"prompt": "stop"})
    assert not raised(detect_loop, history(prompted))


def test_attaching_late_with_a_call_in_flight():
    stream = read_edit_test(Stream(), 5)
    stream.add("tool_call", {"tool_name": "Read", "arguments": {"file_path": "x"}})
    assert len(raised(detect_loop, history(stream))) == 1


def test_actions_are_bound():
    [found] = critical(detect_loop, rounds(3, 3), alert=("file", "kill"))
    assert found["actions"] == ["file", "kill"]


# Messages that repeat themselves.


def chant(text: str, times: int, **more: object) -> Stream:
    stream = Stream()
    stream.add("assistant_response", {"text": text * times, **more})
    return stream


def test_a_message_that_repeats_itself():
    stream = chant("I will not output any text. I will just end the turn. ", 15)
    [message] = messages(detect_loop, stream)
    assert message.startswith('detected loop: "') and message.endswith("× 10 within one message")
    assert not raised(detect_loop, stream, max_chant=0)


@pytest.mark.parametrize("text", ["01234", "0, ", "a"])
def test_digits_and_single_letters_are_a_chant_once_they_are_long(text):
    assert raised(detect_loop, chant(text, 600 // len(text)))
    assert not raised(detect_loop, chant(text, 300 // len(text)))


@pytest.mark.parametrize(
    "text", ["-" * 50, "═╬", "```\nfor x in y: print(x)  # one and the same line\n", "| 1 | 2 |"]
)
def test_rulers_frames_code_and_figures_are_no_chant(text):
    assert not raised(detect_loop, chant(text, 1 if text.startswith("`") else 40))
    assert not raised(detect_loop, chant("```\n" + text * 40 + "\n```", 1))


def test_the_same_message_again_and_again_until_something_is_done():
    stream = Stream()
    for _ in range(6):
        stream.add("assistant_response", {"text": "I am done."})
    warned, found = raised(detect_loop, stream, max_talk=0)
    assert found["message"] == 'detected loop: "I am done." × 6, the same message each time'
    assert (found["count"], found["level"]) == (6, "critical")
    assert (warned["count"], warned["level"]) == (4, "warning")
    busy = Stream()
    for _ in range(5):
        busy.add("assistant_response", {"text": "Next."})
        busy.bash(f"echo {busy.number}", str(busy.number))
    assert not raised(detect_loop, busy)


def test_a_chant_that_comes_in_pieces():
    stream = Stream()
    for _ in range(30):
        stream.add("assistant_response", {"text": "Thinking... Done. ", "delta": True})
    assert len(raised(detect_loop, stream)) == 1


@settings(deadline=None)
@given(st.text(max_size=50), st.integers(1, 40))
def test_no_message_raises_an_error(text, times):
    messages(detect_loop, chant(text, times))


# What must never happen.


def held_bytes() -> int:
    # Caches of commands and patterns belong to the process, not to the session.
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            each.cache_clear()
    re.purge()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_the_state_of_a_session_stays_small():
    def held_after(*steps: int) -> list[int]:
        calls, loop = CallTracker(), RepeatedCalls(Limits())
        randomness, held = random.Random(1), []
        for number in range(steps[-1] + 1):
            stream = Stream()
            stream.bash(
                f"cat file-{randomness.randrange(900)}",
                "x" * randomness.randrange(300) + str(randomness.random()),
                failed=number % 7 == 0,
                step=f"msg_{number:024}",
            )
            for event in stream.events:
                seen = from_fields(json.loads(json.dumps(event)))
                loop.see(seen, calls.see(seen), event["timestamp"])
            if number in steps:
                held.append(held_bytes())
        return held

    # The first session compiles the patterns, which are the process's too.
    held_after(500)
    tracemalloc.start()
    try:
        early, late = held_after(500, 3_000)
        assert late < early + 40_000 and late < 200_000
    finally:
        tracemalloc.stop()


def test_one_failing_round_after_the_other_counts_from_the_first_call_of_the_first():
    stream = Stream()
    for number in range(60):
        stream.bash(f"warm-up-{number}", str(number))
    before = len(stream.events)
    read_edit_test(stream, 3)
    assert [each["behind"] - before for each in raised(detect_loop, stream)] == [11, 17]
    assert FAILED.format(1) != FAILED.format(2)
