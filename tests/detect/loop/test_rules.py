"""The rules of trace-detect-loop beside repeated sequences, and waiting."""

import pytest

from agent_pipes.detect.loop.command import detect_loop
from tests.helpers.detecting import critical, raised, read
from tests.helpers.support import Stream


def levels(found: list[dict]) -> list[tuple[int, str]]:
    return [(each["count"], each["level"]) for each in found]


def talking(count: int, **prompt: object) -> Stream:
    stream = Stream()
    stream.add("user_prompt", {"prompt": "do it"})
    for number in range(count):
        stream.add("assistant_response", {"text": f"I am thinking about step {number}."})
        if prompt:
            stream.add("user_prompt", {"prompt": "continue", **prompt})
    return stream


@pytest.mark.parametrize("origin", ["hook", "autopilot", "notification", "schedule", "compaction"])
def test_an_agent_that_only_talks(origin):
    found = raised(detect_loop, talking(10, origin=origin))
    assert levels(found) == [(5, "warning"), (8, "critical")]
    assert found[1]["hint"] == "raise the limit with --max-talk"
    assert not raised(detect_loop, talking(10, origin=origin), max_talk=0)


def test_a_person_or_a_call_ends_talk():
    assert not raised(detect_loop, talking(10, origin="person"))
    assert not raised(detect_loop, talking(10, origin=""))
    busy = Stream()
    for number in range(10):
        busy.add("assistant_response", {"text": f"next: {number}"})
        busy.bash(f"ls {number}", str(number))
    assert not raised(detect_loop, busy)


def test_tasks_that_end_one_after_another_are_no_talk():
    stream = Stream()
    for number in range(10):
        stream.add("assistant_response", {"text": f"Task {number} is done."})
        stream.add("user_prompt", {"origin": "notification", "task_id": f"t{number}"})
    assert not raised(detect_loop, stream)
    again = Stream()
    for number in range(10):
        again.add("assistant_response", {"text": f"Still waiting, {number}."})
        again.add("user_prompt", {"origin": "notification", "task_id": "t"})
    assert critical(detect_loop, again)


def test_compactions_without_new_work():
    stream = Stream()
    for _ in range(6):
        stream.add("compaction", {"trigger": "auto"})
        read(stream, "the same")
    found = [each for each in raised(detect_loop, stream) if "compacted" in each["message"]]
    assert levels(found) == [(3, "warning"), (5, "critical")]
    working = Stream()
    for number in range(8):
        working.add("compaction", {"trigger": "auto"})
        read(working, "other", file=f"{number}.py")
    assert not raised(detect_loop, working)


def hanging(count: int, **arguments: object) -> Stream:
    stream = Stream()
    for number in range(count):
        data = {"tool_name": "Bash", "arguments": {"command": f"git log -{number}", **arguments}}
        call = stream.add("tool_call", data)
        text = f"Command running in background with ID: bash_{number}."
        result = {"tool_name": "Bash", "result": text, "running": True}
        stream.add("tool_result", result, parent=call, after=120)
    return stream


def test_commands_that_do_not_come_back():
    found = raised(detect_loop, hanging(6))
    assert levels(found) == [(4, "warning"), (5, "critical"), (6, "critical")][:2]
    assert "did not return" in found[1]["message"]
    assert not raised(detect_loop, hanging(6, run_in_background=True)), "it was asked for"
    assert not raised(detect_loop, hanging(6), max_unfinished=0)


def test_a_command_that_comes_back_begins_a_new_row_and_a_read_does_not():
    one, other = hanging(3), hanging(3)
    one.bash("ls")
    read(other, "text")
    late = hanging(3)
    for event in late.events:
        event["event_id"] += "b"
        event["timestamp"] += 1000
        if "parent_id" in event:
            event["parent_id"] += "b"
    assert not raised(detect_loop, one.events + late.events)
    assert critical(detect_loop, other.events + late.events)


def test_one_tool_with_other_arguments_and_the_same_answer_is_a_warning():
    stream, silent = Stream(), Stream()
    for number in range(25):
        stream.call("Grep", {"pattern": f"a|{number}"}, "118: cumulative write tokens")
        silent.call("Grep", {"pattern": f"a|{number}"}, "")
    [found] = raised(detect_loop, stream)
    assert levels([found]) == [(20, "warning")] and "--max-stagnant" in found["hint"]
    assert not raised(detect_loop, silent)


