"""Gemini CLI: what its lines come to, where its sessions lie, and which process runs one."""

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.agents.gemini import sessions as gemini_sessions
from agent_pipes.agents.gemini import translate as gemini_translate
from agent_pipes.agents.gemini.agent import AGENT as GEMINI
from agent_pipes.core.jsonl import objects
from agent_pipes.process.table import (
    Identity,
    command_line,
    environment_value,
    identify,
)
from tests.helpers.planting import descendants
from tests.helpers.support import FIXTURES, SHARED, shared_files, until
from tests.helpers.translating import check, ended, lines_of, of, translated

ID = "5d3c1f2e-88aa-4c39-9d7e-0a1b2c3d4e5f"
CHATS = FIXTURES / "gemini" / "chats"
LOG = CHATS / "session-2026-11-22T09-00-5d3c1f2e.jsonl"
AGENT = CHATS / ID / "explore-1.jsonl"
OLD = FIXTURES / "gemini" / "old.json"
PIPE = FIXTURES / "gemini" / "stream.jsonl"
FILES = [LOG, AGENT, OLD, PIPE]

RECORDED = [
    *shared_files(
        "sessions/gemini-cli/*.json",
        "sessions/driven/gemini/*.jsonl",
        "sessions/schema/gemini/*.json*",
    )
]
recorded = pytest.mark.skipif(not RECORDED, reason=f"no recorded Gemini sessions in {SHARED}")


def read(path: Path, lines: list[bytes] | None = None, **options: Any) -> list[dict]:
    return translated("gemini", path, lines=lines, **options)


def test_the_session_begins_where_its_context_says():
    assert read(LOG)[0] == {
        "event_type": "session_start", "timestamp": 1795338000.0, "event_id": f"{ID}:start", "session_id": ID,
        "data": {"agent": "gemini", "cwd": "/home/dev/shop", "path": str(LOG)},
    }  # fmt: skip


def test_a_session_that_has_only_begun():
    (start,) = read(LOG, lines_of(LOG)[:1])
    assert (start["event_type"], start["data"]["cwd"]) == ("session_start", "")
    assert read(LOG, lines_of(LOG)[:1], end=False) == []


def test_only_a_persons_prompts_are_prompts():
    assert [event["data"]["prompt"] for event in of(read(LOG), "user_prompt")] == [
        "make the tests pass",
        "try once more",
    ]


def test_a_record_that_is_appended_again_comes_out_once():
    events = read(LOG)
    assert Counter(event["event_id"] for event in of(events, "tool_call")).most_common(1)[0][1] == 1
    assert [event["data"]["text"] for event in of(events, "assistant_response")] == [
        "I look at it.",
        "Done.",
    ]
    calls = of(events, "tool_call")
    results = of(events, "tool_result", "error")
    assert [event["event_id"] for event in calls] == [
        event["parent_id"] for event in results if "parent_id" in event
    ]


def test_usage_is_corrected_when_it_changes():
    said = [
        event["data"]["usage"]
        for event in of(read(LOG), "llm_response")
        if event["data"]["response_id"] == "g1"
    ]
    assert said == [
        {
            "input_tokens": 12000,
            "output_tokens": 200,
            "cache_read_input_tokens": 10800,
            "reasoning_output_tokens": 50,
        },
        {
            "input_tokens": 12007,
            "output_tokens": 230,
            "cache_read_input_tokens": 10800,
            "reasoning_output_tokens": 50,
        },
    ]


def test_parallel_calls_share_the_response_that_made_them():
    calls = {event["event_id"]: event["data"] for event in of(read(LOG), "tool_call")}
    assert [calls[f"{name}"]["step"] for name in ("read_file__1", "run_shell_command__2", "run_shell_command__3", "run_shell_command__4")] == [
        "g1", "g1", "g1", "g2",
    ]  # fmt: skip


def test_the_times_of_a_call_and_of_its_result():
    events = read(LOG)
    (call,) = [event for event in of(events, "tool_call") if event["event_id"] == "read_file__1"]
    assert (call["timestamp"], ended(events, "read_file__1")["timestamp"]) == (
        1795338002.0,
        1795338004.0,
    )


