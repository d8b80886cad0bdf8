"""Claude Code's lines, in every version's form, become the right events, each once."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.agents import translator as translator_base
from agent_pipes.agents.claude import translate as claude_translate
from agent_pipes.agents.claude.agent import AGENT as CLAUDE
from agent_pipes.core.jsonl import objects
from tests.helpers.support import FIXTURES, SHARED, shared_files
from tests.helpers.translating import ARRIVAL, of

HOME = FIXTURES / "claude"
MAIN = HOME / "projects/-home-dev-proj/7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03.jsonl"
SUBAGENT = MAIN.with_suffix("") / "subagents/agent-a3f9c2d17e4b58601.jsonl"
OLD = HOME / "projects/-home-dev-old/c2a7e5d9-0b34-4f61-8d7e-3a91b6f0e852.jsonl"
INLINED, STREAM, BRANCH = (
    HOME / "inlined-2.1.42.jsonl",
    HOME / "stream.jsonl",
    HOME / "branch.jsonl",
)
OWN = sorted(HOME.rglob("*.jsonl"))
REAL = list(
    shared_files(
        "sessions/claude-code/*.jsonl",
        "sessions/driven/claude/*.jsonl",
        "sessions/schema/claude/**/*.jsonl",
        "sessions/schema/trimmed-by-hand/claude-*.jsonl",
        "cases/cost-claude/*.jsonl",
    )
)


def lines(*paths: Path) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        for line in path.read_bytes().splitlines(keepends=True):
            yield str(path), line


def translated(
    source: Iterable[tuple[str, bytes]], *, matters: bool = True, **options: Any
) -> list[dict]:
    translator = claude_translate.Translator(**options)
    events = []
    for path, line in source:
        if not matters or CLAUDE.may_matter(line):
            for record in objects(line):
                events += translator.translate(record, ARRIVAL, path)
    return [*events, *translator.end()]


def read(*paths: Path, **options: Any) -> list[dict]:
    return translated(lines(*paths), **options)


def data(events: list[dict], kind: str, *keys: str) -> list:
    picked = [event["data"] for event in of(events, kind)]
    return [
        tuple(each.get(key) for key in keys) if len(keys) > 1 else each.get(keys[0])
        for each in picked
    ]


def used(events: list[dict]) -> dict[str, dict]:
    """The last word on each response."""
    return {event["data"]["response_id"]: event["data"] for event in of(events, "llm_response")}


def record(kind: str, content: object = "", *, id: str = "", **more: object) -> dict:
    message = {"role": kind, "content": content}
    base = {
        "type": kind,
        "sessionId": "s",
        "cwd": "/p",
        "timestamp": "2026-11-20T09:00:00Z",
        "message": message,
    }
    return base | ({"uuid": id} if id else {}) | more


def events_of(*records: dict, **options: Any) -> list[dict]:
    return translated((("s.jsonl", json.dumps(each).encode()) for each in records), **options)


def answer(content: object, error: bool = True, call: str = "c", **more: object) -> dict:
    return record(
        "user",
        [{"type": "tool_result", "tool_use_id": call, "content": content, "is_error": error}],
        **more,
    )


def spoken(
    *content: object,
    message: str | None = "m",
    usage: object = None,
    stop: str | None = "tool_use",
    model: object = "claude-opus-4-8",
    **more: object,
) -> dict:
    said = {
        "id": message,
        "role": "assistant",
        "model": model,
        "content": list(content),
        "stop_reason": stop,
        "usage": usage,
    }
    return record("assistant", **more) | {"message": said}


TOKENS = {
    "input_tokens": 10,
    "output_tokens": 20,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 40,
}


# What a session says


def test_session_starts_once_with_its_directory_and_its_file() -> None:
    events = read(MAIN, SUBAGENT)
    assert [event["data"] for event in of(events, "session_start")] == [
        {"agent": "claude", "cwd": "/home/dev/proj", "path": str(MAIN), "interactive": True}
    ]
    assert events[0]["event_type"] == "session_start"
    assert (
        events[0]["timestamp"] == datetime(2026, 11, 20, 9, 0, 0, 200_000, tzinfo=UTC).timestamp()
    )
    assert {event["session_id"] for event in events} == {"7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03"}


def test_only_what_a_person_typed_is_a_prompt() -> None:
    first, second, third = (
        event["data"]["prompt"]
        for event in of(read(MAIN), "user_prompt")
        if event["data"]["origin"] == "person"
    )
    assert first == "fix the failing test"
    assert second.startswith("do not push; use a subagent to search\n[image ")
    assert third == "also run the linter"


def test_prompt_typed_meanwhile_comes_with_a_result() -> None:
    assert data(read(INLINED), "user_prompt", "prompt") == [
        "review the change",
        "I meant the other folder",
    ]


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        (record("user", "x"), "person"),
        (record("user", "x", promptSource="sdk"), "person"),
        (record("user", "x", isMeta=True), "schedule"),
        (record("user", "<scheduled-wakeup>", isMeta=True), "schedule"),
        (record("user", "x", isCompactSummary=True), "compaction"),
        (record("user", "x", isVisibleInTranscriptOnly=True), ""),
        (record("user", "x", turnCompanion=True), ""),
        (record("user", "x", isSynthetic=True), ""),
        (record("user", "x", origin={"kind": "task-notification"}), "notification"),
        (record("user", "x", origin={"kind": "peer"}), "agent"),
        (record("user", "x", origin={"kind": "auto-continuation"}), "autopilot"),
        (record("user", "x", promptSource="system"), "notification"),
        (record("user", "x", isSidechain=True, agentId="a1"), ""),
        (record("user", "x", parent_tool_use_id="toolu_1"), ""),
        (record("user", "<command-name>/clear</command-name>"), ""),
        (record("user", "<local-command-stdout>Bye</local-command-stdout>"), ""),
        (record("user", "<bash-input>ls</bash-input>"), ""),
        (record("user", "Stop hook feedback:\n- lint fails"), "hook"),
        (record("user", "Stop hook feedback:\n- lint fails", isMeta=True), "hook"),
        (record("user", "<task-notification>\n<task-id>b</task-id>"), "notification"),
        (record("user", [{"type": "text", "text": "[Request interrupted by user]"}]), ""),
        (record("user", "Caveat: The messages below were generated by the user"), ""),
    ],
    ids=str,
)
def test_origin_of_a_prompt(line: dict, origin: str) -> None:
    assert data(events_of(line), "user_prompt", "origin") == ([origin] if origin else [])


def test_text_of_a_slash_command_is_no_prompt_of_a_schedule() -> None:
    command = record("user", "<command-message>review</command-message>")
    assert (
        of(events_of(command, record("user", "You are a reviewer", isMeta=True)), "user_prompt")
        == []
    )


def test_notification_names_its_task() -> None:
    line = record("user", "<task-notification>\n<task-id>b7</task-id></task-notification>")
    assert data(events_of(line), "user_prompt", "task_id") == ["b7"]


def test_compaction_has_its_trigger_and_the_tokens_before_it() -> None:
    line = record("system", "") | {
        "subtype": "compact_boundary",
        "compactMetadata": {"trigger": "auto", "preTokens": 155_000},
    }
    assert [event["data"] for event in of(events_of(record("user", "x"), line), "compaction")] == [
        {"trigger": "auto", "tokens": 155_000}
    ]


def test_request_and_the_clients_own_bill_are_events() -> None:
    request = record("api-request", "") | {"id": "r1", "params": {"model": "claude-opus-5-5"}}
    bill = {
        "type": "cost-state",
        "sessionId": "s",
        "totalCostUSD": 0.25,
        "modelUsage": {"claude-opus-5-5": {"costUSD": 0.25}},
    }
    events = events_of(record("user", "x"), request, bill)
    assert data(events, "llm_request", "model") == ["claude-opus-5-5"]
    assert [event["data"] for event in of(events, "reported_cost")] == [
        {"usd": 0.25, "models": {"claude-opus-5-5": 0.25}}
    ]
    assert of(events, "reported_cost")[0]["timestamp"] == of(events, "llm_request")[0]["timestamp"]


@pytest.mark.parametrize(
    ("entrypoint", "interactive"), [("cli", True), ("sdk-cli", False), ("new", None)]
)
def test_session_start_says_whether_a_person_may_be_there(
    entrypoint: str, interactive: bool | None
) -> None:
    (start,) = of(events_of(record("user", "x", entrypoint=entrypoint)), "session_start")
    assert start["data"].get("interactive") is interactive


def test_origin_human_is_believed_in_whatever_thread() -> None:
    assert data(
        events_of(record("user", "<look> at this", isSidechain=True, origin={"kind": "human"})),
        "user_prompt",
        "prompt",
    ) == ["<look> at this"]


def test_calls_of_one_response_share_its_step() -> None:
    calls = of(read(MAIN), "tool_call")
    assert [
        (each["event_id"], each["data"]["tool_name"], each["data"]["step"]) for each in calls[:2]
    ] == [("toolu_01", "Read", "msg_01"), ("toolu_02", "Bash", "msg_01")]
    assert calls[1]["data"]["arguments"] == {
        "command": "python -m pytest -q",
        "description": "Run the tests",
    }
    assert "agent_id" not in calls[1]["data"]


def test_a_call_says_where_it_is_made_when_the_agent_has_gone_elsewhere() -> None:
    """A Claude's shell stays where a `cd` has brought it; paths are meant from there."""
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "rm prod.yml"}}
    begun = record("user", "hello")
    events = events_of(
        begun,
        spoken({**call, "id": "t1"}),
        spoken({**call, "id": "t2"}, message="n") | {"cwd": "/home/dev/proj/deploy", "uuid": "x"},
    )
    assert [each["data"].get("cwd") for each in of(events, "tool_call")] == [
        None,
        "/home/dev/proj/deploy",
    ]


