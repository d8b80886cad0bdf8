"""agent-strace hook --guard: a forbidden call is denied before it runs, in the agent's form."""

import json
import os
import time
from pathlib import Path

import pytest

from agent_pipes.agents.store.writer import Store
from agent_pipes.hooks import verdict
from agent_pipes.hooks.payload import read_payload
from tests.helpers.hooked import (
    AGENTS,
    SESSION,
    call,
    claude,
    events,
    failure,
    hook,
    payloads,
    record,
    success,
)
from tests.helpers.support import until


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proj"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def policy(project: Path, text: str = '{"files": {"write": {"deny": ["deploy/**"]}}}') -> None:
    (project / ".agent-scope.json").write_text(text)


def limits(project: Path, **watchers: object) -> None:
    (project / ".agent-watch.json").write_text(json.dumps({"watchers": watchers}))


def reason(answer: bytes) -> str:
    """Why a call of Claude Code's is denied, "" where it is not."""
    if not answer:
        return ""
    said = json.loads(answer)["hookSpecificOutput"]
    assert said["permissionDecision"] == "deny" and said["hookEventName"] == "PreToolUse"
    return said["permissionDecisionReason"]


def guarded(payload: dict) -> str:
    return reason(record(payload, guard="deny"))


def spiral(project: Path, times: int, command: str = "make test") -> None:
    """The same command fails so many times."""
    for number in range(times):
        record(call(project, "Bash", number, command=command))
        record(failure(project, command, number))


# Out of scope


FORMS = {
    "claude": lambda said: (
        said["hookSpecificOutput"]["permissionDecisionReason"]
        * (said["hookSpecificOutput"]["permissionDecision"] == "deny")
    ),
    "codex": lambda said: (
        said["hookSpecificOutput"]["permissionDecisionReason"]
        * (list(said) == ["hookSpecificOutput"])
    ),
    "gemini": lambda said: said["reason"] * (said["decision"] == "deny") * ("continue" not in said),
    "copilot": lambda said: (
        said["permissionDecisionReason"] * (said["permissionDecision"] == "deny")
    ),
    "cursor": lambda said: said["agent_message"] * (said["permission"] == "deny"),
}


@pytest.mark.parametrize("agent", AGENTS)
def test_denial_in_each_agents_own_form(project, agent):
    policy(project, '{"commands": {"deny": ["pytest"]}}')
    denied = [
        each
        for each in payloads(agent, project)
        if read_payload(each, 0.0).kind == "tool_call" and "pytest -q" in json.dumps(each)
    ]
    (answer,) = [record(each, guard="deny") for each in denied]
    assert 'command "pytest -q" (denied by commands.deny "pytest" in .agent-scope.json)' in FORMS[
        agent
    ](json.loads(answer))
    (session,) = [each.name for each in (project / ".agent-traces").iterdir() if each.is_dir()]
    called, refused = events(project / ".agent-traces", session)
    assert (called["event_type"], refused["event_type"], refused["data"]["reason"]) == (
        "tool_call",
        "error",
        "tool",
    )
    assert refused["parent_id"] == called["event_id"]
    assert not list((project / ".agent-traces").glob(".pending-calls.*")), "no result comes"


def test_what_is_in_scope_is_not_answered(project):
    policy(project)
    assert record(call(project, "Write", file_path=f"{project}/src/a.py"), guard="deny") == b""
    assert record(call(project, "Bash", 2, command="ls deploy"), guard="deny") == b""
    assert len(events(project / ".agent-traces")) == 2


@pytest.mark.parametrize("tool, arguments", [
    ("Write", {"file_path": "deploy/prod.yml"}),
    ("Write", {"file_path": "src/../deploy/prod.yml"}),
    ("Bash", {"command": "echo x > deploy/prod.yml"}),
    ("Bash", {"command": "cd deploy && rm -rf prod"}),
])  # fmt: skip
def test_what_is_out_of_scope_is_denied_however_it_is_asked_for(project, tool, arguments):
    policy(project)
    assert "deploy" in guarded(call(project, tool, **arguments))


def test_paths_are_those_of_the_directory_that_the_agent_is_in(project):
    policy(project)
    (project / "deploy").mkdir()
    (project / "src").mkdir()
    record(claude("SessionStart", project, source="startup"))
    assert "deploy/prod.yml" in guarded(call(project / "deploy", "Write", 1, file_path="prod.yml"))
    assert guarded(call(project / "src", "Write", 2, file_path="prod.yml")) == ""


def test_what_an_agent_is_watched_by_is_guarded_without_a_policy(project):
    for number, arguments in enumerate(
        ({"file_path": ".agent-watch.json"}, {"file_path": f"{project}/.agent-scope.json"})
    ):
        assert "no agent may change the files that watch it" in guarded(
            call(project, "Write", number, **arguments)
        )
    assert "self-protection" in guarded(call(project, "Bash", 3, command="rm .agent-wat*"))
    assert guarded(call(project, "Bash", 4, command="cat .agent-watch.json")) == ""
    assert guarded(call(project, "Write", 5, file_path="a.py")) == ""


def test_policy_that_cannot_be_read_denies_and_says_so(project):
    policy(project, '{"files": {"wirte": {}}}')
    assert "wirte" in guarded(call(project, "Bash", command="ls"))


@pytest.mark.parametrize("name", [".agent-scope.json", ".agent-watch.json"])
def test_pipe_in_place_of_a_policy_or_config_denies_at_once(project, name):
    os.mkfifo(project / name)
    began = time.monotonic()
    answer = guarded(call(project, "Bash", command="ls"))
    assert f"{name} cannot be read: not a regular file" in answer
    assert time.monotonic() - began < 1


def test_policy_is_where_the_config_file_says(project):
    policy(project)
    limits(project, scope={"policy": "other.json"})
    (project / "other.json").write_text('{"commands": {"deny": ["curl"]}}')
    assert guarded(call(project, "Write", 1, file_path="deploy/x")) == ""
    assert "curl" in guarded(call(project, "Bash", 2, command="curl x"))
    limits(project, scope=False)
    assert guarded(call(project, "Bash", 3, command="curl x")) == ""


def test_denied_also_where_nothing_can_be_recorded(project):
    policy(project)
    (project / ".agent-traces").write_text("a file")
    done = hook(call(project, "Write", file_path="deploy/x"), "--guard")
    assert (
        done.returncode == 0
        and "deploy/x" in reason(done.stdout)
        and b".agent-traces" in done.stderr
    )


# The breaker has tripped


def test_command_that_has_failed_too_often_ends_all_calls_until_a_person_speaks(project):
    spiral(project, 4)
    assert guarded(call(project, "Bash", 10, command="make test")) == ""
    record(failure(project, "make test", 10))
    for number, command in enumerate(("make test", "ls", "git push"), 11):
        why = guarded(call(project, "Bash", number, command=command))
        assert 'the circuit breaker has tripped: "make test" failed 5 times. Stop' in why, (
            "and not how to raise the limit"
        )
    record(claude("UserPromptSubmit", project, prompt="go on, I have fixed it"))
    assert guarded(call(project, "Bash", 20, command="make test")) == ""


def test_breaker_stays_open_whatever_comes_of_calls_that_were_under_way(project):
    """Calls that are denied meanwhile are not judged: a prompt or another limit changes that."""
    record(call(project, "Bash", 5, command="make test"))
    spiral(project, 5)
    assert "tripped" in guarded(call(project, "Bash", 10, command="ls"))
    record(success(project, "Bash", 5, "ok", command="make test"))
    assert "tripped" in guarded(call(project, "Bash", 11, command="ls"))
    limits(project, retry={"max": 6}, loop=False)
    assert guarded(call(project, "Bash", 12, command="ls")) == ""


def test_success_in_between_keeps_it_closed(project):
    limits(project, loop=False)
    spiral(project, 4)
    record(call(project, "Bash", 10, command="make test"))
    record(success(project, "Bash", 10, "ok", command="make test"))
    spiral(project, 4)
    assert guarded(call(project, "Bash", 20, command="make test")) == ""


def test_same_denial_again_and_again_trips_the_breaker(project):
    """A forbidden call that is repeated is treated as a failing one."""
    policy(project)
    for number in range(5):
        assert "denies this call: write to deploy/x" in guarded(
            call(project, "Write", number, file_path="deploy/x")
        )
    assert "tripped" in guarded(call(project, "Bash", 20, command="ls"))
    record(claude("UserPromptSubmit", project, prompt="leave deploy alone"))
    assert guarded(call(project, "Bash", 21, command="ls")) == ""


def test_other_denials_trip_nothing(project):
    policy(project)
    for number in range(5):
        assert "denies this call" in guarded(
            call(project, "Write", number, file_path=f"deploy/{number}")
        )
    assert guarded(call(project, "Bash", 20, command="ls")) == ""


def test_loop_and_limits_of_the_config_file(project):
    limits(project, retry=False, loop={"repeat": 3})
    spiral(project, 2)
    assert guarded(call(project, "Bash", 10, command="make test")) == ""
    record(failure(project, "make test", 10))
    assert "tripped: detected loop" in guarded(call(project, "Bash", 11, command="ls"))
    limits(project, retry=False, loop=False)
    assert guarded(call(project, "Bash", 12, command="ls")) == "", (
        "a limit that was raised holds from the next call on"
    )


def test_limits_that_cannot_be_read_deny_and_say_so(project):
    limits(project, retyr={"max": 3})
    spiral(project, 1)
    why = guarded(call(project, "Bash", 10, command="ls"))
    assert "retyr" in why and "did you mean 'retry'" in why


def ask_again(project: Path, number: int, guard: str = "deny") -> dict:
    """The answer to one more call of Claude Code's."""
    return json.loads(record(call(project, "Bash", number, command="ls"), guard=guard) or b"{}")


def test_second_denial_ends_the_run(project):
    spiral(project, 5)
    first, second, third = (ask_again(project, number) for number in (10, 11, 12))
    assert "continue" not in first and "tripped" in reason(json.dumps(first).encode())
    for answer in (second, third):
        assert answer["continue"] is False and "failed 5 times" in answer["stopReason"]
        assert "tripped" in reason(json.dumps(answer).encode()), "an older client drops the call"


def test_denials_are_counted_anew_after_a_persons_prompt(project):
    spiral(project, 5)
    ask_again(project, 10)
    record(claude("UserPromptSubmit", project, prompt="go on"))
    assert ask_again(project, 11) == {}
    spiral(project, 5)
    assert ["continue" in ask_again(project, number) for number in (12, 13)] == [False, True]


def test_denials_out_of_scope_end_no_run(project):
    policy(project)
    for number in range(4):
        answer = record(call(project, "Write", number, file_path=f"deploy/{number}"), guard="stop")
        assert "continue" not in json.loads(answer)


def test_stop_ends_the_run_of_claude_before_its_next_request(project):
    spiral(project, 4)
    batch = claude("PostToolBatch", project, tool_calls=[])
    assert record(batch, guard="stop") == b""
    record(call(project, "Bash", 10, command="make test"))
    record(failure(project, "make test", 10))
    assert record(batch, guard="deny") == b"", "the model may read the reason first"
    answer = json.loads(record(batch, guard="stop"))
    assert answer.keys() == {"continue", "stopReason"} and answer["continue"] is False
    assert "tripped" in answer["stopReason"] and "next prompt" in answer["stopReason"]
    assert ask_again(project, 11, "stop")["continue"] is False


def test_run_of_gemini_is_ended_by_the_second_denial_or_at_once_by_a_result(project):
    limits(project, retry={"max": 1})
    asked, failed = [
        each for each in payloads("gemini", project) if "pytest -q" in json.dumps(each)
    ][:2]
    record(asked)
    assert record(failed, guard="deny") == b""
    first, second = (json.loads(record(asked, guard="deny")) for _ in range(2))
    assert (first["decision"], "continue" in first) == ("deny", False)
    assert (second["decision"], second["continue"]) == ("deny", False) and second["stopReason"]
    assert json.loads(record(failed, guard="stop"))["continue"] is False


def test_run_of_copilot_is_ended_by_the_permission_that_it_asks_for(project, monkeypatch):
    limits(project, retry={"max": 1}, loop=False)
    monkeypatch.setattr("agent_pipes.agents.processes.nearest", lambda agent: None)
    asked = next(each for each in payloads("copilot", project) if "pytest -q" in json.dumps(each))
    other = {key: asked[key] for key in ("sessionId", "timestamp", "cwd", "toolName")}
    permission = {**other, "hookName": "permissionRequest", "toolInput": {}}
    failed = {**asked, "toolResult": {"resultType": "failure", "textResultForLlm": "no"}}
    record(asked, guard="deny")
    assert record(permission, guard="deny") == b""
    record(failed)
    assert json.loads(record(asked, guard="deny"))["permissionDecision"] == "deny"
    never_asked = {**asked, "toolName": "view"}
    assert json.loads(record(never_asked, guard="deny"))["permissionDecision"] == "deny"
    assert record(asked, guard="deny") == b"", "its permission is asked for next"
    answer = json.loads(record(permission, guard="deny"))
    assert (answer["behavior"], answer["interrupt"]) == ("deny", True)
    assert "tripped" in answer["message"]


@pytest.mark.parametrize("agent", ["codex", "cursor"])
def test_agents_whose_run_no_hook_can_end_are_only_denied(project, agent):
    limits(project, retry=False, loop={"repeat": 3})
    asked, failed = [each for each in payloads(agent, project) if "pytest -q" in json.dumps(each)][
        :2
    ]
    for number in range(3):
        ids = {"tool_use_id": f"call{number}"}
        record({**asked, **ids})
        record({**failed, **ids})
    for number in range(10, 13):
        answer = json.loads(record({**asked, "tool_use_id": f"call{number}"}, guard="stop"))
        assert "continue" not in answer and "tripped" in json.dumps(answer)


def test_person_at_the_terminal_is_asked_instead(project, monkeypatch):
    spiral(project, 5)
    monkeypatch.setenv("CLAUDE_CODE_ENTRYPOINT", "cli")
    for number in (10, 11, 12):
        said = ask_again(project, number)["hookSpecificOutput"]
        assert said["permissionDecision"] == "ask"
        assert "failed 5 times. Make this call anyway?" in said["permissionDecisionReason"]
    assert [each for each in events(project / ".agent-traces") if "tripped" in str(each)] == []
    assert ask_again(project, 13, "stop")["continue"] is False
    monkeypatch.setenv("CLAUDE_CODE_ENTRYPOINT", "sdk-cli")
    assert "tripped" in guarded(call(project, "Bash", 14, command="ls"))


def test_what_a_session_has_cost_trips_it(project, tmp_path):
    transcript = tmp_path / "t.jsonl"
    usage = {
        "input_tokens": 1_000_000,
        "output_tokens": 100_000,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    message = {
        "id": "msg_1",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "stop_reason": "end_turn",
        "content": [],
        "usage": usage,
    }
    line = {
        "type": "assistant",
        "uuid": "u1",
        "timestamp": "2026-11-20T10:00:00Z",
        "sessionId": SESSION,
        "message": message,
    }
    transcript.write_text(json.dumps(line) + "\n")
    limits(project, cost={"max_dollars": 5})
    given = {"transcript_path": str(transcript)}
    hook(call(project, "Read") | given, "--guard")
    hook(success(project, "Read", 1, "ok") | given, "--guard")
    until(
        lambda: events(project / ".agent-traces", kind="llm_response"),
        what="the usage in the store",
    )
    assert "tripped: $7.50" in guarded(call(project, "Read", 2) | given)


def test_option_takes_no_word_after_it_for_its_mode(project):
    policy(project)
    given = {**call(project, "Write", file_path="deploy/x")}
    del given["hook_event_name"]
    for words in (["--guard", "pre-tool"], ["pre-tool", "--guard"], ["--guard=stop", "pre-tool"]):
        assert "deploy/x" in reason(hook(given, *words).stdout)
    done = hook(given, "--guard=later")
    assert (done.returncode, done.stdout) == (1, b"") and b"--guard" in done.stderr


# The judgement that is ready


def notes(project: Path) -> dict:
    return json.loads((project / ".agent-traces" / SESSION[:16] / ".hook.json").read_text())


def test_judgement_is_made_after_each_result_and_found_by_the_next_call(project, monkeypatch):
    spiral(project, 4)
    record(call(project, "Bash", 10, command="make test"))
    assert hook(failure(project, "make test", 10), "--guard").returncode == 0
    until(
        lambda: (
            (project / ".agent-traces" / SESSION[:16] / ".hook.json").exists()
            and notes(project).get("verdict")
        ),
        what="the judgement",
    )
    assert '"make test" failed 5 times' in notes(project)["verdict"]["why"]
    monkeypatch.setattr(verdict, "reach_verdict", lambda *_: pytest.fail("judged again"))
    assert "tripped" in guarded(call(project, "Bash", 11, command="ls"))


def test_parallel_calls_need_no_new_judgement(project, monkeypatch):
    spiral(project, 1)
    assert guarded(call(project, "Bash", 10, command="ls")) == ""
    monkeypatch.setattr(verdict, "reach_verdict", lambda *_: pytest.fail("judged again"))
    for number in range(11, 14):
        assert guarded(call(project, "Bash", number, command="ls")) == ""


def test_tripped_breaker_needs_no_new_judgement(project, monkeypatch):
    spiral(project, 5)
    assert "tripped" in guarded(call(project, "Bash", 13, command="ls"))
    monkeypatch.setattr(verdict, "reach_verdict", lambda *_: pytest.fail("judged again"))
    assert "tripped" in guarded(call(project, "Bash", 14, command="ls"))


@pytest.mark.parametrize(
    "judged",
    [
        None,
        [],
        {},
        {"size": "x", "why": ""},
        {"size": 10**9, "why": "", "config": []},
        {"size": 0, "why": 7, "config": []},
    ],
)
def test_judgement_that_makes_no_sense_is_made_anew(project, judged):
    spiral(project, 5)
    (project / ".agent-traces" / SESSION[:16] / ".hook.json").write_text(
        json.dumps({"verdict": judged})
    )
    assert "tripped" in guarded(call(project, "Bash", 10, command="ls"))


def test_resumed_session_is_judged_from_its_resumption(project):
    spiral(project, 3)
    record(claude("SessionEnd", project, reason="exit"))
    record(claude("SessionStart", project, source="resume"))
    spiral(project, 2)
    assert "tripped" not in guarded(call(project, "Bash", 10, command="ls"))
    spiral(project, 3)
    assert "failed 5 times" in guarded(call(project, "Bash", 20, command="ls"))


def test_broken_lines_in_the_store_are_passed_over(project):
    spiral(project, 5)
    with open(project / ".agent-traces" / SESSION[:16] / "events.ndjson", "ab") as file:
        file.write(b'not json\n{"event_type":"tool_res')
    assert "failed 5 times" in guarded(call(project, "Bash", 10, command="ls"))


def test_judge_reads_whole_lines_only(project):
    spiral(project, 1)
    store = Store(str(project / ".agent-traces"))
    folder = store.folder(SESSION[:16])
    size = folder.size()
    with open(project / ".agent-traces" / SESSION[:16] / "events.ndjson", "ab") as file:
        file.write(b'{"event_type":"err')
    assert verdict.reach_verdict(folder, str(project), 1795168800.0) == {
        "size": size,
        "why": "",
        "config": [],
    }
    folder.close()
    store.close()


def test_without_the_option_nothing_is_denied_or_judged(project):
    policy(project)
    spiral(project, 6)
    done = hook(call(project, "Write", 10, file_path="deploy/x"))
    assert (done.returncode, done.stdout) == (0, b"")
    assert not os.path.exists(project / ".agent-traces" / SESSION[:16] / ".hook.json")