def test_a_failed_command_is_a_success_with_an_exit_code_in_its_text():
    event = ended(read(LOG), "run_shell_command__2")
    assert (event["event_type"], event["data"]["reason"], event["data"]["exit_code"]) == (
        "error",
        "exit",
        1,
    )


def test_a_command_that_a_signal_ended():
    event = ended(read(LOG), "run_shell_command__5")
    assert (event["data"]["reason"], event["data"]["exit_code"]) == ("exit", 137)


def test_the_same_result_in_another_process_group_is_the_same():
    events = read(LOG)
    first, again = (ended(events, f"run_shell_command__{number}")["data"] for number in (2, 4))
    assert first["error"] != again["error"]
    assert first["result_digest"] == again["result_digest"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Output: a\nExit Code: 3\nProcess Group PGID: 7", 3),
        (
            "<untrusted_context>\nOutput: a\nExit Code: 3\nBackground PIDs: 1, 2\nProcess Group PGID: 7\n</untrusted_context>",
            3,
        ),
        (
            "Output: a\nError: (none)\nExit Code: (none)\nSignal: SIGKILL\nBackground PIDs: (none)\nProcess Group PGID: 7",
            137,
        ),
        (
            "Output: a\\nError: (none)\\nExit Code: 1\\nSignal: 0\\nBackground PIDs: (none)\\nProcess Group PGID: 7",
            1,
        ),
        ("Output: Exit Code: 3\nProcess Group PGID: 7", None),
        ("Output: a\nExit Code: 3\nb\nProcess Group PGID: 7", None),
        ("Output: a\nExit Code: 0\nSignal: 0\nProcess Group PGID: 7", None),
        ("Command moved to background (PID: 12). Output hidden. Press Ctrl+B to view.", None),
    ],
)
def test_exit_codes_stand_at_the_end_of_a_text(text, code):
    call = {
        "id": "c",
        "name": "run_shell_command",
        "status": "success",
        "result": [{"functionResponse": {"response": {"output": text}}}],
    }
    record = {
        "id": "g",
        "type": "gemini",
        "timestamp": "2026-11-22T09:00:00Z",
        "content": "",
        "toolCalls": [call],
    }
    event = ended(list(gemini_translate.Translator().translate(record, 0.0, "x.jsonl")), "c")
    assert (event["event_type"] == "error") == (code is not None)
    assert event["data"].get("exit_code") in (code, 0 if code is None else code)
    # A file that holds such a text is no command that failed.
    call["name"] = "read_file"
    assert (
        ended(list(gemini_translate.Translator().translate(record, 0.0, "x.jsonl")), "c")[
            "event_type"
        ]
        == "tool_result"
    )


def test_a_command_that_was_ended_for_its_silence_has_failed():
    text = "<untrusted_context>\nCommand was automatically cancelled because it exceeded the timeout of 5.0 minutes without output."
    call = {"id": "c", "name": "run_shell_command", "status": "success", "result": text}
    record = {"id": "g", "type": "gemini", "content": "", "toolCalls": [call]}
    assert (
        ended(
            list(gemini_translate.Translator().translate(record, 1_790_000_000.0, "x.jsonl")), "c"
        )["data"]["reason"]
        == "tool"
    )


def test_a_command_in_the_background_still_runs():
    text = "Command moved to background (PID: 4711). Output hidden. Press Ctrl+B to view."
    call = {"id": "c", "name": "run_shell_command", "status": "success", "result": text}
    record = {"id": "g", "type": "gemini", "content": "", "toolCalls": [call]}
    assert (
        ended(
            list(gemini_translate.Translator().translate(record, 1_790_000_000.0, "x.jsonl")), "c"
        )["data"]["running"]
        is True
    )


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("replace__6", "tool"),
        ("write_file__7", "tool"),
        ("run_shell_command__8", "rejected"),
        ("run_shell_command__9", "interrupted"),
    ],
)
def test_why_a_call_failed(call, reason):
    event = ended(read(LOG), call)
    assert (event["event_type"], event["data"]["reason"]) == ("error", reason)
    assert "exit_code" not in event["data"]


