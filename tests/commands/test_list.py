"""trace-list: what can be read here, and what of it is live."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.support import ENVIRONMENT, STANDINS, Stream, command, events_of, run, until

STANDIN = STANDINS / "claude"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("home", "proj", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "proj")
    return {
        "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "claude"),
        "CODEX_HOME": str(tmp_path / "codex"),
    }


def listed(home: dict, *args: str) -> list[dict]:
    done = run("trace-list", *args, env=home)
    assert done.returncode == 0 and done.stderr == b""
    return events_of(done.stdout)


def recorded(session: str, at: float) -> None:
    folder = Path(".agent-traces") / session
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"session_id": session, "started_at": at}))
    (folder / "events.ndjson").write_bytes(Stream(session=session, at=at).bash("ls").bytes)
    os.utime(folder / "events.ndjson", (at, at))


def test_newest_first_with_what_is_known(home):
    for session, at in (("aaaa1111", 1_795_000_000.0), ("bbbb2222", 1_795_100_000.0)):
        recorded(session, at)
    events = listed(home)
    assert [event["session_id"] for event in events] == ["bbbb2222", "aaaa1111"]
    data = events[0]["data"]
    assert (data["agent"], data["cwd"], data["live"], data["started"], data["modified"]) == (
        "store",
        os.getcwd(),
        False,
        1_795_100_000.0,
        1_795_100_000.0,
    )
    assert data["path"].endswith("bbbb2222/events.ndjson") and "pid" not in data


def test_the_live_one_has_its_process(home):
    agent = subprocess.Popen(
        [sys.executable, STANDIN, "--scenario", "silent", "--pause", "60"], env=ENVIRONMENT | home
    )
    recorded("aaaa1111", 1_795_000_000.0)
    try:
        until(lambda: len(listed(home)) == 2 and listed(home, "--live"), what="the session")
        (event,) = listed(home, "--live")
        assert event["data"]["pid"] == agent.pid and event["data"]["how"] == "registry"
    finally:
        agent.kill()
        agent.wait()
    assert listed(home, "--live") == [] and len(listed(home)) == 2


def test_other_directories_only_when_asked(home, tmp_path):
    agent = subprocess.Popen(
        [sys.executable, STANDIN, "--scenario", "silent", "--pause", "60"],
        env=ENVIRONMENT | home,
        cwd=tmp_path / "other",
    )
    try:
        until(lambda: listed(home, "--all-dirs"), what="the session")
        assert listed(home) == []
    finally:
        agent.kill()
        agent.wait()


def test_a_line_for_people_on_a_terminal(home):
    recorded("aaaa1111", 1_795_000_000.0)
    ours, theirs = pty.openpty()
    subprocess.run(
        command("trace-list"), stdout=theirs, env=ENVIRONMENT | home, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    line = os.read(ours, 4096).decode()
    os.close(ours)
    assert line.startswith("store    aaaa1111") and "ago" in line and "{" not in line


def transcript(home: dict, session: str, at: float) -> None:
    """A session as Claude Code has written it."""
    path = Path(home["CLAUDE_CONFIG_DIR"]) / "projects" / "-proj" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    message = {"role": "user", "content": "hello"}
    line = {
        "type": "user",
        "uuid": "u1",
        "timestamp": "2026-11-20T10:00:00Z",
        "sessionId": session,
        "cwd": os.getcwd(),
        "message": message,
    }
    path.write_text(json.dumps(line) + "\n")
    os.utime(path, (at, at))


def test_a_session_that_its_hooks_have_written_too_is_listed_once(home):
    """It is the agent's own that is listed: the store has less of it. Another session in the store stays."""
    recorded("5b1d3c7a-2f4e-4c", 1_795_100_000.0)
    recorded("aaaa1111", 1_795_000_000.0)
    assert [event["session_id"] for event in listed(home)] == ["5b1d3c7a-2f4e-4c", "aaaa1111"]
    transcript(home, "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134", 1_795_090_000.0)
    events = listed(home)
    assert [(event["data"]["agent"], event["session_id"]) for event in events] == [
        ("claude", "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134"),
        ("store", "aaaa1111"),
    ]