def test_results_and_failures_answer_their_calls() -> None:
    events = read(MAIN)
    ends = {
        each["parent_id"]: each
        for each in of(events, "tool_result", "error")
        if "parent_id" in each
    }
    assert {call: end["data"].get("reason") for call, end in ends.items()} == {
        "toolu_01": None, "toolu_02": "exit", "toolu_03": "tool", "toolu_04": "rejected", "toolu_05": "sibling", "toolu_06": None, "toolu_07": "interrupted",
    }  # fmt: skip
    failed = ends["toolu_02"]
    assert failed["data"]["exit_code"] == 1
    assert failed["data"]["error"] == "Exit code 1\nFAILED test_app.py::test_total - assert 7 == 6"
    assert failed["data"]["result_bytes"] == 58
    assert failed["duration_ms"] == 2700.0
    assert ends["toolu_06"]["data"]["result"] == "Two callers.\nagentId: a3f9c2d17e4b58601"


@pytest.mark.parametrize(
    ("text", "more", "reason", "code"),
    [
        ("Exit code 127\nsh: make: not found", {}, "exit", 127),
        ("Exit code -9", {}, "exit", -9),
        ("Exit code 99999999999999999999", {}, "tool", None),
        ("<tool_use_error>File has not been read yet.</tool_use_error>", {}, "tool", None),
        ("The user doesn't want to proceed with this tool use.", {}, "rejected", None),
        ("The user doesn't want to take this action right now.", {}, "rejected", None),
        ("anything", {"toolDenialKind": "user-rejected"}, "rejected", None),
        ("anything", {"toolDenialKind": "permission-rule"}, "tool", None),
        ("anything", {"toolDenialKind": "automode-blocked"}, "tool", None),
        ("Permission to use Bash with command git push has been denied.", {}, "tool", None),
        (
            "Claude requested permissions to write to /etc/x, but you haven't granted it yet.",
            {},
            "tool",
            None,
        ),
        ("agent-strace denies this call: write to deploy/x", {}, "tool", None),
        ("anything", {"toolDenialKind": "cancelled"}, "interrupted", None),
        ("[Request interrupted by user for tool use]", {}, "interrupted", None),
        ("Exit code 137\n[Request interrupted by user for tool use]", {}, "interrupted", None),
        (
            "<tool_use_error>Cancelled: parallel tool call Bash(ls) errored</tool_use_error>",
            {},
            "sibling",
            None,
        ),
        ("half of it", {"toolUseResult": {"interrupted": True}}, "interrupted", None),
    ],
)
def test_why_a_call_failed(text: str, more: dict, reason: str, code: int | None) -> None:
    (event,) = of(events_of(answer(text, **more)), "error")
    assert (event["data"]["reason"], event["data"].get("exit_code")) == (reason, code)


