"""Codex: what its rollouts and its JSON come to, and where its sessions are found."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.agents.base import Session
from agent_pipes.agents.codex import translate as codex_translate
from agent_pipes.agents.codex.agent import AGENT as CODEX
from agent_pipes.agents.codex.outcomes import outcome
from agent_pipes.process.table import identify
from tests.helpers.support import FIXTURES, SHARED, shared_files, until
from tests.helpers.translating import ARRIVAL, of, readable

HERE = FIXTURES / "codex"

RECORDED = sorted(
    [
        *SHARED.glob("sessions/codex/*.jsonl"),
        *SHARED.glob("sessions/driven/codex/*.jsonl"),
        *SHARED.glob("sessions/schema/codex/*.jsonl"),
    ]
)
ROLLOUTS = [path for path in RECORDED if not path.name.endswith(".stream.jsonl")]
needs_recorded = pytest.mark.skipif(
    not RECORDED, reason=f"no recorded sessions of Codex in {SHARED}"
)
name_of = lambda path: path.name


def translated(*paths: Path, lines: int | None = None, **options) -> list[dict]:
    """The events of these files, read one after the other as one session."""
    translator = codex_translate.Translator(**options)
    events = []
    for path in paths:
        for line in path.read_bytes().splitlines()[:lines]:
            for record in readable(line):
                events += translator.translate(record, ARRIVAL, str(path))
    return [*events, *translator.end()]


def told(path: Path) -> list[dict]:
    return [record for line in path.read_bytes().splitlines() for record in readable(line)]


def by_id(events: list[dict]) -> dict[str, dict]:
    return {event["event_id"]: event for event in events}


def answers(events: list[dict]) -> dict[str, tuple]:
    """By call: the type of its answer, why it failed, and its exit code."""
    return {
        event["parent_id"]: (
            event["event_type"],
            event["data"].get("reason"),
            event["data"].get("exit_code"),
        )
        for event in of(events, "tool_result", "error")
        if "parent_id" in event
    }


def tokens(events: list[dict]) -> tuple[int, int, int, int]:
    """Return input, cached, written and output tokens; a later response replaces one of its id."""
    usages = {
        event["data"]["response_id"]: event["data"]["usage"] for event in of(events, "llm_response")
    }
    names = (
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    )
    return tuple(sum(usage[name] for usage in usages.values()) for name in names)


# A rollout of version 0.142: the conversation, and events beside it that say some of it again.


@pytest.fixture(scope="module")
def older() -> list[dict]:
    return translated(HERE / "rollout-0.142.jsonl")


def test_the_session_starts_with_where_it_works(older):
    (start,) = of(older, "session_start")
    assert older[0] is start
    assert start["session_id"] == "01a1ee56-5e00-71aa-a001-0000001aa001"
    assert start["data"] == {
        "agent": "codex",
        "cwd": "/home/dev/shop",
        "model": "",
        "path": str(HERE / "rollout-0.142.jsonl"),
        "interactive": True,
    }
    assert {event["session_id"] for event in older} == {start["session_id"]}


@pytest.mark.parametrize(
    ("name", "tokens", "models"),
    [
        # 1,000,000 + 3,000 + 16,000 + 100,000: the return to a former total is worth nothing.
        ("codex-review-total-returns", 1_119_000, {"gpt-5.2-codex"}),
        ("codex-review-subagent-first-model-lost", 3113, {"gpt-5.1-codex-max"}),
    ],
)
def test_review_counts_once_and_has_its_model(name, tokens, models):
    (path,) = shared_files(f"cases/faults/{name}.jsonl") or pytest.skip("the cases are not here")
    used = of(translated(path), "llm_response")
    assert sum(event["data"]["usage"]["input_tokens"] for event in used) == tokens
    assert {event["data"]["model"] for event in used} == models


def test_context_window_and_quota_are_told():
    def count(total, used):
        return {
            "timestamp": "2026-01-05T10:00:03.000Z",
            "type": "event_msg",
            "payload": {
                "type": "token_count",
                "info": {
                    "total_token_usage": {"input_tokens": total, "output_tokens": 1},
                    "model_context_window": 258_400,
                },
                "rate_limits": {"primary": {"used_percent": used, "window_minutes": 300}},
            },
        }

    translator = codex_translate.Translator()
    records = [count(10, 5.0), count(20, 5.0), count(30, 6.0)]
    events = [event for each in records for event in translator.translate(each, 0.0, "x")]
    windows = [event["data"]["context_window"] for event in of(events, "llm_response")]
    assert windows == [258_400] * 3
    assert [event["data"] for event in of(events, "quota")] == [
        {"limit": "primary", "used_percent": 5.0, "window_minutes": 300},
        {"limit": "primary", "used_percent": 6.0, "window_minutes": 300},
    ]


def test_wrapper_of_code_mode_names_itself_and_its_calls(scripts):
    calls = by_id(of(scripts, "tool_call"))
    assert calls["call_1"]["data"]["wrapper"] is True
    results = {event["parent_id"]: event["data"] for event in of(scripts, "tool_result", "error")}
    inner = [call for call in calls.values() if call["data"].get("within") == "call_2"]
    assert len(inner) == results["call_2"]["inner_calls"] == 3


def test_prompts_are_those_of_a_person_and_each_comes_once(older):
    assert [event["data"]["prompt"] for event in of(older, "user_prompt")] == [
        "Make the tests pass.",
        "Go on. [Image #1]",
        "And be quick.",
    ]


def test_answers_of_the_model_come_once(older):
    said = [
        (event["data"]["text"], event["data"]["phase"]) for event in of(older, "assistant_response")
    ]
    assert said == [
        ("I look at the code and run the tests.", "commentary"),
        ("All tests pass.", "final_answer"),
    ]


def test_every_call_has_one_answer_that_says_how_it_went(older):
    answered = answers(older)
    assert (
        len(of(older, "tool_call"))
        == len(answered)
        == len([event for event in of(older, "tool_result", "error") if "parent_id" in event])
    )
    search = answered.pop(
        next(
            event["event_id"]
            for event in of(older, "tool_call")
            if event["data"]["tool_name"] == "web_search"
        )
    )
    assert search == ("tool_result", None, None)
    assert answered == {
        "call_ls": ("tool_result", None, 0),
        "call_test": ("tool_result", None, None),
        "call_poll1": ("tool_result", None, None),
        "call_poll2": ("error", "exit", 1),
        "call_patch1": ("error", "tool", None),
        "call_patch2": ("tool_result", None, 0),
        "call_mcp": ("error", "tool", None),
        "call_mcp2": ("error", "tool", None),
        "call_push": ("error", "rejected", None),
        "call_again": ("error", "interrupted", None),
        "call_cut": ("error", "interrupted", None),
    }


def test_arguments_are_parsed(older):
    calls = by_id(of(older, "tool_call"))
    assert calls["call_test"]["data"]["arguments"] == {
        "cmd": "npm test",
        "workdir": "/home/dev/shop",
        "yield_time_ms": 10000,
    }
    assert calls["call_patch1"]["data"]["arguments"]["input"].startswith("*** Begin Patch")
    assert calls["call_mcp2"]["data"]["tool_name"] == "mcp__tracker__get_issue"


def test_parallel_calls_share_a_step_and_no_others_do(older):
    steps = {event["event_id"]: event["data"].get("step") for event in of(older, "tool_call")}
    assert steps["call_ls"] == steps["call_test"] == "call_ls"
    assert (
        steps["call_poll1"] == "call_poll1"
        and steps["call_patch1"] == "call_patch1"
        and steps["call_patch2"] == "call_patch2"
    )


def test_a_command_that_runs_on_is_no_failure_and_its_end_names_the_call_that_began_it(older):
    results = by_id(older)
    assert results["call_test:result"]["data"]["running"] is True
    assert (
        results["call_poll1:result"]["data"] | {"running": True, "started_by": "call_test"}
        == results["call_poll1:result"]["data"]
    )
    assert results["call_poll2:result"]["data"]["started_by"] == "call_test"
    assert "started_by" not in results["call_ls:result"]["data"]
    assert results["call_poll2:result"]["duration_ms"] == 3118.0


def test_an_interruption_that_its_call_has_told_of_is_not_told_again(older):
    assert not [event for event in of(older, "error") if "parent_id" not in event]


def test_usage_is_counted_from_totals(older):
    # Six requests with counts of their own, one that was broken off, and a total that began anew.
    assert [event["data"]["usage"]["input_tokens"] for event in of(older, "llm_response")] == [
        12000,
        12500,
        12800,
        13700,
        14000,
        14000,
        9000,
    ]
    assert tokens(older) == (79000 + 9000, 72000, 0, 800 + 90)
    assert [event["data"]["model"] for event in of(older, "llm_response")] == ["gpt-5.5"] * 4 + [
        "gpt-5.4"
    ] * 3
    assert len({event["data"]["response_id"] for event in of(older, "llm_response")}) == 7


def test_times_are_those_of_the_lines(older):
    assert [event["timestamp"] for event in older] == sorted(event["timestamp"] for event in older)
    assert older[0]["timestamp"] == 1_795_000_000.0


# Version 0.66: results in JSON, turns without ids.


def test_results_in_json_are_unwrapped():
    events = translated(HERE / "rollout-0.66.jsonl")
    assert answers(events) == {
        "call_a": ("error", "exit", 2),
        "call_b": ("tool_result", None, 0),
        "call_c": ("tool_result", None, 0),
        "call_d": ("error", "tool", None),
    }
    assert by_id(events)["call_a:result"]["data"]["error"] == "make: *** No targets.  Stop.\n"
    assert by_id(events)["call_d"]["data"]["arguments"] == {"input": '{"command": ["ls"'}
    assert by_id(events)["call_c"]["data"]["tool_name"] == "local_shell"
    assert [event["data"]["prompt"] for event in of(events, "user_prompt")] == ["List the files."]


# Version 0.169: usage by response, and items that say of a call how it ended.


@pytest.fixture(scope="module")
def newer() -> list[dict]:
    return translated(HERE / "rollout-0.169.jsonl", HERE / "rollout-0.169-subagent.jsonl")


def test_a_call_that_an_item_tells_of_too_comes_once(newer):
    assert [event["event_id"] for event in of(newer, "tool_call")] == [
        "call_1",
        "call_2",
        "call_3",
        "call_4",
        "call_5",
        "call_s1",
    ]
    assert answers(newer) == {
        "call_1": ("tool_result", None, 0),
        "call_2": ("error", "exit", 1),
        "call_3": ("tool_result", None, 0),
        "call_4": ("tool_result", None, None),
        "call_5": ("error", "tool", None),
        "call_s1": ("error", "exit", 2),
    }
    assert by_id(newer)["call_2:result"]["duration_ms"] == 3250.0


def test_usage_is_that_of_each_response_under_its_id(newer):
    responses = [event["data"] for event in of(newer, "llm_response")]
    assert [data["response_id"] for data in responses] == [
        "resp_1",
        "resp_2",
        "resp_3",
        "resp_4",
        "resp_5",
        "resp_s1",
    ]
    assert responses[0]["usage"] == {
        "input_tokens": 9500, "output_tokens": 150, "cache_read_input_tokens": 8600, "cache_creation_input_tokens": 400, "reasoning_output_tokens": 50,
    }  # fmt: skip
    assert tokens(newer) == (50100 + 4000, 47800, 400, 400 + 50)
    assert [data["model"] for data in responses] == ["gpt-5.5"] * 5 + ["gpt-5.5-mini"]
    assert {data["service_tier"] for data in responses} == {"priority"}


def test_a_subagent_is_part_of_the_session_and_its_task_is_no_prompt(newer):
    (start,) = of(newer, "subagent_start")
    agent = start["data"]["agent_id"]
    assert start["data"]["agent_type"] == "default"
    assert {event["session_id"] for event in newer} == {"01a1ee56-5e00-73cc-a001-0000003cc001"}
    assert {event["event_id"] for event in newer if event["data"].get("agent_id") == agent} == {
        f"{agent}:start",
        "call_s1",
        "resp_s1",
        "call_s1:result",
    }
    assert [event["data"]["prompt"] for event in of(newer, "user_prompt")] == [
        "Fix the failing test.",
        "Go on.",
        "Go on.",
    ]
    assert len(of(newer, "session_start")) == 1


def test_a_failed_request_and_an_interruption_between_calls_are_told(newer):
    alone = [event["data"] for event in of(newer, "error") if "parent_id" not in event]
    assert [(data["reason"], data["error"]) for data in alone] == [
        ("api", "exceeded retry limit, last status: 429 Too Many Requests"),
        ("interrupted", "the turn was interrupted"),
    ]


def test_what_the_user_runs_is_no_call_of_the_agents(newer):
    assert "item_user" not in by_id(newer)


def test_the_model_is_known_from_the_start_where_the_head_names_it(newer):
    assert of(newer, "session_start")[0]["data"]["model"] == "gpt-5.5"


# Models that make all their calls from scripts.


@pytest.fixture(scope="module")
def scripts() -> list[dict]:
    return translated(HERE / "rollout-0.169-scripts.jsonl")


def test_the_calls_of_a_script_are_calls(scripts):
    calls = by_id(of(scripts, "tool_call"))
    assert list(calls) == [
        "call_1",
        "exec-0001",
        "call_2",
        "exec-0002",
        "exec-0003",
        "exec-0004",
        "call_3",
        "call_4",
        "exec-0005",
    ]
    assert calls["exec-0001"]["data"] == {
        "tool_name": "exec_command",
        "arguments": {"cmd": "npm test", "workdir": "/home/dev/shop"},
        "step": "call_1",
        "within": "call_1",
    }
    assert calls["exec-0003"]["data"]["tool_name"] == "apply_patch"
    assert (
        calls["exec-0003"]["data"]["arguments"]["input"].splitlines()[1]
        == "*** Update File: /home/dev/shop/cart.ts"
    )
    assert calls["exec-0004"]["data"]["tool_name"] == "mcp__tracker__get_issue"
    assert answers(scripts) == {
        "exec-0001": ("error", "exit", 1),
        "call_1": ("tool_result", None, None),
        "exec-0002": ("tool_result", None, 0),
        "exec-0003": ("tool_result", None, None),
        "exec-0004": ("error", "tool", None),
        "call_2": ("tool_result", None, None),
        "call_3": ("tool_result", None, None),
        "exec-0005": ("error", "exit", 2),
        "call_4": ("error", "tool", None),
    }


def test_a_call_of_a_script_belongs_to_the_response_that_made_the_script(scripts):
    steps = {event["event_id"]: event["data"].get("step") for event in of(scripts, "tool_call")}
    assert steps["exec-0002"] == steps["exec-0003"] == steps["exec-0004"] == "call_2"
    assert steps["exec-0005"] is None, (
        "the script that began it had been answered, and the one that waits for it did not make it"
    )


def test_a_call_of_a_script_has_its_own_time(scripts):
    calls = by_id(scripts)
    assert calls["exec-0001:result"]["timestamp"] - calls["exec-0001"][
        "timestamp"
    ] == pytest.approx(2.98, abs=0.01)


def test_a_script_that_runs_on_is_waited_for(scripts):
    results = by_id(scripts)
    assert results["call_3:result"]["data"]["running"] is True
    assert results["call_4:result"]["data"]["started_by"] == "call_3"


# Forks.


def test_what_a_fork_has_copied_does_not_come_out():
    events = translated(HERE / "rollout-fork.jsonl")
    assert [event["data"]["prompt"] for event in of(events, "user_prompt")] == ["A new prompt."]
    assert [event["event_id"] for event in of(events, "tool_call")] == ["call_new"]
    assert tokens(events) == (11000, 10000, 0, 100)
    assert {event["session_id"] for event in events} == {"01a1ee56-5e00-76ff-a002-0000006ff002"}


def test_a_fork_that_names_what_it_goes_on_from_begins_with_its_own(tmp_path):
    records = told(HERE / "rollout-0.169.jsonl")
    records[0]["payload"] |= {
        "forked_from_id": "01a10000-0000-7000-8000-000000000000",
        "history_base": {"end_ordinal_exclusive": 19},
    }
    for record in records:
        for total in ("total_token_usage", "thread_token_usage"):
            for holder in (record["payload"], record["payload"].get("info") or {}):
                if total in holder:
                    holder[total]["input_tokens"] += 700_000
                    holder[total]["total_tokens"] += 700_000
    events = translated(written(tmp_path, records))
    assert tokens(events) == (50100, 47800, 400, 400), (
        "what the thread it came from has used is that one's"
    )


def test_copies_without_ids_of_turns_end_after_the_first_second(tmp_path):
    records = told(HERE / "rollout-fork.jsonl")
    for record in records:
        record["payload"].pop("turn_id", None)
    events = translated(written(tmp_path, records))
    assert [event["data"]["prompt"] for event in of(events, "user_prompt")] == ["A new prompt."]
    assert tokens(events) == (11000, 10000, 0, 100)


def written(folder: Path, records: list[dict]) -> Path:
    path = folder / "rollout-made.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def test_several_rollouts_on_one_pipe_are_told_apart(tmp_path):
    path = tmp_path / "all.jsonl"
    names = (
        "rollout-0.142.jsonl",
        "rollout-fork.jsonl",
        "rollout-0.169.jsonl",
        "rollout-0.169-subagent.jsonl",
    )
    path.write_bytes(b"".join((HERE / name).read_bytes() for name in names))
    apart = [event for name in names for event in translated(HERE / name)]
    together = translated(path)
    for event in (*apart, *together):
        event["data"].pop("path", None)
    assert together == apart


def test_a_subagent_that_only_names_its_parent_is_part_of_the_session_that_is_read(tmp_path):
    records = told(HERE / "rollout-0.169-subagent.jsonl")
    del records[0]["payload"]["session_id"]
    records[0]["payload"]["parent_thread_id"] = "01a1ee56-7000-7000-8000-000000000000"
    (tmp_path / "nested").mkdir()
    nested = written(tmp_path / "nested", records)
    assert {event["session_id"] for event in translated(HERE / "rollout-0.169.jsonl", nested)} == {
        "01a1ee56-5e00-73cc-a001-0000003cc001"
    }
    assert {event["session_id"] for event in translated(nested)} == {
        "01a1ee56-7000-7000-8000-000000000000"
    }


# What a result says.


@pytest.mark.parametrize(
    ("tool", "text", "reason", "code"),
    [
        ("exec_command", "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 128\nOriginal token count: 2\nOutput:\nfatal", "exit", 128),
        ("exec_command", "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code -1\nOriginal token count: 2\nOutput:\n", "exit", -1),
        ("exec_command", "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nProcess exited with code 3\nExit code: 3", "", 0),
        ("exec_command", "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\nexec command rejected by user", "", 0),
        ("exec_command", "Wall time: 2.3 seconds\naborted by user", "interrupted", None),
        ("write_stdin", "aborted by user after 29.7s", "interrupted", None),
        ("exec_command", "exec command rejected by user", "rejected", None),
        ("exec_command", "exec_command failed for `x`: Rejected(\"rejected by user\")", "rejected", None),
        ("apply_patch", "patch rejected by user", "rejected", None),
        ("exec_command", "`rm -rf /` rejected: blocked by policy", "tool", None),
        ("exec_command", "approval required by policy, but AskForApproval is set to Never", "tool", None),
        ("write_stdin", "write_stdin failed: Unknown process id 4242", "tool", None),
        ("shell", "Exit code: 124\nWall time: 10 seconds\nOutput:\ncommand timed out after 10000 milliseconds\n", "exit", 124),
        ("apply_patch", "Success. Updated the following files:\nM a.py\n", "", None),
        ("update_plan", "Plan updated", "", None),
        ("view_image", "unable to locate image at `a.png`: No such file", "tool", None),
        ("no_such", "unsupported call: no_such", "tool", None),
        ("mcp__a__b", "failed to parse function arguments: EOF", "tool", None),
        ("mcp__a__b", "anything at all", "", None),
        ("exec_command", "", "", None),
    ],
)  # fmt: skip
def test_how_a_call_went_is_read_from_the_head_of_its_result(tool, text, reason, code):
    what = outcome(tool, text)
    assert (what.reason, what.code) == (reason, code)


def test_two_results_are_the_same_but_for_the_lines_that_vary():
    one = "Chunk ID: 29ad56\nWall time: 0.1000 seconds\nProcess exited with code 1\nOriginal token count: 10\nOutput:\n1 failed\n"
    other = "Chunk ID: 927e78\nWall time: 0.2000 seconds\nProcess exited with code 1\nOriginal token count: 10\nOutput:\n1 failed\n"
    kind, said = outcome("exec_command", one).event("exec_command", 4096)
    _, again = outcome("exec_command", other).event("exec_command", 4096)
    _, differs = outcome("exec_command", other.replace("1 failed", "2 failed")).event(
        "exec_command", 4096
    )
    assert kind == "error"
    assert said["result_digest"] == again["result_digest"] != differs["result_digest"]
    assert said["error"] == one and said["result_bytes"] == len(one)


def test_a_long_result_is_cut_and_its_size_and_digest_are_those_of_the_whole():
    text = "Exit code: 0\nWall time: 1 seconds\nOutput:\n" + "ä" * 5000
    _, said = outcome("shell", text).event("shell", 100)
    assert len(said["result"].encode()) <= 100 and said["result_bytes"] == len(text.encode())
    assert (
        said["result_digest"]
        != outcome("shell", text + "x").event("shell", 100)[1]["result_digest"]
    )


# The pipe.


@pytest.fixture(scope="module")
def run() -> list[dict]:
    return translated(HERE / "exec.jsonl")


def test_a_run_on_a_pipe(run):
    assert run[0]["event_type"] == "session_start"
    assert run[0]["data"] == {
        "agent": "codex",
        "cwd": "",
        "model": "",
        "path": str(HERE / "exec.jsonl"),
        "interactive": False,
    }
    assert {event["timestamp"] for event in run} == {ARRIVAL}
    assert answers(run) == {
        "item_1": ("error", "exit", 1),
        "item_2": ("tool_result", None, None),
        "item_4": ("error", "tool", None),
        "item_5": ("error", "rejected", None),
        "item_6": ("tool_result", None, None),
        "item_8": ("error", "interrupted", None),
    }
    assert [event["data"]["text"] for event in of(run, "assistant_response")] == ["Fixed."]
    assert len({event["event_id"] for event in run}) == len(run)


def test_the_calls_of_a_run_are_named_as_on_disk(run):
    calls = by_id(of(run, "tool_call"))
    assert calls["item_1"]["data"] == {
        "tool_name": "exec_command",
        "arguments": {"cmd": "npm test"},
    }
    assert calls["item_2"]["data"]["arguments"]["input"].splitlines() == [
        "*** Begin Patch", "*** Update File: /home/dev/shop/cart.ts", "@@ item_2", "*** Add File: /home/dev/shop/new.ts", "@@ item_2", "*** End Patch",
    ]  # fmt: skip
    assert calls["item_4"]["data"]["tool_name"] == "mcp__tracker__get_issue"


def test_the_usage_of_a_run_is_the_threads_total(run):
    assert [event["data"]["usage"]["input_tokens"] for event in of(run, "llm_response")] == [
        30000,
        12000,
    ]
    assert tokens(run) == (42000, 35000, 500, 500)
    assert {event["data"]["model"] for event in of(run, "llm_response")} == {""}


def test_a_failed_request_is_told_once(run):
    failures = [
        event["data"]["error"] for event in of(run, "error") if event["data"]["reason"] == "api"
    ]
    assert failures == [
        "Reconnecting... 1/5 (stream disconnected)",
        "exceeded retry limit, last status: 429 Too Many Requests",
    ]


def test_two_runs_on_one_pipe_are_told_apart(tmp_path):
    path = tmp_path / "both.jsonl"
    path.write_bytes((HERE / "exec.jsonl").read_bytes() * 2)
    events = translated(path)
    assert len(of(events, "session_start")) == 2
    assert len(of(events, "tool_call")) == 2 * 6
    assert tokens(events[len(events) // 2 :]) == (42000, 35000, 500, 500)


# All forms: prefixes, lines that do not matter, lines of others.


EVERY = [*sorted(HERE.glob("*.jsonl")), *RECORDED]


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_lines_that_do_not_matter_come_to_nothing(path):
    with_all, without = codex_translate.Translator(), codex_translate.Translator()
    left_out = 0
    for line in path.read_bytes().splitlines(keepends=True):
        matters = CODEX.may_matter(line)
        left_out += not matters
        for record in readable(line):
            expected = list(with_all.translate(record, ARRIVAL, "one"))
            assert expected == (list(without.translate(record, ARRIVAL, "one")) if matters else [])
    if path in ROLLOUTS and path.stat().st_size > 100_000:
        assert left_out, "the test of a line is worth it"


def test_two_objects_on_one_line_are_both_looked_at():
    world = b'{"timestamp":"2026-11-18T06:26:40.000Z","type":"world_state","payload":{"full":true}}'
    call = b'{"timestamp":"2026-11-18T06:26:41.000Z","type":"response_item","payload":{"type":"function_call","name":"x","arguments":"{}","call_id":"c"}}'
    assert not CODEX.may_matter(world)
    assert CODEX.may_matter(call)
    assert CODEX.may_matter(world + call)


@pytest.mark.skipif(not SHARED.exists(), reason="no recorded sessions beside the project")
def test_lines_of_other_agents_are_not_recognised():
    others = [path for path in SHARED.glob("sessions/**/*.jsonl") if "codex" not in str(path)]
    assert others
    for path in others:
        with path.open("rb") as file:
            for line in [file.readline() for _ in range(30)]:
                assert not any(CODEX.recognises(record) for record in readable(line)), path


# Recorded sessions, against what their lines say when they are counted naively.


def plain(path: Path) -> tuple[Counter, tuple[int, int, int, int]]:
    """Return a rollout's calls, answers, failures, and tokens by the growth of the total."""
    count: Counter = Counter()
    names = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens")
    total = dict.fromkeys(names, 0)
    known = set()
    for record in told(path):
        payload = record.get("payload") or {}
        kind = payload.get("type")
        if record["type"] == "response_item" and kind in (
            "function_call",
            "custom_tool_call",
            "tool_search_call",
            "web_search_call",
        ):
            count["calls"] += 1
            known.add(payload.get("call_id"))
            count["answers"] += kind == "web_search_call"
        if record["type"] == "response_item" and kind.endswith("_output"):
            text = payload.get("output", "")
            count["answers"] += 1
            head = text.split("Output:\n")[0]
            count["failures"] += "exited with code" in head and "exited with code 0" not in head
            count["interrupted"] += text.startswith("aborted by user")
        count["prompts"] += (
            kind == "user_message" or payload.get("item", {}).get("type") == "UserMessage"
        )
        count["said"] += kind == "message" and payload.get("role") == "assistant"
        if kind == "token_count" and payload.get("info"):
            usage = payload["info"]["total_token_usage"]
            total = {name: usage.get(name, 0) for name in names}
    return count, tuple(total.values())


