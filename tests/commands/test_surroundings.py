"""A breaker's surroundings: writable settings, few descriptors, a wrong clock."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.test_kill import armed, tripped
from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    ROOT,
    START,
    Stream,
    command,
    events_of,
    run,
    start,
    violations,
)

CONFIG = '{"watchers": {"retry": {"max": 3}}}'
POLICY = '{"files": {"write": {"deny": ["deploy/**"]}}}'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "proj").mkdir()
    monkeypatch.chdir(tmp_path / "proj")
    return tmp_path


# Its orders: the config and the policy.


def said_at_start(*words: object) -> str:
    return run("agent-strace watch --no-follow", *words, FIXTURES / "spiral.ndjson").stderr.decode()


def test_a_config_that_other_users_may_write_is_warned_of():
    Path(".agent-watch.json").write_text(CONFIG)
    for mode, warned in ((0o600, False), (0o644, False), (0o664, True), (0o646, True)):
        os.chmod(".agent-watch.json", mode)
        assert ("warning: other users can edit .agent-watch.json" in said_at_start()) is warned


def test_a_policy_that_other_users_may_write_is_warned_of():
    Path(".agent-scope.json").write_text(POLICY)
    for mode, warned in ((0o600, False), (0o644, False), (0o664, True), (0o646, True)):
        os.chmod(".agent-scope.json", mode)
        assert ("warning: .agent-scope.json: other users can edit it" in said_at_start()) is warned


def test_orders_that_lie_where_the_agent_may_write_are_warned_of(project):
    here = "warning: the agent can edit"
    Path(".agent-watch.json").write_text(CONFIG)
    Path(".agent-scope.json").write_text(POLICY)
    assert (
        f"{here} .agent-watch.json and .agent-scope.json, which are in its directory"
        in said_at_start()
    )
    Path(".agent-watch.json").rename(project / "limits.json")
    assert f"[watch] {here} .agent-scope.json, which is in" in said_at_start(
        "--config", project / "limits.json"
    )
    Path(".agent-scope.json").rename(project / "policy.json")
    assert here not in said_at_start(
        "--config", project / "limits.json", "--policy", project / "policy.json"
    )
    Path("link").symlink_to(project / "limits.json")
    assert here not in said_at_start("--config", "link", "--policy", project / "policy.json"), (
        "what it points to counts"
    )
    Path("sub").mkdir()
    (project / "limits.json").rename("sub/limits.json")
    assert f"{here} sub/limits.json" in said_at_start(
        "--config", "sub/limits.json", "--policy", project / "policy.json"
    )


@pytest.mark.parametrize("change", ["written", "replaced", "deleted"])
@pytest.mark.parametrize("name", [".agent-watch.json", ".agent-scope.json"])
def test_orders_that_change_while_it_runs_are_said_and_change_nothing(victim, name, change):
    Path(".agent-watch.json").write_text(CONFIG)
    Path(".agent-scope.json").write_text(POLICY)
    path = Path("session.ndjson")
    path.write_bytes(Stream(at=time.time() - 60).bash("ls").bytes)
    watch = start("agent-strace", "watch", "--on-violation", "kill", "--pid", victim.pid, path)
    while b"history_end" not in watch.stdout.readline():
        pass
    if change == "written":
        Path(name).write_text('{"watchers": {"retry": false}}')
    elif change == "replaced":
        Path("new").write_text("not even JSON")
        os.replace("new", name)
    else:
        Path(name).unlink()
    while f"{name} has changed; the change takes effect at the next start" not in (
        line := watch.stderr.readline().decode()
    ):
        assert line, "the breaker has ended"
    with path.open("ab") as file:
        file.write(Stream(at=time.time()).spiral(3).bytes)
    assert victim.wait(20) == -signal.SIGTERM
    out, rest = watch.communicate(timeout=20)
    assert watch.returncode == 124 and b"has changed" not in rest
    assert [found["watcher"] for found in violations(out)] == ["retry"]


# File descriptors.


def with_files(count: int, *words: str, input: bytes = b"") -> subprocess.CompletedProcess:
    """A command that may have so many files open."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    return subprocess.run(
        words, input=input, capture_output=True, env=ENVIRONMENT, preexec_fn=limit, timeout=60
    )


@pytest.mark.parametrize(
    "name", ["trace-detect-retry", "trace-kill", "trace-alert", "agent-strace watch"]
)
def test_with_few_file_descriptors_it_works_or_says_that_it_does_not(name):
    """Never is it 0, and nothing watched; nor 124, and nobody ended."""
    spiral = (FIXTURES / "spiral.ndjson").read_bytes()
    if name == "trace-kill":
        agent = lambda: subprocess.Popen(["sleep", "120"], start_new_session=True)
        worked, expected = (lambda done, process: process.wait(5) == -signal.SIGTERM), 124
    else:
        agent, expected = (lambda: None), 0
        worked = lambda done, process: (
            b"RetryWatcher" in done.stderr
            if name != "trace-detect-retry"
            else b'"violation"' in done.stdout
        )
    outcomes = {}
    for count in (3, 4, 5, 6, 7, 8, 10, 12, 16, 32):
        process = agent()
        try:
            if name == "trace-kill":
                data, words = tripped(armed(process.pid)).bytes, command(name)
            elif name == "trace-alert":
                data, words = tripped(Stream()).bytes, command(name)
            elif name == "trace-detect-retry":
                data, words = spiral, command(name, "--max", "3")
            else:
                data, words = (
                    b"",
                    command(
                        "agent-strace watch --no-follow --max-retries 3", FIXTURES / "spiral.ndjson"
                    ),
                )
            done = with_files(count, *words, input=data)
            outcomes[count] = done.returncode
            if done.returncode == expected:
                assert worked(done, process), (
                    f"{count} files: status {expected}, and it did not work"
                )
            else:
                assert done.stderr, f"{count} files: status {done.returncode} without a word"
                assert done.returncode != 124
        finally:
            if process:
                process.kill()
                process.wait()
    assert outcomes[32] == outcomes[16] == expected, outcomes


