"""agent-strace backtest: limits tried on what was recorded."""

import json
import os
import shutil
from pathlib import Path

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.detect.backtest import ended_well
from tests.helpers.support import ENVIRONMENT, FIXTURES, Stream, command, events_of, run
from tests.helpers.terminal import shown_on_terminal


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine with two sessions on it: one that spiralled, and one that went well."""
    monkeypatch.chdir(tmp_path)
    for name, data in (
        ("3f6e2c1a-9b7d-4e", (FIXTURES / "spiral.ndjson").read_bytes()),
        ("healthy", Stream(session="healthy").bash("ls").bytes),
    ):
        folder = Path(".agent-traces") / name
        folder.mkdir(parents=True)
        (folder / "events.ndjson").write_bytes(data)
    return {
        "HOME": str(tmp_path),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"),
        "CODEX_HOME": str(tmp_path / "codex"),
    }


def tried(home: dict, *args: str) -> list[dict]:
    done = run("agent-strace", "backtest", *args, env=home)
    assert done.returncode == 0, done.stderr
    return events_of(done.stdout)


def test_says_what_would_have_been_raised_and_what_it_would_have_saved(home):
    events = tried(home, "--since", "off", "--max-retries", "3")
    raised = [
        event["data"]
        for event in events
        if event["event_type"] == "violation"
        and event["data"]["watcher"] == "retry"
        and event["data"]["level"] == "critical"
    ]
    assert (
        len(raised) == 1 and raised[0]["count"] == 3 and raised[0]["path"].endswith("events.ndjson")
    )
    sessions = {
        event["session_id"]: event["data"] for event in events if event["event_type"] == "backtest"
    }
    spiral, healthy = sessions["3f6e2c1a-9b7d-4e"], sessions["healthy"]
    assert 0 < raised[0]["usd_later"] < spiral["usd"]
    assert (
        spiral["alarms"]["retry"] == [2, 3, 4, 5]
        and healthy["alarms"]["retry"] == []
        and healthy["violations"] == 0
    )


def test_a_higher_limit_raises_less(home):
    raised = lambda *args: [
        event
        for event in tried(home, "--since", "off", *args)
        if event["event_type"] == "violation" and event["data"]["watcher"] == "retry"
    ]
    assert raised("--max-retries", "7") == []
    Path(".agent-watch.json").write_text(json.dumps({"watchers": {"retry": False}}))
    assert raised() == []


def test_since_leaves_out_what_is_older(home):
    os.utime(".agent-traces/healthy/events.ndjson", (1, 1))
    assert [
        event["session_id"]
        for event in tried(home, "--since", "1d")
        if event["event_type"] == "backtest"
    ] == ["3f6e2c1a-9b7d-4e"]


def test_a_session_that_cannot_be_read_does_not_cost_the_others(home):
    shutil.rmtree(".agent-traces/healthy")
    (Path(".agent-traces/healthy")).mkdir()
    Path(".agent-traces/healthy/events.ndjson").write_bytes(b"\x00\xff not a line\n")
    assert (
        len([event for event in tried(home, "--since", "off") if event["event_type"] == "backtest"])
        == 2
    )


def on_a_terminal(home: dict, *args: str, width: int = 80) -> list[str]:
    shown = shown_on_terminal(
        command("agent-strace", "backtest", *args),
        ENVIRONMENT | home | {"NO_COLOR": "1", "COLUMNS": ""},
        columns=width,
    )
    return shown.decode().splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_that_fits_the_terminal(home, width):
    lines = on_a_terminal(home, "--since", "off", width=width)
    assert max(map(len, lines)) < width
    assert lines[0].split()[0] == "ID" and lines[1].split()[0] == "3f6e2c1a"
    assert any("1 of 2 sessions would have been stopped" in line for line in lines)
    assert any(line.startswith("retry") for line in lines) and "5*" in "".join(lines)


def test_files_and_folders_are_judged_instead_of_this_home(home, tmp_path):
    folder = tmp_path / "elsewhere" / "deep"
    folder.mkdir(parents=True)
    (folder / "spiral.ndjson").write_bytes((FIXTURES / "spiral.ndjson").read_bytes())
    (folder / "notes.json").write_text("{}")
    for path in (folder / "spiral.ndjson", tmp_path / "elsewhere"):
        found = [each for each in tried(home, str(path)) if each["event_type"] == "backtest"]
        assert [each["data"]["path"] for each in found] == [str(folder / "spiral.ndjson")]
    for path in (tmp_path / "none", folder / "notes.json"):
        done = run("agent-strace", "backtest", path, env=home)
        assert done.returncode == 2 and path.name.encode() in done.stderr


def test_a_stream_is_judged_by_session(home):
    spiral, healthy = (FIXTURES / "spiral.ndjson").read_bytes(), Stream("h").bash("ls").bytes
    mixed = b"".join(
        map(b"".join, zip(spiral.splitlines(True), healthy.splitlines(True), strict=False))
    )
    rest = spiral.splitlines(True)[len(healthy.splitlines()) :]
    done = run("agent-strace", "backtest", "-", input=mixed + b"".join(rest), env=home)
    found = {
        each["session_id"]: each["data"]["alarms"]["retry"]
        for each in events_of(done.stdout)
        if each["event_type"] == "backtest"
    }
    assert found == {"3f6e2c1a-9b7d-4e10-8a52-6d1c0f9be771": tried_alarms(home), "h": []}


def tried_alarms(home: dict) -> list[int]:
    (found,) = [
        each["data"]["alarms"]["retry"]
        for each in tried(home, "--since", "off")
        if each["event_type"] == "backtest" and each["session_id"].startswith("3f6e")
    ]
    return found


def test_several_jobs_find_what_one_does(home):
    one = tried(home, "--since", "off", "--jobs", "1")
    assert tried(home, "--since", "off", "--jobs", "3") == one


def test_suggested_limits_stop_few_of_the_sessions_that_ended_well(home, tmp_path):
    folder = tmp_path / "well"
    folder.mkdir()
    for number in range(20):
        stream = Stream(f"s{number}")
        stream.add("user_prompt", {"prompt": "fix it"})
        for _ in range(3 if number == 0 else 1):
            stream.bash("make", exit_code=2)
        stream.add("assistant_response", {"text": "done"})
        (folder / f"s{number}.ndjson").write_bytes(stream.bytes)
    done = run("agent-strace", "backtest", "--suggest", folder, env=home)
    config = json.loads(done.stdout)
    assert config["watchers"]["retry"] == {"max": 2}
    for number in range(1, 3):
        stream = Stream(f"s{number}")
        stream.add("user_prompt", {"prompt": "fix it"})
        for _ in range(3):
            stream.bash("make", exit_code=2)
        stream.add("assistant_response", {"text": "done"})
        (folder / f"s{number}.ndjson").write_bytes(stream.bytes)
    config = json.loads(run("agent-strace", "backtest", "--suggest", folder, env=home).stdout)
    assert config["watchers"]["retry"] == {"max": 4}
    Path(".agent-watch.json").write_text(json.dumps(config))
    assert run("agent-strace", "watch", "--explain", env=home).returncode == 0


def test_what_ended_well():
    def well(*kinds: str) -> bool:
        events = []
        for kind in kinds:
            name, _, outcome = kind.partition(":")
            fields = {"event_type": name, "session_id": "s", "data": {"outcome": outcome}}
            events.append(from_fields(fields))
        return ended_well(events)

    assert well("user_prompt", "tool_call", "tool_result:passed", "assistant_response")
    assert well("user_prompt", "tool_result:failed", "tool_result:passed", "assistant_response")
    assert not well("user_prompt", "tool_call", "tool_result:failed", "assistant_response")
    assert not well("user_prompt", "assistant_response", "tool_call")
    assert not well("user_prompt", "assistant_response", "user_prompt")


def test_a_bad_limit_stops_the_start(home):
    assert run("agent-strace", "backtest", "--max-retries", "many", env=home).returncode == 2
