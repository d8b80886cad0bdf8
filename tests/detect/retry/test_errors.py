"""The same error, whatever the command."""

import pytest

from agent_pipes.detect.retry.command import detect_retry
from tests.helpers.detecting import critical, edit, parallel, raised, read
from tests.helpers.support import Stream

MISSING = (
    "Exit code 1\nTraceback (most recent call last):\nModuleNotFoundError: No module named 'yaml'"
)


def scripts(count: int, *, between: object = None) -> Stream:
    stream = Stream()
    for number in range(count):
        stream.bash(f"python3 /tmp/try_{number}.py --n {number}", MISSING, failed=True)
        if between:
            between(stream, number)
    return stream


def test_other_commands_with_one_error_are_warned_of_at_five_and_raised_at_six():
    found = raised(detect_retry, scripts(8))
    assert [(each["count"], each["level"]) for each in found] == [(5, "warning"), (6, "critical")]
    assert found[1]["message"] == (
        "the same error 6 times, whatever the command: "
        "\"ModuleNotFoundError: No module named 'yaml'\""
    )
    assert found[1]["hint"] == "raise the limit with --max-errors"
    assert len(found[1]["evidence"]) == 6
    assert not raised(detect_retry, scripts(8), max_errors=0)


def test_reads_edits_and_successes_of_other_programs_do_not_end_it():
    def work(stream: Stream, number: int) -> None:
        read(stream, f"text {number}")
        edit(stream, number)
        stream.bash(f"ls {number}")

    assert critical(detect_retry, scripts(6, between=work))


def test_a_success_of_the_program_or_a_person_ends_it():
    def succeed(stream: Stream, number: int) -> None:
        if number == 3:
            stream.bash("python3 -V", "Python 3.12")

    def prompt(stream: Stream, number: int, **data: object) -> None:
        if number == 3:
            stream.add("user_prompt", {"prompt": "go on", **data})

    assert not raised(detect_retry, scripts(7, between=succeed))
    assert not raised(detect_retry, scripts(7, between=prompt))
    hook = scripts(7, between=lambda stream, number: prompt(stream, number, origin="hook"))
    assert critical(detect_retry, hook)


def test_other_errors_between_do_not_end_it():
    def fail(stream: Stream, number: int) -> None:
        stream.bash(f"npm run build{number}", f"Exit code 1\nerror {chr(97 + number)}", failed=True)

    assert len(critical(detect_retry, scripts(6, between=fail))) == 1


def test_one_command_alone_is_left_to_max():
    stream = Stream()
    for _ in range(8):
        stream.bash("make docs", MISSING, failed=True)
    [found] = raised(detect_retry, stream)
    assert found["message"] == '"make docs" failed 5 times'


def test_parallel_calls_are_one_attempt():
    stream = Stream()
    for turn in range(2):
        for number in range(6):
            stream.bash(f"python3 {turn}{number}.py", MISSING, failed=True, step=f"msg_{turn}")
    assert not raised(detect_retry, stream)
    assert parallel


@pytest.mark.parametrize("error", ["Exit code 1", "Exit code 1\n\n", ""])
def test_an_error_without_text_is_like_no_other(error):
    stream = Stream()
    for number in range(8):
        stream.bash(f"./try-{number}", error, failed=True)
    assert not raised(detect_retry, stream)


def test_numbers_are_the_progress_of_a_test_and_volatile_elsewhere():
    tests, others = Stream(), Stream()
    for number in range(7):
        tests.bash(f"pytest -q -k {number}", f"Exit code 1\nE  {number} != 0", failed=True)
        others.bash(f"./load {number}", f"Exit code 1\nrow {number}: no such table", failed=True)
    assert not raised(detect_retry, tests)
    assert critical(detect_retry, others)


def test_fewer_failing_tests_end_every_count():
    stream = Stream()
    for number in range(8):
        edit(stream, number, failed=True, reason="tool")
        stream.bash("pytest -q", f"Exit code 1\n{9 - number} failed in 0.1s", failed=True)
    assert not raised(detect_retry, stream)
