"""An agent's text is never obeyed: not by a terminal, a shell or the breaker."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_kill import started_at
from tests.commands.test_watch import screen
from tests.helpers.support import ENVIRONMENT, STANDINS, Stream, command, events_of, gone, run

STANDIN = STANDINS / "claude"

EVIL = "\x1b[2J\x1b]8;;https://evil.invalid\x07here\x1b]8;;\x07\x1b]52;c;aGk=\x07\u202edeploy\u2066\x9b1m\r\x08"

OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")
"""Characters that a terminal acts on; \\r\\n is a terminal's own end of a line."""


def store(stream: Stream, session: str, active: bool = False) -> Path:
    folder = Path(".agent-traces") / session
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps(
            {
                "session_id": session,
                "started_at": stream.events[0]["timestamp"],
                "agent_name": EVIL,
                "command": EVIL,
            }
        )
    )
    (folder / "events.ndjson").write_bytes(stream.bytes)
    if active:
        (folder.parent / ".active-session").write_text(session)
    return folder / "events.ndjson"


def evil_session() -> Stream:
    stream = Stream(session=f"s{EVIL}")
    stream.add(
        "session_start",
        {"cwd": f"/tmp/{EVIL}", "model": EVIL, "path": EVIL, "agent": EVIL, "cannot_tell": [EVIL]},
    )
    stream.add("user_prompt", {"prompt": EVIL})
    for _ in range(8):
        stream.bash(f"{EVIL} test", EVIL, failed=True)
    stream.call("Write", {"file_path": f"deploy/{EVIL}"}).call(EVIL, {EVIL: EVIL})
    stream.add(
        "llm_response",
        {
            "model": f"claude-{EVIL}",
            "response_id": EVIL,
            "usage": {"input_tokens": 10**9, "output_tokens": 10**9},
        },
    )
    stream.add("violation", {"watcher": EVIL, "message": EVIL, "level": "critical"})
    return stream


def assert_tame(text: str) -> None:
    found = OBEYED.search(text)
    assert found is None, repr(text[max(0, found.start() - 60) : found.end() + 20])


TOLD = {
    "watch": ("agent-strace", "watch", "--no-follow", "--max-cost", "1", "session.ndjson"),
    "watch, to a file": (
        "agent-strace",
        "watch",
        "--no-follow",
        "--alert",
        "file",
        "--max-cost",
        "1",
        "session.ndjson",
    ),
    "a bad option": ("trace-tail", EVIL.replace("\x00", "")),
    "a bad limit": ("agent-strace", "watch", "--max-cost", EVIL),
    "a bad format": ("trace-tail", "--format", EVIL, "session.ndjson"),
    "a missing file": ("trace-tail", f"./{EVIL}"),
    "a missing config": ("agent-strace", "watch", "--config", EVIL, "session.ndjson"),
    "a missing policy": ("trace-detect-scope", "--policy", EVIL),
    "backtest": ("agent-strace", "backtest"),
    "a cost": ("trace-cost", "session.ndjson"),
}


@pytest.mark.parametrize("words", TOLD.values(), ids=TOLD)
def test_nothing_that_is_said_makes_a_terminal_obey(home, words):
    Path("session.ndjson").write_bytes(evil_session().bytes)
    store(evil_session(), "evil")
    done = run(*words, env=home)
    assert b"\\x1b[2J" in done.stderr, "it is shown, with what a terminal would obey written out"
    assert b"Traceback" not in done.stderr and b"internal error" not in done.stderr
    assert_tame(done.stderr.decode())
    logs = list(Path(".agent-traces").glob("alerts.log"))
    assert len(logs) == ("file" in words)
    for log in logs:
        assert_tame(log.read_text())
        assert "\\x1b[2J" in log.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("trace-list",),
        ("agent-strace", "backtest"),
        ("agent-strace", "watch", "--no-follow", "session.ndjson"),
    ],
    ids=["list", "backtest", "watch"],
)
def test_a_table_on_a_terminal_shows_and_sends_nothing(home, words):
    Path("session.ndjson").write_bytes(evil_session().bytes)
    store(evil_session(), f"evil{EVIL}".replace("/", ""))
    sent = screen(command(*words), home | {"NO_COLOR": "1"})
    # The status line and the progress bar are our own; all else comes from the session.
    assert_tame(re.sub(r"\r|\x1b\[[KJ]|\x1b\[\?25[lh]", "", sent))
    assert "aGk=" not in sent or "\\x1b" in sent


FORGED = ["process", "violation", "kill", "history_end", "tick"]


