"""trace-detect-retry: the same command fails again and again."""

import json
import random

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.retry.failures import (
    CHANGING_FAILURE_FACTOR,
    MAX_COMMANDS,
    RepeatedFailure,
)
from tests.helpers.detecting import edit, messages, parallel, raised, read
from tests.helpers.support import FIXTURES, Stream, run, violations


def test_retry_detection():
    [found] = raised(detect_retry, Stream().spiral(6))
    assert found["message"] == '"python -m pytest" failed 5 times'
    assert (found["level"], found["count"], found["limit"]) == ("critical", 5, 5)
    assert len(found["evidence"]) == 5 and found["behind"] == 9


def test_through_the_command():
    done = run("trace-detect-retry", "--max", 3, input=(FIXTURES / "spiral.ndjson").read_bytes())
    [found] = violations(done.stdout)
    assert (
        found["message"].startswith('"python -m pytest -q" failed 3 times')
        and found["watcher"] == "retry"
    )
    assert found["evidence"] == ["e008", "e011", "e017"] and done.returncode == 0


def test_successes_are_not_failures():
    stream = Stream()
    for _ in range(20):
        stream.bash("git status", "nothing to commit")
    assert not raised(detect_retry, stream, max=2)


def test_a_success_of_it_starts_over():
    stream = Stream()
    for _ in range(8):
        stream.spiral(4).bash("python -m pytest", "1 passed")
    assert not raised(detect_retry, stream)


def test_failing_and_passing_in_turn_is_test_driven_work():
    stream = Stream()
    for number in range(8):
        stream.bash("pytest", "FAILED", failed=True)
        edit(stream, number).bash("pytest", "ok")
    assert not raised(detect_retry, stream, max=2)


def test_other_commands_in_between_do_not_start_over():
    stream = Stream()
    for number in range(5):
        stream.spiral(1)
        read(stream, f"{number}").bash(f"ls {number}")
    assert len(raised(detect_retry, stream)) == 1


@pytest.mark.parametrize(
    "variants",
    [
        [
            "npm test",
            "npm test 2>&1",
            "npm test | tail -20",
            "cd app && npm test",
            "npm  test",
            "CI=1 npm test",
            "time npm test",
            "cd app && npm test 2>&1 | tail -5",
        ],
    ],
)
def test_what_stands_around_a_command_makes_no_other_one(variants):
    stream = Stream()
    for command in variants:
        stream.bash(command, "Exit code 1", failed=True, description=command)
    assert [each["count"] for each in raised(detect_retry, stream)] == [5]
    assert raised(detect_retry, stream, max=len(variants))[0]["message"].startswith(
        '"npm test" failed 8 times'
    )


def test_bookkeeping_makes_no_other_command():
    stream = Stream()
    for number in range(5):
        stream.call(
            "Bash",
            {"command": "make", "description": f"attempt {number}", "timeout": number},
            "Exit code 2",
            failed=True,
        )
    assert len(raised(detect_retry, stream)) == 1


@pytest.mark.parametrize(
    "tool, arguments, begins",
    [
        ("run_shell_command", {"command": "npm test"}, '"npm test" failed 5 times'),
        ("shell", {"command": ["bash", "-lc", "npm test"]}, '"npm test" failed 5 times'),
        ("exec_command", {"cmd": "npm test"}, '"npm test" failed 5 times'),
        (
            "Edit",
            {"file_path": "/home/dev/app.py", "old_string": "a", "new_string": "b"},
            "Edit app.py failed 5 times",
        ),
        ("WebFetch", {"url": "https://example.org"}, "WebFetch failed 5 times"),
        ("mcp__github__get_issue", {"number": 5}, "mcp__github__get_issue failed 5 times"),
    ],
)
def test_any_tool_not_only_bash(tool, arguments, begins):
    stream = Stream()
    for _ in range(8):
        stream.call(tool, arguments, "it did not work", failed=True, reason="tool")
    [message] = messages(detect_retry, stream)
    assert message.startswith(begins)


def test_failing_edits_of_one_file_are_one_command():
    stream = Stream()
    for number in range(5):
        edit(stream, number, failed=True, reason="tool")
    assert messages(detect_retry, stream) == ["Edit app.py failed 5 times"]


def test_an_edit_that_works_starts_over_whichever_tool_did_it():
    stream = Stream()
    for number in range(10):
        edit(stream, number, failed=True, reason="tool")
        if number % 4 == 3:
            stream.call("Write", {"file_path": "/home/dev/proj/app.py", "content": str(number)})
    assert not raised(detect_retry, stream)


def test_parallel_calls_of_one_response_are_one_attempt():
    stream = Stream()
    for number in range(9):
        edit(stream, number, failed=True, reason="tool", step=f"msg_{number // 3}")
    assert not raised(detect_retry, stream)
    for number in range(9, 15):
        edit(stream, number, failed=True, reason="tool", step=f"msg_{number // 3}")
    assert [each["count"] for each in raised(detect_retry, stream)] == [5]


