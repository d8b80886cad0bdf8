"""Claude Code's sessions, their files, and the process that runs one: never somebody else's."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.agents.claude import registry as claude_registry
from agent_pipes.agents.claude import sessions as claude_sessions
from agent_pipes.agents.claude.agent import AGENT as CLAUDE
from agent_pipes.process import table as processes
from agent_pipes.process.table import Identity, began, identify
from tests.helpers.support import FIXTURES, gone, until

ID = "7d0b6c1e-3f52-4a8e-9c14-5b2e8f6a1d03"
OTHER = "c2a7e5d9-0b34-4f61-8d7e-3a91b6f0e852"
LINE = '{"type":"user","sessionId":"%s","cwd":"%s","timestamp":"2026-11-20T09:00:00Z","message":{"role":"user","content":"x"},"uuid":"u"}\n'

Start = Callable[..., Identity]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of Claude Code with two recorded sessions; the first works in `tmp_path`."""
    root = tmp_path / "config"
    shutil.copytree(FIXTURES / "claude" / "projects", root / "projects")
    path = root / "projects/-home-dev-proj" / f"{ID}.jsonl"
    path.write_text(path.read_text().replace('"cwd":"/home/dev/proj"', f'"cwd":"{tmp_path}"'))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(root))
    return root


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes of a name in a directory, and ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def run(name: str = "claude", cwd: Path = tmp_path) -> Identity:
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text("import sys, time\nprint(flush=True)\ntime.sleep(60)\n")
        process = subprocess.Popen(
            [sys.executable, "-S", str(script)], cwd=cwd, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout
        process.stdout.readline()
        identity = identify(process.pid)
        assert identity
        return identity

    yield run
    for process in started:
        process.kill()
        process.wait()


def register(
    home: Path, identity: Identity, cwd: object, session: str = ID, **more: object
) -> Path:
    entry = {
        "pid": identity.pid,
        "sessionId": session,
        "cwd": str(cwd) if isinstance(cwd, Path) else cwd,
        "startedAt": 1795359278000,
        "procStart": identity.started,
        "version": "2.1.197",
    }
    path = home / "sessions" / f"{identity.pid}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({key: value for key, value in (entry | more).items() if value is not None})
    )
    return path


def known(home: Path, session: str = ID) -> Session:
    return next(each for each in CLAUDE.sessions() if each.id == session)


# Sessions and their files


def test_sessions_are_the_transcripts_and_say_where_they_work(home: Path, tmp_path: Path) -> None:
    found = {each.id: each for each in CLAUDE.sessions()}
    assert found.keys() == {ID, OTHER}
    assert (found[ID].cwd, found[OTHER].cwd) == (str(tmp_path), "/home/dev/old")
    assert found[ID].agent == "claude"
    assert found[ID].path == home / "projects/-home-dev-proj" / f"{ID}.jsonl"
    assert found[ID].modified == found[ID].path.stat().st_mtime
    assert 0 < found[ID].started < 1.8e9


def test_without_a_variable_they_lie_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert claude_registry.roots() == [tmp_path / ".claude"]
    (tmp_path / ".config" / "claude").mkdir(parents=True)
    assert claude_registry.roots() == [tmp_path / ".claude", tmp_path / ".config" / "claude"]
    assert list(CLAUDE.sessions()) == []


def test_no_more_of_a_file_is_read_than_tells_its_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claude_sessions, "HEAD", 1000)
    path = home / "projects" / "-p" / "long.jsonl"
    path.parent.mkdir()
    path.write_text('{"type":"summary","summary":"' + "x" * 2000 + '"}\n' + LINE % ("s", "/p"))
    assert known(home, "long").cwd == ""
    path.write_text(LINE % ("s", "/p") + "x" * 2000)
    assert known(home, "long").cwd == "/p"


