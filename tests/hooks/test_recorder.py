"""agent-strace hook: hooks' payloads reach the store, none is lost, and no agent fails by it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipes.agents import registry
from agent_pipes.agents.base import Session
from agent_pipes.agents.base_hooks import UnknownPayload
from agent_pipes.agents.processes import recorded_process
from agent_pipes.agents.store import sessions as store_sessions
from agent_pipes.hooks.events import event_of
from agent_pipes.hooks.payload import read_payload
from agent_pipes.process.table import identify
from tests.helpers.hooked import (
    AGENTS,
    SESSION,
    call,
    claude,
    events,
    failure,
    hook,
    meta,
    names,
    payloads,
    record,
    success,
)
from tests.helpers.support import BIN, ENVIRONMENT, FIXTURES, SHARED, until

RECORDED = SHARED / "sessions" / "agent-strace"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPILOT_HOME", str(tmp_path / "copilot"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))
    folder = tmp_path / "proj"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def told(agent: str, project: Path) -> list[tuple]:
    """Return the store's events of a session: types, and the fields that say what happened."""
    for payload in payloads(agent, project):
        assert record(payload) == b""
    (session,) = [each.name for each in (project / ".agent-traces").iterdir() if each.is_dir()]
    found = events(project / ".agent-traces", session)
    calls = {
        event["event_id"]: event["data"]["tool_name"]
        for event in found
        if event["event_type"] == "tool_call"
    }
    for event in found:
        assert (
            event.get("parent_id") is None
            or calls[event["parent_id"]] == event["data"]["tool_name"]
        )
    return [summary(event) for event in found]


def summary(event: dict) -> tuple:
    data = event["data"]
    said = next(
        (data[key] for key in ("prompt", "text", "error", "result", "path") if key in data), ""
    )
    extra = [data[key] for key in ("reason", "exit_code") if key in data]
    return event["event_type"], data.get("tool_name", ""), said, *extra


# What each agent tells


def test_claudes_session(project):
    assert told("claude", project) == [
        ("session_start", "", ""),
        ("user_prompt", "", "make the tests pass"),
        ("tool_call", "Read", ""),
        ("tool_call", "Bash", ""),
        ("error", "Bash", "Exit code 2\nERROR collecting tests/test_app.py", "exit", 2),
        ("tool_result", "Read", "import os\n"),
        ("subagent_start", "", ""),
        ("tool_call", "Bash", ""),
        ("tool_result", "Bash", "app.py"),
        ("subagent_stop", "", "One file."),
        ("error", "", "rate_limit", "api"),
        ("assistant_response", "", "The import was missing."),
        ("session_end", "", "", "prompt_input_exit"),
    ]


def test_codexs_session(project, tmp_path):
    """The exit code of a command is in the rollout alone, which is written before the hook runs."""
    rollout = tmp_path / "rollout-2026-11-20T10-00-00-019d2a4b.jsonl"
    ended = {
        "type": "CommandExecution",
        "id": "call_b1",
        "status": "failed",
        "exit_code": 1,
        "aggregated_output": "1 failed in 0.02s\n",
    }
    other = {**ended, "id": "call_b0", "exit_code": 0}
    items = [
        {"type": "event_msg", "payload": {"type": "item_completed", "item": item}}
        for item in (ended, other)
    ]
    rollout.write_text(
        "".join(json.dumps(item) + "\n" for item in items)
        + '{"type":"event_msg","payload":{"call_b1'
    )
    for payload in payloads("codex", project):
        record({**payload, "transcript_path": str(rollout)})
    assert [summary(event) for event in events(project / ".agent-traces", "019d2a4b-7c11-7e")] == [
        ("session_start", "", ""),
        ("user_prompt", "", "make the tests pass"),
        ("tool_call", "Bash", ""),
        ("error", "Bash", "1 failed in 0.02s\n", "exit", 1),
        ("tool_call", "apply_patch", ""),
        (
            "tool_result",
            "apply_patch",
            "Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\nM app.py\n",
            0,
        ),
        ("assistant_response", "", "Done."),
        ("session_end", "", "", "other"),
    ]


def test_codexs_command_without_a_rollout_is_not_called_a_failure(project):
    assert ("tool_result", "Bash", "1 failed in 0.02s\n") in told("codex", project)


