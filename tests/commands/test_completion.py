"""Completion by click's own scripts: sessions, agents, options; an agent's text is escaped."""

import os
import shutil
import subprocess

import pytest

from agent_pipes.commands.subcommands import SUBCOMMANDS
from tests.helpers.support import BIN, ENVIRONMENT, Stream, command

IDS = ("aaaa1111-one", "aaaa2222-two")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Directory with two sessions, and some whose names a shell or a terminal would obey."""
    store = tmp_path / ".agent-traces"
    for name in (*IDS, "aaaa*", "aaaa$(touch pwned)", "aaaa;touch pwned", "aaaa\x1b[2J", "-aaaa"):
        (store / name).mkdir(parents=True)
        stream = Stream(session=name)
        stream.add("session_start", {"cwd": str(tmp_path)})
        (store / name / "events.ndjson").write_bytes(stream.bytes)
    for variable in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "GEMINI_CLI_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*words: str) -> list[str]:
    """Return the lines that a shell is given for the last of `words`."""
    name = words[0]
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    done = subprocess.run(
        command(name),
        env=ENVIRONMENT
        | {name: value for name, value in os.environ.items() if name.endswith(("HOME", "DIR"))}
        | {
            variable: "bash_complete",
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("words", [("trace-tail", "aaaa"), ("agent-strace", "watch", "aaaa")])
def test_sessions_of_this_directory_are_offered_but_those_with_unsafe_ids(words, project):
    assert {line for line in offered(*words) if line.startswith("plain,")} == {
        f"plain,{name}" for name in IDS
    }


def test_a_file_may_be_named_too(project):
    assert "file,aaaa" in offered("trace-tail", "aaaa")


def test_options_and_their_values(project):
    assert "plain,--max-cost" in offered("agent-strace", "watch", "--max-c")
    assert offered("agent-strace", "watch", "--on-violation", "k") == ["plain,kill"]


def test_subcommands(project):
    assert offered("agent-strace", "") == [f"plain,{name}" for name in SUBCOMMANDS]


def test_words_after_the_dashes_belong_to_the_command(project):
    assert offered("agent-strace", "watch", "--", "claude", "spi") == ["file,spi"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_accepted_by_it(shell, project):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        command("agent-strace", "completion", shell), capture_output=True, env=ENVIRONMENT
    )
    assert done.returncode == 0 and b"_AGENT_STRACE_COMPLETE" in done.stdout
    checked = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")


def test_a_tab_in_bash(project):
    script = command("agent-strace", "completion", "bash")
    text = subprocess.run(script, capture_output=True, env=ENVIRONMENT).stdout.decode()
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{text}\nCOMP_WORDS=(agent-strace watc) COMP_CWORD=1\n"
            "_agent_strace_completion agent-strace\necho ${COMPREPLY[@]}",
        ],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"PATH": f"{BIN}:{ENVIRONMENT['PATH']}"},
    )
    assert done.stdout.split() == ["watch"], done.stderr