@pytest.mark.parametrize("reason", ["rejected", "sibling", "interrupted", "api"])
def test_what_was_not_its_own_doing_is_no_failure_and_no_success(reason):
    stream = Stream()
    for _ in range(20):
        stream.bash("npm test", "no", failed=True, reason=reason)
    assert not raised(detect_retry, stream, max=1)
    mixed = Stream().spiral(4)
    mixed.call("Bash", {"command": "python -m pytest"}, "no", failed=True, reason=reason)
    assert len(raised(detect_retry, mixed.spiral(1))) == 1


def background(stream: Stream, number: int, code: int = 1, polls: int = 2) -> None:
    """A command that outlives its call, as in Codex: later waiting calls report its end."""
    call = stream.add("tool_call", {"tool_name": "exec_command", "arguments": {"cmd": "make test"}})
    stream.add(
        "tool_result",
        {"tool_name": "exec_command", "result": "so far", "running": True},
        parent=call,
    )
    for poll in range(polls):
        wait = stream.add(
            "tool_call",
            {"tool_name": "write_stdin", "arguments": {"session_id": number, "chars": ""}},
        )
        data = {"tool_name": "write_stdin", "started_by": call}
        if poll < polls - 1:
            stream.add("tool_result", {**data, "result": "", "running": True}, parent=wait)
        elif code:
            stream.add(
                "error",
                {**data, "error": "1 failed", "reason": "exit", "exit_code": code},
                parent=wait,
            )
        else:
            stream.add("tool_result", {**data, "result": "ok", "exit_code": 0}, parent=wait)


def test_a_command_that_still_runs_has_neither_failed_nor_succeeded():
    stream = Stream()
    for number in range(4):
        background(stream, number)
    background(stream, 4, polls=0)
    assert not raised(detect_retry, stream)
    background(stream, 5)
    (found,) = raised(detect_retry, stream)
    assert found["message"].startswith('"make test" failed 5 times'), (
        "the failure is that of the command, not of the call that waited for it"
    )


def test_a_command_that_ends_well_after_its_call_has_succeeded():
    stream = Stream()
    for number in range(12):
        background(stream, number, code=int(number % 4 != 3))
    assert not raised(detect_retry, stream)


def test_a_wait_that_fails_by_itself_is_no_failure_of_the_command():
    stream = Stream()
    background(stream, 0, polls=0)
    call = stream.events[-1]["parent_id"]
    for _ in range(5):
        wait = stream.add(
            "tool_call", {"tool_name": "write_stdin", "arguments": {"session_id": 1, "chars": ""}}
        )
        data = {
            "tool_name": "write_stdin",
            "error": "write_stdin failed: Unknown process id 1",
            "reason": "tool",
            "started_by": call,
        }
        stream.add("error", data, parent=wait)
    assert messages(detect_retry, stream) == ["write_stdin failed 5 times"]


def test_a_failure_of_a_store_that_gives_no_reason_is_its_own():
    stream = Stream()
    for _ in range(5):
        call = stream.add("tool_call", {"tool_name": "Bash", "arguments": {"command": "npm test"}})
        stream.add("error", {"tool_name": "Bash", "error": "tool call failed"}, parent=call)
    assert len(raised(detect_retry, stream)) == 1


def test_a_failure_that_a_store_has_as_an_ordinary_result():
    stream = Stream()
    for _ in range(5):
        stream.call(
            "shell", {"command": "npm test"}, "{'output': 'boom', 'metadata': {'exit_code': 1}}"
        )
    assert len(raised(detect_retry, stream)) == 1


def test_a_user_prompt_starts_over_and_nothing_else_does():
    stream = Stream().spiral(4)
    stream.add("user_prompt", {"prompt": "go on"})
    stream.spiral(4)
    assert not raised(detect_retry, stream)
    other = Stream().spiral(2)
    for kind in (
        "compaction",
        "assistant_response",
        "llm_response",
        "session_start",
        "violation",
        "kill",
    ):
        other.add(kind, {"text": "x"})
    assert len(raised(detect_retry, other.spiral(3))) == 1


def test_failing_otherwise_after_a_change_is_progress():
    stream = Stream()
    for number in range(10):
        stream.bash("go build ./...", f"Exit code 1\nmain.go:{number}: undefined: x", failed=True)
        edit(stream, number)
    assert not raised(detect_retry, stream, max=3)


def test_failing_the_same_way_after_a_change_is_none_and_durations_say_nothing():
    stream = Stream()
    for number in range(5):
        stream.bash("pytest", f"Exit code 1\n1 failed in 0.{number}s", failed=True)
        edit(stream, number)
    assert len(raised(detect_retry, stream)) == 1


def test_failing_otherwise_with_nothing_changed_is_none():
    stream = Stream()
    for number in range(5):
        stream.bash("invalid_command", f"Exit code 127\nerror {number}", failed=True)
        read(stream, str(number))
    assert len(raised(detect_retry, stream)) == 1


