"""agents/pi: session files, `--mode json`, and the process in a directory."""

import os
import shutil
import subprocess
from functools import partial

import pytest

from agent_pipes.agents.pi.agent import AGENT as PI
from tests.helpers.support import FIXTURES
from tests.helpers.translating import typed

SESSION, STREAM = FIXTURES / "pi" / "session.jsonl", FIXTURES / "pi" / "stream.jsonl"


events = partial(typed, "pi")


@pytest.mark.parametrize("path", [SESSION, STREAM], ids=["file", "pipe"])
def test_calls_fail_with_their_exit_code(path):
    call, *_ = events(path, "tool_call")
    assert call["data"]["tool_name"] == "bash"
    assert call["data"]["arguments"] == {"command": "python3 t.py"}
    error, *_ = events(path, "error")
    assert error["parent_id"] == call["event_id"]
    assert (error["data"]["reason"], error["data"]["exit_code"]) == ("exit", 1)


@pytest.mark.parametrize("path", [SESSION, STREAM], ids=["file", "pipe"])
def test_usage_includes_the_cached_part_and_counts_once(path):
    used = [event["data"] for event in events(path, "llm_response")]
    first = used[0]["usage"]
    assert (first["input_tokens"], first["cache_read_input_tokens"]) == (1394, 1254)
    assert len({each["response_id"] for each in used}) == len(used)
    assert used[0]["reported_usd"] == pytest.approx(0.0030462)


def test_session_and_prompt():
    start, prompt, *_ = events(SESSION)
    assert start["data"] == {"agent": "pi", "cwd": "/home/dev/proj", "path": str(SESSION)}
    assert prompt["data"] == {"prompt": "fix the failing test", "origin": "person"}


def test_compaction():
    line = {"type": "compaction", "id": "c1", "tokensBefore": 90_000, "summary": "…"}
    (event,) = PI.translator().translate(line, 1.0)
    assert event["event_type"] == "compaction" and event["data"]["tokens"] == 90_000


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A session of a directory in which a program called `pi` can be started."""
    monkeypatch.setenv("PI_CODING_AGENT_DIR", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    folder = tmp_path / "home" / "sessions" / "--work--"
    folder.mkdir(parents=True)
    text = SESSION.read_text().replace("/home/dev/proj", str(work))
    (folder / "1_a.jsonl").write_text(text)
    shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "pi")
    return work, tmp_path / "pi", folder / "1_a.jsonl"


def test_process_is_the_only_one_in_the_directory(stored):
    work, program, path = stored
    (session,) = PI.sessions()
    assert session.cwd == str(work) and PI.process(session) is None
    with subprocess.Popen([program, "60"], cwd=work) as first:
        os.utime(path)
        (session,) = PI.sessions()
        try:
            PI._processes = type(PI._processes)(PI)
            assert PI.process(session).pid == first.pid
            with subprocess.Popen([program, "60"], cwd=work) as second:
                PI._processes = type(PI._processes)(PI)
                assert PI.process(session) is None, "which of the two it is would be a guess"
                second.kill()
        finally:
            first.kill()
