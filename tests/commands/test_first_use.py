"""First minutes with the suite: what a newcomer types, and the answer of each command.

ANSWERS has the mistakes of `../shared/facts/first-use.md`, row by row, in its own words; rows that
need more than a command line name their test in ELSEWHERE.
"""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from agent_pipes.core.display import cell_width
from tests.helpers.support import BIN, ENVIRONMENT, FIXTURES, ROOT, SHARED, STANDINS, until
from tests.helpers.terminal import sent_to_terminal

ROWS = SHARED / "facts" / "first-use.md"

GOOD = ("good", "fine", "cosmetic", "right verdict")
"""Beginnings of a judgement that is no worse than cosmetic."""


class Row(NamedTuple):
    """A row: its words in first-use.md, the command line, its exit status and its answer."""

    typed: str
    script: str
    status: int
    answer: str


def watch(words: str, answer: str, *, typed: str = "", status: int = 2) -> Row:
    return Row(typed or words, f"agent-strace watch {words}", status, answer)


TRANSCRIPTS = (
    "claude/branch.jsonl",
    "claude/stream.jsonl",
    "codex/rollout-0.142.jsonl",
    "codex/exec.jsonl",
    "copilot/stream.jsonl",
    "gemini/stream.jsonl",
)

ANSWERS = (
    *(
        Row(
            "cat claude-transcript.jsonl | trace-detect-retry --max 3 | trace-kill",
            f"trace-detect-retry --max 3 <{FIXTURES / name} | trace-kill",
            2,
            "put trace-tail before it",
        )
        for name in TRANSCRIPTS
    ),
    Row(
        "trace-detect-retry < /etc/passwd",
        "trace-detect-retry </etc/passwd",
        2,
        "standard input is not a stream of events: not JSON at column 1",
    ),
    Row("echo '{}' | trace-detect-retry", "echo {} | trace-detect-retry", 2, "put trace-tail"),
    Row(
        "trace-detect-retry spiral.jsonl",
        "trace-detect-retry spiral.jsonl",
        2,
        "for a file: trace-tail --no-follow spiral.jsonl | trace-detect-retry",
    ),
    Row("trace-kill 1234", "trace-kill 1234", 2, "to name a process: --pid 1234"),
    Row("trace-tail -f x", "trace-tail -f spiral.ndjson | head -n 32 | grep -c .; true", 0, "32"),
    Row("-n 10 x", "trace-tail -n 10 x", 2, "trace-tail --no-follow | tail -n 10"),
    Row("trace-tail --no-follow .", "cd there && trace-tail --no-follow . | grep -c .", 0, "32"),
    Row(
        "trace-tail --no-follow .", "trace-tail --no-follow .", 2, ".: no session in this directory"
    ),
    Row("agent-strace", "agent-strace", 0, "Usage: agent-strace [OPTIONS] [COMMAND] [ARGS]...\n"),
    Row("agent-strace wach", "agent-strace wach", 2, "(did you mean 'watch'?)"),
    Row("agent-strace help", "agent-strace help", 2, "(did you mean '--help'?)"),
    Row("-V", "agent-strace -V", 2, "(did you mean '--version'?)"),
    watch("--max-retires 3", "(did you mean '--max-retries'?)"),
    watch("--max 3", "20 options begin with it, such as --max-retries"),
    watch("--loop-repeat 3", "(did you mean '--max-repeats'?)"),
    Row(
        "raise the limit with --repeat",
        "agent-strace watch --no-follow spiral.ndjson | jq -r '.data.hint // empty'",
        0,
        "raise the limit with --max-same-result",
    ),
    *(
        watch(f"--max-cost {value}", "--max-cost: expected dollars such as 5 or 0.50", typed=value)
        for value in ("5usd", "5,00", "-1")
    ),
    *(
        watch(
            f"--max-duration {value} --no-follow spiral.ndjson >/dev/null",
            "Monitoring session",
            typed=value,
            status=0,
        )
        for value in ("1.5h", "10min", "1h30")
    ),
    watch("--on-violation kil", "expected alert, nudge, pause, kill"),
    watch("--alert kill", "to kill the agent: --on-violation kill"),
    watch("--alert slack", "use --alert webhook --webhook-format slack"),
    watch("--alert webhook", "set $AGENT_PIPES_WEBHOOK, the config's webhook.url, or --webhook"),
    watch("deadbeef", "trace-list lists the sessions"),
    watch("claude -p hello", "to start a command: agent-strace watch -- claude -p hello"),
    watch("claude", "no session of claude in this directory; trace-list --all-dirs shows"),
    watch("-- nonexistent-command", "nonexistent-command: not found", status=127),
    Row(
        "trace-list", "trace-list", 0, "no session in this directory; 1 elsewhere: trace-list --all"
    ),
    Row("trace-list --json", "cd there && trace-list --json", 0, '"event_type":"session"'),
    Row("config typos", "cd typo && agent-strace watch", 2, "(did you mean 'retry'?)"),
    Row("config `{}`", "cd empty && agent-strace watch", 2, "not JSON: Expecting value"),
    Row(
        "empty policies", "trace-detect-scope --policy nothing.json </dev/null", 2, "nothing to enf"
    ),
    Row(
        "the seed's config with no policy file",
        "cd seed && agent-strace watch",
        2,
        "write one with agent-strace setup --policy standard, or name another with --policy "
        '("scope": false in a config turns scope off)',
    ),
    *(
        Row(when, f"trace-tail --no-follow --all --since {when}", 0, '"event_type":"session_start"')
        for when in ("yesterday", "2026-11-22")
    ),
)