def looks(
    command: str, count: int, every: float, text: str = "starting", failed: bool = False
) -> Stream:
    stream = Stream()
    for _ in range(count):
        call = stream.add(
            "tool_call", {"tool_name": "Bash", "arguments": {"command": command}}, after=every
        )
        kind, key = ("error", "error") if failed else ("tool_result", "result")
        stream.add(kind, {"tool_name": "Bash", key: text}, parent=call)
    return stream


@pytest.mark.parametrize(
    "command",
    [
        "curl -s localhost:8080/health",
        "aws cloudformation describe-stacks --stack-name shop",
        "docker ps --filter name=db",
        "tail -n 3 train.log",
        "glab ci status",
    ],
)
def test_slow_looks_that_change_nothing_are_waiting_whatever_their_name(command):
    assert not raised(detect_loop, looks(command, 15, 40))
    assert levels(raised(detect_loop, looks(command, 22, 40))) == [(20, "warning")]
    assert critical(detect_loop, looks(command, 6, 4)), "that is too fast for waiting"


@pytest.mark.parametrize(
    "command", ["git commit -am x", "npm install", "rm -rf build", "pytest -q"]
)
def test_what_changes_something_or_tests_is_no_look(command):
    assert critical(detect_loop, looks(command, 6, 40))


def test_a_look_that_answers_with_an_error_is_warned_of_early():
    found = raised(
        detect_loop, looks("gh run list --json x || true", 6, 40, "unknown JSON field: x")
    )
    assert [each["level"] for each in found] == ["warning"]


def test_a_sleep_is_the_time_between_two_looks():
    stream = Stream()
    for number in range(12):
        stream.bash(f"sleep {30 + number}", "")
        stream.time += 35
        stream.bash("curl -s localhost/health", "starting")
    assert not critical(detect_loop, stream)


def test_sleeps_that_print_something_new_each_time_are_no_loop():
    stream = Stream()
    for number in range(12):
        stream.bash(f"sleep 3; echo {number}", f"{number}")
    assert not raised(detect_loop, stream)
    for number in range(12):
        stream.bash(f"sleep {3 + number}; echo step", "step" if number % 4 else "")
    assert critical(detect_loop, stream)


def test_sleeps_alone_are_looks_whatever_their_seconds():
    stream = Stream()
    for number in range(24):
        stream.bash(f"sleep {90 + number}; echo done", "done")
        stream.time += 100
    assert levels(raised(detect_loop, stream)) == [(20, "warning")]


def test_a_reader_that_pages_is_warned_of_and_a_counter_is_not_taken_for_one():
    pages, counter = Stream(), Stream()
    for number in range(24):
        pages.call("read_output", {"session": "s1"}, f"block {chr(97 + number) * 40}")
        counter.call("poll_status", {"session": "s1"}, f"pending {number}")
    assert levels(raised(detect_loop, pages)) == [(20, "warning")]
    assert levels(critical(detect_loop, counter))[:1] == [(20, "critical")]


def test_progress_beside_a_failing_edit_is_progress():
    def rounds(failures: list[int]) -> Stream:
        stream = Stream()
        for number in failures:
            read(stream, "fn main() {}")
            stream.call(
                "Edit", {"file_path": "a.rs"}, "String not found", failed=True, reason="tool"
            )
            stream.bash("cargo test", f"{number} failed")
        return stream

    assert not raised(detect_loop, rounds([6, 5, 4, 3]))
    assert critical(detect_loop, rounds([6, 6, 6, 6]))


def test_a_script_whose_calls_are_recorded_is_no_step_of_its_own():
    stream = Stream()
    for number in range(3):
        script = {
            "tool_name": "exec",
            "arguments": {"input": f"run({number})"},
            "step": f"s{number}",
        }
        wrapper = stream.add("tool_call", script, id=f"s{number}")
        inner = {
            "tool_name": "exec_command",
            "arguments": {"cmd": "make all"},
            "step": f"s{number}",
        }
        call = stream.add("tool_call", inner)
        stream.add("error", {"tool_name": "exec_command", "error": "boom"}, parent=call)
        stream.add("tool_result", {"tool_name": "exec", "result": f"{number}"}, parent=wrapper)
    [found] = raised(detect_loop, stream, length=1)[-1:]
    assert found["count"] == 3 and found["steps"] == ["make"]


def test_two_calls_that_poll_in_turn_are_waiting():
    stream = Stream()
    for number in range(9):
        stream.call("write_stdin", {"session_id": 1, "chars": ""}, "", step=f"a{number}")
        stream.time += 33
        stream.call("write_stdin", {"session_id": 2, "chars": ""}, "", step=f"b{number}")
        stream.time += 33
    assert not critical(detect_loop, stream)