@needs_recorded
@pytest.mark.parametrize(
    "path", [path for path in ROLLOUTS if "schema" not in str(path)], ids=name_of
)
def test_a_recorded_rollout_loses_nothing(path):
    events = translated(path)
    count, used = plain(path)
    failed = Counter(event["data"]["reason"] for event in of(events, "error"))
    assert len(of(events, "tool_call")) == count["calls"]
    assert len(of(events, "tool_result", "error")) == count["answers"]
    assert failed["exit"] == count["failures"]
    assert failed["interrupted"] == count["interrupted"]
    assert len(of(events, "user_prompt")) == count["prompts"]
    assert len(of(events, "assistant_response")) == count["said"]
    assert tokens(events) == used
    assert all(event["data"]["model"] for event in of(events, "llm_response"))


@needs_recorded
@pytest.mark.parametrize("path", [path for path in RECORDED if path not in ROLLOUTS], ids=name_of)
def test_a_recorded_run_on_a_pipe_says_what_its_rollout_says(path):
    piped, rollout = translated(path), translated(path.with_name(path.name.replace(".stream", "")))
    for kinds in (("tool_call",), ("tool_result",), ("error",), ("assistant_response",)):
        assert len(of(piped, *kinds)) == len(of(rollout, *kinds))
    assert tokens(piped) == tokens(rollout)
    commands = lambda events: sorted(
        event["data"]["arguments"].get("cmd", "") for event in of(events, "tool_call")
    )
    assert commands(piped) == commands(rollout)
    assert piped[0]["session_id"] == rollout[0]["session_id"]


