"""Output of watch for people, held line by line to that of the project's first issue."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.support import ENVIRONMENT, STANDINS, command
from tests.helpers.terminal import sent_to_terminal

FIRST_ISSUE = """\
[watch] Monitoring session abc123...
[watch] +0:30  ✅ 5 events, $0.12, 0 retries
[watch] +1:05  ⚠️  RetryWatcher: "python -m pytest" failed 3 times
[watch] +2:30  ⚠️  CostWatcher: $5.12 (threshold: $5.00)
[watch] +3:00  ❌ LoopWatcher: detected loop (read→edit→test) × 4 — killing session
"""

CONFIG = {
    "watchers": {
        "retry": {"max": 3, "warn": "off", "alert": "terminal"},
        "cost": {"max_dollars": 1.0, "warn": "off", "alert": "terminal"},
        "scope": False,
        "duration": {"max_minutes": 15, "alert": "terminal"},
        "loop": {"max_repeats": 4, "warn": "off", "alert": "kill"},
    }
}

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The command line of a watch that starts a stand-in, in a project of its own."""
    (tmp_path / "proj").mkdir()
    (tmp_path / "limits.json").write_text(json.dumps(CONFIG))
    monkeypatch.chdir(tmp_path / "proj")
    options = ["--config", str(tmp_path / "limits.json"), "--every", "1s"]
    agent = [sys.executable, str(STANDINS / "claude"), "--scenario", "issue", "--pause", "0.2"]
    return [*command("agent-strace", "watch"), *options, "--", *agent]


@pytest.fixture
def environment(tmp_path):
    found = ENVIRONMENT | {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "claude")}
    found |= {"LC_ALL": "C.UTF-8", "TERM": "xterm", "NO_COLOR": "1"}
    return {name: value for name, value in found.items() if name not in ("COLUMNS", "LINES")}


def pattern(line: str, end: str = "") -> str:
    """The line as a pattern, with any number and id in place of its own."""
    text = re.sub(r"\d+", r"\\d+", re.escape(line))
    return text.replace("abc\\d+", "[0-9a-f]{8}") + end


def expected(end: str = "") -> dict[str, str]:
    """Pattern of each line of the first issue, by its mark or watcher."""
    monitoring, *others = FIRST_ISSUE.splitlines()
    found = {"Monitoring": pattern(monitoring, r"( .*)?")}
    for line in others:
        name = re.search(r"✅|\w+Watcher", line)[0]
        found[name] = pattern(line, end).replace("retries", "retr(?:ies|y)")
    return found


def order(lines: list[str]) -> list[str]:
    """The kinds of line, each where it comes first; the status, which has a clock, is last."""
    kinds = [next((kind for kind in expected() if kind in line), line) for line in lines]
    return sorted(dict.fromkeys(kinds), key="✅".__eq__)


def check(lines: list[str], end: str = "") -> None:
    """Every line is one of the first issue's, in its order, up to the kill."""
    begin = next(at for at, line in enumerate(lines) if "Monitoring" in line)
    last = next(at for at, line in enumerate(lines) if "killing session" in line)
    shown, closing = lines[begin : last + 1], lines[last + 1 :]
    patterns = expected(end)
    assert order(shown) == sorted(patterns, key="✅".__eq__), "\n".join(lines)
    for line in shown:
        kind = next(kind for kind in patterns if kind in line)
        assert re.fullmatch(patterns[kind], line), line
    assert not any("✅" in line for line in closing), closing
    assert re.match(r"\[watch\] killed claude \(pid \d+", closing[0])
    # On a terminal it may be folded.
    last = " ".join(line.strip() for line in closing[1:])
    assert re.match(r"\[watch\] claude in .* was killed after .*; to resume: claude ", last)


def test_a_file_has_the_lines_of_the_first_issue(words, environment, tmp_path):
    with open(tmp_path / "messages", "wb") as messages:
        done = subprocess.run(words, env=environment, stderr=messages, timeout=60)
    assert done.returncode == 124
    check((tmp_path / "messages").read_text().splitlines())


def test_a_pipe_has_them_too(words, environment):
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 124
    check(done.stderr.splitlines())


def test_no_alert_comes_between_a_violation_and_the_report_of_its_kill(environment, tmp_path):
    """The agent ignores SIGTERM and goes on failing until it is killed by SIGKILL."""
    agent = [sys.executable, str(STANDINS / "claude"), "--ignore-term", "--pause", "0.2"]
    limits = ["--max-retries", "3", "--max-same-result", "4", "--on-violation", "kill"]
    words = [*command("agent-strace", "watch"), *limits, "--", *agent]
    done = subprocess.run(
        words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 124, done.stderr
    lines = done.stderr.splitlines()
    at = next(at for at, line in enumerate(lines) if "killing session" in line)
    assert re.match(r"\[watch\] killed claude \(pid \d+", lines[at + 1]), done.stderr
    assert any("LoopWatcher" in line for line in lines[at + 2 :]), done.stderr
    assert done.stderr.count("killing session") == 1


def drawn(words: list[str], environment: dict[str, str], columns: int) -> list[str]:
    """The lines that a terminal of this width was sent, the overwritten ones included."""
    sent = sent_to_terminal(words, environment, columns)
    return [line for line in re.split(r"[\r\n]+", ESCAPE.sub("", sent.decode())) if line.strip()]


def test_on_a_terminal_each_line_begins_with_that_of_the_first_issue(words, environment):
    lines = drawn(words, environment, 120)
    # The live line goes on: limits, state and call. After a violation it has the mark of one.
    lines = [line for line in lines if not re.match(r"\[watch\] \S+ +❌ \d+ events", line)]
    check(lines, end="(?: · .*)?")
    assert any(re.search(r"✅ .*retr\S+ · .*\$1 ", line) for line in lines)


def test_on_a_narrow_terminal_no_line_is_wider(words, environment):
    lines = drawn(words, environment, 40)
    live = [line for line in lines if re.match(r"\+\d+:\d\d ✅", line)]
    assert live and all(len(line) < 39 for line in live), lines
    assert Path("test_app.py").exists()
