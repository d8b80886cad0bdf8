"""Outcomes of calls, and sameness of results."""

import pytest

from agent_pipes.core.event import digest, from_fields
from agent_pipes.detect.outcomes import Outcome, outcome, result_text
from agent_pipes.detect.results import MAX_TARGETS, MAX_WAYS, FailureModes, Result

OK, FAILED, VOID, RUNNING = Outcome.OK, Outcome.FAILED, Outcome.VOID, Outcome.RUNNING


def event(kind: str = "tool_result", **data: object):
    return from_fields(
        {"event_type": kind, "timestamp": 1795359278.0, "event_id": "r", "data": data}
    )


@pytest.mark.parametrize(
    "one, came",
    [
        (event(result="ok"), OK),
        (event(), OK),
        (event("error", error="Exit code 1", reason="exit", exit_code=1), FAILED),
        (event("error", error="not found", reason="tool"), FAILED),
        (event("error", error="tool call failed", tool_name="Bash"), FAILED),
        (event("error", error="no", reason="rejected"), VOID),
        (event("error", error="", reason="sibling"), VOID),
        (event("error", error="", reason="interrupted"), VOID),
        (event("error", error="529", reason="api"), VOID),
        (event("error", error="The user doesn't want to proceed with this tool use."), VOID),
        (event("error", error="[Request interrupted by user for tool use]"), VOID),
        (event("error", error="<tool_use_error>Sibling tool call errored</tool_use_error>"), VOID),
        (event("error", error=["x"], reason=["rejected"]), FAILED),
        # A store's failing command in an ordinary result: the exit code stands in the text alone.
        (event(result="{'exit_code': 1, 'output': 'boom'}"), FAILED),
        (
            event(
                result="{'output': 'x', 'metadata': {'exit_code': 127, 'duration_seconds': 0.1}}"
            ),
            FAILED,
        ),
        (event(result="{'stdout': 'a.py', 'stderr': '', 'interrupted': False}"), OK),
        (event(result="{'exit_code': 0, 'output': 'fine'}"), OK),
        (event(result="Exit code: 2\nWall time: 1 seconds"), FAILED),
        (event(result="Exit code: 0\nWall time: 1 seconds"), OK),
        (
            event(
                result="Chunk ID: ab\nWall time: 0.1 seconds\nProcess exited with code 1\nOutput:\n"
            ),
            FAILED,
        ),
        (event(result="the log says: Exit code 1"), OK),
        # Our own sources have read the text already.
        (event(result="Exit code: 2", result_digest="ab"), OK),
        (event(result="x", exit_code=3), FAILED),
        (event(result="x", exit_code=0), OK),
        (event(result="x", exit_code="3"), OK),
        # A command that goes on beyond its call.
        (event(result="so far", running=True, result_digest="ab"), RUNNING),
        (event(result="", running=True, exit_code=1), FAILED),
        (event(result="so far", running="yes"), OK),
    ],
)
def test_what_became_of_a_call(one, came):
    assert outcome(one) == came


@pytest.mark.parametrize(
    "data",
    [
        {"result": {"a": [1]}},
        {"result": None},
        {"error": 5},
        {"message": "bad", "code": -32000},
        {"content_preview": "boom"},
        {},
    ],
)
def test_a_result_of_any_type_has_a_text(data):
    assert isinstance(result_text(event(**data)), str)
    assert Result(event(**data), failed=True).same(Result(event(**data), failed=True))


def result(text: str, failed: bool = False, **more: object) -> Result:
    return Result(event(result=text, **more), failed=failed)


def whole(text: str, limit: int = 4096, failed: bool = False) -> Result:
    """As our own sources say it: the head, and the size and the digest of the whole."""
    content = text.encode()
    return result(
        content[:limit].decode(errors="ignore"),
        failed,
        result_bytes=len(content),
        result_digest=digest(content),
    )


def test_equal_results_are_the_same_and_a_failure_is_not_a_success():
    assert result("x").same(result("x"))
    assert not result("x").same(result("y"))
    assert not result("x").same(result("x", failed=True))


@pytest.mark.parametrize("padding", ["", "long " * 60])
def test_results_that_differ_in_what_changes_by_itself_are_the_same(padding):
    assert result(padding + "pid 1").same(result(padding + "pid 22"))
    assert not result(padding + "line 1").same(result(padding + "line 2"))
    assert result(padding + "in 0.1s", failed=True).same(result(padding + "in 0.2s", failed=True))
    assert not result(padding + "in 0.1s").same(result(padding + "in 0.2s"))


LINES = "".join(f"2026-11-22T10:00:{{0:02}}Z line {number}\n" for number in range(300))


def test_of_a_result_that_was_cut_equal_digests_decide():
    text = LINES.format(1)
    assert len(text) > 4096 and whole(text).same(whole(text))


def test_a_cut_result_whose_head_moved_only_by_itself_is_the_same():
    assert whole(LINES.format(1)).same(whole(LINES.format(59)))


def test_where_a_cut_falls_makes_no_difference():
    assert whole("pid 9\n" + "x\n" * 5000).same(whole("pid 10\n" + "x\n" * 5000))


def test_what_moved_behind_an_equal_head_is_progress():
    head = "test a ... ok\n" * 400
    assert not whole(head + "3 files\n").same(whole(head + "2 files\n"))


def test_what_failed_says_behind_an_equal_head_how_long_it_took():
    head = "test a ... ok\n" * 400
    assert whole(head + "3 failed in 1.21s\n", failed=True).same(
        whole(head + "3 failed in 10.3s\n", failed=True)
    )
    longer = head + "FAILED test_b - AssertionError: 7 == 6\n4 failed in 1.21s\n"
    assert not whole(head + "3 failed in 1.21s\n", failed=True).same(whole(longer, failed=True))


def test_ways_of_failing_are_known_again_by_target():
    failures = FailureModes()
    one = failures.mode(1, result("AssertionError: 7 == 6 in 0.1s", failed=True))
    assert failures.mode(1, result("AssertionError: 7 == 6 in 0.2s", failed=True)) == one
    assert failures.mode(1, result("AssertionError: 8 == 6 in 0.2s", failed=True)) != one
    assert failures.mode(1, result("AssertionError: 7 == 6 in 0.3s", failed=True)) == one
    for target in range(2, 2 + MAX_TARGETS):
        failures.mode(target, result(f"{target}", failed=True))
    assert len(failures._modes) == MAX_TARGETS
    for number in range(3 * MAX_WAYS):
        failures.mode(9, result(f"line {number}", failed=True))
    assert len(failures._modes[9]) == MAX_WAYS


def test_what_grew_behind_a_head_that_moves_by_itself_is_progress():
    assert not whole(LINES.format(1) + "3 failed").same(
        whole(LINES.format(2) + "3 failed" + " and more" * 10)
    )


def test_what_the_whole_says_decides_where_its_source_tells():
    one = result("head", result_bytes=9000, result_digest="a", result_like="same")
    assert one.same(result("head", result_bytes=9001, result_digest="b", result_like="same"))
    assert not one.same(result("head", result_bytes=9000, result_digest="c", result_like="other"))