EXPECTED_TOKENS = {
    "cachewrite_gpt56terra": (100_000, 0, 100_000, 1000),
    "exec_turn_completed": (100_000, 0, 0, 1000),
    "gpt61sol": (100_000, 0, 0, 1000),
    "gpt6sol": (100_000, 0, 0, 1000),
    "last_only": (200_000, 0, 0, 2000),
    "no_turn_context": (100_000, 0, 0, 1000),
    "over272k_gpt54": (300_000, 0, 0, 1000),
    "over272k_gpt55": (300_000, 0, 0, 1000),
    "plain_gpt55": (100_000, 0, 0, 1000),
    "reemit": (100_000, 0, 0, 1000),
    "reset": (150_000, 0, 0, 2000),
    "skip_aborted": (300_000, 0, 0, 3000),
    "totals_only": (250_000, 100_000, 0, 2000),
    "unknown_model": (100_000, 0, 0, 1000),
}


@pytest.mark.skipif(
    not (SHARED / "cases/cost-codex").exists(), reason="no cost cases beside the project"
)
@pytest.mark.parametrize("name", EXPECTED_TOKENS)
def test_the_tokens_of_a_cost_case(name):
    assert (
        tokens(translated(SHARED / "cases/cost-codex" / f"{name}.jsonl")) == EXPECTED_TOKENS[name]
    )