def test_directory_is_learnt_as_soon_as_it_is_written(home: Path) -> None:
    path = home / "projects" / "-p" / "new.jsonl"
    path.parent.mkdir()
    path.write_text('{"type":"mode","sessionId":"s"}\n')
    assert known(home, "new").cwd == ""
    with path.open("a") as file:
        file.write(LINE % ("s", "/p"))
    assert known(home, "new").cwd == "/p"


def test_files_are_the_transcript_and_those_of_its_subagents(home: Path) -> None:
    session = known(home)
    workflow = session.path.with_suffix("") / "subagents/workflows/wf_1/agent-w.jsonl"
    workflow.parent.mkdir(parents=True)
    workflow.write_text("")
    (workflow.parent / "journal.jsonl").write_text("")
    (workflow.parent / "agent-link.jsonl").symlink_to("/dev/zero")
    assert CLAUDE.files(session) == [
        session.path,
        session.path.with_suffix("") / "subagents/agent-a3f9c2d17e4b58601.jsonl",
        workflow,
    ]


def test_old_subagents_lie_beside_their_session(home: Path) -> None:
    old = known(home, OTHER)
    assert CLAUDE.files(old) == [old.path, old.path.parent / "agent-b7d1.jsonl"]


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/home/dev/my.proj_1", "-home-dev-my-proj-1"),
        ("/tmp/a--b..c", "-tmp-a--b--c"),
        ("/tmp/ünïcødé-日本", "-tmp--n-c-d----"),
        ("/tmp/emoji-😀-x", "-tmp-emoji----x"),
        ("/" + "w" * 199, "-" + "w" * 199),
    ],
)
def test_name_of_a_projects_folder(directory: str, name: str) -> None:
    assert claude_sessions.slug(directory) == name


def test_long_name_of_a_projects_folder_ends_in_a_hash() -> None:
    long = "/" + "w" * 200
    assert claude_sessions.slug(long)[:201] == "-" + "w" * 199 + "-"
    assert claude_sessions.slug(long) != claude_sessions.slug(long[:-1] + "v")
    assert claude_sessions.slug("/" + "a" * 205).removeprefix("-" + "a" * 199) == "-" + java_hash(
        "/" + "a" * 205
    )


def java_hash(text: str) -> str:
    value = 0
    for char in text:
        value = (31 * value + ord(char)) % 2**32
    value = abs(value - 2**32 if value >= 2**31 else value)
    digits = ""
    while value:
        digits, value = "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36] + digits, value // 36
    return digits


# Which process