@pytest.mark.parametrize(
    ("text", "more", "running"),
    [
        (
            "Command running in background with ID: b1c2d3. Output is being written to: /x/b1c2d3.output",
            {},
            True,
        ),
        ("", {"toolUseResult": {"stdout": "", "backgroundTaskId": "b1c2d3"}}, True),
        ("done", {"toolUseResult": {"stdout": "done", "backgroundTaskId": None}}, False),
    ],
)
def test_a_command_in_the_background_still_runs(text: str, more: dict, running: bool) -> None:
    (event,) = of(events_of(answer(text, error=False, **more)), "tool_result")
    assert event["data"].get("running", False) is running


def test_api_errors_are_not_the_agents() -> None:
    failed = [each["data"] for each in of(read(MAIN), "error") if each["data"]["reason"] == "api"]
    assert [(each["error"], each["status"]) for each in failed] == [
        ("Overloaded", 529),
        ("API Error: 429 rate limited", 429),
    ]


def test_result_is_cut_on_a_whole_character_and_named_whole() -> None:
    long = [
        event["data"]
        for text in ("é" * 100, "é" * 101)
        for event in of(events_of(answer(text, False), max_result=11), "tool_result")
    ]
    assert [each["result"] for each in long] == ["é" * 5] * 2
    assert [each["result_bytes"] for each in long] == [200, 202]
    assert long[0]["result_digest"] != long[1]["result_digest"]