def test_even_progress_has_an_end():
    stream = Stream()
    for number in range(5 * CHANGING_FAILURE_FACTOR):
        stream.bash("pytest", f"Exit code 1\nvalue {number}", failed=True)
        edit(stream, number)
    [found] = raised(detect_retry, stream)
    assert (
        found["count"] == 5 * CHANGING_FAILURE_FACTOR and found["behind"] == len(stream.events) - 3
    )


def test_once_a_streak_and_again_for_a_new_one():
    stream = Stream().spiral(12)
    assert len(raised(detect_retry, stream)) == 1
    assert len(raised(detect_retry, stream.bash("python -m pytest").spiral(5))) == 2


def test_a_warning_comes_before_and_never_counts_as_one():
    found = raised(detect_retry, Stream().spiral(6), warn=3)
    assert [(each["level"], each["count"]) for each in found] == [("warning", 3), ("critical", 5)]
    assert found[0]["message"] == '"python -m pytest" failed 3 times'


def test_off():
    assert not raised(detect_retry, Stream().spiral(50), max=0)
    assert [each["level"] for each in raised(detect_retry, Stream().spiral(50), max=0, warn=2)] == [
        "warning"
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("--max", 3, "--warn", 3),
        ("--max", 3, "--warn", 4),
        ("--max", "-1"),
        ("--max", "five"),
        ("--warn", "1.5"),
    ],
)
def test_a_bad_option_stops_the_start(options):
    done = run("trace-detect-retry", *options)
    assert done.returncode == 2 and done.stdout == b""
    assert b"expected" in done.stderr or b"must be less than --max 3" in done.stderr


def test_each_session_and_each_subagent_counts_for_itself():
    one, other = Stream("one").spiral(3), Stream("other").spiral(3)
    assert not raised(
        detect_retry,
        [event for pair in zip(one.events, other.events, strict=True) for event in pair],
    )
    stream = Stream()
    for number in range(8):
        stream.bash("npm test", "Exit code 1", failed=True, agent_id=f"a{number % 2}")
    assert not raised(detect_retry, stream)
    for number in range(2):
        stream.bash("npm test", "Exit code 1", failed=True, agent_id=f"a{number}")
    assert len(raised(detect_retry, stream)) == 2


def history(stream: Stream, after: Stream | None = None) -> list[dict]:
    head = {
        "event_type": "history_start",
        "timestamp": stream.events[0]["timestamp"],
        "session_id": stream.session,
    }
    end = {"event_type": "history_end", "timestamp": stream.time + 1, "session_id": stream.session}
    return [head, *stream.events, end, *(after.events if after else [])]


def test_attaching_late_a_streak_unbroken_is_raised_then_and_one_that_is_over_is_not():
    [found] = raised(detect_retry, history(Stream().spiral(7)))
    assert found["count"] == 7 and found["behind"] == 15
    assert not raised(detect_retry, history(Stream().spiral(7).bash("python -m pytest", "ok")))
    prompted = Stream().spiral(7)
    prompted.add("user_prompt", {"prompt": "stop that"})
    assert not raised(detect_retry, history(prompted))


def test_history_counts_towards_what_follows():
    before = Stream().spiral(4)
    after = Stream(at=before.time + 10).spiral(1)
    assert len(raised(detect_retry, history(before, after))) == 1


def test_results_out_of_order_are_counted_for_their_own_calls():
    stream = Stream()
    for number in range(5):
        calls = [
            stream.add(
                "tool_call",
                {"tool_name": "Bash", "arguments": {"command": name}, "step": f"m{number}"},
            )
            for name in ("good", "bad")
        ]
        stream.add("error", {"tool_name": "Bash", "error": "x", "reason": "exit"}, parent=calls[1])
        stream.add("tool_result", {"tool_name": "Bash", "result": "ok"}, parent=calls[0])
    assert [message.split(" failed")[0] for message in messages(detect_retry, stream)] == ['"bad"']


def test_nine_reads_at_once_raise_nothing():
    stream = Stream()
    for number in range(9):
        parallel(
            stream, f"m{number}", [("Read", {"file_path": f"f{n}.py"}, "text") for n in range(9)]
        )
    assert not raised(detect_retry, stream, max=2)


def test_the_state_stays_small():
    retries, calls, randomness = RepeatedFailure(5, 0), CallTracker(), random.Random(1)
    stream = Stream()
    for number in range(2_000):
        stream.events.clear()
        stream.bash(
            f"command-{randomness.random()}" if number % 3 else "again",
            f"Exit code 1 {randomness.random()}",
            failed=True,
        )
        for event in stream.events:
            seen = from_fields(json.loads(json.dumps(event)))
            retries.see(seen, calls.see(seen), event["timestamp"])
    assert len(retries.streaks) == MAX_COMMANDS
    assert max(streak.total for streak in retries.streaks.values()) > 600