def test_a_reader_that_runs_out_of_file_descriptors_loses_nothing():
    """Two hundred sessions at once, and a hard limit far below that."""
    config = Path("claude/projects/-proj")
    config.mkdir(parents=True)
    content = next(
        path for path in sorted((FIXTURES / "claude").rglob("*.jsonl")) if path.stat().st_size
    ).read_bytes()
    for number in range(200):
        (config / f"{number:08d}-0000-4000-8000-000000000000.jsonl").write_bytes(content)
    words = command("trace-tail", "--all", "--no-follow", "--format", "claude")
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    few = subprocess.run(
        words,
        capture_output=True,
        env=ENVIRONMENT | {"CLAUDE_CONFIG_DIR": str(Path("claude").resolve()), "HOME": os.getcwd()},
        preexec_fn=limit,
        timeout=100,
    )
    many = subprocess.run(
        words,
        capture_output=True,
        env=ENVIRONMENT | {"CLAUDE_CONFIG_DIR": str(Path("claude").resolve()), "HOME": os.getcwd()},
        timeout=100,
    )
    assert (
        sorted(few.stdout.splitlines()) == sorted(many.stdout.splitlines())
        and few.returncode == many.returncode
    )
    assert few.stdout.count(b"\n") >= 200


# The clock.

WITH_CLOCK = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
real, wrong = time.time, float(sys.argv[1])
began = real()
time.time = lambda: wrong + real() - began
name, sys.argv = sys.argv[2], sys.argv[2:]
if name == "agent-strace":
    from agent_pipes.commands import strace
    sys.exit(strace.main())
import importlib
room, _, name = name.removeprefix("trace-").rpartition("-")
module = importlib.import_module(f"agent_pipes.{{room or 'commands'}}.{{name}}")
if hasattr(module, "__path__"):
    module = importlib.import_module(f"{{module.__name__}}.command")
module.main()
"""


@pytest.mark.parametrize(
    "clock", [0.0, 5e8, START - 86400, 9e9], ids=["1970", "1985", "a day behind", "2255"]
)
def test_a_clock_that_is_wrong_keeps_no_violation_from_ending_the_agent(victim, clock):
    path = Path("session.ndjson")
    path.write_bytes(Stream().bash("ls").bytes)
    words = [
        "agent-strace",
        "watch",
        "--max-retries",
        "3",
        "--max-duration",
        "off",
        "--max-stall",
        "off",
        "--on-violation",
        "kill",
        "--pid",
        str(victim.pid),
        str(path),
    ]
    watch = subprocess.Popen(
        [sys.executable, "-c", WITH_CLOCK, str(clock), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    while b"history_end" not in (line := watch.stdout.readline()):
        assert line, watch.stderr.read()
    with path.open("ab") as file:
        file.write(Stream(at=START + 60).spiral(3).bytes)
    assert victim.wait(20) == -signal.SIGTERM
    out, said = watch.communicate(timeout=20)
    assert watch.returncode == 124 and b"internal error" not in said, said
    assert [found["watcher"] for found in violations(out)] == ["retry"]


def test_a_clock_at_1970_makes_no_limit_of_time_pass_at_once(victim):
    """The session's times decide; the clock only measures the silence since."""
    path = Path("session.ndjson")
    path.write_bytes(Stream().bash("ls").bytes)
    watch = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WITH_CLOCK,
            "0",
            "agent-strace",
            "watch",
            "--on-violation",
            "kill",
            "--pid",
            str(victim.pid),
            str(path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    while b"history_end" not in (line := watch.stdout.readline()):
        assert line, watch.stderr.read()
    with path.open("ab") as file:
        file.write(Stream(at=START + 60).bash("ls -l").bytes)
    seen = [watch.stdout.readline() for _ in range(2)]
    assert [json.loads(line)["event_type"] for line in seen] == ["tool_call", "tool_result"]
    assert victim.poll() is None
    watch.terminate()
    out, said = watch.communicate(timeout=20)
    assert not violations(out) and not events_of(out, "kill"), said


def test_the_filters_work_with_a_clock_at_1970():
    data = Stream().spiral(6).bytes
    for name in (
        "trace-detect-retry",
        "trace-detect-loop",
        "trace-detect-duration",
        "trace-detect-stall",
        "trace-detect-cost",
        "trace-cost",
        "trace-status",
    ):
        done = subprocess.run(
            [sys.executable, "-c", WITH_CLOCK, "0", name],
            input=data,
            capture_output=True,
            env=ENVIRONMENT,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, run(name, input=data).stdout), done.stderr


def test_a_home_that_is_not_set_and_a_directory_without_any_session_are_no_crash():
    bare = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(
        command("trace-tail"), capture_output=True, env=bare, stdin=subprocess.DEVNULL, timeout=20
    )
    assert (
        done.returncode == 2
        and b"Traceback" not in done.stderr
        and b"internal error" not in done.stderr
    )