def test_pictures_in_results_differ_by_their_content() -> None:
    pictures = [
        answer(
            [{"type": "text", "text": "seen"}, {"type": "image", "source": {"data": text}}], False
        )
        for text in ("QQ==", "Qg==")
    ]
    first, second = (of(events_of(each), "tool_result")[0]["data"] for each in pictures)
    assert first["result"].startswith("seen\n[image ")
    assert first["result_digest"] != second["result_digest"]


def test_service_side_tools_are_calls_with_results() -> None:
    search = {
        "type": "server_tool_use",
        "id": "srv_1",
        "name": "web_search",
        "input": {"query": "x"},
    }
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": [{"type": "web_search_result", "url": "https://example.invalid"}],
    }
    lost = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
    }
    assert Counter(event["event_type"] for event in events_of(spoken(search, found))) == {
        "session_start": 1,
        "tool_call": 1,
        "tool_result": 1,
    }
    assert data(events_of(spoken(search, lost)), "error", "tool_name", "reason") == [
        ("web_search", "tool")
    ]


# What comes by twice comes out once


def test_rows_written_again_come_out_once() -> None:
    text = MAIN.read_bytes()
    assert text.count(b'"toolu_01"') > 2, "the fixture has a compaction that writes old rows again"
    counts = Counter(event["event_id"] for event in read(MAIN, SUBAGENT, MAIN, SUBAGENT))
    assert [name for name, times in counts.items() if times > 1] == []


def test_copies_with_new_uuids_come_out_once() -> None:
    call = {"type": "tool_use", "id": "c", "name": "Bash", "input": {"command": "ls"}}
    rows = [
        spoken({"type": "text", "text": "so"}, call, usage=TOKENS, id="u1"),
        answer("ok", False, id="u2"),
    ]
    again = [row | {"uuid": row["uuid"] + "-copy"} for row in rows]
    assert Counter(event["event_type"] for event in events_of(*rows, *again)) == Counter(
        event["event_type"] for event in events_of(*rows)
    )


def test_gateways_that_number_calls_anew_lose_none() -> None:
    rows = []
    for number in range(3):
        rows.append(
            spoken(
                {"type": "tool_use", "id": "call_0", "name": "Bash", "input": {}},
                message=f"m{number}",
                id=f"a{number}",
            )
        )
        rows.append(answer(f"{number}", False, call="call_0", id=f"u{number}"))
    assert data(events_of(*rows), "tool_result", "result", "tool_name") == [
        ("0", "Bash"),
        ("1", "Bash"),
        ("2", "Bash"),
    ]
    assert len(of(events_of(*rows), "tool_call")) == 3


def test_branch_leaves_out_what_is_another_sessions() -> None:
    events = read(BRANCH)
    assert [event["event_type"] for event in events] == [
        "session_start",
        "user_prompt",
        "assistant_response",
        "llm_response",
    ]
    assert events[0]["session_id"] == "e81d3c27-6f95-4b0a-a2d4-70c5b91f8e36"


def test_memory_of_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator_base, "MAX_SEEN", 100)
    translator = claude_translate.Translator()
    for number in range(1000):
        list(translator.translate(record("user", "x", id=f"u{number}"), ARRIVAL))
    assert list(translator.translate(record("user", "x", id="u999"), ARRIVAL)) == []
    assert list(translator.translate(record("user", "x", id="u0"), ARRIVAL)), "it was evicted"


def test_two_objects_on_one_line_both_come_out() -> None:
    assert "The test passes now." in data(read(MAIN), "assistant_response", "text")


# Subagents


def test_subagents_lines_are_of_it_and_of_the_session() -> None:
    events = read(MAIN, SUBAGENT)
    (call,) = [each for each in of(events, "tool_call") if each["data"].get("agent_id")]
    assert call["data"]["agent_id"] == "a3f9c2d17e4b58601"
    assert [event["data"] for event in of(events, "subagent_start")] == [
        {"agent_id": "a3f9c2d17e4b58601", "agent_type": "Explore"}
    ]
    assert len(of(events, "subagent_stop")) == 1


