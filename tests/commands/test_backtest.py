"""agent-strace backtest: limits tried on what was recorded."""

import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.support import ENVIRONMENT, FIXTURES, Stream, command, events_of, run


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


def test_a_table_on_a_terminal(home):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("agent-strace", "backtest", "--since", "off"),
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT | home,
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    assert process.wait(20) == 0
    text = shown.decode()
    assert (
        "1 of 2 sessions would have been stopped" in text
        and "sessions stopped, by threshold:" in text
        and "RetryWatcher" not in text
    )


def test_a_bad_limit_stops_the_start(home):
    assert run("agent-strace", "backtest", "--max-retries", "many", env=home).returncode == 2
