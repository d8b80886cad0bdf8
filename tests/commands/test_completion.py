"""Completion, in the shells that are here: options, values, sessions, and nothing that an agent could have slipped in."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_pipes.commands.subcommands import SUBCOMMANDS
from tests import make_completions
from tests.helpers.support import BIN, ENVIRONMENT, ROOT, SCRIPTS, Stream

COMPLETIONS = make_completions.COMPLETIONS
EVIL = "\x1b]52;c;aGk=\x07\x1b[2J\u202e$(touch pwned)`touch pwned`%F{red}:\\c;*\x9b1m\n"
"""What a terminal, a shell or a shell's completion would obey."""

IDS = ("aaaa1111-one", "aaaa2222-two")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with two sessions in its store that are what they seem, and some whose names are not."""
    folder = tmp_path / "project"
    store = folder / ".agent-traces"
    for name in (*IDS, "aaaa*", "aaaa$(touch pwned)", "aaaa;touch pwned", "aaaa\x1b[2J", "-aaaa"):
        (store / name).mkdir(parents=True)
        stream = Stream(session=name)
        stream.add("session_start", {"cwd": str(folder)})
        (store / name / "events.ndjson").write_bytes(stream.bytes)
    (store / "aaaa3333-pipe").mkdir()
    os.mkfifo(store / "aaaa3333-pipe" / "events.ndjson")
    (folder / "spiral of events.ndjson").write_text("")
    monkeypatch.chdir(folder)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    away = {
        name: str(home / name)
        for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "GEMINI_CLI_HOME")
    }
    plain = {
        "PATH": f"{BIN}:{ENVIRONMENT['PATH']}",
        "HOME": str(home),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        "__fish_initialized": "99999",
    }  # A fish that is new here reads every man page of the system first.
    return (
        ENVIRONMENT
        | away
        | plain
        | {"ZDOTDIR": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}
        | more
    )


def asked(
    folder: Path, *words: str, shell: str = "fish", at: int | None = None, **more
) -> subprocess.CompletedProcess:
    """What a shell is answered when it asks how the last of `words` may go on."""
    where = len(words) - 1 if at is None else at
    if shell == "fish":
        said = {"COMP_WORDS": " ".join(words), "COMP_CWORD": words[-1]}
    else:
        said = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(where)}
    return subprocess.run(
        [BIN / "agent-strace"],
        env=environment(folder, _AGENT_STRACE_COMPLETE=f"{shell}_complete", **said),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        **{"stdin": subprocess.DEVNULL} | more,
    )


def values(done: subprocess.CompletedProcess) -> list[str]:
    """The words of an answer to fish, without what is said of them."""
    assert (done.returncode, done.stderr) == (0, "")
    return [
        line.partition(",")[2].partition("\t")[0]
        for line in done.stdout.splitlines()
        if line.startswith("plain,")
    ]


def options(*words: str) -> set[str]:
    """The long options that a command's help names."""
    text = subprocess.run(
        [BIN / words[0], *words[1:], "--help"], capture_output=True, text=True, env=ENVIRONMENT
    ).stdout
    return set(
        re.findall(
            r"--[a-z-]+",
            " ".join(
                re.findall(r"^  ((?:-\w, )?--[a-z][a-z-]*(?:(?:, | / )--[a-z-]+)*)", text, re.M)
            ),
        )
    )


# What a shell is answered


def test_the_scripts_are_what_make_completions_makes():
    made = make_completions.files()
    there = {
        str(path.relative_to(COMPLETIONS)): path.read_text()
        for path in COMPLETIONS.rglob("*")
        if path.is_file()
    }
    assert there == made, "agent_pipes/data/completions is not of today: make completions"
    assert {path.removeprefix("bash/") for path in made if path.startswith("bash/")} == set(SCRIPTS)
    assert set(made["zsh/_agent-strace"].splitlines()[0].removeprefix("#compdef ").split()) == set(
        SCRIPTS
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_the_script_itself(shell, project):
    done = subprocess.run(
        [BIN / "agent-strace"],
        env=environment(project, _AGENT_STRACE_COMPLETE=f"{shell}_source"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in make_completions.files().values()


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"agent-strace {each}" for each in SUBCOMMANDS)])
def test_every_option_of_every_command(name, project):
    known = options(*name.split())
    assert {"--help", "--version"} <= known or name.endswith("backtest")
    assert set(values(asked(project, *name.split(), "--"))) == known


