"""agent-strace doctor: each check passes on a sound machine and fails on its real fault."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent_pipes.checks import agents, machine, self_test, settings
from agent_pipes.process import terminator
from agent_pipes.sessions import discovery
from agent_pipes.sessions.files import inotify
from tests.helpers.planting import subreaping
from tests.helpers.support import BIN, ENVIRONMENT, ROOT, Stream, command, run, until
from tests.helpers.terminal import shown_on_terminal

STANDIN = ROOT / "tests" / "standin" / "claude"
NOBODY = 65534
EVIL = "\x1b]52;c;aGk=\x07\x1b[2J\u202e\x9b1m"


OLDER = "#!/usr/bin/python3\nfrom agent_trace.cli import main\nmain()\n"
"""Entry point of the older project, as pip writes it."""


def can(*words: str) -> bool:
    return (
        shutil.which(words[0]) is not None
        and subprocess.run(words, capture_output=True).returncode == 0
    )


needs_namespaces = pytest.mark.skipif(
    not can("unshare", "-pf", "--mount-proc", "true"), reason="no PID namespace may be made here"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def place(monkeypatch):
    """A directory that others may read, with unused homes of the agents."""
    folder = Path(tempfile.mkdtemp(prefix="doctor-"))
    folder.chmod(0o755)
    for name in ("proj", "home", "bin"):
        (folder / name).mkdir()
    names = {
        "CLAUDE_CONFIG_DIR": "claude",
        "CODEX_HOME": "codex",
        "COPILOT_HOME": "copilot",
        "GEMINI_CLI_HOME": "gemini",
        "HOME": "home",
    }
    for variable, name in names.items():
        monkeypatch.setenv(variable, str(folder / name))
    for variable in ("AGENT_TRACE_DIR", "AGENT_STRACE_WORKSPACE", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.chdir(folder / "proj")
    yield folder
    shutil.rmtree(folder)


def environment() -> dict[str, str]:
    return {
        key: value
        for key, value in os.environ.items()
        if key in ENVIRONMENT or key != "PYTHONUNBUFFERED"
    }


def examined(
    *, status: int, words: list[str] | None = None, everywhere: bool = False
) -> list[dict]:
    """Return doctor's findings; of live agents the test's alone, unless `everywhere`."""
    done = subprocess.run(
        words or command("agent-strace", "doctor", "--json"),
        capture_output=True,
        env=environment(),
        timeout=60,
    )
    assert done.returncode == status, (done.stdout.decode(), done.stderr)
    assert done.stderr == b"" and done.stdout.isascii()
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    own = str(Path.cwd().parent)
    return [
        each
        for each in checks
        if everywhere or each["check"] != "live" or "pid" not in each or each["cwd"].startswith(own)
    ]


def set_up() -> list[dict]:
    """Return doctor's findings about settings, in this process."""
    sessions, limits = discovery.sessions(), settings.Limits()
    made = [
        *settings.limits(limits),
        *settings.scope(limits),
        *settings.traces(sessions),
        *settings.hooks(),
        *settings.prices(sessions, limits),
    ]
    return [
        {
            "check": each.check,
            "status": each.status,
            "said": each.said,
            **json.loads(json.dumps(each.more)),
        }
        for each in made
    ]


def found(checks: list[dict], check: str, status: str = "") -> list[dict]:
    return [each for each in checks if each["check"] == check and status in ("", each["status"])]


def only(checks: list[dict], check: str, status: str = "") -> dict:
    (one,) = found(checks, check, status)
    return one


AS_NOBODY = f"""
import ctypes, os, sys
import agent_pipes.agents.registry, agent_pipes.checks.agents, agent_pipes.checks.machine, agent_pipes.checks.settings, agent_pipes.commands.doctor, agent_pipes.commands.strace
list(agent_pipes.agents.registry.every_agent())
list(agent_pipes.checks.machine.versions())
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
sys.argv = ["agent-strace", "doctor", "--json"]
sys.exit(agent_pipes.commands.strace.main())
"""
"""Everything is loaded first: another user may not be allowed to read where Python lies."""


