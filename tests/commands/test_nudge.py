"""trace-nudge: what was found reaches the agent by its hook, as often as it can help."""

import json
import time

import pytest

from tests.helpers.support import Stream, run, violations

SESSION = "3f6e2c1a-9b7d-4e10-8a52-6d1c0f9be771"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project, and a directory of its own for what our processes leave for each other."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run_dir))
    project = tmp_path / "project"
    project.mkdir()
    return project


def environment(place) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(place.parent / "run"), "HOME": str(place.parent)}


def violated(times: int = 1, after: float = 1.0, **data: object) -> bytes:
    stream = Stream()
    for number in range(times):
        fields = {"watcher": "retry", "level": "critical", "message": f'"pytest" failed {number}'}
        stream.add("violation", fields | data, after=after)
    return stream.bytes


def nudged(place, stream: bytes) -> bytes:
    done = run("trace-nudge", input=stream, env=environment(place))
    assert done.returncode == 0 and done.stdout == stream
    return done.stderr


def hook(place, payload: dict, *arguments: str) -> dict | None:
    payload = {"session_id": SESSION, "cwd": str(place), **payload}
    done = run(
        "agent-strace",
        "hook",
        *arguments,
        input=json.dumps(payload),
        env=environment(place),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


CLAUDE_CALL = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "x"}}
CLAUDE_PROMPT = {"hook_event_name": "UserPromptSubmit", "prompt": "go on"}
COPILOT_CALL = {"toolName": "bash", "toolArgs": '{"command": "x"}', "sessionId": SESSION}


def test_a_hint_reaches_the_model_as_context_with_its_next_call_once(place):
    said = nudged(place, violated(message='"pytest" failed 3 times', hint="--max-retries 5"))
    assert b"left a hint for the agent" in said
    answer = hook(place, CLAUDE_CALL)
    assert answer["hookSpecificOutput"]["hookEventName"] == "PreToolUse"
    text = answer["hookSpecificOutput"]["additionalContext"]
    assert text.startswith('agent-strace: "pytest" failed 3 times. Stop repeating it')
    assert "--max" not in text, "how to raise the limit is for people"
    assert hook(place, CLAUDE_CALL) is None


def test_a_prompt_of_the_user_takes_the_hint_back(place):
    nudged(place, violated())
    assert hook(place, CLAUDE_PROMPT) is None
    assert hook(place, CLAUDE_CALL) is None


def test_an_agent_without_a_place_for_context_has_one_call_denied(place):
    nudged(place, violated())
    payload = {**COPILOT_CALL, "timestamp": int(time.time() * 1000)}
    answer = hook(place, payload)
    assert answer["permissionDecision"] == "deny"
    assert "agent-strace denies this call once" in answer["permissionDecisionReason"]
    assert hook(place, payload) is None


def test_our_own_denials_are_no_failures_of_the_agent(place):
    stream = Stream()
    for _ in range(6):
        stream.bash("pytest", 'agent-strace denies this call once: "pytest" failed', failed=True)
    done = run("trace-detect-retry", "--max", 3, input=stream.bytes)
    assert violations(done.stdout) == []


@pytest.mark.parametrize(("after", "hints"), [(1.0, 1), (61.0, 2)])
def test_there_are_two_hints_of_a_kind_at_most_with_a_pause_between(place, after, hints):
    said = nudged(place, violated(5, after))
    assert said.count(b"left a hint") == hints


@pytest.mark.parametrize(
    "data", [{"level": "warning"}, {"actions": ["terminal"]}, {"actions": ["kill"]}]
)
def test_other_violations_leave_no_hint(place, data):
    assert nudged(place, violated(**data)) == b""
    assert hook(place, CLAUDE_CALL) is None


def test_an_agent_without_a_hook_takes_the_next_step(place):
    stream = Stream()
    stream.add("history_start")
    stream.add("process", {"pid": 4242, "started": "1", "how": "registry", "hooked": False})
    stream.add("history_end")
    stream.spiral(3)
    done = run("trace-detect-retry", "--max", 3, "--steps", "nudge,pause", input=stream.bytes)
    (found,) = violations(done.stdout)
    assert found["actions"] == ["pause"]
    assert b"no hook that could give it a hint" in nudged(place, done.stdout)