def test_a_codex_patch_is_named_as_the_rollout_names_it(project):
    told("codex", project)
    calls = events(project / ".agent-traces", "019d2a4b-7c11-7e", "tool_call")
    assert calls[1]["data"]["arguments"]["input"].startswith("*** Begin Patch")


def test_geminis_session(project):
    """Gemini's payloads have no call ids, so a result answers the equal call; times are theirs."""
    failed = "<untrusted_context>\nOutput: 1 failed\nExit Code: 1\nProcess Group PGID: 4712\n</untrusted_context>"
    assert told("gemini", project) == [
        ("session_start", "", ""),
        ("user_prompt", "", "make the tests pass"),
        ("tool_call", "run_shell_command", ""),
        ("tool_call", "run_shell_command", ""),
        (
            "tool_result",
            "run_shell_command",
            "<untrusted_context>\nOutput: app.py\nProcess Group PGID: 4711\n</untrusted_context>",
        ),
        ("error", "run_shell_command", failed, "exit", 1),
        ("tool_call", "replace", ""),
        (
            "error",
            "replace",
            "Failed to edit, 0 occurrences found for old_string in app.py.",
            "tool",
        ),
        ("assistant_response", "", "Done."),
        ("session_end", "", "", "exit"),
    ]
    found = events(project / ".agent-traces", "c7e0a9d4-61b2-4f")
    first, second = [event["event_id"] for event in found if event["event_type"] == "tool_call"][:2]
    assert [event["parent_id"] for event in found[4:6]] == [second, first]
    assert (found[0]["timestamp"], found[5]["duration_ms"]) == (1795168800.25, 1250.0)


def test_equal_results_of_geminis_commands_have_equal_digests(project):
    """The number of the process group, which differs each time, is no difference."""
    digests = set()
    for group in (4711, 4712):
        call = {
            "session_id": "g",
            "hook_event_name": "AfterTool",
            "timestamp": "2026-11-20T10:00:00Z",
            "cwd": str(project),
            "tool_name": "run_shell_command",
        }
        text = f"<untrusted_context>\nOutput: x\nExit Code: 1\nProcess Group PGID: {group}\n</untrusted_context>"
        digests.add(
            event_of(
                read_payload({**call, "tool_input": {}, "tool_response": {"llmContent": text}}, 0.0)
            )[1]["result_digest"]
        )
    assert len(digests) == 1


def test_copilots_session(project):
    assert told("copilot", project) == [
        ("session_start", "", ""),
        ("user_prompt", "", "make the tests pass"),
        ("tool_call", "bash", ""),
        ("error", "bash", "1 failed", "exit", 1),
        ("tool_call", "view", ""),
        ("error", "view", "The user rejected this tool call.", "rejected"),
        ("waiting", "", ""),
        ("error", "", "model overloaded", "api"),
        ("session_end", "", "", "complete"),
    ]
    calls = events(project / ".agent-traces", "f2b8d6c0-4e19-4a", "tool_call")
    assert calls[1]["data"]["arguments"] == {"path": f"{project}/app.py"}, (
        "arguments that came as text"
    )