def test_a_request_that_was_broken_off_is_no_part_of_the_next_one(tmp_path):
    usage = lambda count: {
        "input_tokens": count,
        "cached_input_tokens": 0,
        "output_tokens": count // 100,
    }
    counts = [
        {"total_token_usage": usage(100_000), "last_token_usage": usage(100_000)},
        {"total_token_usage": usage(300_000), "last_token_usage": usage(120_000)},
    ]
    records = [
        {
            "timestamp": "2026-11-18T06:26:40Z",
            "type": "event_msg",
            "payload": {"type": "token_count", "info": info},
        }
        for info in counts
    ]
    events = translated(written(tmp_path, records))
    assert [event["data"]["usage"]["input_tokens"] for event in events] == [
        100_000,
        80_000,
        120_000,
    ]


def test_a_record_that_comes_behind_its_token_count_adds_nothing(tmp_path):
    used = {
        "input_tokens": 1000,
        "cached_input_tokens": 0,
        "output_tokens": 10,
        "total_tokens": 1010,
    }
    count = {
        "type": "event_msg",
        "payload": {
            "type": "token_count",
            "info": {"total_token_usage": used, "last_token_usage": used},
        },
    }
    record = {
        "type": "token_usage_record",
        "payload": {"response_id": "r", "usage": used, "thread_token_usage": used},
    }
    for order in ([count, record], [record, count], [record, record, count]):
        events = translated(
            written(tmp_path, [{"timestamp": "2026-11-18T06:26:40Z", **line} for line in order])
        )
        assert tokens(events) == (1000, 0, 0, 10)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_may_be_asked_whether_they_matter(line):
    assert CODEX.may_matter(line) in (True, False)