def test_inlined_subagent_starts_works_and_stops() -> None:
    events = read(INLINED)
    start, stop = of(events, "subagent_start", "subagent_stop")
    assert (start["data"], start["parent_id"]) == (
        {"agent_id": "a134de2", "agent_type": "general-purpose"},
        "toolu_p1",
    )
    assert stop["data"] == {"agent_id": "a134de2"}
    (failed,) = of(events, "error")
    assert (failed["data"]["agent_id"], failed["data"]["exit_code"]) == ("a134de2", 128)


def test_inlined_copy_and_own_file_count_once(tmp_path: Path) -> None:
    own = tmp_path / "agent-a134de2.jsonl"
    copies = [
        json.loads(line) for line in INLINED.read_text().splitlines() if "agent_progress" in line
    ]
    rows = [
        each["data"]["message"]
        | {"sessionId": each["sessionId"], "isSidechain": True, "agentId": "a134de2"}
        for each in copies
    ]
    own.write_text(
        "".join(
            json.dumps(row | {"uuid": f"own-{number}"}) + "\n" for number, row in enumerate(rows)
        )
    )
    once, both, other = read(INLINED), read(INLINED, own), read(own, INLINED)
    assert Counter(event["event_type"] for event in both) == Counter(
        event["event_type"] for event in once
    )
    assert used(both) == used(once) == used(other)


def test_background_subagent_stops_when_it_is_said_to() -> None:
    launched = answer(
        "launched",
        False,
        id="u1",
        toolUseResult={"isAsync": True, "status": "async_launched", "agentId": "bg1"},
    )
    own = spoken(
        {"type": "text", "text": "x"},
        id="u2",
        isSidechain=True,
        agentId="bg1",
        attributionAgent="Plan",
    )
    notice = record(
        "user",
        "<task-notification>\n<task-id>bg1</task-id>",
        id="u3",
        origin={"kind": "task-notification"},
    )
    kinds = [event["event_type"] for event in events_of(launched, own, notice)]
    assert kinds == [
        "session_start",
        "tool_result",
        "subagent_start",
        "assistant_response",
        "user_prompt",
        "subagent_stop",
    ]


def test_old_subagents_file_is_told_by_its_name() -> None:
    row = spoken({"type": "text", "text": "x"}, isSidechain=True)
    (event,) = of(
        translated([("/p/agent-77.jsonl", json.dumps(row).encode())]), "assistant_response"
    )
    assert event["data"]["agent_id"] == "77"


# What was spent


def test_usage_has_the_names_and_the_meaning_of_opentelemetry() -> None:
    full = TOKENS | {
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens_details": {"thinking_tokens": 7},
    }
    (said,) = used(events_of(spoken(usage=full))).values()
    assert said["usage"] == {
        "input_tokens": 80, "output_tokens": 20, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 30,
        "cache_creation_1h_input_tokens": 20, "reasoning_output_tokens": 7,
    }  # fmt: skip
    assert (said["model"], said["response_id"]) == ("claude-opus-4-8", "m")


def test_what_the_price_depends_on_comes_with_it() -> None:
    third = used(read(MAIN))["msg_03"]
    assert {
        key: third[key] for key in ("speed", "service_tier", "inference_geo", "web_searches")
    } == {"speed": "fast", "service_tier": "priority", "inference_geo": "us", "web_searches": 2}
    assert used(read(MAIN))["msg_01"].keys() == {"model", "response_id", "usage"}


@pytest.mark.parametrize(
    "split", [None, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, {}, "x"]
)
def test_cache_writes_that_no_split_accounts_for_count(split: object) -> None:
    (said,) = used(events_of(spoken(usage=TOKENS | {"cache_creation": split}))).values()
    assert said["usage"]["cache_creation_input_tokens"] == 30
    assert "cache_creation_1h_input_tokens" not in said["usage"]


def test_one_message_is_one_response_whatever_the_request() -> None:
    rows = [spoken(usage=TOKENS, id=f"u{number}", requestId=f"r{number}") for number in range(3)]
    assert len(of(events_of(*rows), "llm_response")) == 1


