"""Cost of recorded session files: each response once, as the best of its lines has it."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from agent_pipes.cost.meter import Meter
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.recorded import SessionCosts, session_at
from tests.helpers.support import ENVIRONMENT, FIXTURES, command, run

MILLION = 1_000_000


def line(
    id="m1",
    *,
    input=0,
    output=0,
    stop: str | None = "end_turn",
    model="claude-opus-4-8",
    content=(),
    uuid="",
    **more,
) -> dict:
    """One line of a transcript."""
    told = {
        "input_tokens": input,
        "output_tokens": output,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    } | more.pop("usage", {})
    message = {
        "id": id,
        "model": model,
        "role": "assistant",
        "content": list(content),
        "stop_reason": stop,
        "usage": told,
    }
    return {
        "type": "assistant",
        "uuid": uuid or f"u{line.number()}",
        "timestamp": "2026-08-01T00:00:00.000Z",
        "sessionId": "s",
        "message": message,
    } | more


line.number = iter(range(10**6)).__next__


def text(length: int) -> list[dict]:
    return [{"type": "text", "text": "x" * length}]


def inlined(inner: dict) -> dict:
    return {
        "type": "progress",
        "uuid": f"p{line.number()}",
        "timestamp": inner["timestamp"],
        "sessionId": "s",
        "data": {"type": "agent_progress", "agentId": "a", "message": inner},
    }


def written(path: Path, records: list[dict | bytes]) -> Path:
    path.write_bytes(
        b"".join(
            each
            if isinstance(each, bytes)
            else json.dumps(each, separators=(",", ":")).encode() + b"\n"
            for each in records
        )
    )
    return path


def billed(*paths: Path, recorded=False) -> dict[str, tuple[float, float]]:
    """Return dollars, and the estimated part of them, by session."""
    meter = Meter(recorded=recorded)
    for path in paths:
        for _ in SessionCosts(session_at(path), meter):
            pass
    for session in list(meter.accounts):
        meter.finish(session)
    found = {
        name: (account.ledger.total / DOLLAR, account.ledger.estimated / DOLLAR)
        for name, account in meter.accounts.items()
    }
    return {name: each for name, each in found.items() if each[0]}


CASES = {
    "plain": ([line("a", input=MILLION), line("b", output=MILLION)], 30.0),
    "a line for each block": (
        [
            line("a", input=MILLION, output=1000),
            line("a", input=MILLION, output=1000),
            line("a", input=MILLION, output=1000),
        ],
        5.025,
    ),
    "a placeholder first": (
        [line("a", input=MILLION, output=1, stop=None), line("a", input=MILLION, output=1000)],
        5.025,
    ),
    "a placeholder last": (
        [line("a", input=MILLION, output=1000), line("a", input=MILLION, output=1, stop=None)],
        5.025,
    ),
    "a smaller count last": (
        [line("a", input=MILLION, output=1000), line("a", input=MILLION, output=1)],
        5.025,
    ),
    "placeholders only": (
        [
            line("a", output=2, stop=None, content=text(300)),
            line("a", output=2, stop=None, content=text(600)),
        ],
        0.0075,
    ),
    "a fallback to another model": (
        [
            line("a", input=MILLION, output=9, stop=None),
            line("a", input=MILLION, model="claude-sonnet-5"),
        ],
        2.0,
    ),
    "a subagent in progress lines": (
        [
            line("a", input=MILLION),
            inlined(line("b", input=MILLION)),
            inlined(line("b", input=MILLION)),
        ],
        10.0,
    ),
    "a sidechain's copy": (
        [
            line("a", input=MILLION, isSidechain=True),
            line("a", input=MILLION, output=1000),
            line("a", input=MILLION, isSidechain=True),
        ],
        5.025,
    ),
    "no id": ([line(None, input=MILLION), line(None, input=MILLION)], 10.0),
    "no model": ([line("a", input=MILLION, model=None)], 0.0),
    "text of no model": ([line("a", input=MILLION, model="<synthetic>")], 0.0),
    "what another session was billed for": (
        [line("a", input=MILLION), line("b", input=MILLION, forkedFrom={"sessionId": "other"})],
        5.0,
    ),
    "a compaction": (
        [
            line(
                "a",
                input=MILLION,
                usage={
                    "iterations": [
                        {"type": "compaction", "input_tokens": MILLION},
                        {"type": "message", "input_tokens": MILLION},
                    ]
                },
            )
        ],
        10.0,
    ),
    "how it was made": (
        [
            line("a", input=MILLION, usage={"speed": "fast"}),
            line("b", input=MILLION, usage={"inference_geo": "us", "service_tier": "standard"}),
        ],
        15.5,
    ),
    "searches and an hour's cache": (
        [
            line(
                "a",
                usage={
                    "cache_creation_input_tokens": MILLION,
                    "cache_creation": {"ephemeral_1h_input_tokens": MILLION},
                    "server_tool_use": {"web_search_requests": 10},
                },
            )
        ],
        10.1,
    ),
    "two objects on a line": (
        [
            json.dumps(line("a", input=MILLION)).encode()
            + json.dumps(line("b", input=MILLION)).encode()
            + b"\n"
        ],
        10.0,
    ),
    "white space": (
        [
            json.dumps(line("a", input=MILLION), indent=None, separators=(" , ", " : ")).encode()
            + b"\r\n"
        ],
        5.0,
    ),
    "no newline at the end": (
        [line("a", input=MILLION), json.dumps(line("b", input=MILLION)).encode()],
        10.0,
    ),
    "wrong types": (
        [
            line("a", input=MILLION),
            {"type": "assistant", "sessionId": "s", "message": {"id": "x", "usage": []}},
            {"type": "progress", "sessionId": "s", "usage": 1},
        ],
        5.0,
    ),
    "counts that are none": (
        [
            line("a", input=MILLION),
            line(
                "b",
                input="9",
                usage={"output_tokens": -1, "cache_read_input_tokens": True, "cache_creation": 5},
            ),
        ],
        5.0,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_transcript(name, recorded, tmp_path):
    records, usd = CASES[name]
    path = written(tmp_path / "s.jsonl", records)
    found = billed(path, recorded=recorded)
    if not recorded or name != "placeholders only":
        assert found.get("s", (0.0,))[0] == pytest.approx(usd)


def test_recorded_only_leaves_a_placeholder_as_it_is(tmp_path):
    path = written(tmp_path / "s.jsonl", CASES["placeholders only"][0])
    assert billed(path, recorded=True) == {"s": (2 * 25 / MILLION, 0.0)}
    assert billed(path) == {"s": (0.0075, 0.0075)}


def test_a_subagents_own_file_and_its_copy_in_the_main_one_count_once(tmp_path):
    inner = line("b", input=MILLION)
    main = written(tmp_path / "s.jsonl", [line("a", input=MILLION), inlined(inner)])
    own = written(tmp_path / "agent-a.jsonl", [inner | {"isSidechain": True, "agentId": "a"}])
    assert billed(main, own) == {"s": (10.0, 0.0)}


def test_a_bad_line_is_said_and_remembered(tmp_path):
    path = written(
        tmp_path / "s.jsonl",
        [line("a", input=MILLION), b'{"type":"assistant","usage"\n', line("b", input=MILLION)],
    )
    done = run("trace-cost", path)
    assert done.returncode == 2 and f"{path}:2: not JSON".encode() in done.stderr
    assert json.loads(done.stdout)["data"]["usd"] == 10


def test_a_file_in_no_known_format_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
    for name in ("x.jsonl", "none.jsonl"):
        done = run("trace-cost", tmp_path / name)
        assert done.returncode == 2 and done.stdout == b"" and name.encode() in done.stderr


def test_the_command_sums_up_its_files(tmp_path):
    one = written(
        tmp_path / "one.jsonl", [line("a", input=MILLION), line("b", input=MILLION, model="foo-9")]
    )
    two = written(
        tmp_path / "two.jsonl",
        [
            each | {"sessionId": "t"}
            for each in (line("c", input=0, output=1000), line("d", input=0, output=1000))
        ],
    )
    done = run("trace-cost", one, two, input=b"not read")
    first, second = [json.loads(each) for each in done.stdout.splitlines()]
    assert (first["session_id"], first["data"]["usd"], first["data"]["unpriced_responses"]) == (
        "s",
        5,
        1,
    )
    assert (second["session_id"], second["data"]["usd"]) == ("t", 0.05)
    assert done.stderr.count(b"\n") == 1 and b"no price is known for 'foo-9'" in done.stderr
    assert (
        json.loads(run("trace-cost", "--unpriced-as", "claude-opus-4-8", one).stdout)["data"]["usd"]
        == 10
    )


def test_a_store_that_records_no_usage_is_estimated(tmp_path):
    events = [
        each
        for each in (FIXTURES / "spiral.ndjson").read_bytes().splitlines(keepends=True)
        if b'"llm_response"' not in each
    ]
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"".join(events))
    ((usd, estimated),) = billed(path).values()
    assert usd == estimated > 0.1


def test_with_files_standard_input_may_be_a_terminal(tmp_path):
    path = written(tmp_path / "one.jsonl", [line("a", input=MILLION)])
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command("trace-cost", path), stdin=theirs, capture_output=True, env=ENVIRONMENT
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and json.loads(done.stdout)["data"]["usd"] == 5