def test_cursors_session(project):
    assert told("cursor", project) == [
        ("session_start", "", ""),
        ("user_prompt", "", "make the tests pass"),
        ("tool_call", "Shell", ""),
        ("error", "Shell", "1 failed", "exit", 1),
        ("tool_call", "Read", ""),
        ("error", "Read", "permission denied by user", "rejected"),
        ("tool_call", "Shell", ""),
        ("tool_result", "Shell", "app.py\n"),
        ("file_write", "", f"{project}/app.py"),
        ("assistant_response", "", "Done."),
        ("session_end", "", "", "completed"),
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_meta_and_marks(project, agent):
    given = payloads(agent, project)
    folder = project / ".agent-traces"
    record(given[0])
    (session,) = [each.name for each in folder.iterdir() if each.is_dir()]
    assert (folder / ".active-session").read_text() == session
    assert names(folder) == {".gitignore", ".store", ".active-session"}
    for payload in given[1:]:
        record(payload)
    assert names(folder) == {".gitignore", ".store"}, (
        "no call waits, and the session is no longer marked"
    )
    said = meta(folder, session)
    found = events(folder, session)
    counts = {
        kind: sum(event["event_type"] == kind for event in found) for kind in ("tool_call", "error")
    }
    assert (said["session_id"], said["tool_calls"], said.get("errors", 0)) == (
        session,
        counts["tool_call"],
        counts["error"],
    )
    assert (
        said["started_at"] == found[0]["timestamp"] and said["ended_at"] == found[-1]["timestamp"]
    )
    assert said["attribution"]["working_dir"] == str(project)


def test_files_are_named_as_the_store_names_them(project):
    """File of the active session: `.active-session.v2.<agent>.<hex>.<sha256 of agent, NUL, id>`."""
    record(claude("SessionStart", project, source="startup", session_id="env-dir-aaaa-bbbb"))
    name = "claude.656e762d6469722d616161612d626262.e045e30679ae51c2e82c6b4c7427318e0a25b30def9624fd6a968415236c0bd8"
    assert (
        project / ".agent-traces" / f".active-session.v2.{name}"
    ).read_text() == "env-dir-aaaa-bbb"
    record(call(project, "Read") | {"session_id": "env-dir-aaaa-bbbb"})
    waiting = json.loads((project / ".agent-traces" / f".pending-calls.v2.{name}.json").read_text())
    (event,) = events(project / ".agent-traces", "env-dir-aaaa-bbb", "tool_call")
    expected = {
        "session_id": "env-dir-aaaa-bbb",
        "tool_name": "Read",
        "tool_use_id": "toolu_1",
        "timestamp": event["timestamp"],
    }
    assert waiting == {event["event_id"]: expected}


def test_session_that_goes_on_after_its_end(project):
    for payload in (
        claude("SessionStart", project, source="startup"),
        claude("SessionEnd", project, reason="exit"),
    ):
        record(payload)
    record(claude("SessionStart", project, source="resume"))
    assert "ended_at" not in meta(project / ".agent-traces")
    assert ".active-session" in names(project / ".agent-traces")


def test_session_without_a_start(project):
    record(claude("UserPromptSubmit", project, prompt="hi"))
    assert meta(project / ".agent-traces")["command"] == "claude-code (no session-start)"
    assert [event["event_type"] for event in events(project / ".agent-traces")] == ["user_prompt"]


def test_compaction_is_no_start_and_what_no_person_said_is_no_prompt(project):
    record(claude("SessionStart", project, source="compact"))
    record(
        claude("UserPromptSubmit", project, prompt="<task-notification>done</task-notification>")
    )
    record(claude("Notification", project, message="waiting"))
    assert not (project / ".agent-traces").exists(), "nothing to record makes no store"


def test_call_told_twice_is_recorded_once(project):
    """Settings of the user and of the project may both name the hook."""
    for _ in range(2):
        record(call(project, "Read", file_path="a.py"))
    assert len(events(project / ".agent-traces", kind="tool_call")) == 1


def test_calls_without_results_are_forgotten_in_time(project):
    for number in range(70):
        record(call(project, "Read", number))
    (pending,) = (project / ".agent-traces").glob(".pending-calls.*")
    assert len(json.loads(pending.read_text())) == 64


@pytest.mark.parametrize("response, expected", [
    ({"stdout": "out", "stderr": "err", "interrupted": False}, ("tool_result", "out\nerr")),
    ({"stdout": "", "stderr": "", "interrupted": True}, ("error", "")),
    ({"exit_code": 3, "output": "boom"}, ("error", "boom")),
    ([{"type": "text", "text": "created #1"}], ("tool_result", "created #1")),
    ("ok", ("tool_result", "ok")),
    ({"mode": "files", "filenames": []}, ("tool_result", '{"mode":"files","filenames":[]}')),
    (None, ("tool_result", "")),
    (7, ("tool_result", "7")),
])  # fmt: skip
def test_responses_in_every_form(project, response, expected):
    event_type, data = event_of(read_payload(success(project, "Bash", 1, response), 0.0))
    assert (event_type, data.get("error", data.get("result"))) == expected


def test_failures_tell_why(project):
    user = "The user doesn't want to proceed with this tool use."
    told = {
        text: event_of(read_payload(failure(project, "ls", 1, text), 0.0))[1]
        for text in (user, "Exit code 137\nKilled", "File not found")
    }
    assert [(data["reason"], data.get("exit_code")) for data in told.values()] == [
        ("rejected", None),
        ("exit", 137),
        ("tool", None),
    ]
    assert (
        event_of(read_payload(failure(project, "ls", 1) | {"is_interrupt": True}, 0.0))[1]["reason"]
        == "interrupted"
    )
    denied = claude(
        "PermissionDenied", project, tool_name="Bash", tool_input={}, reason="not in this mode"
    )
    assert event_of(read_payload(denied, 0.0))[1]["reason"] == "tool"


def test_large_result_is_cut_and_its_size_and_digest_are_those_of_the_whole(project):
    text = "ü" * 100_000
    first, second = (
        event_of(read_payload(success(project, "Bash", 1, text + end), 0.0))[1]
        for end in ("a", "b")
    )
    assert first["result"] == second["result"] == "ü" * 2048
    assert first["result_bytes"] == 200_001 and first["result_digest"] != second["result_digest"]


def test_long_arguments_are_cut_and_stay_different(project):
    arguments = [
        event_of(read_payload(call(project, "Write", content="x" * 100_000 + end), 0.0))[1][
            "arguments"
        ]["content"]
        for end in "ab"
    ]
    assert arguments[0] != arguments[1] and all(len(each) < 70_000 for each in arguments)


# Older settings


@pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded payloads in {SHARED}")
def test_recorded_payloads_come_to_the_recorded_store_and_more(project, monkeypatch):
    """The same events in the same order, paired in the same way; what was lost then is there."""
    for line in (RECORDED / "payloads.ndjson").read_text().splitlines():
        given = json.loads(line)
        payload = given["payload"] | {"cwd": str(project)}
        for name, value, of in (
            ("AGENT_STRACE_WORKSPACE", "team-a", "ws-"),
            ("AGENT_TRACE_DIR", str(project / "env"), "env-"),
        ):
            monkeypatch.setenv(name, value) if payload["session_id"].startswith(
                of
            ) else monkeypatch.delenv(name, raising=False)
        record(payload, agent=given["provider"], word=given["hook"])
    pairs = {
        ".agent-traces/3f6e2c1a-9b7d-4e": "proj", ".agent-traces/cur-11111111-222": "proj", ".agent-traces/nostart-aaaa-bbb": "proj",
        ".agent-traces/workspaces/team-a/ws-aaaa-bbbb-ccc": "proj", "env/env-dir-aaaa-bbb": "env-dir-store",
    }  # fmt: skip
    for path, where in pairs.items():
        theirs = RECORDED / where / path.removeprefix("env/") / "events.ndjson"
        before = [json.loads(line) for line in theirs.read_text().splitlines()]
        after = events((project / path).parent, (project / path).name)
        assert [event["event_type"] for event in after] == [event["event_type"] for event in before]
        assert [position(after, event) for event in after] == [
            position(before, event) for event in before
        ]
        assert [event["data"].get("tool_use_id") for event in after] == [
            event["data"].get("tool_use_id") for event in before
        ]
        assert set(meta((project / path).parent, (project / path).name)) >= set(
            json.loads((theirs.parent / "meta.json").read_text())
        )
    (error,) = events(project / ".agent-traces", "3f6e2c1a-9b7d-4e", "error")
    assert (error["data"]["exit_code"], error["data"]["reason"]) == (
        1,
        "exit",
    ) and "AssertionError: 1 != 2" in error["data"]["error"]


def position(found: list[dict], event: dict) -> int | None:
    """Return the event that it answers."""
    ids = [each["event_id"] for each in found]
    return ids.index(event["parent_id"]) if "parent_id" in event else None


def test_older_settings_say_what_happened_on_the_command_line(project):
    payload = claude("", project, prompt="hi")
    assert hook(payload, "--provider", "claude", "user-prompt").returncode == 0
    assert [event["event_type"] for event in events(project / ".agent-traces")] == ["user_prompt"]
    done = hook(payload, "never-heard-of")
    assert (done.returncode, done.stdout) == (0, b"") and len(
        events(project / ".agent-traces")
    ) == 1


# Where the store is


def test_session_stays_in_its_store_when_the_agent_changes_its_directory(project):
    (project / "src" / "deep").mkdir(parents=True)
    record(claude("SessionStart", project, source="startup"))
    record(call(project / "src" / "deep", "Read", file_path="x"))
    (found,) = events(project / ".agent-traces", kind="tool_call")
    assert found["data"]["cwd"] == f"{project}/src/deep"
    assert not (project / "src" / "deep" / ".agent-traces").exists()


def test_session_stays_in_its_store_when_its_agent_says_where_it_began(
    project, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    record(claude("SessionStart", project, source="startup"))
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(project))
    record(call(tmp_path / "elsewhere", "Read"))
    assert len(events(project / ".agent-traces")) == 2


def test_store_is_where_the_environment_says_or_here(project, tmp_path, monkeypatch):
    record(claude("SessionStart", Path("/no/such/directory"), source="startup"))
    assert events(project / ".agent-traces"), (
        "the hook's own directory, where the payload's is none"
    )
    monkeypatch.setenv("AGENT_TRACE_DIR", str(tmp_path / "a" / "b"))
    monkeypatch.setenv("AGENT_STRACE_WORKSPACE", "team")
    record(claude("SessionStart", project, source="startup"))
    assert events(tmp_path / "a" / "b" / "workspaces" / "team")
    assert meta(tmp_path / "a" / "b" / "workspaces" / "team")["workspace_id"] == "team"
    monkeypatch.setenv("AGENT_STRACE_WORKSPACE", "../up")
    done = hook(
        claude("SessionStart", project, source="startup"), env={"AGENT_STRACE_WORKSPACE": "../up"}
    )
    assert done.returncode == 0 and b"../up" in done.stderr


@pytest.mark.parametrize(
    "name", ["../../etc", ".hidden", "..", "a/b", "wörk\x00\n", "workspaces", ""]
)
def test_session_id_is_never_a_path(project, name):
    done = hook(claude("SessionStart", project, source="startup") | {"session_id": name})
    assert done.returncode == 0
    made = [path for path in project.rglob("events.ndjson")]
    assert all(path.parent.parent == project / ".agent-traces" for path in made)
    assert all(
        path.parent.name.replace("-", "").isascii() and not path.parent.name.startswith(".")
        for path in made
    )


# Never does the agent fail by it


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[1]",
        b"{}",
        b'{"session_id": 7}',
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b'{"tool_name":null,"session_id":"s"}',
    ],
)
def test_garbage_is_said_and_the_status_is_0(project, content):
    done = hook(content)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"Traceback" not in done.stderr