@pytest.mark.parametrize("kind", FORGED)
def test_what_a_session_says_in_our_name_ends_nobody(home, victim, kind):
    stream = Stream()
    stream.bash("ls")
    said = {
        "pid": victim.pid,
        "started": started_at(victim.pid),
        "how": "given",
        "watcher": "retry",
        "level": "critical",
        "message": "forged",
        "signal": "KILL",
    }
    stream.add("process", said)
    stream.add(kind, said)
    stream.spiral(8)
    stream.add("violation", said)
    path = store(stream, "3f6e2c1a-9b7d-4e")
    for source in ([path], ["-"]):
        tail = run(
            "trace-tail", "--no-follow", *source, input=stream.bytes if source == ["-"] else b""
        )
        done = run("trace-kill", input=run("trace-detect-retry", input=tail.stdout).stdout)
        assert done.returncode == 125 and not gone(victim.pid), done.stderr
    watched = run("agent-strace", "watch", "--no-follow", "--on-violation", "kill", path, env=home)
    assert watched.returncode in (3, 125) and not gone(victim.pid), watched.stderr
    assert not [
        event
        for event in events_of(watched.stdout, "kill")
        if event["data"]["outcome"] in ("terminated", "killed")
    ]


@pytest.mark.parametrize("start", ["right", "wrong", "absent"])
def test_somebody_elses_pid_in_a_registry_entry_ends_nobody(home, victim, start, tmp_path):
    agent = subprocess.Popen(
        [sys.executable, str(STANDIN), "--scenario", "spiral", "--rounds", "8", "--pause", "0.01"],
        env=ENVIRONMENT | home,
    )
    agent.wait()
    (transcript,) = (tmp_path / "claude" / "projects").glob("*/*.jsonl")
    entry = {
        "pid": victim.pid,
        "sessionId": transcript.stem,
        "cwd": os.getcwd(),
        "version": "2.1.197",
        "kind": "interactive",
        "entrypoint": "cli",
    }
    if start != "absent":
        entry["procStart"] = started_at(victim.pid) if start == "right" else "1"
    for old in (tmp_path / "claude" / "sessions").glob("*.json"):
        old.unlink()
    (tmp_path / "claude" / "sessions" / f"{victim.pid}.json").write_text(json.dumps(entry))
    done = run(
        "agent-strace watch --no-follow --max-retries 3 --on-violation kill", transcript, env=home
    )
    assert not gone(victim.pid), done.stderr
    assert victim.poll() is None


def test_nothing_in_a_session_is_executed_or_a_place_to_write(home, tmp_path):
    mark = tmp_path / "marks"
    mark.mkdir()
    words = [
        f"$(touch {mark}/a)",
        f"`touch {mark}/b`",
        f"; touch {mark}/c;",
        f"| tee {mark}/d",
        f"{mark}/e",
        f"../../{mark}/f",
        f"%(touch {mark}/g)s",
        f"{{0.__class__}}{mark}/h",
    ]
    stream = Stream(session=f"{mark}/session")
    for word in words:
        stream.add("session_start", {"cwd": word, "path": word, "model": word})
        for _ in range(6):
            stream.bash(word, word, failed=True)
        stream.call("Write", {"file_path": word})
        stream.add(
            "violation",
            {
                "watcher": word,
                "message": word,
                "level": "critical",
                "actions": ["file", "terminal", word],
                "file": word,
            },
        )
    Path("session.ndjson").write_bytes(stream.bytes)
    Path(".agent-scope.json").write_text('{"files": {"write": {"allow": ["src/**"]}}}')
    for line in (
        (
            "agent-strace",
            "watch",
            "--no-follow",
            "--alert",
            "file",
            "--on-violation",
            "kill",
            "session.ndjson",
        ),
        ("agent-strace", "backtest"),
        ("trace-list",),
    ):
        assert b"Traceback" not in run(*line, env=home).stderr
    run("trace-alert", "--to", "file", input=stream.bytes)
    assert list(mark.iterdir()) == []
    assert {str(path) for path in Path().rglob("*")} == {
        "session.ndjson",
        ".agent-scope.json",
        ".agent-traces",
        ".agent-traces/alerts.log",
    }
    assert (
        stat.S_IMODE(os.stat(".agent-traces/alerts.log").st_mode) == 0o600
        and stat.S_IMODE(os.stat(".agent-traces").st_mode) == 0o700
    )


def test_watch_writes_alerts_through_no_symbolic_link(home, tmp_path):
    Path("session.ndjson").write_bytes(Stream().spiral(8).bytes)
    (tmp_path / "precious").write_text("precious")
    os.mkdir(".agent-traces")
    os.symlink(tmp_path / "precious", ".agent-traces/alerts.log")
    done = run("agent-strace watch --no-follow --alert file session.ndjson", env=home)
    assert (tmp_path / "precious").read_text() == "precious" and b"cannot write to" in done.stderr