def test_a_request_that_failed():
    assert [
        event["data"]["error"]
        for event in of(read(LOG), "error")
        if event["data"]["reason"] == "api"
    ] == ["[API Error: 503 overloaded]"]


def test_a_call_that_has_not_ended_is_told_when_it_has():
    call = {
        "id": "c",
        "name": "run_shell_command",
        "args": {"command": "make"},
        "status": "executing",
    }
    record = {"id": "g", "type": "gemini", "content": "", "toolCalls": [call]}
    translator = gemini_translate.Translator()
    assert of(list(translator.translate(record, 1_790_000_000.0, "x.jsonl")), "tool_call") == []
    call |= {"status": "success", "result": []}
    assert (
        len(
            of(
                list(translator.translate(record, 1_790_000_000.0, "x.jsonl")),
                "tool_call",
                "tool_result",
            )
        )
        == 2
    )


def test_the_same_call_id_in_another_message_is_another_call():
    translator = gemini_translate.Translator()
    call = {"id": "call_1", "name": "ls", "status": "success", "result": []}
    said = [
        event
        for name in ("g1", "g2", "g1")
        for event in translator.translate(
            {"id": name, "type": "gemini", "content": "", "toolCalls": [call]}, 1.8e9, ""
        )
    ]
    assert len(of(said, "tool_call")) == 2


def test_a_subagents_file_belongs_to_its_session():
    translator = gemini_translate.Translator()
    read(LOG, translator=translator)
    events = read(AGENT, translator=translator)
    assert [event["event_type"] for event in events] == [
        "subagent_start", "llm_response", "tool_call", "tool_result", "llm_response", "assistant_response",
    ]  # fmt: skip
    assert {event["session_id"] for event in events} == {ID}
    assert {event["data"]["agent_id"] for event in events} == {"explore-1"}
    assert of(read(LOG), "subagent_stop")[0]["data"] == {"agent_id": "explore-1"}


def test_a_subagents_file_alone():
    assert {event["session_id"] for event in read(AGENT)} == {ID}


def test_an_old_document():
    events = read(OLD)
    assert [event["event_type"] for event in events] == [
        "session_start", "user_prompt", "llm_response", "tool_call", "tool_result", "tool_call", "error", "assistant_response",
    ]  # fmt: skip
    assert ended(events, "run_shell_command-2")["data"]["exit_code"] == 2
    # Such a document was written as a whole, again and again.
    translator = gemini_translate.Translator()
    whole = lines_of(OLD)[0]
    document = json.loads(whole)
    document["messages"] = document["messages"][:2]
    grown = read(OLD, [json.dumps(document).encode(), whole, whole], translator=translator)
    assert grown == events


def test_on_a_pipe():
    events = read(PIPE)
    assert [event["event_type"] for event in events] == [
        "session_start", "user_prompt", "assistant_response", "tool_call", "tool_call", "tool_result", "tool_result", "tool_call", "error",
        "tool_call", "error", "tool_call", "error", "error", "assistant_response", "llm_response", "llm_response", "session_end",
    ]  # fmt: skip
    assert events[0]["data"] == {
        "agent": "gemini",
        "model": "auto",
        "path": str(PIPE),
        "cannot_tell": ["exit_code", "usage"],
        "interactive": False,
    }
    assert [event["data"]["text"] for event in of(events, "assistant_response")] == [
        "I look at it.",
        "I stop.",
    ]
    assert [event["data"]["step"] for event in of(events, "tool_call")] == [
        "read_file__1", "read_file__1", "run_shell_command__3", "replace__4", "write_file__5",
    ]  # fmt: skip
    assert [event["data"]["reason"] for event in of(events, "error")] == [
        "exit",
        "tool",
        "tool",
        "interrupted",
    ]
    assert of(events, "llm_response")[1]["data"]["usage"] == {
        "input_tokens": 24292, "output_tokens": 400, "cache_read_input_tokens": 21862, "reasoning_output_tokens": 100,
    }  # fmt: skip
    assert {event["session_id"] for event in events} == {ID}