def test_lines_without_a_message_id_count_each() -> None:
    rows = [spoken(usage=TOKENS, message=None, id=f"u{number}") for number in range(3)]
    assert len(used(events_of(*rows))) == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_best_line_of_a_response_wins_whole(order: tuple[int, ...]) -> None:
    rows = [
        spoken(usage=TOKENS | {"output_tokens": 1, "input_tokens": 11}, stop=None, id="u0"),
        spoken(usage=TOKENS | {"output_tokens": 900}, id="u1"),
        spoken(usage=TOKENS | {"output_tokens": 1}, id="u2"),
    ]
    (said,) = used(events_of(*(rows[place] for place in order))).values()
    assert said["usage"]["output_tokens"] == 900
    assert said["usage"]["input_tokens"] == 80
    assert "estimated" not in said


def test_fallback_to_another_model_replaces_the_larger_line() -> None:
    first = spoken(usage=TOKENS | {"input_tokens": 5000}, stop=None, id="u0")
    second = spoken(usage=TOKENS, model="claude-sonnet-5", id="u1")
    (said,) = used(events_of(first, second)).values()
    assert (said["model"], said["usage"]["input_tokens"]) == ("claude-sonnet-5", 80)


def test_main_thread_is_better_than_a_sidechains_copy() -> None:
    own = spoken(usage=TOKENS, id="u0")
    copy = spoken(usage=TOKENS | {"output_tokens": 500}, id="u1", isSidechain=True)
    assert [
        used(events_of(*rows))["m"]["usage"]["output_tokens"] for rows in ((own, copy), (copy, own))
    ] == [20, 20]


def test_local_texts_cost_nothing_and_a_missing_model_is_counted() -> None:
    assert of(events_of(spoken(usage=TOKENS, model="<synthetic>")), "llm_response") == []
    (said,) = used(events_of(spoken(usage=TOKENS, model=None))).values()
    assert said["model"] == ""


def test_compaction_of_the_context_is_a_request_of_its_own() -> None:
    said = used(read(MAIN))
    assert said["msg_04/compaction"]["usage"] == {"input_tokens": 120_000, "output_tokens": 1500}
    assert said["msg_04"]["usage"]["input_tokens"] == 21_905


def test_placeholder_is_stood_in_for_by_length_and_says_so() -> None:
    said = used(read(INLINED))
    text, arguments = 390, 87
    assert said["msg_p1"]["usage"]["output_tokens"] == (text + arguments) // 3
    assert said["msg_p1"]["estimated"] is True
    assert said["msg_p1"]["recorded_output_tokens"] == 2
    assert "estimated" not in said["msg_q2"], (
        "a line with the reason why the model stopped has the count"
    )
    assert "estimated" not in used(read(INLINED, recorded=True))["msg_p1"]
    assert used(read(INLINED, recorded=True))["msg_p1"]["usage"]["output_tokens"] == 2


def test_credible_count_is_kept_though_no_line_says_why_it_stopped() -> None:
    (said,) = used(
        events_of(spoken({"type": "text", "text": "x" * 150}, usage=TOKENS, stop=None))
    ).values()
    assert (said["usage"]["output_tokens"], "estimated" in said) == (20, False)


def test_correction_comes_out_as_soon_as_it_is_known() -> None:
    said = [
        event["data"]
        for event in of(read(SUBAGENT), "llm_response")
        if event["data"]["response_id"] == "msg_sub1"
    ]
    assert [(each.get("estimated"), each["usage"]["output_tokens"]) for each in said] == [
        (True, 3),
        (None, 60),
    ]


# On a pipe


def test_pipe_begins_with_its_model_and_ends_with_its_cost() -> None:
    events = read(STREAM)
    assert events[0]["data"] == {
        "agent": "claude",
        "cwd": "/home/dev/proj",
        "model": "claude-opus-4-8[1m]",
        "path": str(STREAM),
        "interactive": False,
    }
    assert events[-1]["event_type"] == "session_end"
    assert events[-1]["data"] == {"reason": "success", "reported_cost_usd": 0.0815}


def test_pipe_times_are_those_of_arrival_where_a_line_has_none() -> None:
    events = read(STREAM)
    assert {event["timestamp"] for event in of(events, "tool_call")} == {ARRIVAL}
    assert ARRIVAL not in {event["timestamp"] for event in of(events, "tool_result")}


def test_pipe_subagent_is_named_by_the_call_that_started_it() -> None:
    events = read(STREAM)
    assert [event["data"] for event in of(events, "subagent_start", "subagent_stop")] == [
        {"agent_id": "toolu_x2", "agent_type": "Explore"},
        {"agent_id": "toolu_x2"},
    ]
    (call,) = [event for event in of(events, "tool_call") if event["data"].get("agent_id")]
    assert call["event_id"] == "toolu_y1"
    assert of(events, "user_prompt") == []