def test_a_line_of_great_size_is_read_in_good_time():
    text = "Chunk ID: a\nWall time: 0.1 seconds\nProcess exited with code 0\nOutput:\n" + "x\n" * (
        4 << 20
    )
    payload = {"type": "function_call_output", "call_id": "c", "output": text}
    translator = codex_translate.Translator()
    (event,) = translator.translate(
        {"timestamp": "2026-11-18T06:26:40Z", "type": "response_item", "payload": payload}, ARRIVAL
    )
    assert event["data"]["result_bytes"] == len(text)


# Where sessions are found.


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    home = tmp_path / "codex-home"
    home.mkdir()
    monkeypatch.setenv("CODEX_HOME", str(home))
    return home


def put(home: Path, fixture: str, name: str, day: str = "2026/11/18", *, changed: float) -> Path:
    folder = home / "sessions" / day
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rollout-{name}.jsonl"
    path.write_bytes((HERE / fixture).read_bytes())
    os.utime(path, (changed, changed))
    return path


def test_sessions_are_found_newest_change_first_and_subagents_within_theirs(home):
    root = put(home, "rollout-0.169.jsonl", "2026-11-18T07-26-40-a", changed=1_795_000_100)
    child = put(
        home, "rollout-0.169-subagent.jsonl", "2026-11-18T07-26-46-b", changed=1_795_000_050
    )
    old = put(
        home, "rollout-0.66.jsonl", "2026-11-01T10-00-00-c", "2026/11/01", changed=1_795_000_200
    )
    (home / "archived_sessions").mkdir()
    archived = home / "archived_sessions" / "rollout-2026-10-01T10-00-00-d.jsonl"
    archived.write_bytes((HERE / "rollout-fork.jsonl").read_bytes())
    os.utime(archived, (1, 1))
    (home / "sessions" / "2026/11/18" / "rollout-x.jsonl.zst").write_bytes(b"x")
    (home / "sessions" / "2026/11/18" / "notes.jsonl").write_bytes(root.read_bytes())
    found = list(CODEX.sessions())
    assert [session.path for session in found] == [old, root, archived]
    assert found[1] == Session(
        "codex",
        "01a1ee56-5e00-73cc-a001-0000003cc001",
        "/home/dev/shop",
        root,
        1_795_000_000.0,
        1_795_000_100.0,
    )
    assert CODEX.files(found[1]) == [root, child]
    assert CODEX.files(found[0]) == [old]