def test_subcommands_say_what_they_do(project):
    done = asked(project, "agent-strace", "w")
    assert done.stdout == f"plain,watch\t{SUBCOMMANDS['watch'][1]}\n"
    assert values(asked(project, "agent-strace", "")) == sorted(SUBCOMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("trace-tail",),
        ("trace-tail", "--wait"),
        ("agent-strace", "watch"),
        ("agent-strace", "watch", "--max-cost", "5"),
    ],
)
def test_sessions_and_agents_newest_first(words, project):
    os.utime(project / ".agent-traces" / IDS[0] / "events.ndjson", (1_795_000_000, 1_795_000_000))
    assert values(asked(project, *words, "")) == [IDS[1], IDS[0], "store"]
    assert values(asked(project, *words, "aaaa1")) == [IDS[0]]
    assert values(asked(project, *words, "st")) == ["store"]
    assert values(asked(project, *words, "zz")) == []


def test_a_session_of_another_directory_once_it_is_begun_to_be_named(project, tmp_path):
    stream = Stream(session="bbbb")
    stream.add("session_start", {"cwd": str(tmp_path)})
    folder = project / ".agent-traces" / "bbbb1111"
    folder.mkdir()
    (folder / "events.ndjson").write_bytes(stream.bytes)
    assert "bbbb1111" not in values(asked(project, "trace-tail", ""))
    assert values(asked(project, "trace-tail", "bbbb")) == ["bbbb1111"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("trace-tail", "--format", "c"), ["claude", "codex", "copilot"]),
        (("trace-tail", "--format=c"), ["claude", "codex", "copilot"]),
        (("trace-kill", "--signal", "TE"), ["TERM"]),
        (("trace-detect-loop", "--alert", ""), ["terminal", "file", "webhook", "exec", "kill"]),
        (("agent-strace", "watch", "--on-violation", ""), ["alert", "kill"]),
        (("agent-strace", "setup", "--agent", "cu"), ["cursor"]),
        (("agent-strace", "hook", "--provider", "ge"), ["gemini"]),
        (("NAME=value", "trace-tail", "--form"), ["--format"]),
        (("/somewhere/else/trace-tail", "--form"), ["--format"]),
    ],
)
def test_values_of_options(words, expected, project):
    assert values(asked(project, *words)) == expected


@pytest.mark.parametrize(
    "words",
    [("trace-detect-scope", "--policy", ""), ("trace-cost", ""), ("trace-cost", "--prices", ""), ("agent-strace", "watch", "--config", ""),
     ("agent-strace", "watch", "--output", ""), ("agent-strace", "watch", "--policy", ""), ("trace-tail", "")],
)  # fmt: skip
def test_where_a_file_is_meant(words, project):
    assert "file," in asked(project, *words).stdout.splitlines()


def test_bash_parts_words_at_the_sign(project):
    assert (
        asked(project, "trace-tail", "--format", "=", "cl", shell="bash").stdout == "plain,claude\n"
    )
    assert (
        asked(project, "trace-tail", "--format", "=", shell="bash").stdout.splitlines()[0]
        == "plain,store"
    )
    before = ("trace-tail", "--max-result", "=", "4096", "--format")
    assert asked(project, *before, "", shell="bash").stdout.splitlines()[0] == "plain,store"


