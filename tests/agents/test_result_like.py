"""Comparison of results that were cut: equal but for what changes by itself, at any length."""

import json

import pytest

from agent_pipes.agents.codex.outcomes import outcome
from agent_pipes.agents.results import result_data
from tests.helpers.support import Stream, run, violations

LONG = "".join(f"tests/test_{number}.py::test_it PASSED\n" for number in range(200))


def like(text: str, key: str = "result", **more: str) -> str | None:
    return result_data(text, 4096, key, **more).get("result_like")


def test_only_a_result_that_was_cut_has_it():
    assert "result_like" not in result_data("x" * 4096, 4096) and like("x" * 4097)
    assert like("é" * 2049), "the limit is one of bytes"


@pytest.mark.parametrize(("one", "other"), [
    ("done at 2026-11-20T10:00:00Z", "done at 2026-11-20T10:05:33Z"),
    ("request id: req_011abc23de", "request id: req_999zyx87ab"),
    ("wrote /tmp/pytest-of-dev/pytest-11/out", "wrote /tmp/pytest-of-dev/pytest-12/out"),
])  # fmt: skip
def test_what_changes_by_itself_behind_the_cut_makes_no_other_result(one, other):
    first, second = result_data(LONG + one, 4096), result_data(LONG + other, 4096)
    assert first["result"] == second["result"] and first["result_digest"] != second["result_digest"]
    assert first["result_like"] == second["result_like"] != like(LONG + "another end")


def test_how_long_it_took_is_no_difference_between_failures():
    assert (
        like(LONG + "5 failed in 1.31s", "error")
        == like(LONG + "5 failed in 12.07s", "error")
        != like(LONG + "4 failed in 1.31s", "error")
    )
    assert like(LONG + "built in 1.31s") != like(LONG + "built in 12.07s"), (
        "where it goes well that is progress"
    )


def test_a_file_that_was_read_needs_none():
    """Files are the longest results by far, and nothing in a file changes by itself."""
    assert (
        like(LONG, tool="Read") is None
        and like(LONG, tool="Bash")
        and like(LONG, "error", tool="Read")
    )


def test_what_codex_puts_before_a_result_is_no_difference():
    said = [
        outcome(
            "exec_command",
            f"Chunk ID: {chunk}\nWall time: {wall} seconds\nProcess exited with code 0\nOutput:\n{LONG}",
        ).event("exec_command", 4096)[1]
        for chunk, wall in (("a1b2c3", "0.1"), ("d4e5f6", "0.7"))
    ]
    assert said[0]["result_like"] == said[1]["result_like"] and said[0]["result_bytes"] == len(
        LONG
    ) + len("Chunk ID: a1b2c3\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n")


def test_lone_surrogates_are_no_trouble():
    assert like("\ud800" * 2000)


@pytest.mark.parametrize(
    ("end", "found"), [("at 2026-11-20T10:00:{:02}Z", True), ("case number {}", False)]
)
def test_a_loop_of_long_results_is_found_by_what_stands_behind_the_cut(end, found):
    stream = Stream()
    for number in range(8):
        call = stream.add(
            "tool_call", {"tool_name": "Bash", "arguments": {"command": "deploy --status"}}
        )
        stream.add(
            "tool_result",
            {"tool_name": "Bash", **result_data(LONG + end.format(number), 4096)},
            parent=call,
        )
    assert (
        bool(
            violations(
                run("trace-detect-loop", "--max-same-call", "off", input=stream.bytes).stdout
            )
        )
        is found
    )


def test_every_result_of_a_session_that_was_cut_has_it(tmp_path):
    at = "2026-11-20T10:00:00Z"
    call = {
        "role": "assistant",
        "id": "m1",
        "content": [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "x"}}],
    }
    answer = {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": LONG, "is_error": False}
        ],
    }
    lines = [{"type": kind, "uuid": kind, "timestamp": at, "sessionId": "s", "cwd": "/x", "message": message}
             for kind, message in (("assistant", call), ("user", answer))]  # fmt: skip
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    events = [
        json.loads(line) for line in run("trace-tail", "--no-follow", path).stdout.splitlines()
    ]
    assert [
        event["data"]["result_like"] for event in events if event["event_type"] == "tool_result"
    ] == [like(LONG)]