def test_on_a_pipe_what_is_not_printed_is_not_said_to_be_the_same():
    events = read(PIPE)
    assert "result_digest" not in ended(events, "read_file__1")["data"]
    assert "result_digest" in ended(events, "run_shell_command__2")["data"]


def test_a_pipe_that_breaks_off_while_something_is_said():
    assert read(PIPE, lines_of(PIPE)[:4])[-1]["data"] == {"text": "I look at it."}


def test_which_lines_do_not_matter():
    dropped = [line for line in lines_of(LOG) if not GEMINI.may_matter(line)]
    assert len(dropped) == 15
    assert not GEMINI.may_matter(b'{"$set":{"lastUpdated":"2026-11-22T09:00:00Z"}}\n')
    assert GEMINI.may_matter(b'{"$set":{"lastUpdated":"2026-11-22T09:00:00Z","messages":[]}}\n')
    assert GEMINI.may_matter(b'{"$set":{"lastUpdated":"2026-11-22T09:00:00Z"}}{"id":"x"}\n')


# Recorded sessions: counts taken from the raw lines equal those of the translator's events.


def messages_of(records: list[dict]):
    for record in records:
        listed = record.get("$set", record).get("messages")
        yield from listed if listed is not None else [record]


@recorded
@pytest.mark.parametrize(
    "path", RECORDED, ids=lambda path: str(path.relative_to(SHARED / "sessions"))
)
def test_nothing_of_a_recorded_session_is_lost(path):
    records = [record for line in lines_of(path) for record in objects(line)]
    calls: dict = {}
    tokens: dict = {}
    for message in messages_of(records):
        if message.get("tokens"):
            tokens[message["id"]] = message["tokens"]
        for call in message.get("toolCalls") or []:
            text = json.dumps(call["result"])
            code = re.search(r"Exit Code: (\d+)", text)
            calls[call["id"]] = call["status"] == "error" or bool(code and int(code[1]))
    printed = {record["tool_id"] for record in records if record.get("type") == "tool_use"}
    failed = [
        record
        for record in records
        if record.get("type") == "tool_result" and record["status"] == "error"
    ]
    models = [
        model
        for record in records
        if record.get("type") == "result"
        for model in record["stats"]["models"].values()
    ]
    events = read(path)
    assert len(of(events, "tool_call")) == len(calls) + len(printed)
    assert len(
        [event for event in of(events, "error") if event["data"]["reason"] in ("exit", "tool")]
    ) == sum(calls.values()) + len(failed)
    said = {
        event["data"]["response_id"]: event["data"]["usage"] for event in of(events, "llm_response")
    }
    total = sum(each["total"] for each in tokens.values()) + sum(
        each["total_tokens"] for each in models
    )
    assert sum(usage["input_tokens"] + usage["output_tokens"] for usage in said.values()) == total
    cached = sum(each["cached"] for each in [*tokens.values(), *models])
    assert sum(usage["cache_read_input_tokens"] for usage in said.values()) == cached
    assert read(path, matters=False) == events
    check(events)


# Where sessions lie.


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_CLI_HOME", str(tmp_path))
    monkeypatch.setattr(gemini_sessions, "MOMENT", -1.0)
    return tmp_path / ".gemini"