def test_wrong_option_does_not_forbid_the_call(project):
    """To an agent, status 2 of a hook means that the call is forbidden."""
    done = hook(call(project, "Read"), "--gaurd")
    assert done.returncode == 1 and b"--guard" in done.stderr and done.stdout == b""


def test_unwritable_store_is_said_and_the_status_is_0(project):
    (project / ".agent-traces").write_text("a file")
    done = hook(claude("SessionStart", project, source="startup"))
    assert (done.returncode, done.stdout) == (0, b"") and b".agent-traces" in done.stderr


def test_terminal_is_told_what_is_expected(project):
    ours, theirs = os.openpty()
    done = subprocess.run(
        [BIN / "agent-strace", "hook"],
        stdin=theirs,
        capture_output=True,
        env=ENVIRONMENT,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and b"agent-strace setup" in done.stderr


VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
KEYS = [
    "hook_event_name", "cwd", "transcript_path", "timestamp", "tool_name", "tool_input", "tool_response", "tool_output", "tool_use_id", "error", "prompt",
    "source", "model", "reason", "agent_id", "last_assistant_message", "duration_ms", "toolName", "toolArgs", "toolResult", "sessionId",
    "conversation_id", "workspace_roots", "error_message", "output", "command", "is_interrupt",
]  # fmt: skip


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES),
    st.sampled_from(["", *AGENTS]),
    st.sampled_from(["pre-tool", "post-tool", "post-tool-failure", "session-end", "stop", ""]),
)
def test_wrong_types_raise_nothing(project, fields, agent, word):
    payload = {"session_id": "hostile", **fields, "cwd": str(project)}
    try:
        record(payload, agent=agent, word=word)
    except (UnknownPayload, ValueError):
        pass