def test_a_subagent_that_is_spawned_later_is_found(home):
    root = put(home, "rollout-0.169.jsonl", "2026-11-18T07-26-40-a", changed=1_795_000_100)
    (session,) = CODEX.sessions()
    assert CODEX.files(session) == [root]
    child = put(
        home,
        "rollout-0.169-subagent.jsonl",
        "2026-11-19T00-00-10-b",
        "2026/11/19",
        changed=1_795_000_110,
    )
    assert CODEX.files(session) == [root, child]


def test_a_head_that_is_not_whole_yet_is_read_when_it_is(home):
    path = put(home, "rollout-0.169.jsonl", "2026-11-18T07-26-40-a", changed=1_795_000_100)
    whole = path.read_bytes()
    for half in (
        b"",
        whole[:50],
        whole.split(b"\n")[0],
        b"[1]\n",
        b"\xff\xfe\n",
        b'{"type":"session_meta","payload":7}\n',
    ):
        path.write_bytes(half)
        assert list(CODEX.sessions()) == []
    path.write_bytes(whole)
    assert [session.path for session in CODEX.sessions()] == [path]


def test_without_a_directory_there_are_no_sessions(home):
    home.rmdir()
    assert list(CODEX.sessions()) == []
    gone = Session("codex", "x", "", home / "rollout-gone.jsonl", 0.0, 0.0)
    assert CODEX.files(gone) == [gone.path]
    assert CODEX.process(gone) is None


