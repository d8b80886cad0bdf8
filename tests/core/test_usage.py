"""Usage errors: each names the option or the command that was probably meant."""

import json
from pathlib import Path

import click
import pytest

from agent_pipes.core.options import DURATION
from tests.helpers.support import ENVIRONMENT, FIXTURES, command, run
from tests.helpers.terminal import sent_to_terminal

SPIRAL = str(FIXTURES / "spiral.ndjson")


@pytest.mark.parametrize(
    "words, answer",
    [
        (
            ("trace-detect-retry", SPIRAL),
            f"for a file: trace-tail --no-follow {SPIRAL} | trace-detect-retry",
        ),
        (("trace-detect-retry", "nothing"), "unexpected argument 'nothing'"),
        (
            ("trace-detect-retry", "spiral.jsonl"),
            "for a file: trace-tail --no-follow spiral.jsonl | trace-detect-retry",
        ),
        (("trace-tail", "-n", "10", SPIRAL), "trace-tail --no-follow | tail -n 10"),
        (
            ("agent-strace", "watch", "--max", "3"),
            "20 options begin with it, such as --max-retries",
        ),
        (
            ("agent-strace", "watch", "claude"),
            "no session of claude in this directory",
        ),
        (("trace-tail", "--no-follow"), "no session in this directory"),
        (
            ("agent-strace", "watch", "claude", "-p", "hello"),
            "to start a command: agent-strace watch -- claude -p hello",
        ),
        (
            ("agent-strace", "watch", "--max-cost", "5", "-e", "claude", "-p", "hello"),
            "to start a command: agent-strace watch --max-cost 5 -e -- claude -p hello",
        ),
        (
            ("agent-strace", "watch", "--max-duration", "30", "min", "--", "true"),
            "min: not possible with COMMAND, whose own session is watched",
        ),
        (("agent-strace", "watch", "--budget", "5"), "(did you mean '--max-cost'?)"),
        (("agent-strace", "watch", "--timeout", "5m"), "(did you mean '--max-duration'?)"),
        (
            ("agent-strace", "watch", "--max-cost"),
            "agent-strace watch: --max-cost: a value is missing",
        ),
        (("trace-list", "--since", "1d"), "trace-list: no such option --since\n"),
        (("agent-strace", "kill"), "no such command 'kill' (did you mean 'trace-kill'?)"),
        (("agent-strace", "man", "wach"), "no page 'wach' (did you mean 'watch'?)"),
        (
            ("agent-strace", "watch", "--no-follow"),
            "or name a session; trace-tail --wait waits for one",
        ),
        (
            ("agent-strace", "watch", "--alert", "slack"),
            "use --alert webhook --webhook-format slack",
        ),
        (("trace-alert", "--to", "slack"), "use --to webhook --format slack"),
        (("agent-strace", "watch", "--alert", "exec", "--", "true"), "name it with --alert-exec"),
        (("trace-alert", "--to", "exec"), "name it with --exec"),
    ],
)
def test_the_answer_names_what_was_meant(words, answer, tmp_path):
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == b""
    assert answer in done.stderr.decode(), done.stderr.decode()


def test_agent_strace_alone_prints_its_help():
    done = run("agent-strace")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Usage: agent-strace") and b"watch" in done.stdout


def test_the_help_of_watch_is_grouped_and_names_each_option_once():
    text = run("agent-strace", "watch", "--help", env={"COLUMNS": "200"}).stdout.decode()
    heads = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert [head.rstrip(":") for head in heads[1:]] == [
        "Limits", "Actions", "Which session", "Prices", "Output", "Other",
    ]  # fmt: skip
    assert text.count("--max-retries") == 1


@pytest.mark.parametrize("value, seconds", [("10min", 600), ("1h30", 5400), ("1.5h", 5400)])
def test_times_are_read_in_the_forms_that_people_type(value, seconds):
    assert DURATION.convert(value, None, None) == seconds


@pytest.mark.parametrize("value", ["1h300", "30m5", "h", "10mins", "1h30h5"])
def test_other_times_are_refused(value):
    with pytest.raises(click.UsageError):
        DURATION.convert(value, None, None)


def test_a_directory_without_sessions_says_where_there_are_some(tmp_path):
    other = tmp_path / "other"
    for folder in (other / ".agent-traces" / "s", tmp_path / "here"):
        folder.mkdir(parents=True)
    (other / ".agent-traces" / "s" / "events.ndjson").write_text(
        Path(SPIRAL).read_text().replace("/home/dev/proj", str(other))
    )
    named = run("trace-tail", "--no-follow", other / ".agent-traces" / "s", cwd=tmp_path / "here")
    assert named.returncode == 0 and named.stdout.count(b"\n") == 32
    listed = run("trace-list", "--json", cwd=other)
    assert json.loads(listed.stdout)["session_id"] == "s"
    chosen = run("trace-tail", "--no-follow", ".", cwd=other)
    assert chosen.returncode == 0 and chosen.stdout.count(b"\n") == 32


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("trace-cost", "trace-cost --all --by day"),
        ("trace-status", "trace-status --all"),
        ("trace-alert", "trace-tail | trace-alert"),
    ],
)
def test_a_filter_without_a_pipeline_names_one(name, meant):
    shown = sent_to_terminal(command(name), ENVIRONMENT, 200).decode()
    assert "standard input is a terminal" in shown and meant in shown
