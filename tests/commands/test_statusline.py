"""Status line of Claude Code: trace-status --format claude, and the setting that runs it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.helpers.support import BIN, ENVIRONMENT, Stream, command, run

SESSION = "4e19aab4-9b7d-4e10-8a52-6d1c0f9be771"
OURS = f"{BIN}/trace-status --format claude"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def transcript(home: Path, dollars_each: float = 0.5) -> Path:
    """A session of today with two responses, which costs twice `dollars_each`, and two failures."""
    folder = home / ".claude" / "projects" / "-w"
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time() - 120
    stamps = [
        time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now + number)) for number in range(8)
    ]
    common = {"sessionId": SESSION, "cwd": str(home), "version": "2.1.332", "isSidechain": False}
    tokens = round(dollars_each / 25e-6)

    def assistant(number: int, stamp: str, content: list) -> dict:
        message = {
            "id": f"m{number}", "role": "assistant", "model": "claude-opus-4-8", "type": "message",
            "content": content, "usage": {"input_tokens": 0, "output_tokens": tokens},
            "stop_reason": "tool_use",
        }  # fmt: skip
        return {"type": "assistant", "uuid": f"a{number}", "timestamp": stamp, "message": message}

    lines = [
        {"type": "user", "uuid": "u0", "timestamp": stamps[0],
         "message": {"role": "user", "content": "go"}},
    ]  # fmt: skip
    for number in (1, 2):
        call = {"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"command": "x"}}
        result = {
            "type": "tool_result", "tool_use_id": f"t{number}", "is_error": True,
            "content": "Exit code 1",
        }  # fmt: skip
        lines.append(assistant(number, stamps[2 * number], [call]))
        lines.append(
            {"type": "user", "uuid": f"r{number}", "timestamp": stamps[2 * number + 1],
             "message": {"role": "user", "content": [result]}}
        )  # fmt: skip
    path = folder / f"{SESSION}.jsonl"
    path.write_text("".join(json.dumps({**common, **line}) + "\n" for line in lines))
    return path


def request(home: Path, path: Path, **more: object) -> str:
    return json.dumps(
        {
            "hook_event_name": "Status",
            "session_id": SESSION,
            "transcript_path": str(path),
            "cwd": str(home),
            "model": {"id": "claude-opus-4-8", "display_name": "Opus 4.8"},
            "workspace": {"current_dir": str(home), "project_dir": str(home)},
            "version": "2.1.332",
            "cost": {"total_cost_usd": 4.0, "total_duration_ms": 600_000},
            "context_window": {"used_percentage": 22},
            **more,
        }
    )


def line(home: Path, text: str, *arguments: object) -> str:
    env = {"HOME": str(home), "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "CLAUDE_CONFIG_DIR": ""}
    done = run("trace-status", "--format", "claude", *arguments, input=text, env=env, cwd=home)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout.decode()


def test_the_line_has_model_run_today_context_and_the_nearest_limit(home):
    path = transcript(home)
    text = line(home, request(home, path))
    known = "opus-4-8 · $4.00 run · $1.00 today · ctx 22% · $10 ██▍··· 40% at "
    assert text.startswith(known) and len(text) == len(known) + len("15:02\n")
    (home / ".agent-watch.json").write_text('{"watchers": {"retry": {"max": 3}}}')
    assert " · retry 3 ████·· 66%\n" in line(home, request(home, path))
    assert " · $5 ████▊· 80% in " in line(home, request(home, path), "--limit", "cost=5")


def test_today_is_read_seldom_and_what_the_session_has_spent_since_is_added(home):
    assert "$1.00 today" in line(home, request(home, transcript(home)))
    kept = home / ".cache" / "agent-pipes" / "today.json"
    assert json.loads(kept.read_text())["usd"] == pytest.approx(1.0)
    path = transcript(home, dollars_each=0.75)
    before = kept.read_text()
    assert "$1.50 today" in line(home, request(home, path))
    assert kept.read_text() == before
    kept.write_text("not JSON")
    assert "$1.50 today" in line(home, request(home, path))
    assert oct(kept.parent.stat().st_mode)[-3:] == "700"


def test_a_session_without_a_transcript_has_what_the_client_tells(home):
    text = line(home, request(home, home / "none.jsonl"))
    assert text == "opus-4-8 · $4.00 run · $0.00 today · ctx 22% · $10 ██▍··· 40%\n"
    bare = json.dumps({"session_id": "x", "transcript_path": "", "model": "odd", "cost": []})
    assert line(home, bare).startswith(" · $0.00 run") or line(home, bare)


def test_events_are_still_taken(home):
    stream = Stream()
    stream.add("llm_response", {"model": "m", "cost": {"session_usd": 0.5}})
    assert line(home, stream.bytes.decode()) == "m · $0.50 run · $0.50 today\n"


def setup(home: Path, *arguments: str, status: int = 0):
    env = {"HOME": str(home), "CLAUDE_CONFIG_DIR": ""}
    done = run("agent-strace", "setup", "--statusline", *arguments, env=env, cwd=home)
    assert done.returncode == status, done.stderr
    return done


def settings(home: Path, folder: str = ".claude/settings.json") -> dict:
    return json.loads((home / folder).read_text())


def test_setup_prints_the_setting_and_writes_it_beside_the_others(home):
    assert json.loads(setup(home).stdout)["statusLine"]["command"] == OURS
    assert not (home / ".claude").exists()
    (home / ".claude").mkdir()
    own = {"model": "opus", "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "x"}]}]}}
    (home / ".claude" / "settings.json").write_text(json.dumps(own))
    setup(home, "--write")
    assert settings(home) == own | {"statusLine": {"type": "command", "command": OURS}}
    assert b"nothing to change" in setup(home, "--write").stderr
    setup(home, "--write", "--project")
    assert set(settings(home, ".claude/settings.local.json")) == {"statusLine"}


def test_a_status_line_of_the_users_own_is_left_and_named(home):
    (home / ".claude").mkdir()
    path = home / ".claude" / "settings.json"
    for own in ({"type": "command", "command": "~/mine.sh"}, "odd", {"command": "a 'b"}):
        path.write_text(json.dumps({"statusLine": own}))
        before = path.read_bytes()
        done = setup(home, "--write", status=2)
        assert path.read_bytes() == before and not list(path.parent.glob("*.bak*"))
        named = own if isinstance(own, str) else own["command"]
        assert named.encode() in done.stderr and b"left as it is" in done.stderr


@pytest.mark.parametrize("answer, written", [(b"y\n", True), (b"n\n", False)])
def test_on_a_terminal_setup_asks_before_it_replaces_one(home, answer, written):
    (home / ".claude").mkdir()
    path = home / ".claude" / "settings.json"
    path.write_text('{"statusLine": {"type": "command", "command": "~/mine.sh", "padding": 2}}')
    pid, terminal = os.forkpty()
    if not pid:
        os.chdir(home)
        words = command("agent-strace", "setup", "--statusline", "--write")
        os.execve(words[0], words, ENVIRONMENT | {"HOME": str(home), "CLAUDE_CONFIG_DIR": ""})
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, answer)
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    assert (status == 0) == written and b"~/mine.sh" in seen
    expected = {"type": "command", "command": OURS if written else "~/mine.sh", "padding": 2}
    assert settings(home)["statusLine"] == expected
