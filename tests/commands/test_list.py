"""trace-list: what can be read here, and what of it is live."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.support import ENVIRONMENT, STANDINS, Stream, command, events_of, run, until
from tests.helpers.terminal import shown_on_terminal

STANDIN = STANDINS / "claude"


def listed(home: dict, *args: str) -> list[dict]:
    done = run("trace-list", *args, env=home)
    assert done.returncode == 0 and (done.stdout == b"" or done.stderr == b"")
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
        said = run("trace-list", env=home).stderr
        assert (
            said
            == b"trace-list: no session in this directory; 1 elsewhere: trace-list --all-dirs\n"
        )
    finally:
        agent.kill()
        agent.wait()


def on_terminal(home: dict, *args: str, columns: int = 80, **environment: str) -> list[str]:
    """Return the lines that trace-list writes to a terminal."""
    terminal = {"LC_ALL": "C.UTF-8", "TERM": "xterm", "COLUMNS": str(columns)}
    written = shown_on_terminal(
        command("trace-list", *args), ENVIRONMENT | terminal | home | environment, columns=columns
    )
    return written.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_16_11_a_table_on_a_terminal_newest_last(home, columns):
    for number in range(14):
        recorded(f"{number:08x}-0000-4000", time.time() - 86_400 * (20 - number))
    transcript(home, "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134", time.time() - 90)
    header, *rows = on_terminal(home, columns=columns)
    end = next(at for at, line in enumerate(rows) if set(line) == {"─"})
    rows, rule, footer = rows[:end], rows[end], " ".join(rows[end + 1 :])
    assert header.split()[:1] == ["ID"] and len(rows) == 12 and set(rule) == {"─"}
    assert rows[-1].split()[:2] == ["·", "5b1d3c7a"]
    assert [line for line in (header, *rows, rule) if len(line) >= columns] == []
    assert "1m 3" in rows[-1] and (columns == 40 or "hello" in rows[-1])
    assert "12 of 15 sessions" in footer
    listed = on_terminal(home, "--all", columns=columns)
    assert sum(line.startswith("·") for line in listed) == 15
    assert on_terminal(home, "--reverse", columns=columns)[1].split()[1] == "5b1d3c7a"


def test_16_11_without_a_session_here_the_others_are_counted(home, tmp_path):
    recorded("aaaa1111", 1_795_000_000.0)
    transcript(home, "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134", 1_795_090_000.0)
    os.chdir(tmp_path / "other")
    assert on_terminal(home) == [
        "no session in this directory · 1 elsewhere: trace-list --all-dirs"
    ]


def test_16_15_what_an_agent_wrote_reaches_a_terminal_escaped(home):
    path = transcript(home, "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134", 1_795_090_000.0)
    path.write_text(path.read_text().replace("hello", "\\u001b]52;c;AAAA\\u0007 \\u202e x"))
    (_, row, *_) = on_terminal(home, columns=200)
    assert "\x1b]" not in row and "\u202e" not in row and "x1b]52" in row


def transcript(home: dict, session: str, at: float) -> Path:
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
    return path


def test_a_session_that_its_hooks_have_written_too_is_listed_once(home):
    """The agent's own session is listed, as the store has less of it; others in the store stay."""
    recorded("5b1d3c7a-2f4e-4c", 1_795_100_000.0)
    recorded("aaaa1111", 1_795_000_000.0)
    assert [event["session_id"] for event in listed(home)] == ["5b1d3c7a-2f4e-4c", "aaaa1111"]
    transcript(home, "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134", 1_795_090_000.0)
    events = listed(home)
    assert [(event["data"]["agent"], event["session_id"]) for event in events] == [
        ("claude", "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134"),
        ("store", "aaaa1111"),
    ]