def test_pipe_counts_are_estimates_until_they_are_told() -> None:
    events = read(STREAM)
    first = [
        event["data"]
        for event in of(events, "llm_response")
        if event["data"]["response_id"] == "msg_x1"
    ]
    assert [each.get("estimated", False) for each in first] == [True, True, True, False]
    assert first[-1]["usage"]["output_tokens"] == 400, (
        "the total of 442, less the 42 that the stream told"
    )
    assert used(events)["msg_x2"]["usage"]["output_tokens"] == 42
    assert used(events)["msg_y1"]["estimated"] is True, (
        "the totals of a model with requests that we did not see say nothing of those we saw"
    )


def test_pipe_totals_share_out_over_many_responses_and_several_turns() -> None:
    init = {
        "type": "system",
        "subtype": "init",
        "session_id": "s",
        "cwd": "/p",
        "model": "m",
        "slash_commands": [],
    }
    rows, prompt, output = [init], 0, 0
    for turn in range(3):
        for number in range(4):
            row = spoken(
                {"type": "text", "text": "x" * (30 * number + 1)},
                message=f"m{turn}{number}",
                usage={"input_tokens": 9, "output_tokens": 1},
                stop=None,
            )
            del row["sessionId"], row["timestamp"]
            rows.append(
                row | {"session_id": "s", "uuid": f"u{turn}{number}", "parent_tool_use_id": None}
            )
            prompt += 9
        output += 1001
        totals = {"claude": {"inputTokens": prompt, "outputTokens": output}}
        rows.append(
            {
                "type": "result",
                "subtype": "success",
                "session_id": "s",
                "total_cost_usd": 1.0,
                "modelUsage": totals,
                "uuid": f"r{turn}",
            }
        )
    events = events_of(*rows)
    assert sum(each["usage"]["output_tokens"] for each in used(events).values()) == 3003
    assert not any(each.get("estimated") for each in used(events).values())
    assert [event["event_type"] for event in events].count("session_end") == 1


# Every file there is


def naive(paths: Iterable[Path]) -> dict[str, Any]:
    """Calls, failures and tokens counted from the lines themselves, without the code under test."""
    decoder = json.JSONDecoder(strict=False)
    seen: set[str] = set()
    calls: set[Any] = set()
    ends: dict[Any, bool] = {}
    best: dict[Any, tuple] = {}
    number = 0
    for path in paths:
        for line in path.read_text(errors="replace").splitlines():
            at, line = 0, line.strip("\0 \ufeff")
            while at < len(line):
                row, at = decoder.raw_decode(line, at)
                outer = row
                if row.get("type") == "progress" and row["data"].get("type") == "agent_progress":
                    row = row["data"]["message"]
                if row.get("type") not in ("assistant", "user") or "forkedFrom" in row:
                    continue
                number += 1
                name = row.get("uuid") or f"row {number}"
                if name in seen:
                    continue
                seen.add(name)
                message = row["message"]
                content = message.get("content")
                for place, block in enumerate(content if isinstance(content, list) else ()):
                    if block["type"] == "tool_use":
                        calls.add(
                            (message.get("id"), block["id"]) if "id" in block else (name, place)
                        )
                    elif block["type"] == "tool_result":
                        detail = row.get("toolUseResult")
                        stopped = isinstance(detail, dict) and detail.get("interrupted") is True
                        ends.setdefault(
                            block.get("tool_use_id") or (name, place),
                            block.get("is_error") is True or stopped,
                        )
                usage = message.get("usage")
                if isinstance(usage, dict) and message.get("model") != "<synthetic>":
                    counts = tuple(
                        usage.get(f"{kind}_tokens") or 0
                        for kind in ("input", "cache_creation_input", "cache_read_input", "output")
                    )
                    side = bool(
                        row.get("isSidechain")
                        or row.get("agentId")
                        or row.get("parent_tool_use_id")
                        or outer is not row
                    )
                    rank = (not side, message.get("stop_reason") is not None, sum(counts))
                    key = message.get("id") or name
                    if key not in best or rank >= best[key][0]:
                        best[key] = (rank, counts)
    plain, written, read, output = (
        (sum(column) for column in zip(*(counts for _, counts in best.values()), strict=True))
        if best
        else (0, 0, 0, 0)
    )
    return {
        "calls": len(calls),
        "ended": len(ends),
        "failed": sum(ends.values()),
        "responses": len(best),
        "prompt": plain + written + read,
        "output": output,
    }