def test_the_directory_is_the_users_own_unless_another_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CODEX_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = put(
        tmp_path / ".codex", "rollout-0.66.jsonl", "2026-11-18T07-26-40-a", changed=1_795_000_100
    )
    assert [session.path for session in CODEX.sessions()] == [path]


# Which process it is. Stand-ins hold the file as the client does.


HOLD = "import sys, time; files = [open(path, 'ab' if mode == 'w' else 'rb') for mode, path in zip(sys.argv[1::2], sys.argv[2::2])]; print(flush=True); time.sleep(60)"


@pytest.fixture
def holder():
    started = []

    def start(*words: str) -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLD, *words], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def session(home) -> Session:
    put(home, "rollout-0.169.jsonl", "2026-11-18T07-26-40-a", changed=time.time())
    return next(CODEX.sessions())


def test_the_process_is_the_one_that_writes_the_rollout(session, holder):
    assert CODEX.process(session) is None and not CODEX.is_active(session)
    holder("r", str(session.path))
    assert CODEX.process(session) is None, "whoever reads it does not run it"
    writer = holder("w", str(session.path))
    assert CODEX.process(session) == identify(writer.pid)
    assert CODEX.control_socket(session) is None and CODEX.is_active(session)
    holder("w", str(session.path))
    assert CODEX.process(session) is None, "two are none"


def test_the_process_is_known_by_the_lock_when_the_rollout_is_closed(home, session, holder):
    lock = home / "thread-writer-locks" / f"{session.id}.lock"
    lock.parent.mkdir()
    lock.touch()
    writer = holder("w", str(lock))
    assert CODEX.process(session) == identify(writer.pid)
    writer.kill()
    until(lambda: CODEX.process(session) is None)


def test_a_process_that_serves_several_sessions_is_only_named_with_its_control_socket(
    home, session, holder, monkeypatch
):
    # The stand-in opens a file called so: the word is in its command line, as in the daemon's.
    monkeypatch.chdir(home)
    Path("app-server").touch()
    server = holder("w", str(session.path), "r", "app-server")
    assert CODEX.process(session) is None and CODEX.control_socket(session) is None
    assert CODEX.is_active(session), "it is live all the same"
    folder = home / "app-server-control"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("app-server-control.sock")
        assert CODEX.process(session) == identify(server.pid)
        assert CODEX.control_socket(session) == folder / "app-server-control.sock"
