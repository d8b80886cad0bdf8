"""agent-strace setup: hook settings, printed or merged; a second run changes nothing."""

import json
import os
import pty
import shlex
import sys
from pathlib import Path

import pytest

from tests.helpers.hooked import AGENTS
from tests.helpers.support import BIN, ENVIRONMENT, run

HOOK = f"{BIN}/agent-strace hook"
FILES = {
    "claude": ".claude/settings.json", "codex": ".codex/hooks.json", "gemini": ".gemini/settings.json", "copilot": ".copilot/hooks/agent-strace.json",
    "cursor": ".cursor/hooks.json",
}  # fmt: skip
PROJECTS = {
    **FILES,
    "claude": ".claude/settings.local.json",
    "copilot": ".github/hooks/agent-strace.json",
}
BEFORE_TOOLS = {
    "claude": "PreToolUse",
    "codex": "PreToolUse",
    "gemini": "BeforeTool",
    "copilot": "preToolUse",
    "cursor": "preToolUse",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def setup(home: Path, *arguments: str, status: int = 0):
    unset = {
        name: "" for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME", "GEMINI_CLI_HOME")
    }
    done = run("agent-strace", "setup", *arguments, env=unset | {"HOME": str(home)}, cwd=home)
    assert done.returncode == status, done.stderr
    return done


def commands(document: object) -> list[str]:
    """Every command that the settings name."""
    if isinstance(document, dict):
        own = [
            value
            for key, value in document.items()
            if key in ("command", "bash") and isinstance(value, str)
        ]
        return own + [each for value in document.values() for each in commands(value)]
    return (
        [each for value in document for each in commands(value)]
        if isinstance(document, list)
        else []
    )


@pytest.mark.parametrize("agent", AGENTS)
def test_prints_what_it_would_write_and_writes_it(home, agent):
    done = setup(home, "--agent", agent)
    assert list(home.iterdir()) == [], "printing writes nothing"
    assert FILES[agent] in done.stderr.decode()
    setup(home, "--agent", agent, "--write")
    written = home / FILES[agent]
    assert json.loads(written.read_text()) == json.loads(done.stdout)
    assert set(commands(json.loads(done.stdout))) == {HOOK}
    assert BEFORE_TOOLS[agent] in json.loads(done.stdout)["hooks"]
    assert not list(written.parent.glob("*.bak*")), "there was nothing to keep a copy of"


@pytest.mark.parametrize("agent", AGENTS)
def test_twice_is_once(home, agent):
    setup(home, "--agent", agent, "--write")
    before = (home / FILES[agent]).read_bytes()
    done = setup(home, "--agent", agent, "--write")
    assert (home / FILES[agent]).read_bytes() == before and b"nothing to change" in done.stderr
    assert [path.name for path in (home / FILES[agent]).parent.iterdir()] == [
        Path(FILES[agent]).name
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_guard_replaces_the_plain_hook_and_back(home, agent):
    setup(home, "--agent", agent, "--write")
    plain = (home / FILES[agent]).read_bytes()
    setup(home, "--agent", agent, "--guard", "--write")
    assert set(commands(json.loads((home / FILES[agent]).read_bytes()))) == {f"{HOOK} --guard"}
    setup(home, "--agent", agent, "--write")
    assert (home / FILES[agent]).read_bytes() == plain


@pytest.mark.parametrize(
    "agent, mode, event",
    [
        ("claude", "--guard=stop", "PostToolBatch"),
        ("copilot", "--guard", "permissionRequest"),
        ("copilot", "--guard=stop", "permissionRequest"),
    ],
)
def test_guard_asks_for_the_events_that_it_needs_alone(home, agent, mode, event):
    setup(home, "--agent", agent, "--write")
    plain = (home / FILES[agent]).read_bytes()
    assert event.encode() not in plain
    setup(home, "--agent", agent, mode, "--write")
    settings = json.loads((home / FILES[agent]).read_bytes())
    assert event in settings["hooks"] and set(commands(settings)) == {f"{HOOK} {mode}"}
    done = setup(home, "--agent", agent, mode)
    assert f"setup --agent {agent} {mode} --write".encode() in done.stderr
    setup(home, "--agent", agent, "--write")
    assert (home / FILES[agent]).read_bytes() == plain


@pytest.mark.parametrize("agent", AGENTS)
def test_project(home, agent):
    setup(home, "--agent", agent, "--project", "--write")
    assert set(commands(json.loads((home / PROJECTS[agent]).read_text()))) == {HOOK}


def test_what_else_is_there_stays_as_it_is_and_a_copy_is_kept(home):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    before = {
        "model": "opus",
        "permissions": {"allow": ["Bash(ls:*)"]},
        "hooks": {
            "PreToolUse": [
                {
                    "matcher": "Bash",
                    "hooks": [
                        {"type": "command", "command": "lint.sh"},
                        {"type": "command", "command": "/opt/bin/agent-strace hook pre-tool"},
                    ],
                },
                {
                    "matcher": "Write",
                    "hooks": [{"type": "command", "command": "'/a b/agent-strace' hook --guard"}],
                },
            ],
            "PreCompact": [
                {"hooks": [{"type": "command", "command": "agent-strace hook pre-compact"}]}
            ],
            "Notification": [
                {"hooks": [{"type": "command", "command": "notify 'agent-strace hooked'"}]}
            ],
            "Stop": [],
        },
        "ünusual": "ß",
    }
    text = json.dumps(before, indent="\t", ensure_ascii=False)
    settings.write_text(text)
    settings.chmod(0o640)
    setup(home, "--agent", "claude", "--write")
    written = settings.read_text()
    after = json.loads(written)
    assert (
        list(after)[:2] == ["model", "permissions"] and after["ünusual"] == "ß" and "ß" in written
    )
    assert after["hooks"]["PreToolUse"][0] == {
        "matcher": "Bash",
        "hooks": [{"type": "command", "command": "lint.sh"}],
    }
    assert commands(after["hooks"]["PreToolUse"]) == ["lint.sh", HOOK]
    assert "PreCompact" not in after["hooks"], (
        "the hook of the older settings is replaced, wherever it stands"
    )
    assert after["hooks"]["Notification"] == before["hooks"]["Notification"]
    assert commands(after["hooks"]["Stop"]) == [HOOK]
    assert written.startswith('{\n\t"model"') and not written.endswith("\n")
    assert settings.stat().st_mode & 0o777 == 0o640
    assert (settings.parent / "settings.json.bak").read_text() == text
    setup(home, "--agent", "claude", "--guard", "--write")
    assert (settings.parent / "settings.json.bak").read_text() == text
    assert (settings.parent / "settings.json.bak1").read_text() == written


def test_settings_that_are_a_link_stay_one(home):
    (home / "dotfiles").mkdir()
    (home / ".claude").mkdir()
    (home / "dotfiles" / "claude.json").write_text("{}")
    (home / ".claude" / "settings.json").symlink_to("../dotfiles/claude.json")
    setup(home, "--agent", "claude", "--write")
    assert (home / ".claude" / "settings.json").is_symlink()
    assert commands(json.loads((home / "dotfiles" / "claude.json").read_text()))


def test_gemini_hooks_are_switched_on(home):
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(
        '{"hooksConfig": {"enabled": false, "disabled": ["x"]}}'
    )
    setup(home, "--agent", "gemini", "--write")
    assert json.loads((home / ".gemini" / "settings.json").read_text())["hooksConfig"] == {
        "enabled": True,
        "disabled": ["x"],
    }


@pytest.mark.parametrize("text, said", [
    ('{"hooks": {', "settings.json:1:12"),
    ('// mine\n{}', "settings.json:1:1"),
    ('{"hooks": {},}', "not JSON"),
    ("[]", "expected an object"),
    ('{"hooks": []}', "hooks: expected an object"),
    ('{"hooks": {"Stop": {}}}', "hooks.Stop: expected a list"),
    ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
    ("\udcff", "settings.json"),
    ("[" * 100_000, "settings.json"),
])  # fmt: skip
def test_settings_that_cannot_be_read_are_left_alone(home, text, said):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_bytes(text.encode(errors="surrogateescape"))
    done = setup(home, "--agent", "claude", "--write", status=2)
    assert said in done.stderr.decode() and b"nothing is changed" in done.stderr
    assert settings.read_bytes() == text.encode(errors="surrogateescape") and [
        path.name for path in settings.parent.iterdir()
    ] == ["settings.json"]


def test_empty_settings_and_a_byte_order_mark_are_fine(home):
    (home / ".claude").mkdir()
    for content in (b"", b"\n", b"\xef\xbb\xbf{}"):
        (home / ".claude" / "settings.json").write_bytes(content)
        setup(home, "--agent", "claude", "--write")
        assert commands(json.loads((home / ".claude" / "settings.json").read_bytes()))


def test_without_an_agent_those_that_are_set_up_here(home):
    assert b"--agent" in setup(home, status=2).stderr
    (home / ".gemini").mkdir()
    (home / ".codex").mkdir()
    done = setup(home, "--write")
    assert commands(json.loads((home / FILES["gemini"]).read_text())) and commands(
        json.loads((home / FILES["codex"]).read_text())
    )
    assert not (home / ".claude").exists()
    assert b"trust" in done.stderr, "Codex asks before it runs a new hook"


def test_where_the_settings_are_the_environment_says(home):
    done = run(
        "agent-strace setup --agent claude --write",
        env={"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / "elsewhere")},
    )
    assert done.returncode == 0 and commands(
        json.loads((home / "elsewhere" / "settings.json").read_text())
    )


def test_command_is_a_word_of_the_shell(tmp_path, home):
    """The path of a checkout may have blanks in it."""
    folder = tmp_path / "my tools; rm -rf"
    folder.mkdir()
    (folder / "bin").symlink_to(BIN)
    done = run("agent-strace", "setup", "--agent", "claude", env={"HOME": str(home)})
    assert shlex.split(commands(json.loads(done.stdout))[0]) == [str(BIN / "agent-strace"), "hook"]
    import subprocess

    done = subprocess.run(
        [folder / "bin" / "agent-strace", "setup", "--agent", "claude"],
        capture_output=True,
        env=os.environ | {"HOME": str(home)},
    )
    assert shlex.split(commands(json.loads(done.stdout))[0]) == [
        str(folder / "bin" / "agent-strace"),
        "hook",
    ]


def test_hook_that_also_pipes_into_ours_is_left_alone(home):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    theirs = {"matcher": "", "hooks": [{"command": "tee ~/audit.log | agent-strace hook"}]}
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [theirs]}}))
    setup(home, "--agent", "claude", "--write")
    assert json.loads(settings.read_text())["hooks"]["PreToolUse"][0] == theirs


def test_numbers_stay_as_they_were(home):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"a": 1e400, "b": 1.10, "c": 12345678901234567890}')
    setup(home, "--agent", "claude", "--write")
    written = settings.read_text()
    assert '"a": 1e400' in written and '"b": 1.10' in written
    assert '"c": 12345678901234567890' in written


def test_disabled_hooks_are_reported(home):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"disableAllHooks": true}')
    assert b"no hook will run" in setup(home, "--agent", "claude", "--write").stderr


@pytest.mark.parametrize("answer, kept", [("n", True), ("y", False)])
def test_a_person_is_asked_before_settings_are_changed(home, answer, kept):
    path = home / FILES["claude"]
    path.parent.mkdir()
    path.write_text('{"model": "opus"}')
    words = [sys.executable, str(BIN / "agent-strace"), "setup", "--agent", "claude", "--write"]
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(words[0], words, {**ENVIRONMENT, "HOME": str(home), "CLAUDE_CONFIG_DIR": ""})
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(fd, 4096)
    os.write(fd, answer.encode() + b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert (path.read_text() == '{"model": "opus"}') is kept
    assert b"A copy of the present settings is kept" in asked