def iso(moment: float) -> str:
    return (
        datetime.fromtimestamp(moment, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def session_in(
    home: Path,
    slug: str,
    name: str,
    *,
    began: float = 1795338000.0,
    suffix: str = ".jsonl",
    directory: str = "",
) -> Path:
    chats = home / "tmp" / slug / "chats"
    chats.mkdir(parents=True, exist_ok=True)
    if directory:
        (home / "tmp" / slug / ".project_root").write_text(directory)
    path = chats / f"session-2026-11-22T09-00-{name[:8]}{suffix}"
    first = {
        "sessionId": name,
        "projectHash": "0" * 64,
        "startTime": iso(began),
        "lastUpdated": iso(began),
    }
    path.write_text(
        json.dumps({**first, "messages": []}, indent=2)
        if suffix == ".json"
        else json.dumps({**first, "kind": "main"}) + "\n"
    )
    return path


def test_sessions_are_found(home):
    path = session_in(home, "shop", ID, directory="/home/dev/shop")
    (path.parent / ID).mkdir()
    agent = path.parent / ID / "explore-1.jsonl"
    agent.write_bytes(AGENT.read_bytes())
    session_in(home, "named", "00000001-named")
    session_in(home, sha256(b"/home/dev/hashed").hexdigest(), "00000002-hashed", suffix=".json")
    session_in(home, "nowhere", "00000003-nowhere")
    session_in(home, "named", "00000004-both", suffix=".json")
    session_in(home, "named", "00000004-both")
    (home / "projects.json").write_text(
        json.dumps({"projects": {"/home/dev/named": "named", "/home/dev/hashed": "x", "/odd": 3}})
    )
    (home / "tmp" / "bin").mkdir()
    found = [*GEMINI.sessions()]
    assert {session.id: session.cwd for session in found} == {
        ID: "/home/dev/shop", "00000001-named": "/home/dev/named", "00000002-hashed": "/home/dev/hashed", "00000003-nowhere": "",
        "00000004-both": "/home/dev/named",
    }  # fmt: skip
    assert len(found) == 5
    (one,) = [session for session in found if session.id == ID]
    assert one == Session("gemini", ID, "/home/dev/shop", path, 1795338000.0, path.stat().st_mtime)
    assert GEMINI.files(one) == [path, agent]


def test_no_gemini_no_sessions(home):
    assert list(GEMINI.sessions()) == []


def test_broken_projects_are_none(home):
    home.mkdir()
    (home / "projects.json").write_text("[")
    session_in(home, "shop", ID)
    assert [session.cwd for session in GEMINI.sessions()] == [""]


# The process of a session. The stand-in's command line is node and a script, started by a wrapper.

STAND_IN = """
if [ -n "$GEMINI_CLI_NO_RELAUNCH" ]; then
  if [ "$1" = forks ]; then (read -r _) <&0 & fi
  read -r _
else
  export GEMINI_CLI_NO_RELAUNCH=true
  exec 3<&0
  (exec -a node bash "$0" "$@") <&3 &
  echo $!
  wait
fi
"""


@pytest.fixture
def stand_in(tmp_path):
    script = tmp_path / "bundle" / "gemini.js"
    script.parent.mkdir()
    script.write_text(STAND_IN)
    started = []

    def begin(directory: Path, *words: str, wrapped: bool = True) -> Identity:
        """The agent, below its wrapper or without one."""
        directory.mkdir(exist_ok=True)
        env = {
            key: value for key, value in os.environ.items() if key != "GEMINI_CLI_NO_RELAUNCH"
        } | ({} if wrapped else {"GEMINI_CLI_NO_RELAUNCH": "1"})
        line = ["node", str(script), *words]
        process = subprocess.Popen(
            line,
            executable=shutil.which("bash"),
            cwd=directory,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        pid = int(process.stdout.readline()) if wrapped else process.pid
        # Until it executes its own program it has its wrapper's command line.
        until(
            lambda: (
                command_line(pid)[:2] == line[:2]
                and environment_value(pid, "GEMINI_CLI_NO_RELAUNCH")
            ),
            what="the stand-in",
        )
        return identify(pid)

    yield begin
    for process in started:
        process.communicate()


def the(name: str) -> Session:
    return next(session for session in GEMINI.sessions() if session.id == name)


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_agent_is_the_process_below_its_wrapper(home, stand_in, tmp_path, wrapped):
    agent = stand_in(tmp_path / "shop", wrapped=wrapped)
    session_in(home, "shop", ID, began=time.time(), directory=str(tmp_path / "shop"))
    assert GEMINI.process(the(ID)) == agent


@pytest.mark.parametrize("wrapped", [True, False])
def test_what_the_agent_forks_to_run_a_tool_is_not_taken_for_it(home, stand_in, tmp_path, wrapped):
    agent = stand_in(tmp_path / "shop", "forks", wrapped=wrapped)
    (double,) = until(lambda: descendants(agent.pid), what="the double")
    assert command_line(double.pid) == command_line(agent.pid)
    session_in(home, "shop", ID, began=time.time(), directory=str(tmp_path / "shop"))
    assert GEMINI.process(the(ID)) == agent


def test_another_directorys_agent_is_none(home, stand_in, tmp_path):
    stand_in(tmp_path / "other")
    session_in(home, "shop", ID, began=time.time(), directory=str(tmp_path / "shop"))
    session_in(home, "unknown", "00000001-unknown", began=time.time())
    assert (
        GEMINI.process(the(ID)),
        GEMINI.process(the("00000001-unknown")),
    ) == (None, None)


def test_a_session_that_was_over_before_is_none_of_the_agents(home, stand_in, tmp_path):
    stand_in(tmp_path / "shop")
    session_in(home, "shop", ID, began=time.time() - 60, directory=str(tmp_path / "shop"))
    assert GEMINI.process(the(ID)) is None


def test_two_that_fit_are_none(home, stand_in, tmp_path):
    stand_in(tmp_path / "shop")
    stand_in(tmp_path / "shop")
    session_in(home, "shop", ID, began=time.time(), directory=str(tmp_path / "shop"))
    assert GEMINI.process(the(ID)) is None


def test_a_session_that_another_process_began_meanwhile_is_not_the_agents(home, stand_in, tmp_path):
    agent = stand_in(tmp_path / "shop")
    began = time.time()
    session_in(home, "shop", ID, began=began, directory=str(tmp_path / "shop"))
    session_in(home, "shop", "00000001-other", began=began + 60)
    assert (GEMINI.process(the(ID)), GEMINI.process(the("00000001-other"))) == (
        agent,
        None,
    )


def test_a_session_that_was_cleared_goes_on_as_another(home, stand_in, tmp_path):
    agent = stand_in(tmp_path / "shop")
    began = time.time()
    path = session_in(home, "shop", ID, began=began, directory=str(tmp_path / "shop"))
    assert (GEMINI.process(the(ID)), GEMINI.successor(the(ID))) == (agent, None)
    typed = [
        {
            "sessionId": ID,
            "messageId": 0,
            "type": "user",
            "message": "/clear",
            "timestamp": iso(began + 59.9),
        }
    ]
    (path.parent.parent / "logs.json").write_text(json.dumps(typed))
    session_in(home, "shop", "00000001-next", began=began + 60)
    assert (GEMINI.process(the(ID)), GEMINI.process(the("00000001-next"))) == (
        None,
        agent,
    )
    assert GEMINI.successor(the(ID)) == the("00000001-next")
    assert GEMINI.successor(the("00000001-next")) is None


def test_a_session_that_was_taken_up_again(home, stand_in, tmp_path):
    path = session_in(home, "shop", ID, began=time.time() - 600, directory=str(tmp_path / "shop"))
    old = session_in(home, "shop", "00000001-older", began=time.time() - 900)
    for each in (path, old):
        os.utime(each, (time.time() - 300,) * 2)
    agent = stand_in(tmp_path / "shop", "--resume", "latest")
    assert GEMINI.process(the(ID)) is None
    os.utime(path)
    assert (GEMINI.process(the(ID)), GEMINI.process(the("00000001-older"))) == (
        agent,
        None,
    )


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["node", "/opt/node_modules/@google/gemini-cli/bundle/gemini.js", "-p", "fix"], True),
        (["/usr/bin/node", "--max-old-space-size=4096", "/usr/local/bin/gemini"], True),
        (["bun", "/opt/gemini-cli/dist/index.js"], True),
        (["gemini"], True),
        (["bash", "-c", "node gemini_translate.js"], False),
        (["node", "server.js", "gemini.js"], False),
        (["timeout", "90", "node", "gemini.js"], False),
        ([], False),
    ],
)
def test_what_gemini_is_by_its_command_line(words, is_one):
    assert gemini_sessions.is_gemini(words) is is_one