@pytest.mark.parametrize(
    "name",
    ["trace-nothing", "trace-../../x", "python", "", "trace-following.inotify", "$(touch pwned)"],
)
def test_what_is_none_of_our_commands_is_answered_with_nothing(name, project):
    done = asked(project, name, "--", shell="bash")
    assert (
        done.stdout.strip() == ""
        and "Traceback" not in done.stderr
        and not (project / "pwned").exists()
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_an_agent_has_named_never_comes_raw(shell, project):
    for number in range(3):
        folder = project / ".agent-traces" / f"cccc{number}"
        folder.mkdir()
        stream = Stream(session=f"cccc{number}")
        stream.add("session_start", {"cwd": f"/x/{EVIL[:20]}"})
        (folder / "events.ndjson").write_bytes(stream.bytes)
    done = asked(project, "trace-tail", "cccc", shell=shell)
    assert "cccc1" in done.stdout and done.returncode == 0
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", done.stdout)
    assert {"bash": "", "zsh": r"\\x1b]52;c;", "fish": r"\x1b]52;c;"}[shell] in done.stdout, (
        "what it was can be told"
    )
    every = asked(project, "trace-tail", "aaaa", shell=shell)
    assert not re.search(r"aaaa[^12\n]", every.stdout) and all(each in every.stdout for each in IDS)


def test_reads_nothing_and_waits_for_nothing(project):
    ours, theirs = os.pipe()
    os.write(theirs, b"typed ahead\n")
    assert set(values(asked(project, "trace-detect-retry", "--ma", stdin=ours))) == {
        "--max-retries",
        "--max",
    }
    assert os.read(ours, 100) == b"typed ahead\n"


def test_a_look_that_takes_too_long_is_given_up(project):
    code = """
import time
from agent_pipes.sessions import discovery as choose
from agent_pipes.commands import completion
choose.sessions = lambda: time.sleep(60)
completion.PATIENCE = 0.1
completion.answer()
"""
    said = {
        "_AGENT_STRACE_COMPLETE": "bash_complete",
        "COMP_WORDS": "trace-tail\n",
        "COMP_CWORD": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(project, **said),
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGALRM, b"")


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (
            ("agent-strace", ""),
            {
                "agent_pipes.commands.watch",
                "agent_pipes.sessions.discovery",
                "agent_pipes.commands.tail",
            },
        ),
        (
            ("agent-strace", "setup", "--"),
            {"agent_pipes.commands.watch", "agent_pipes.sessions.discovery"},
        ),
        (
            ("trace-detect-retry", "--"),
            {
                "agent_pipes.commands.watch",
                "agent_pipes.sessions.discovery",
                "agent_pipes.commands.tail",
            },
        ),
        (
            ("trace-tail", "--"),
            {
                "agent_pipes.commands.watch",
                "agent_pipes.agents.claude.translate",
                "agent_pipes.agents.codex.translate",
            },
        ),
    ],
)
def test_loads_what_is_asked_about_and_no_more(words, needless, project):
    """A shell waits: the time is that of what is loaded."""
    said = {
        "_AGENT_STRACE_COMPLETE": "bash_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "PYTHONPATH": str(ROOT),
    }
    code = "import sys; from agent_pipes.commands.completion import answer\ntry: answer()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(project, **said),
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("plain,") and not needless & set(done.stderr.split())


def test_completion_is_not_loaded_by_the_commands_themselves():
    code = "import sys, agent_pipes.commands.watch, agent_pipes.commands.subcommands; assert not {'agent_pipes.commands.completion', 'click.shell_completion'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# In the shells themselves


def needs(shell: str):
    return pytest.param(
        shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")
    )


class Terminal:
    """An interactive shell with our completion loaded, in a terminal."""

    def __init__(self, words: list[str], folder: Path, setup: list[str], **more: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, environment(folder, **more))
        self.seen = ""
        for line in setup:
            self.run(line)

    def run(self, line: str) -> None:
        """Run a line, and wait for the prompt behind what it prints; the line as it is typed does not have that word."""
        self.type(f"{line}; echo rea''dy\r", r"(?s)\bready\r.*PROMPT> ")

    def type(self, text: str, until: str, seconds: float = 20.0) -> str:
        """Type `text`, and what the shell then writes up to what `until` matches."""
        os.write(self.fd, text.encode())
        self.seen = ""
        end = time.monotonic() + seconds
        while not re.search(until, self.seen):
            assert time.monotonic() < end, f"{until!r} did not come after {text!r}: {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        return self.seen

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(project):
    opened: list[Terminal] = []

    def open_one(shell: str, **more: str) -> Terminal:
        words, setup = {
            "bash": (
                ["bash", "--norc", "-i"],
                ["PS1='PROMPT> '", f". {COMPLETIONS}/bash/trace-tail"],
            ),
            "zsh": (
                ["zsh", "-f", "-i"],
                [
                    "PS1='PROMPT> '",
                    f"fpath=({COMPLETIONS}/zsh $fpath); autoload -U compinit; compinit -u -D",
                ],
            ),
            "fish": (
                ["fish", "-i"],
                [
                    "function fish_prompt; printf 'PROMPT> '; end",
                    f"set -p fish_complete_path {COMPLETIONS}/fish",
                ],
            ),
        }[shell]
        opened.append(Terminal(words, project, setup, **more))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