ELSEWHERE = {
    "trace-detect-retry` on a terminal": "tests/commands/test_contract.py::"
    "test_a_terminal_on_standard_input_is_refused_with_a_hint",
    "directory with no agent: `watch`": "tests/test_never_silently_off.py::"
    "test_13_6_without_a_session_here_the_live_ones_elsewhere_are_named",
    "subdirectory of the agent's project: `watch`": "tests/test_never_silently_off.py::"
    "test_13_6_live_sessions_of_the_project_that_are_not_watched_are_named_once",
    "two live sessions in one directory: `watch`": "tests/commands/test_baseline.py::"
    "test_both_of_two_live_sessions_are_followed_and_named",
    "Ctrl-C in watch": "tests/commands/test_first_use.py::test_a_watch_that_is_ended_reports_it",
    "terminal closed beside an agent": "tests/commands/test_first_use.py::"
    "test_a_watch_that_is_ended_reports_it",
}
"""Test of each row that needs a live agent or a terminal."""

SEED_CONFIG = {
    "watchers": {"retry": {"max": 3}, "scope": {"policy": ".agent-scope.json", "alert": "kill"}}
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> dict[str, str]:
    """The environment of a newcomer: an empty directory, one session in another, no settings."""
    home = tmp_path / "home"
    for name in ("home", "there/.agent-traces/s", "typo", "empty", "seed"):
        (tmp_path / name).mkdir(parents=True)
    spiral = (FIXTURES / "spiral.ndjson").read_text()
    (tmp_path / "spiral.ndjson").write_text(spiral)
    there = tmp_path / "there"
    (there / ".agent-traces/s/events.ndjson").write_text(
        spiral.replace("/home/dev/proj", str(there))
    )
    (tmp_path / "typo/.agent-watch.json").write_text('{"watchers": {"retyr": {"max": 3}}}')
    (tmp_path / "empty/.agent-watch.json").write_text("")
    (tmp_path / "seed/.agent-watch.json").write_text(json.dumps(SEED_CONFIG))
    (tmp_path / "nothing.json").write_text("{}")
    write_session(home, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    environment = ENVIRONMENT | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}
    return environment | {"LC_ALL": "C.UTF-8", "TERM": "xterm"}


HOSTILE = "\x1b]52;c;aGk=\x07ev\u202eil\x9b31m"
"""Text of an agent that a terminal must not obey: the clipboard, the direction, C1."""


def write_session(home: Path, cwd: Path) -> None:
    """Write a session of Claude Code whose every text is hostile, and which fails three times."""
    session, now = str(uuid.uuid4()), time.time() - 60
    texts: list[tuple[str, dict]] = [("user", {"role": "user", "content": f"fix {HOSTILE}"})]
    for number in range(3):
        call = {
            "type": "tool_use",
            "id": f"toolu_{number}",
            "name": "Bash",
            "input": {"command": f"make {HOSTILE}"},
        }
        usage = {"input_tokens": 12, "output_tokens": 180, "cache_read_input_tokens": 42_000}
        message = {"id": f"msg_{number}", "role": "assistant", "model": "claude-opus-4-6"}
        texts.append(("assistant", message | {"content": [call], "usage": usage}))
        result = {"type": "tool_result", "tool_use_id": call["id"], "is_error": True}
        result["content"] = f"Exit code 2\nmake: *** {HOSTILE} Error 2"
        texts.append(("user", {"role": "user", "content": [result]}))
    lines = [
        {
            "type": kind,
            "uuid": str(uuid.uuid4()),
            "timestamp": datetime.fromtimestamp(now + at, UTC).isoformat(timespec="milliseconds"),
            "cwd": f"{cwd}/{HOSTILE}",
            "sessionId": session,
            "version": "2.1.197",
            "message": message,
        }
        for at, (kind, message) in enumerate(texts)
    ]
    folder = home / ".claude" / "projects" / "-elsewhere"
    folder.mkdir(parents=True)
    path = folder / f"{session}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.script)
def test_what_is_typed_is_answered(place, row):
    if " jq " in row.script and not shutil.which("jq"):
        pytest.skip("jq is not installed")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", row.script],
        env=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    assert row.answer in done.stdout, done.stdout
    assert done.returncode == row.status, done.stdout
    assert len(done.stdout) < 4000 and "internal error" not in done.stdout


def judged_rows() -> list[str]:
    """The first cells of the rows of first-use.md that are judged worse than cosmetic."""
    text = ROWS.read_text() if ROWS.exists() else ""
    rows = [
        re.split(r" *(?<!\\)\| *", line)[1:-1]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    rows = [row for row in rows if len(row) == 3 and not row[0].startswith(("typed", "---"))]
    return [row[0].replace("\\|", "|") for row in rows if not row[2].startswith(GOOD)]


@pytest.mark.parametrize("typed", judged_rows())
def test_each_row_that_is_worse_than_cosmetic_has_a_test(typed):
    assert any(row.typed in typed for row in ANSWERS) or any(key in typed for key in ELSEWHERE)


@pytest.mark.parametrize("name", sorted(set(ELSEWHERE.values())))
def test_the_test_of_a_row_exists(name):
    path, _, function = name.partition("::")
    assert f"\ndef {function}(" in (ROOT / path).read_text()


STOPPED = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
}


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_a_watch_that_is_ended_reports_it(place, tmp_path, number):
    """Ctrl-C, kill and a terminal that is closed beside an agent, which goes on."""
    agent = subprocess.Popen(
        [sys.executable, str(STANDINS / "claude"), "--scenario", "silent", "--pause", "60"],
        env=place,
        start_new_session=True,
    )
    log = tmp_path / "watch.log"
    pid, fd = pty.fork()
    if pid == 0:
        words = ["agent-strace", "watch", "--log", str(log)]
        os.execvpe(words[0], words, place)
    try:
        until(lambda: log.exists() and "Monitoring" in log.read_text(), what="the session")
        if number == signal.SIGINT:
            os.write(fd, b"\x03")
        elif number == signal.SIGTERM:
            os.kill(pid, number)
        else:
            os.close(fd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
        assert agent.poll() is None
    finally:
        agent.kill()
        agent.wait()
    last = log.read_text().splitlines()[-1]
    assert last.endswith(f"[watch] {STOPPED[number]}: nothing is watched now; the agent goes on")


FILTERS = "trace-tail --no-follow SESSION | trace-cost | trace-detect-retry --max 3"

ON_A_TERMINAL = (
    "trace-list --all-dirs",
    "trace-list",
    "trace-cost --all --by day",
    "trace-cost --all --by project",
    "trace-cost --all --by model",
    "trace-cost --all --by session",
    "trace-cost --summary <SESSION.events",
    "agent-strace backtest",
    "agent-strace doctor",
    "agent-strace report SESSION",
    "agent-strace setup --agent claude 2>&1 >/dev/null",
    "agent-strace watch --no-follow --max-retries 3 SESSION",
    "agent-strace watch --help",
    "agent-strace --help",
    "agent-strace man",
    f"{FILTERS} | trace-alert >/dev/null",
    f"{FILTERS} | trace-status --limit retry=3 >/dev/null",
    f"{FILTERS} | trace-status --all --limit retry=3 >/dev/null",
    f"{FILTERS} | trace-status --once",
    f"{FILTERS} | trace-nudge >/dev/null",
    f"{FILTERS} | trace-kill >/dev/null",
    f"{FILTERS} | trace-report",
    "trace-detect-scope --policy nothing.json",
    "trace-tail --help",
)
"""Scripts whose output fits the terminal, whatever its width and locale."""

LINES_OF_JSON = ("trace-tail --no-follow SESSION", FILTERS)
"""Scripts that print events, which are escaped and not folded."""

STYLES = {
    "colour": {},
    "no colour": {"NO_COLOR": "1"},
    "the C locale": {"NO_COLOR": "1", "LC_ALL": "C", "LANG": "C"},
}


def rows_of(sent: str) -> list[str]:
    """The rows that a terminal shows, and those that were overwritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\\\)", "", sent)
    return [row for row in re.split(r"[\r\n]+", text) if row.strip()]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("script", [*ON_A_TERMINAL, *LINES_OF_JSON])
def test_a_terminal_of_any_width_and_locale(place, tmp_path, script, columns):
    """At 40, 80 and 200 columns nothing is wider, and nothing that an agent wrote is obeyed."""
    (session,) = (tmp_path / "home/.claude/projects").rglob("*.jsonl")
    (tmp_path / f"{session}.events").write_bytes((FIXTURES / "spiral.ndjson").read_bytes())
    words = ["/bin/sh", "-c", script.replace("SESSION", str(session))]
    for style, variables in STYLES.items():
        environment = {**place, **variables}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        sent = sent_to_terminal(words, environment, columns)
        assert sent.strip(), style
        for forbidden in (b"\x1b]52", b"\x9b31m", b"\xc2\x9b", "\u202e".encode(), b"Traceback"):
            assert forbidden not in sent, (style, sent)
        text = sent.decode()
        if style != "colour":
            assert not re.search(r"\x1b\[[0-9;]*m", text), (style, text)
        if style == "the C locale" and script in ON_A_TERMINAL:
            assert text.isascii(), (style, text)
        if script in ON_A_TERMINAL:
            wide = [row for row in rows_of(text) if cell_width(row) > columns]
            # Neither a word that is wider than the terminal is folded, nor a command to copy.
            wide = [row for row in wide if max(map(len, row.split())) < columns - 4]
            wide = [row for row in wide if not row.startswith("    agent-strace ")]
            assert not wide, (style, wide)