@pytest.mark.parametrize("agent", AGENTS)
def test_each_is_told_by_its_payloads(agent, project):
    assert {read_payload(payload, 0.0).agent for payload in payloads(agent, project)} == {agent}


# The agent's process


SCRIPT = """
import subprocess, sys
for line in sys.stdin:
    subprocess.run(["sh", "-c", sys.argv[1]], input=line.encode())
    print("done", flush=True)
"""


@pytest.fixture
def agent(project):
    """A stand-in for Claude Code that works in the project and calls the hook per payload."""
    script = project / "claude"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, "-S", script, f"'{BIN}/agent-strace' hook"], cwd=project, env=ENVIRONMENT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    yield process
    process.kill()
    process.wait()


def tell(agent: subprocess.Popen, payload: dict) -> None:
    agent.stdin.write(json.dumps(payload).encode() + b"\n")
    agent.stdin.flush()
    assert agent.stdout.readline() == b"done\n"


def stored(project: Path) -> Session:
    return Session(
        "store",
        SESSION[:16],
        str(project),
        project / ".agent-traces" / SESSION[:16] / "events.ndjson",
        0.0,
        0.0,
    )


def test_agents_process_is_noted_and_found(project, agent):
    tell(agent, claude("SessionStart", project, source="startup"))
    identity = identify(agent.pid)
    noted = {"pid": identity.pid, "started": identity.started}
    assert events(project / ".agent-traces")[0]["data"]["process"] == noted
    assert meta(project / ".agent-traces")["attribution"]["agent_process"] == noted
    assert (
        store_sessions.process(stored(project)) == identity
        and registry.agent("store").process_found_by == "hook"
    )
    agent.kill()
    agent.wait()
    assert store_sessions.process(stored(project)) is None