SHELLS = [needs("bash"), needs("zsh"), needs("fish")]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_in_a_real_shell(shell, terminal):
    screen = terminal(shell)
    screen.type("trace-detect-scope --pol\t", "icy|--policy")
    screen.type("\x15trace-tail --format=cl\t", "aude")
    screen.type("\x15agent-strace wa\t", "tch")
    screen.type("\x15agent-strace watch --max-cost 5 aaaa2\t", "222-two")


@pytest.mark.parametrize("shell", SHELLS)
def test_sessions_are_listed_and_nothing_of_what_they_hold_is_obeyed(shell, terminal, project):
    folder = project / ".agent-traces" / "aaaa4444-four"
    folder.mkdir()
    stream = Stream(session="aaaa4444")
    stream.add("session_start", {"cwd": f"{project}/{EVIL}"})
    (folder / "events.ndjson").write_bytes(stream.bytes)
    screen = terminal(shell)
    # Those of this directory, then the one that is said to be of another, by its own name.
    seen = screen.type("trace-tail aaaa\t\t", r"(?s)1111-one.*2222-two|2222-two.*1111-one")
    seen += screen.type("\x15trace-tail aaaa4\t", "444-four")
    assert not re.search("\x1b]52|\x1b\\[2J.*deploy|\u202e|\x9b", seen)
    assert not (project / "pwned").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_file_with_a_blank_in_its_name(shell, terminal):
    terminal(shell).type(
        "trace-tail spi\t", r"spiral\\ of\\ events\.ndjson|ral\\ of\\ events\.ndjson"
    )
    terminal(shell).type("trace-cost --prices=spi\t", r"ral\\ of\\ events\.ndjson")


@pytest.mark.parametrize("shell", SHELLS)
def test_behind_the_dashes_stands_another_command(shell, terminal, project):
    tools = project / "tools"
    tools.mkdir()
    (tools / "zzagent-of-mine").write_text("#!/bin/sh\n")
    (tools / "zzagent-of-mine").chmod(0o755)
    screen = terminal(shell, PATH=f"{tools}:{BIN}:{ENVIRONMENT['PATH']}")
    screen.type("agent-strace watch --max-cost 5 -- zzag\t", "ent-of-mine")
    screen.type("spi\t", r"ral\\ of\\ events\.ndjson")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_that_is_not_on_the_path(shell, terminal, project):
    """As in a checkout: what is asked is the program that lies beside the script, not one that lies where we happen to be."""
    (project / "agent-strace").write_text("#!/bin/sh\ntouch pwned\n")
    (project / "agent-strace").chmod(0o755)
    (project / "trace-tail").symlink_to("agent-strace")
    screen = terminal(shell, PATH=ENVIRONMENT["PATH"])
    if shell == "fish":
        # By itself it looks for the completion of what is on PATH only.
        screen.run(f"source {COMPLETIONS}/fish/trace-tail.fish")
    screen.type("./trace-tail --form\t", "at")
    assert not (project / "pwned").exists()


LOADER = Path("/usr/share/bash-completion/bash_completion")


@pytest.mark.skipif(not LOADER.exists(), reason="bash-completion is not installed")
def test_bash_completion_loads_each_by_its_name(project):
    """Installed under a prefix, the file of the command's name is found and does its work."""
    folder = project / "share" / "bash-completion"
    shutil.copytree(COMPLETIONS / "bash", folder / "completions")
    screen = Terminal(
        ["bash", "--norc", "-i"],
        project,
        ["PS1='PROMPT> '", f". {LOADER}"],
        XDG_DATA_DIRS=str(project / "share"),
    )
    try:
        screen.type("trace-list --al\t", "l-dirs")
        screen.type("\x15agent-strace watch -- trace-detect-retry --max-r\t", "etries")
    finally:
        screen.close()