def test_process_is_the_one_that_the_registry_names(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    register(home, identity, tmp_path)
    assert CLAUDE.process(known(home)) == identity
    assert CLAUDE.process(known(home, OTHER)) is None


def test_process_that_has_ended_is_none(home: Path, tmp_path: Path, start: Start) -> None:
    identity = start()
    register(home, identity, tmp_path)
    os.kill(identity.pid, signal.SIGKILL)
    until(lambda: gone(identity.pid))
    assert CLAUDE.process(known(home)) is None


def test_later_process_of_the_same_number_is_none(home: Path, tmp_path: Path, start: Start) -> None:
    identity = start()
    register(home, identity, tmp_path, procStart=str(int(identity.started) - 1))
    assert CLAUDE.process(known(home)) is None
    register(home, identity, tmp_path, procStart=None)
    assert CLAUDE.process(known(home)) is None, (
        "an entry that does not say when its process began names none"
    )


def test_agent_that_writes_somebody_elses_number_ends_nobody(
    home: Path, tmp_path: Path, start: Start
) -> None:
    """PID and start time match, but the process is not Claude Code or works elsewhere."""
    editor = start("editor")
    register(home, editor, tmp_path)
    assert CLAUDE.process(known(home)) is None
    (tmp_path / "elsewhere").mkdir()
    register(home, start("claude", tmp_path / "elsewhere"), tmp_path)
    assert CLAUDE.process(known(home)) is None


def test_agent_that_takes_over_anothers_entry_ends_nobody(
    home: Path, tmp_path: Path, start: Start
) -> None:
    """All of the entry is true of its process, except the session that it is said to run."""
    elsewhere = tmp_path.parent / f"{tmp_path.name}-other"
    elsewhere.mkdir()
    register(home, start("claude", elsewhere), elsewhere)
    assert CLAUDE.process(known(home)) is None


def test_process_in_a_worktree_of_the_sessions_directory_is_its(
    home: Path, tmp_path: Path, start: Start
) -> None:
    worktree = tmp_path / ".claude" / "worktrees" / "try"
    worktree.mkdir(parents=True)
    identity = start("claude", worktree)
    register(home, identity, worktree)
    assert CLAUDE.process(known(home)) == identity


@pytest.mark.parametrize("directory", ["", ".", None, 7])
def test_entry_without_a_directory_is_not_believed(
    home: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, directory: object
) -> None:
    monkeypatch.chdir(tmp_path)
    identity = start()
    register(home, identity, directory)
    assert CLAUDE.process(known(home)) is None
    register(home, identity, tmp_path)
    assert CLAUDE.process(known(home)) == identity


def test_entry_under_another_number_is_not_believed(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity, victim = start(), start()
    path = register(home, identity, tmp_path, pid=victim.pid, procStart=victim.started)
    assert CLAUDE.process(known(home)) is None
    path.rename(path.with_name(f"pid-{identity.pid}.json"))
    assert CLAUDE.process(known(home)) is None


def test_entry_behind_a_link_is_not_believed(home: Path, tmp_path: Path, start: Start) -> None:
    identity = start()
    path = register(home, identity, tmp_path)
    path.rename(tmp_path / "entry.json")
    path.symlink_to(tmp_path / "entry.json")
    assert CLAUDE.process(known(home)) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_entry_of_another_user_is_not_believed(home: Path, tmp_path: Path, start: Start) -> None:
    path = register(home, start(), tmp_path)
    assert CLAUDE.process(known(home))
    os.chown(path, 65534, 65534)
    assert CLAUDE.process(known(home)) is None


def test_two_processes_for_one_session_are_none(home: Path, tmp_path: Path, start: Start) -> None:
    register(home, start(), tmp_path)
    register(home, start(), tmp_path)
    assert CLAUDE.process(known(home)) is None


def test_entry_of_a_container_that_shares_the_registry_is_not_believed(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    register(home, identity, tmp_path, pidDomain="linux:64835ff7:pid:[1]")
    assert CLAUDE.process(known(home)) is None
    register(
        home, identity, tmp_path, pidDomain=f"linux:64835ff7:{os.readlink('/proc/self/ns/pid')}"
    )
    assert CLAUDE.process(known(home)) == identity


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"pid":"1"}', b"\xff\xfe", b'{"pid":1e999}', b"[" * 5000],
)
def test_broken_entries_are_passed_over(
    home: Path, tmp_path: Path, start: Start, content: bytes
) -> None:
    identity = start()
    register(home, identity, tmp_path)
    (home / "sessions" / "4194303.json").write_bytes(content)
    (home / "sessions" / "12.json").mkdir()
    os.mkfifo(home / "sessions" / "13.json")
    assert CLAUDE.process(known(home)) == identity


@pytest.mark.parametrize(
    ("program", "arguments", "is_claude"),
    [
        ("/home/dev/.local/share/claude/versions/2.1.270", ["claude"], True),
        ("/opt/node_modules/@anthropic-ai/claude-code-linux-x64/claude", ["claude", "-p"], True),
        ("/usr/bin/node", ["node", "/usr/local/bin/claude"], True),
        (
            "/usr/bin/node",
            [
                "node",
                "--max-old-space-size=4096",
                "/opt/node_modules/@anthropic-ai/claude-code/cli.js",
            ],
            True,
        ),
        ("/usr/bin/node", ["node", "/home/dev/proj/server.js", "claude"], False),
        ("/usr/bin/node", ["node", "/home/dev/claude/server.js"], False),
        ("/usr/bin/bash", ["bash", "-c", "source ~/.claude/shell-snapshots/x.sh"], False),
        ("/usr/bin/vim", ["claude"], False),
        ("/usr/bin/vim", ["vim", "/usr/local/bin/claude"], False),
        ("", ["/usr/local/bin/claude"], True),
        ("", [], False),
    ],
)
def test_what_claude_code_looks_like(program: str, arguments: list[str], is_claude: bool) -> None:
    assert claude_registry.is_claude(program, arguments) is is_claude


def test_session_that_has_written_nothing_yet_is_there(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    register(home, identity, tmp_path, session="new-one")
    session = known(home, "new-one")
    assert session.cwd == str(tmp_path)
    assert session.path == home / "projects" / claude_sessions.slug(str(tmp_path)) / "new-one.jsonl"
    assert session.started == 1795359278.0
    assert CLAUDE.process(session) == identity


def test_process_goes_on_in_another_session(home: Path, tmp_path: Path, start: Start) -> None:
    identity = start()
    session = known(home)
    assert CLAUDE.successor(session) is None
    register(home, identity, tmp_path)
    assert CLAUDE.process(session) == identity
    assert CLAUDE.successor(session) is None
    register(home, identity, tmp_path, session="after-clear")
    after = CLAUDE.successor(session)
    assert after
    assert (after.id, after.path) == ("after-clear", session.path.with_name("after-clear.jsonl"))
    assert CLAUDE.process(after) == identity
    register(home, identity, tmp_path, session=OTHER)
    resumed = CLAUDE.successor(session)
    assert resumed
    assert resumed.path == home / "projects/-home-dev-old" / f"{OTHER}.jsonl"


# Before there was a registry


def transcript(home: Path, directory: Path, session: str, modified: float) -> Session:
    path = home / "projects" / claude_sessions.slug(str(directory)) / f"{session}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(LINE % (session, directory))
    os.utime(path, (modified, modified))
    return known(home, session)


def test_without_a_registry_the_only_claude_code_of_the_directory_is_it(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    now = began(identity) + 5
    session = transcript(home, tmp_path, "a", now)
    assert CLAUDE.process(session) == identity
    older = transcript(home, tmp_path, "b", now - 1)
    assert CLAUDE.process(older) is None, "another session was written later"
    (home / "sessions").mkdir()
    assert CLAUDE.process(session) is None, (
        "with a registry, what does not stand there is not guessed"
    )


def test_without_a_registry_two_are_none(home: Path, tmp_path: Path, start: Start) -> None:
    identity = start()
    session = transcript(home, tmp_path, "a", began(identity) + 5)
    start()
    assert CLAUDE.process(session) is None


def test_without_a_registry_a_session_that_was_over_before_is_not_its(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    assert CLAUDE.process(transcript(home, tmp_path, "a", began(identity) - 5)) is None


def test_without_a_registry_a_copy_elsewhere_has_no_process(
    home: Path, tmp_path: Path, start: Start
) -> None:
    identity = start()
    copy = tmp_path / "copy" / "a.jsonl"
    copy.parent.mkdir()
    copy.write_text(LINE % ("a", tmp_path))
    os.utime(copy, (began(identity) + 5,) * 2)
    assert (
        CLAUDE.process(Session("claude", "a", str(tmp_path), copy, 0.0, copy.stat().st_mtime))
        is None
    )


def test_start_times_without_proc_are_told_from_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processes, "HAS_PROC", False)
    process = Identity(7, "Sun Nov 22 14:54:38 2026")
    assert began(process) == 1795359278.0
    assert claude_registry._same_start({"startedAt": 1795359278000 + 59_000}, process)
    assert not claude_registry._same_start({"startedAt": 1795359278000 + 61_000}, process)
    assert began(Identity(7, "?")) == float("inf")