def test_session_without_a_start_notes_the_process_too(project, agent):
    tell(agent, call(project, "Read"))
    assert store_sessions.process(stored(project)) == identify(agent.pid)


def test_session_that_has_ended_has_no_process(project, agent):
    tell(agent, claude("SessionStart", project, source="startup"))
    tell(agent, claude("SessionEnd", project, reason="clear"))
    assert store_sessions.process(stored(project)) is None


def test_two_sessions_of_one_process_the_later_one_is_in_it(project, agent):
    tell(agent, claude("SessionStart", project, source="startup"))
    tell(agent, claude("SessionStart", project, source="clear", session_id="another-session-of-it"))
    os.utime(stored(project).path, (1, 1))
    assert store_sessions.process(stored(project)) is None
    other = project / ".agent-traces" / "another-session-" / "events.ndjson"
    assert store_sessions.process(
        Session("store", "another-session-", str(project), other, 0.0, 0.0)
    ) == identify(agent.pid)


def forged(project: Path, **changes: object) -> Session:
    path = project / ".agent-traces" / SESSION[:16] / "meta.json"
    said = json.loads(path.read_text())
    said["attribution"] |= changes
    path.write_text(json.dumps(said))
    return stored(project)


def test_note_is_believed_only_as_far_as_the_process_bears_it_out(project, agent, tmp_path):
    """Whoever may write in the store can write any number there."""
    tell(agent, claude("SessionStart", project, source="startup"))
    right = identify(agent.pid)
    ours = identify(os.getpid())
    assert (
        store_sessions.process(
            forged(project, agent_process={"pid": right.pid, "started": right.started + "0"})
        )
        is None
    ), "another start time"
    assert (
        store_sessions.process(
            forged(project, agent_process={"pid": ours.pid, "started": ours.started})
        )
        is None
    ), "not the agent's program"
    for odd in (
        {},
        [],
        None,
        {"pid": "1", "started": 2},
        {"pid": 1, "started": "1"},
        {"pid": -1, "started": ""},
        {"pid": True, "started": "1"},
    ):
        assert store_sessions.process(forged(project, agent_process=odd)) is None
    assert (
        store_sessions.process(
            forged(project, agent_process={"pid": right.pid, "started": right.started})
        )
        == right
    )
    assert (
        recorded_process(
            registry.agent("claude"),
            {"pid": right.pid, "started": right.started},
            str(tmp_path / "proj" / "claude"),
            os.getuid(),
        )
        is None
    ), "works elsewhere"
    assert (
        recorded_process(
            registry.agent("gemini"),
            {"pid": right.pid, "started": right.started},
            str(project),
            os.getuid(),
        )
        is None
    ), "another agent"


