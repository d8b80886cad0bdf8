"""Usage errors: each names the option or the command that was probably meant."""

import pytest

from tests.helpers.support import FIXTURES, run

SPIRAL = str(FIXTURES / "spiral.ndjson")


@pytest.mark.parametrize(
    "words, answer",
    [
        (
            ("trace-detect-retry", SPIRAL),
            f"for a file: trace-tail {SPIRAL} | trace-detect-retry",
        ),
        (("trace-detect-retry", "nothing"), "unexpected argument 'nothing'"),
        (("trace-kill", "1234"), "unexpected argument 1234; to name a process: --pid 1234"),
        (("agent-strace", "wach"), "no such command 'wach' (did you mean 'watch'?)"),
        (("agent-strace", "watch", "--max-retires", "3"), "(did you mean '--max-retries'?)"),
        (
            ("agent-strace", "watch", "claude", "-p", "hello"),
            "to start a command: agent-strace watch -- claude -p hello",
        ),
        (("agent-strace", "watch", "--alert", "kill"), "--on-violation kill"),
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