def as_nobody(*before: str) -> list[str]:
    return [
        *before,
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{AS_NOBODY}",
    ]


@pytest.fixture
def agent(place):
    """A live agent in the directory."""
    process = subprocess.Popen(
        [sys.executable, STANDIN, "--scenario", "silent", "--pause", "60"], env=environment()
    )
    until(lambda: list((place / "claude").glob("projects/*/*.jsonl")), what="the session")
    yield process
    process.kill()
    process.wait()


def transcript(
    place: Path, session: str, *, model: str = "claude-opus-4-6", cwd: str = "/somewhere"
) -> Path:
    path = place / "claude" / "projects" / "-x" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {
        "sessionId": session,
        "cwd": cwd,
        "version": "2.1.197",
        "isSidechain": False,
        "userType": "external",
    }
    message = {
        "id": f"msg_{session}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "x"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }
    lines = [
        {
            **common,
            "type": "user",
            "uuid": "u1",
            "timestamp": "2026-11-20T10:00:00.000Z",
            "message": {"role": "user", "content": "go"},
        },
        {
            **common,
            "type": "assistant",
            "uuid": "u2",
            "requestId": f"req_{session}",
            "timestamp": "2026-11-20T10:00:01.000Z",
            "message": message,
        },
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def alone():
    """For checks in this process: the trial makes it a subreaper, which it is not to stay."""
    with subreaping():
        yield


# What is in order


def test_a_machine_on_which_all_is_well(place):
    transcript(place, "aaaa1111")
    checks = examined(status=0)
    assert {each["status"] for each in checks} == {"ok"}
    assert {each["check"] for each in checks} | {"live"} == {
        "versions", "kill", "processes", "following", "agent", "live", "config", "policy", "store", "hooks", "prices", "models", "terminal", "self-test",
    }  # fmt: skip
    assert set(only(checks, "versions")["versions"]) == {"agent-pipes", "python", "click", "orjson"}
    assert only(checks, "kill")["outcome"] == "terminated" and only(checks, "kill")["pidfd"]
    claude = next(each for each in found(checks, "agent") if each.get("agent") == "claude")
    assert (
        claude["sessions"] == 1
        and claude["homes"] == [str(place / "claude")]
        and claude["program"] is None
    )
    assert only(checks, "models")["models"] == ["claude-opus-4-6"]


def test_a_table_for_people(place):
    (place / "proj" / ".agent-watch.json").write_text('{"watchers": {"retry": {"maxx": 3}}}')
    done = subprocess.run(
        command("agent-strace", "doctor"), capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 1 and done.stderr == ""
    *rows, last = done.stdout.splitlines()
    assert all(
        re.match(r"(ok|warning|problem) +[a-z-]+ +\S", row)
        and len(row.split(None, 2)[0].ljust(8)) == 8
        for row in rows
    )
    assert {row[20] != " " and row[19] == " " for row in rows} == {True}, "the columns are aligned"
    assert re.fullmatch(r"1 problem, \d+ warnings?", last)
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_it_is_wrapped_and_in_colours_unless_these_are_not_wanted(place, colours):
    (place / "proj" / ".agent-watch.json").write_text("{" + " " * 10)
    more = {"COLUMNS": "80", "TERM": "xterm", "LANG": "C.UTF-8"}
    seen = shown_on_terminal(
        command("agent-strace", "doctor"),
        environment() | more | ({} if colours else {"NO_COLOR": "1"}),
        streams=("stdout", "stderr"),
        status=1,
    )
    assert (b"\x1b[31mproblem" in seen) == colours and (b"\x1b" in seen) == colours
    plain = re.sub(r"\x1b\[\d+m", "", seen.decode())
    assert max(map(len, plain.splitlines())) <= 80
    assert re.search(r"terminal +xterm, C\.UTF-8", plain)


def test_nothing_is_changed_and_no_agent_is_started(place):
    package = place / "lib" / "claude-code"
    package.mkdir(parents=True)
    (package / "package.json").write_text(
        '{"name": "@anthropic-ai/claude-code", "version": "2.1.42"}'
    )
    (package / "cli.js").write_text(f"#!/bin/sh\ntouch {place}/started\n")
    (package / "cli.js").chmod(0o755)
    (place / "bin" / "claude").symlink_to(package / "cli.js")
    numbered = place / "share" / "cursor-agent" / "versions" / "2026.11.1-abc"
    numbered.mkdir(parents=True)
    (numbered / "cursor-agent").write_text(f"#!/bin/sh\ntouch {place}/started\n")
    (numbered / "cursor-agent").chmod(0o755)
    (place / "bin" / "cursor-agent").symlink_to(numbered / "cursor-agent")
    transcript(place, "aaaa1111")
    before = sorted((path, path.lstat().st_mtime_ns) for path in place.rglob("*"))
    checks = {each.get("agent"): each for each in found(examined(status=0), "agent")}
    assert (
        checks["claude"]["version"] == "2.1.42" and checks["cursor"]["version"] == "2026.11.1-abc"
    )
    assert sorted((path, path.lstat().st_mtime_ns) for path in place.rglob("*")) == before


def test_a_package_that_is_another_ones_tells_nothing(place):
    (place / "package.json").write_text('{"name": "something-else", "version": "9.9.9"}')
    (place / "bin" / "claude").write_text("#!/bin/sh\n")
    (place / "bin" / "claude").chmod(0o755)
    assert (
        next(each for each in found(examined(status=0), "agent") if each.get("agent") == "claude")[
            "version"
        ]
        == ""
    )


def test_no_agent_at_all_is_a_warning(place):
    assert "no agent was found" in only(examined(status=0), "agent", "warning")["said"]


def test_what_an_agent_wrote_never_reaches_the_terminal_raw(place, agent):
    transcript(place, "aaaa1111", model=f"model{EVIL}", cwd=f"/x{EVIL}")
    store = place / "proj" / ".agent-traces" / f"s{EVIL}"
    store.mkdir(parents=True)
    (store / "events.ndjson").write_bytes(Stream(session="s").bash("ls").bytes)
    (store.parent / ".active-session").write_text(store.name)
    (place / "proj" / ".agent-watch.json").write_text(json.dumps({EVIL: 1}))
    done = subprocess.run(command("agent-strace", "doctor"), capture_output=True, env=environment())
    assert done.returncode == 1 and done.stdout.count(b"\\x1b") >= 3, done.stdout.decode()
    assert not re.search(
        rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]", done.stdout + done.stderr
    )


def test_a_thousand_sessions_take_no_second(place):
    """In time of the processor: others may be using it."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    began = used()
    examined(status=0)
    without = used() - began
    for number in range(1000):
        transcript(place, f"{number:08d}-0000-4000-8000-000000000000")
    began = used()
    checks = examined(status=0)
    assert next(each for each in checks if each.get("agent") == "claude")["sessions"] == 1000
    assert used() - began - without < 1.0


# Whether a kill would work


def test_a_live_session_that_a_kill_would_reach(place, agent):
    one = only(examined(status=0), "live")
    assert (
        one["status"] == "ok"
        and one["pid"] == agent.pid
        and one["how"] == "registry"
        and one["cwd"] == str(place / "proj")
    )
    assert agent.poll() is None, "it was only looked at"


def test_an_agent_whose_session_is_not_known(place, agent):
    next((place / "claude" / "sessions").iterdir()).unlink()
    one = only(examined(status=0), "live", "warning")
    assert one["pid"] == agent.pid and f"--pid {agent.pid}" in one["said"]


def test_a_session_that_is_live_by_its_own_word_only(place):
    store = place / "proj" / ".agent-traces" / "aaaa1111"
    store.mkdir(parents=True)
    (store / "events.ndjson").write_bytes(Stream(session="aaaa1111").bash("ls").bytes)
    (store.parent / ".active-session").write_text("aaaa1111")
    one = only(examined(status=0), "live", "warning")
    assert one["session_id"] == "aaaa1111" and "process is unknown" in one["said"]


@needs_root
def test_an_agent_of_another_user(place, agent):
    checks = examined(status=0, words=as_nobody(), everywhere=True)
    one = next(each for each in found(checks, "live", "warning") if each.get("pid") == agent.pid)
    assert "belongs to root" in one["refused"] and "would not reach it" in one["said"]


@needs_root
@needs_namespaces
def test_an_agent_in_a_container(place):
    """The shared registry confirms the PID; a signal to it is refused all the same."""
    outer = subprocess.Popen(
        [
            "unshare",
            "-pf",
            "--mount-proc",
            sys.executable,
            STANDIN,
            "--scenario",
            "silent",
            "--pause",
            "60",
        ],
        env=environment(),
    )
    try:
        inner = int(
            until(
                lambda: Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().strip(),
                what="the agent",
            )
        )
        path = until(
            lambda: next((place / "claude").glob("projects/*/*.jsonl"), None), what="the session"
        )
        started = Path(f"/proc/{inner}/stat").read_text().rpartition(")")[2].split()[19]
        entry = {
            "pid": inner,
            "sessionId": path.stem,
            "cwd": str(place / "proj"),
            "procStart": started,
            "startedAt": 1,
        }
        (place / "claude" / "sessions" / f"{inner}.json").write_text(json.dumps(entry))
        one = only(examined(status=1), "live", "problem")
        assert one["pid"] == inner and "container" in one["refused"]
    finally:
        for line in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split():
            os.kill(int(line), signal.SIGKILL)
        outer.kill()
        outer.wait()


@needs_namespaces
def test_a_proc_that_is_not_ours(place):
    one = only(
        examined(status=1, words=["unshare", "-pf", *command("agent-strace", "doctor", "--json")]),
        "kill",
        "problem",
    )
    assert "PID namespace" in one["said"]


@needs_namespaces
def test_inside_a_container(place):
    one = only(
        examined(
            status=0,
            words=["unshare", "-pf", "--mount-proc", *command("agent-strace", "doctor", "--json")],
        ),
        "processes",
    )
    assert one["container"] is True and one["status"] == "ok"


@needs_root
@needs_namespaces
def test_a_proc_that_hides_other_users_processes(place):
    remount = [
        "unshare",
        "-pf",
        "--mount-proc",
        "sh",
        "-c",
        'mount -o remount,hidepid=2 /proc && exec "$@"',
        "sh",
    ]
    if not can(*remount, "true"):
        pytest.skip("/proc may not be mounted anew here")
    one = only(examined(status=0, words=as_nobody(*remount)), "processes", "warning")
    assert one["hidepid"] in ("2", "invisible")


def test_a_sandbox_that_forbids_signals(alone, monkeypatch):
    real = signal.pidfd_send_signal

    def refuse(fd, number, *more):
        if number:
            raise PermissionError(1, "Operation not permitted")
        return real(fd, number, *more)

    monkeypatch.setattr(terminator, "KILL_TIMEOUT_S", 0.2)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    (one,) = machine.kill()
    assert one.status == "problem" and "does not work" in one.said
    monkeypatch.undo()
    (one,) = machine.kill()
    assert one.status == "ok"


def test_no_pidfd(alone, monkeypatch):
    def refuse(pid, flags=0):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    (one,) = machine.kill()
    assert (one.status, one.more["outcome"], one.more["pidfd"]) == ("warning", "terminated", False)


def test_no_process_more(alone, monkeypatch):
    def refuse(*words, **more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(machine, "Popen", refuse)
    (one,) = machine.kill()
    assert one.status == "problem" and "temporarily unavailable" in one.said


def test_the_trial_leaves_nothing_behind(alone):
    def children() -> set[str]:
        return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

    before = set(os.listdir("/proc/self/fd")), children()
    outcome, _, _, _ = machine.trial()
    # Garbage collection may have closed other descriptors meanwhile.
    assert outcome == "terminated" and set(os.listdir("/proc/self/fd")) <= before[0]
    assert children() <= before[1]


# What else there is to know


def test_no_inotify(place):
    words = [
        "unshare",
        "-Ur",
        "sh",
        "-c",
        'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"',
        "sh",
    ]
    if not can(*words, "true"):
        pytest.skip("no user namespace with limits of its own may be made here")
    one = only(
        examined(status=0, words=[*words, *command("agent-strace", "doctor", "--json")]),
        "following",
        "warning",
    )
    assert one["polls"] is True and "max_user_instances" in one["said"]


def test_no_watches_left(place, monkeypatch):
    def used_up(self, owner, path, mask):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inotify.Watches, "put", used_up)
    (one,) = machine.following([place])
    assert (
        one.status == "warning"
        and "max_user_watches" in one.said
        and one.more["looked_at"] == [str(place)]
    )


def test_a_network_file_system(place, monkeypatch):
    monkeypatch.setattr(inotify, "remote", lambda path: path.endswith("home"))
    (one,) = machine.following([place / "home", place / "proj"])
    assert (
        one.status == "warning"
        and one.more["looked_at"] == [str(place / "home")]
        and "network" in one.said
    )


def test_versions_that_nobody_has_tried(monkeypatch):
    monkeypatch.setattr(machine, "version", {"click": "8.0.4", "orjson": "3.13.0"}.get)
    (one,) = machine.versions()
    assert one.status == "warning" and "click is older than 8.1" in one.said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"watchers": {"retry": {"maxx": 3}}}',
            "watchers.retry.maxx: unknown key (did you mean 'max'?)",
        ),
        ('{"watchers": ', ".agent-watch.json:1:14: not JSON"),
        (
            '{"watchers": {"cost": {"max_dollars": "many"}}}',
            "watchers.cost.max_dollars: expected dollars",
        ),
    ],
)
def test_a_config_that_is_not_what_was_meant(place, text, said):
    (place / "proj" / ".agent-watch.json").write_text(text)
    one = only(set_up(), "config", "problem")
    assert said in one["said"] and one["said"].startswith(".agent-watch.json")


def test_a_config_that_is_in_order(place):
    config = place / "proj" / ".agent-watch.json"
    config.write_text(
        '{"watchers": {"cost": {"max_dollars": 5}, "stall": false}, "webhook": {"url": "https://hooks.example.com/secret"}}'
    )
    checks = set_up()
    assert only(checks, "config", "ok")["off"] == ["stall"] and "secret" not in json.dumps(checks)
    assert "the agent can edit" in only(checks, "config", "warning")["said"]
    config.chmod(0o666)
    assert any("other users" in each["said"] for each in found(set_up(), "config", "warning"))


def test_a_link_to_a_config_that_is_not_there(place):
    (place / "proj" / ".agent-watch.json").symlink_to("nowhere")
    assert "No such file" in only(set_up(), "config", "problem")["said"]


def policy(path: Path, text: str = '{"files": {"write": {"deny": ["deploy/**"]}}}') -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("{}", "nothing to enforce"),
        ('{"file": {}}', "did you mean 'files'?"),
        ('{"files": {"write": {"deny": "x"}}}', "files.write.deny"),
    ],
)
def test_a_policy_that_cannot_be_enforced(place, text, said):
    policy(place / "proj" / ".agent-scope.json", text)
    one = only(set_up(), "policy", "problem")
    assert said in one["said"] and ".agent-scope.json" in one["said"]


def test_a_policy_that_may_not_be_read(place):
    policy(place / "proj" / ".agent-scope.json").chmod(0)
    words = as_nobody() if os.geteuid() == 0 else None
    assert "Permission denied" in only(examined(status=1, words=words), "policy", "problem")["said"]


def test_a_policy_that_the_agent_or_anybody_may_change(place):
    path = policy(place / "proj" / ".agent-scope.json")
    assert "the agent can edit" in only(set_up(), "policy", "warning")["said"]
    path.chmod(0o602)
    assert any("other users" in each["said"] for each in found(set_up(), "policy", "warning"))


def test_a_policy_out_of_the_agents_reach(place):
    path = policy(place / "policy.json")
    (place / "proj" / ".agent-watch.json").write_text(
        json.dumps({"watchers": {"scope": {"policy": str(path)}}})
    )
    checks = set_up()
    assert only(checks, "policy")["status"] == "ok" and only(checks, "policy")["path"] == str(path)
    path.unlink()
    assert "no such file" in only(set_up(), "policy", "problem")["said"]


def test_a_policy_that_is_turned_off_is_not_read(place):
    policy(place / "proj" / ".agent-scope.json", "{")
    (place / "proj" / ".agent-watch.json").write_text('{"watchers": {"scope": false}}')
    assert "turns it off" in only(set_up(), "policy")["said"]


@needs_root
def test_a_home_and_a_store_that_may_not_be_read(place):
    transcript(place, "aaaa1111")
    (place / "claude").chmod(0o700)
    store = place / "proj" / ".agent-traces"
    store.mkdir(mode=0o555)
    checks = examined(status=1, words=as_nobody())
    assert "cannot be read" in only(checks, "agent", "problem")["said"]
    assert only(checks, "store", "problem")["stores"] == [str(store)]


def test_hooks_that_are_set_up(place):
    assert (
        run("agent-strace setup --agent claude --guard --write", env=environment()).returncode == 0
    )
    one = next(each for each in found(set_up(), "hooks") if each.get("agent") == "claude")
    assert (
        one["status"] == "ok"
        and one["guard"] is True
        and one["commands"] == [f"{BIN}/agent-strace hook --guard"]
    )


def test_hooks_of_both_the_user_and_the_project(place):
    for more in ([], ["--project"]):
        run("agent-strace", "setup", "--agent", "codex", "--write", *more, env=environment())
    assert "twice" in only(set_up(), "hooks", "warning")["said"]


def test_hooks_of_an_older_set_up(place):
    run("agent-strace", "setup", "--agent", "claude", "--write", env=environment())
    path = place / "claude" / "settings.json"
    document = json.loads(path.read_text())
    del document["hooks"]["PostToolUse"]
    path.write_text(json.dumps(document))
    assert "setup --agent claude --write" in only(set_up(), "hooks", "warning")["said"]


def test_hooks_that_call_what_is_not_there(place):
    run("agent-strace", "setup", "--agent", "claude", "--write", env=environment())
    path = place / "claude" / "settings.json"
    path.write_text(path.read_text().replace(str(BIN), "/somewhere/else"))
    one = only(set_up(), "hooks", "problem")
    assert "/somewhere/else/agent-strace, which cannot be executed" in one["said"]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"hooks": {"PreToolUse": {"command": "agent-strace hook"}}}', '{"a": 1, "a": 2}'],
)
def test_settings_that_are_not_what_they_should_be(place, text):
    (place / "claude").mkdir()
    (place / "claude" / "settings.json").write_text(text)
    assert str(place / "claude" / "settings.json") in only(set_up(), "hooks", "warning")["said"]


def test_a_model_without_a_price(place):
    transcript(place, "aaaa1111")
    transcript(place, "bbbb1111", model="nobodys-model-1")
    one = only(set_up(), "models")
    assert (
        one["status"] == "warning"
        and one["unpriced"] == ["nobodys-model-1"]
        and one["models"] == ["claude-opus-4-6"]
    )
    (place / "proj" / ".agent-watch.json").write_text(
        '{"watchers": {"cost": {"unpriced_as": "claude-opus-4-6"}}}'
    )
    one = only(set_up(), "models")
    assert one["status"] == "ok", one


def test_prices_of_last_year(monkeypatch):
    monkeypatch.setattr(
        settings, "built_in", lambda: {"date": "2020-01-01", "source": "s", "models": {}}
    )
    one, _ = settings.prices([], settings.Limits())
    assert one.status == "warning" and "more than 120 days ago" in one.said


def test_a_terminal_without_utf8(monkeypatch):
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setenv("TERM", "vt100")
    monkeypatch.setenv("LC_ALL", "de_DE.ISO-8859-1")
    (one,) = machine.terminal()
    assert one.status == "warning" and "UTF-8" in one.said


def test_a_check_that_fails_costs_no_other(alone, place, monkeypatch):
    from agent_pipes.commands.doctor import examined as every

    def fail(*given):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(agents, "live", fail)
    checks = list(every())
    assert [each.said for each in checks if each.check == "live"] == [
        "this check failed: RuntimeError: no such luck"
    ]
    assert checks[-1].check == "self-test"


def test_sessions_are_asked_about_for_a_while_only(place, agent, monkeypatch):
    monkeypatch.setattr(agents, "SECONDS", -1.0)
    for number in range(5):
        transcript(place, f"aaaa{number}")
    said = [each.said for each in agents.live(discovery.sessions(["claude"]))]
    assert any("6 older sessions" in each for each in said)


def test_is_loaded_when_it_is_called_and_only_then():
    code = "import sys, agent_pipes.commands.subcommands, agent_pipes.commands.watch; assert not [name for name in sys.modules if name.startswith('agent_pipes.checks')]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_page_documents_every_option():
    page = (ROOT / "man" / "agent-strace-doctor.1").read_text()
    for option in re.findall(
        r"^ +(?:-\w, )?-(-[a-z-]+)", run("agent-strace", "doctor", "--help").stdout.decode(), re.M
    ):
        assert re.search(rf"^\.It .*Fl {option}\b", page, re.M) or f", {option}\n" in page, (
            f"the page says nothing of -{option}"
        )


@needs_root
def test_a_home_directory_of_somebody_else(place, monkeypatch):
    """As where `su` has left the variable as it was."""
    (place / "home").chmod(0o700)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    assert (
        "Permission denied"
        in only(examined(status=1, words=as_nobody()), "sessions", "problem")["said"]
    )


def test_the_self_test_sees_a_stand_in_agent_killed(place, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(place))
    check = only(examined(status=0), "self-test", "ok")
    assert check["status"] == "ok" and "killed a stand-in agent" in check["said"]
    assert not list(place.glob("agent-pipes-self-test-*/.agent-traces"))


def test_a_watch_that_does_not_kill_is_a_problem(monkeypatch):
    monkeypatch.setattr(self_test, "_command", lambda: ["sh", "-c", "echo why >&2; exit 125"])
    (check,) = self_test.self_test()
    assert (check.status, check.more["exit_status"]) == ("problem", 125)
    assert check.said == "watch did not kill a stand-in agent (exit status 125): why"


def test_a_watch_that_never_ends_is_a_problem(monkeypatch):
    monkeypatch.setattr(self_test, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(self_test, "_command", lambda: ["sleep", "5"])
    (check,) = self_test.self_test()
    assert check.status == "problem" and "has not killed" in check.said


def test_a_webhook_behind_a_proxy_is_warned_of(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    (check,) = machine.webhook(True)
    assert check.status == "warning" and "HTTPS_PROXY" in check.said
    assert list(machine.webhook(False)) == []


@pytest.mark.parametrize(
    ("program", "is_reported"),
    [
        (OLDER, True),
        ("#!/usr/bin/python3\nfrom agent_pipes.commands.strace import main\nmain()\n", False),
        ('#!/bin/sh\nexec pyenv exec agent-strace "$@"\n', False),
    ],
)
def test_an_older_agent_strace_that_comes_first_in_path_is_reported(place, program, is_reported):
    found = place / "bin" / "agent-strace"
    found.write_text(program)
    found.chmod(0o755)
    warned = [check for check in machine.installed() if check.status == "warning"]
    assert bool(warned) is is_reported
    if is_reported:
        assert (
            f"agent-strace in PATH is {found}, which belongs to an older project" in warned[0].said
        )
    path = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "HOME": str(place / "home")}
    for times in (1, 0):
        done = run("agent-strace", "watch", "--explain", env=path, cwd=place / "proj")
        assert done.stderr.count(b"an older project") == (times if is_reported else 0)