def counted(events: list[dict], output: bool = True) -> dict[str, Any]:
    ends = [
        event
        for event in of(events, "tool_result", "error")
        if event["data"].get("reason") != "api"
    ]
    said = {name: each["usage"] for name, each in used(events).items() if "/compaction" not in name}
    return {
        "calls": len(of(events, "tool_call")),
        "ended": len(ends),
        "failed": sum(event["event_type"] == "error" for event in ends),
        "responses": len(said),
        "prompt": sum(each["input_tokens"] for each in said.values()),
        "output": sum(each["output_tokens"] for each in said.values()),
    }


needs_real = pytest.mark.skipif(not REAL, reason=f"no recorded sessions of Claude Code in {SHARED}")
every_file = pytest.mark.parametrize("path", OWN + REAL, ids=lambda path: "/".join(path.parts[-2:]))


@every_file
def test_calls_failures_and_usage_are_those_of_the_raw_lines(path: Path) -> None:
    told = naive([path])
    said = counted(read(path, recorded=True))
    if any(b'"modelUsage"' in line for _, line in lines(path)):
        # The run's totals have corrected what its lines recorded.
        told.pop("output"), said.pop("output")
    assert said == told


@needs_real
def test_recorded_runs_on_a_pipe_come_to_the_same_as_their_transcripts() -> None:
    for stream in shared_files("sessions/driven/claude/*.stream.jsonl"):
        piped, written = read(stream), read(stream.with_name(stream.name.replace(".stream", "")))
        assert counted(piped) == counted(written), stream.name
        assert [event["event_id"] for event in of(piped, "tool_call")] == [
            event["event_id"] for event in of(written, "tool_call")
        ]


@needs_real
def test_subagents_of_real_sessions_are_inlined_and_counted() -> None:
    (path,) = shared_files("sessions/claude-code/opus46-1h-a.jsonl")
    assert sum("agent_id" in each for each in used(read(path)).values()) == 45


def test_own_files_are_recognised_and_nobody_elses() -> None:
    for path in OWN + REAL:
        assert any(
            CLAUDE.recognises(each) for _, line in list(lines(path))[:3] for each in objects(line)
        ), path
    others = [
        path
        for path in shared_files("sessions/**/*.jsonl", "sessions/**/*.ndjson")
        if path not in REAL and "/driven/claude" not in str(path) and "qwen" not in str(path)
    ]
    assert not [
        path
        for path in others
        for _, line in lines(path)
        for each in objects(line)
        if CLAUDE.recognises(each)
    ]
    assert not CLAUDE.recognises({"event_type": "tool_call", "timestamp": 1.0, "session_id": "s"})


# Whatever stands in a line, nothing is raised

ROWS = [
    json.loads(text)
    for path in OWN
    for text in path.read_text().splitlines()
    if '}{"type":"summary"' not in text
]


@pytest.mark.parametrize("depth", [200, 300, 900, 1010, 5000])
@pytest.mark.parametrize("place", ["usage", "input", "content"])
def test_deep_nesting_raises_nothing(depth: int, place: str) -> None:
    block = {
        "type": "tool_result" if place == "content" else "tool_use",
        "id": "c",
        "tool_use_id": "c",
        "name": "Bash",
        place: {"x": "DEEP"},
    }
    row = spoken(
        block, usage={"input_tokens": 1, "x": "DEEP" if place == "usage" else 0}, stop=None
    )
    for stop in (None, "end_turn", "end_turn"):
        row = json.loads(json.dumps(row)) | {"uuid": str(stop)}
        row["message"]["stop_reason"] = stop
        line = json.dumps(row).encode().replace(b'"DEEP"', b"[" * depth + b"]" * depth)
        try:
            records = list(objects(line))
        except ValueError:
            assert depth > 1000
            return
        assert of(translated([("p", line)]), "llm_response")
        assert records


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ROWS), min_size=2, max_size=4))
def test_glued_lines_matter_if_one_of_them_does(rows: list[dict]) -> None:
    glued = "".join(json.dumps(row, separators=(",", ":")) for row in rows).encode()
    assert CLAUDE.may_matter(glued) >= any(
        CLAUDE.may_matter(json.dumps(row, separators=(",", ":")).encode()) for row in rows
    )
    assert translated([("p", glued)]) == translated(
        [("p", json.dumps(row, separators=(",", ":")).encode()) for row in rows]
    )
