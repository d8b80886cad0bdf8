"""agents/qwen: chat files and stream-json."""

from functools import partial

import pytest

from agent_pipes.agents.qwen.agent import AGENT as QWEN
from agent_pipes.agents.registry import recognised
from agent_pipes.core.jsonl import objects
from tests.helpers.support import FIXTURES
from tests.helpers.translating import typed

SESSION, STREAM = FIXTURES / "qwen" / "session.jsonl", FIXTURES / "qwen" / "stream.jsonl"


events = partial(typed, "qwen")


@pytest.mark.parametrize("path", [SESSION, STREAM], ids=["file", "pipe"])
def test_calls_fail_with_their_exit_code(path):
    call, *_ = events(path, "tool_call")
    assert call["data"]["tool_name"] == "run_shell_command"
    assert call["data"]["arguments"]["command"] == "python3 t.py"
    error, *_ = events(path, "error")
    assert error["parent_id"] == call["event_id"]
    assert (error["data"]["reason"], error["data"]["exit_code"]) == ("exit", 1)


@pytest.mark.parametrize("path", [SESSION, STREAM], ids=["file", "pipe"])
def test_input_is_not_counted_twice(path):
    used = [event["data"] for event in events(path, "llm_response")]
    assert used[0]["usage"]["input_tokens"] == 19_616
    assert used[0]["usage"]["cache_read_input_tokens"] == 17_654
    assert len({each["response_id"] for each in used}) == len(used)


def test_equal_failures_have_equal_digests():
    first, second = events(SESSION, "error")
    assert first["data"]["result_digest"] == second["data"]["result_digest"]


def test_stream_is_told_from_claude_codes_by_its_version():
    (first,) = objects(STREAM.read_bytes().splitlines()[0])
    assert recognised(first) is QWEN
    del first["qwen_code_version"]
    assert recognised(first | {"claude_code_version": "2.1.332"}) is not QWEN


def test_session_starts_with_its_directory():
    start, prompt, *_ = events(SESSION)
    assert start["data"] == {"agent": "qwen", "cwd": "/home/dev/proj", "path": str(SESSION)}
    assert prompt["data"] == {"prompt": "fix the failing test", "origin": "person"}
    assert events(STREAM, "session_start")[0]["data"]["interactive"] is False
    assert events(STREAM, "session_end")[0]["data"] == {"reason": "success"}
