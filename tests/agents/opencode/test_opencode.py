"""agents/opencode: event rows of the database, `run --format json`, following live."""

import json
import select
import sqlite3
import sys
import time
from functools import partial

import pytest

from agent_pipes.agents.opencode import place
from agent_pipes.agents.opencode.agent import AGENT as OPENCODE
from agent_pipes.sessions.files.file_follower import FileFollower
from agent_pipes.sessions.files.row_follower import ROWS_INTERVAL_S
from tests.helpers.support import FIXTURES, run
from tests.helpers.translating import typed

TASK, STREAM = FIXTURES / "opencode" / "task.jsonl", FIXTURES / "opencode" / "stream.jsonl"
MAIN = "ses_dd362a080ffeCvDAckrqF86kY1"
CHILD = "ses_dd362969cffe1vYnaYrhB6ffh0"

TABLES = """
create table event(id text primary key, aggregate_id text, seq integer, type text, data text);
create table session(id text, parent_id text, directory text, time_created int, time_updated int);
"""


events = partial(typed, "opencode")


def test_each_call_and_result_comes_once_though_its_state_is_written_again():
    calls, ends = events(TASK, "tool_call"), events(TASK, "tool_result", "error")
    assert sorted(call["event_id"] for call in calls) == sorted(end["parent_id"] for end in ends)
    assert len({call["event_id"] for call in calls}) == len(calls) == 4


def test_failing_command_is_an_error_though_its_state_is_completed():
    error, *_ = events(STREAM, "error")
    assert (error["data"]["reason"], error["data"]["exit_code"]) == ("exit", 1)
    assert error["data"]["error"].startswith("1 failed")
    assert error["duration_ms"] == 106


def test_tool_error_is_an_error_of_the_tool():
    reasons = {event["data"]["reason"] for event in events(TASK, "error")}
    assert "tool" in reasons


def test_subagent_is_part_of_its_parents_session():
    assert {event["session_id"] for event in events(TASK)} == {MAIN}
    (start,) = events(TASK, "subagent_start")
    assert start["data"] == {"agent_id": CHILD, "agent_type": "general"}
    (stop,) = events(TASK, "subagent_stop")
    assert stop["data"]["agent_id"] == CHILD
    used = [event["data"] for event in events(TASK, "llm_response")]
    assert {each.get("agent_id", "") for each in used} == {"", CHILD}, "billed with the session"


def test_usage_includes_cached_parts_and_reasoning():
    first = events(TASK, "llm_response")[0]["data"]
    assert first["usage"] == {
        "input_tokens": 7691,
        "output_tokens": 150,
        "cache_read_input_tokens": 6921,
        "cache_creation_input_tokens": 0,
        "reasoning_output_tokens": 50,
    }
    assert first["reported_usd"] == pytest.approx(0.0066363)
    assert first["model"] == "stub-model"


def test_only_the_persons_prompt_is_one():
    assert [event["data"] for event in events(TASK, "user_prompt")] == [
        {"prompt": '"fix the failing test"', "origin": "person"}
    ]


@pytest.fixture
def database(tmp_path, monkeypatch):
    """An empty database of OpenCode's, open to write."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    place.database().parent.mkdir()
    connection = sqlite3.connect(place.database(), isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.executescript(TABLES)
    yield connection
    connection.close()


def fill(connection: sqlite3.Connection, rows: list[dict]) -> None:
    for row in rows:
        connection.execute(
            "insert into event values (?, ?, ?, ?, ?)",
            (f"{row['aggregate_id']}{row['seq']}", row["aggregate_id"], row["seq"], row["type"],
             json.dumps(row["data"])),
        )  # fmt: skip


ROWS = [json.loads(line) for line in TASK.read_bytes().splitlines()]


def test_rows_come_as_they_are_committed_and_those_of_other_sessions_do_not(database):
    reader = OPENCODE.row_reader(place.database() / MAIN)
    assert reader.read() == []
    fill(database, [{**ROWS[0], "aggregate_id": "ses_other"}, *ROWS[:10]])
    first = [json.loads(line) for line in reader.read()]
    assert first == ROWS[:10] and reader.read() == []
    fill(database, ROWS[10:])
    assert [json.loads(line) for line in reader.read()] == ROWS[10:], "the subagent's, too"
    reader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_a_write_to_the_log_wakes_its_follower_which_does_not_poll(database):
    path = place.database() / MAIN
    follower = FileFollower(warn=pytest.fail)
    follower.add(path, rows=OPENCODE.row_reader(path))
    while follower.interval < ROWS_INTERVAL_S * 10:
        list(follower.read())
    for row in (ROWS[0], ROWS[1]):
        fill(database, [row])
        assert select.select([follower.fileno()], [], [], 20)[0], "no wake-up"
        found: list[bytes] = []
        while not found:
            found = [line for chunk in follower.read() for line in chunk.lines]
        assert [json.loads(line) for line in found] == [row]
        assert follower.interval <= ROWS_INTERVAL_S, "a commit may follow its log"
    follower.close()


def test_rows_are_polled_without_inotify(database):
    path = place.database() / MAIN
    follower = FileFollower(poll=True, warn=pytest.fail)
    follower.add(path, rows=OPENCODE.row_reader(path))
    list(follower.read())
    assert follower.interval <= ROWS_INTERVAL_S
    follower.close()


def test_subagents_sessions_are_none_of_their_own(database, tmp_path):
    now = time.time() * 1000
    database.execute("insert into session values (?, null, ?, ?, ?)", (MAIN, str(tmp_path), 1, now))
    database.execute("insert into session values (?, ?, ?, ?, ?)", (CHILD, MAIN, "/", 1, now))
    (session,) = OPENCODE.sessions()
    assert (session.id, session.cwd) == (MAIN, str(tmp_path))
    assert list(OPENCODE.recent_sessions(time.time() + 60)) == []


def test_stored_session_is_read_by_its_id(database, tmp_path):
    fill(database, ROWS)
    now = time.time() * 1000
    database.execute("insert into session values (?, null, ?, ?, ?)", (MAIN, str(tmp_path), 1, now))
    env = {"XDG_DATA_HOME": str(tmp_path)}
    done = run("trace-tail", "--no-follow", MAIN, env=env, cwd=tmp_path)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event_id"] for event in found] == [event["event_id"] for event in events(TASK)]


def test_no_database_is_no_session(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert list(OPENCODE.sessions()) == []
    place.database().parent.mkdir()
    place.database().write_bytes(b"no database at all, but a long text instead of its header")
    assert list(OPENCODE.sessions()) == []
    assert OPENCODE.row_reader(place.database() / MAIN).read() == []