@pytest.mark.parametrize("agent_name, words, expected", [
    ("codex", ["/opt/codex", "exec", "--json"], True),
    ("codex", ["/opt/codex", "app-server", "--listen", "unix://"], False),
    ("codex", ["node", "/opt/bin/codex.js"], False),
    ("cursor", ["/home/u/.local/share/cursor-agent/versions/1/cursor-agent", "-p"], True),
    ("cursor", ["/usr/bin/node", "--use-system-ca", "/home/u/.local/share/cursor-agent/versions/1/index.js"], True),
    ("cursor", ["/usr/share/cursor/cursor", "--type=utility"], False),
])  # fmt: skip
def test_which_program_is_the_agent(agent_name, words, expected):
    assert registry.agent(agent_name).is_program("", words) is expected


def test_breaker_ends_the_agent_that_only_its_hooks_tell_of(project, agent):
    """Without registry and transcript the hooks' store is enough to find and end the agent."""
    tell(agent, claude("SessionStart", project, source="startup"))
    for number in range(3):
        tell(agent, call(project, "Bash", number, command="make test"))
        tell(agent, failure(project, "make test", number))
    watch = [
        BIN / "agent-strace",
        "watch",
        "--max-retries",
        "3",
        "--on-violation",
        "kill",
        SESSION[:16],
    ]
    done = subprocess.run(watch, cwd=project, capture_output=True, env=ENVIRONMENT, timeout=60)
    assert done.returncode == 124, done.stderr
    assert agent.wait(20) == -signal.SIGTERM


# What is spent


def test_what_was_spent_is_read_from_the_transcript_once(project, tmp_path):
    """A process that the agent does not wait for writes; the session's last event is the end."""
    recorded = (
        FIXTURES
        / "claude"
        / "projects"
        / "-home-dev-proj"
        / "7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03.jsonl"
    )
    transcript = tmp_path / "transcript.jsonl"
    content = recorded.read_bytes().splitlines(keepends=True)
    half = len(content) // 2
    transcript.write_bytes(b"".join(content[:half]) + content[half][:40])
    given = {"transcript_path": str(transcript)}
    record(claude("SessionStart", project, source="startup") | given)
    record(call(project, "Read") | given)
    hook(success(project, "Read", 1, "ok") | given)
    until(lambda: events(project / ".agent-traces", kind="llm_response"), what="usage in the store")
    first = len(events(project / ".agent-traces", kind="llm_response"))
    transcript.write_bytes(b"".join(content))
    record(claude("SessionEnd", project, reason="exit") | given)
    found = events(project / ".agent-traces", kind="llm_response")
    assert 0 < first < len(found)
    expected = [json.loads(line) for line in tail(recorded) if b'"llm_response"' in line]
    assert totals(found) == totals(expected)
    assert events(project / ".agent-traces")[-1]["event_type"] == "session_end"


def tail(path: Path) -> list[bytes]:
    done = subprocess.run(
        [BIN / "trace-tail", "--no-follow", path], capture_output=True, env=ENVIRONMENT, timeout=60
    )
    return [line for line in done.stdout.splitlines() if b'"agent_id"' not in line]


def totals(found: list[dict]) -> dict:
    """Return the usage of each response: a later account replaces an earlier one."""
    return {
        event["data"]["response_id"]: (event["data"]["model"], event["data"]["usage"])
        for event in found
    }


def test_hook_does_not_wait_for_what_comes_afterwards(project, tmp_path):
    """Its output is closed at once, whatever is still done: an agent waits for that."""
    transcript = tmp_path / "t.jsonl"
    os.mkfifo(transcript)
    payload = success(project, "Read", 1, "ok") | {"transcript_path": str(transcript)}
    assert hook(payload).returncode == 0, "and a pipe in the transcript's place is not waited for"
    assert hook(payload, "--guard").returncode == 0
