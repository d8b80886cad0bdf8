"""agent-strace watch: the same filters in one process, beside an agent or around it."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.test_kill import stat
from tests.helpers.support import (
    BIN,
    ENVIRONMENT,
    FIXTURES,
    STANDINS,
    Stream,
    command,
    events_of,
    gone,
    run,
    start,
    until,
    violations,
)
from tests.helpers.terminal import sent_to_terminal

STANDIN = STANDINS / "claude"


def agent(home: dict, *args: object, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(STANDIN), *map(str, args)], env=ENVIRONMENT | home, **more
    )


def left_of(home: dict) -> list[int]:
    """Return live processes with our marker in their environment, as an agent's."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                marked = f"MARK={home['MARK']}".encode() in Path(
                    f"/proc/{entry}/environ"
                ).read_bytes().split(b"\0")
            except OSError:
                continue
            if marked and not gone(int(entry)):
                found.append(int(entry))
    return found


def clean(home: dict) -> None:
    for pid in left_of(home):
        os.kill(pid, signal.SIGKILL)


PROBLEMS = {
    "spiral": ("retry", ["--max-retries", "3"]),
    "loop": ("loop", ["--max-repeats", "3", "--max-retries", "off"]),
    "costly": ("cost", ["--max-cost", "2"]),
    "scope": ("scope", []),
}


@pytest.mark.parametrize("scenario", PROBLEMS)
@pytest.mark.parametrize("how", ["beside", "around"])
def test_each_problem_ends_the_agent_by_the_watcher_that_is_meant_for_it(home, scenario, how):
    watcher, limits = PROBLEMS[scenario]
    Path(".agent-scope.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')
    words = ["--scenario", scenario, "--pause", "0.1", "--rounds", "40"]
    if how == "beside":
        process = agent(home, *words)
        done = run("agent-strace", "watch", *limits, "--on-violation", "kill", env=home)
        assert process.wait(20) == -signal.SIGTERM
    else:
        done = run(
            "agent-strace",
            "watch",
            *limits,
            "--on-violation",
            "kill",
            "--output",
            "events",
            "--",
            sys.executable,
            STANDIN,
            *words,
            env=home,
        )
        done.stdout = Path("events").read_bytes()
    assert done.returncode == 124, done.stderr
    raised = {found["watcher"] for found in violations(done.stdout) if found["level"] == "critical"}
    # Five equal failures, which an agent may have before its session is found, are a loop, too.
    assert raised == {watcher} or (scenario == "spiral" and raised == {"retry", "loop"})
    assert [event["data"]["outcome"] for event in events_of(done.stdout, "kill")] == ["terminated"]
    assert "— killing session" in done.stderr.decode()
    assert left_of(home) == []
    # The report knows of the kill, whatever limits it is given.
    text = run("agent-strace", "report", "--text", env=home).stdout.decode()
    kill = events_of(done.stdout, "kill")[0]
    at = time.strftime("%H:%M UTC", time.gmtime(kill["timestamp"]))
    assert "Tripped: " in text and "; killed " in text and f"at {at}" in " ".join(text.split())
    assert f"tripped {watcher}: " in text and "kill: terminated TERM" in text, text


def test_healthy_work_is_left_alone_and_its_exit_status_passed_on(home):
    done = run(
        "agent-strace watch --on-violation kill --",
        sys.executable,
        STANDIN,
        "--scenario",
        "healthy",
        "--rounds",
        "6",
        "--pause",
        "0.05",
        env=home,
    )
    assert done.returncode == 0 and "Watcher" not in done.stderr.decode()
    clean(home)


@pytest.mark.parametrize(
    "code, status", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)]
)
def test_the_commands_own_exit_status_is_passed_on(home, code, status):
    assert run("agent-strace", "watch", "--", "sh", "-c", code, env=home).returncode == status


@pytest.mark.parametrize(
    "words",
    [
        ("--policy", "missing.json"),
        ("--output", "missing/events.ndjson"),
        ("--log", "missing/watch.log"),
        ("--prices", "missing.json"),
        ("--config", "missing.json"),
        ("--alert-exec", "no-such-program"),
        ("--then", "no-such-program", "--on-violation", "kill"),
        ("--alert", "webhook"),
    ],
    ids=lambda words: words[0],
)
def test_no_command_is_started_with_less_protection_than_was_asked_for(home, tmp_path, words):
    done = run("agent-strace", "watch", *words, "--", "touch", "started", env=home, cwd=tmp_path)
    assert done.returncode == 2 and not (tmp_path / "started").exists(), done.stderr


def test_a_command_that_cannot_be_started(home):
    assert run("agent-strace", "watch", "--", "no-such-command", env=home).returncode == 127
    Path("plain").write_text("x")
    assert run("agent-strace", "watch", "--", "./plain", env=home).returncode == 126
    assert run("agent-strace", "watch", "--", env=home).returncode == 2


def test_the_commands_words_are_its_own(home):
    done = run("agent-strace watch -- printf", "%s|", "--help", "-e", "--", "a b", env=home)
    assert done.stdout == b"--help|-e|--|a b|"


def test_one_that_ignores_sigterm_is_ended_too(home):
    Path(".agent-watch.json").write_text("{}")
    words = ["--scenario", "spiral", "--pause", "0.2", "--rounds", "200", "--ignore-term"]
    done = run(
        "agent-strace watch --max-retries 3 --on-violation kill --",
        sys.executable,
        STANDIN,
        *words,
        env=home,
    )
    assert done.returncode == 124 and b"SIGKILL" in done.stderr
    assert left_of(home) == []


def test_what_a_wrapper_hides_is_ended_too(home):
    # A wrapper that swallows the signal, as some clients have one: the agent is its child.
    wrapper = f"trap '' TERM; {shlex.join([sys.executable, str(STANDIN), '--pause', '0.1', '--rounds', '200'])}; exit 0"
    done = run(
        "agent-strace watch --max-retries 3 --on-violation kill -- bash -c", wrapper, env=home
    )
    assert done.returncode == 124 and left_of(home) == []


def test_daemons_of_the_command_that_nothing_else_could_find_are_ended_too(home):
    """An old orphan with an empty environment in its own session: known by its ancestry alone."""
    daemon = "(env -i setsid sh -c 'echo $$ > daemon; exec sleep 300' &)"
    command = f"{daemon}; exec {shlex.join([sys.executable, str(STANDIN), '--pause', '0.1', '--rounds', '200'])}"
    done = run(
        "agent-strace watch --max-retries 3 --on-violation kill -- bash -c", command, env=home
    )
    assert done.returncode == 124 and gone(int(Path("daemon").read_text())), done.stderr
    assert left_of(home) == []


def test_a_kill_that_cannot_be_is_exit_status_125(home):
    folder = Path(".agent-traces/3f6e2c1a-9b7d-4e")
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_bytes(Stream().spiral(5).bytes)
    (folder.parent / ".active-session").write_text(folder.name)
    watch = start("agent-strace", "watch", "--on-violation", "kill", env=home)
    for line in watch.stdout:
        if b'"kill"' in line:
            break
    assert json.loads(line)["data"]["outcome"] == "failed"
    with (folder / "events.ndjson").open("ab") as file:
        end = Stream(at=1_795_360_000.0)
        end.add("session_end")
        file.write(end.bytes)
    assert watch.wait(20) == 125


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ((), "limits: retry 5, loop 3, cost $10, duration 30m,"),
        ((), "; a violation is only reported; --on-violation kill also kills the agent"),
        (("--max-cost", "off", "--on-violation", "kill"), "loop 3, duration 30m,"),
        (("--max-cost", "off", "--on-violation", "kill"), "; a violation kills the agent"),
        (("--on-violation", "nudge,kill"), "; a violation takes the steps that"),
    ],
)
def test_a_start_names_its_limits_once(home, tmp_path, flags, wanted):
    environment = {**home, "XDG_STATE_HOME": str(tmp_path)}
    words = ["agent-strace", "watch", *flags, "--", "true"]
    first, second = (run(*words, env=environment).stderr.decode() for _ in range(2))
    assert wanted in first and "limits: " not in second


def test_the_explained_pipeline_prints_as_much_as_the_watch(home):
    words = ["agent-strace", "watch", "--explain"]
    shown = sent_to_terminal(command(*words), {**ENVIRONMENT, **home})
    assert shown.rstrip().endswith(b" >/dev/null")
    assert not run(*words, env=home).stdout.rstrip().endswith(b">/dev/null")
    assert run(*words, "--output", "my events", env=home).stdout.endswith(b" >>'my events'\n")


def test_explain_is_the_same_pipeline_byte_for_byte_but_for_hints(home, tmp_path):
    Path(".agent-scope.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')
    shutil.copy(FIXTURES / "spiral.ndjson", "session.ndjson")
    flags = [
        "--max-retries",
        "3",
        "--max-cost",
        "0.10",
        "--max-duration",
        "40s",
        "--on-violation",
        "kill",
        "--no-follow",
        "session.ndjson",
    ]
    words = run("agent-strace", "watch", *flags, "--explain", env=home).stdout.decode()
    environment = ENVIRONMENT | home | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    shell = subprocess.run(["sh", "-c", words], capture_output=True, env=environment, timeout=60)
    watch = run("agent-strace", "watch", *flags, env=home)
    # A hint names the option of the command that runs.
    hints = re.compile(rb'"hint":"raise the limit with --[a-z-]+"')
    assert hints.sub(b"", watch.stdout) == hints.sub(b"", shell.stdout)
    assert b"with --max-retries" in watch.stdout and b"with --max-retries" not in shell.stdout
    assert {"retry", "cost", "duration"} <= {found["watcher"] for found in violations(watch.stdout)}


def test_what_people_see(home):
    watch = run(
        "agent-strace watch --no-follow --max-retries 3 --max-cost 0.1",
        FIXTURES / "spiral.ndjson",
        env=home,
    )
    lines = watch.stderr.decode().splitlines()
    assert "[watch] Monitoring session 3f6e2c1a... claude in /home/dev/proj" in lines
    assert any(
        re.fullmatch(
            r'\[watch\] \+0:29  ⚠️  RetryWatcher: "python -m pytest -q" failed 3 times.*', line
        )
        for line in lines
    )
    assert any(
        re.match(r"\[watch\] \+\d:\d\d  ⚠️  CostWatcher: \$0\.\d\d \(threshold: \$0\.10\)", line)
        for line in lines
    )
    assert re.fullmatch(r"\[watch\] \+0:56  ✅ 32 events, \$0\.\d\d, 2 retries", lines[-1])


def test_it_waits_for_a_session_and_ends_with_it(home):
    watch = start("agent-strace", "watch", env=home)
    while b"waiting for one" not in watch.stderr.readline():
        pass
    process = agent(home, "--scenario", "silent", "--pause", "60")
    for line in watch.stdout:
        if b"history_end" in line:
            break
    process.kill()
    process.wait()
    assert b"session_end" in watch.stdout.read()
    assert watch.wait(20) == 0
    clean(home)


def test_history_raises_only_what_still_holds(home):
    folder = Path(".agent-traces/3f6e2c1a-9b7d-4e")
    folder.mkdir(parents=True)
    over = Stream().spiral(8).bash("python -m pytest", "passed")
    over.spiral(6, "make lint")
    Path("config").write_text('{"watchers": {"loop": false}}')
    (folder / "events.ndjson").write_bytes(over.bytes)
    (folder.parent / ".active-session").write_text(folder.name)
    watch = start("agent-strace watch --max-duration off --max-stall off --config config", env=home)
    seen = []
    for line in watch.stdout:
        seen.append(line)
        if b'"history_end"' in line:
            break
    raised = json.loads(watch.stdout.readline())
    assert not violations(b"".join(seen))
    assert raised["event_type"] == "violation" and "make lint" in raised["data"]["message"]
    watch.kill()


def with_broken(*methods: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    """Run the preset over the spiral while each of these methods raises, such as `failures.see`."""
    code = """
import importlib, sys
broken = sys.argv[1].split()
sys.argv = ["agent-strace", *sys.argv[2:]]
def throw(self, *arguments):
    raise RuntimeError("oops")
for each in broken:
    module, name, method = each.rsplit(".", 2)
    setattr(getattr(importlib.import_module("agent_pipes." + module), name), method, throw)
from agent_pipes.commands import strace
sys.exit(strace.main())
"""
    command = [
        sys.executable,
        "-c",
        code,
        " ".join(methods),
        "watch",
        *options,
        "--no-follow",
        str(FIXTURES / "spiral.ndjson"),
    ]
    return subprocess.run(command, capture_output=True, env=ENVIRONMENT, cwd=BIN.parent)


SPIRAL = (FIXTURES / "spiral.ndjson").read_bytes()


def test_a_detector_that_throws_is_left_out_and_said_and_the_others_go_on():
    done = with_broken("detect.loop.repeats.RepeatedCalls.see")
    assert (
        done.stderr.count(
            b"trace-detect-loop failed (RuntimeError: oops) and watches nothing from here on"
        )
        == 1
    )
    assert [found["watcher"] for found in violations(done.stdout)] == [
        "retry"
    ] and done.returncode == 0
    passed = [line for line in done.stdout.splitlines() if b'"event_type":"violation"' not in line]
    assert len(passed) == len(SPIRAL.splitlines())


def test_several_detectors_that_throw_are_each_left_out():
    done = with_broken(
        "detect.stall.Silence.see",
        "detect.loop.repeats.RepeatedCalls.see",
        "detect.cost_rules.CostDetector.see",
    )
    for name in (b"stall", b"loop", b"cost"):
        assert done.stderr.count(b"trace-detect-" + name + b" failed (RuntimeError: oops)") == 1
    assert [found["watcher"] for found in violations(done.stdout)] == ["retry"]


@pytest.mark.parametrize(
    "method",
    [
        "detect.retry.failures.RepeatedFailure.see",
        "detect.loop.repeats.RepeatedCalls.see",
        "detect.cost_rules.CostDetector.see",
        "detect.duration.Worked.see",
    ],
)
def test_strict_says_a_violation_where_a_detector_throws_wherever_it_stands(method):
    # In a recording there is nobody to end, which is a kill that did not happen.
    done = with_broken(method, options=("--strict", "-e"))
    assert done.returncode == 125 and "internal" in [
        found["watcher"] for found in violations(done.stdout)
    ]


def test_a_reader_that_throws_is_no_watchers_fault_and_its_end_is_not_hidden():
    code = """
import sys
sys.argv = ["agent-strace", *sys.argv[1:]]
from agent_pipes.commands import strace
from agent_pipes.commands import tail
whole = tail.tail.generator
def broken(**options):
    for number, event in enumerate(whole(**options)):
        if number == 3:
            raise RuntimeError("oops")
        yield event
tail.tail.generator = broken
sys.exit(strace.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "watch", "--no-follow", str(FIXTURES / "spiral.ndjson")],
        capture_output=True,
        env=ENVIRONMENT,
        cwd=BIN.parent,
    )
    assert (
        done.returncode == 125
        and b"internal error: RuntimeError: oops" in done.stderr
        and b"trace-detect" not in done.stderr
    )


def test_sigterm_is_passed_on_to_the_command(home):
    watch = start("agent-strace watch -- sh -c", "echo ready; sleep 60; echo never", env=home)
    assert watch.stdout.readline() == b"ready\n"
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(20) == -signal.SIGTERM
    last = watch.stderr.read().decode().splitlines()[-1]
    assert last == "[watch] terminated: sh has ended, and nothing is watched now"
    clean(home)


def test_sigterm_continues_the_whole_tree_of_a_paused_command(home):
    agent = f"""
import runpy, subprocess, sys
tool = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(tool.pid, flush=True)
sys.argv = ["claude", "--pause", "0.1", "--rounds", "100"]
runpy.run_path({str(STANDIN)!r}, run_name="__main__")
"""
    limits = ("--max-retries", "3", "--on-violation", "pause")
    watch = start("agent-strace", "watch", *limits, "--", sys.executable, "-c", agent, env=home)
    tool = int(watch.stdout.readline())
    try:
        until(lambda: stat(tool)[0] == "T", what="the pause of the tool")
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(20) in (124, -signal.SIGTERM), "paused by the breaker, ended by us"
        assert stat(tool)[0] == "S", "nobody is left to continue it"
    finally:
        os.kill(tool, signal.SIGKILL)
    clean(home)


def screen(words: list[str], home: dict) -> str:
    """Return the bytes that a command sends to its terminal."""
    environment = ENVIRONMENT | home | {"TERM": "xterm"}
    return sent_to_terminal(words, environment).decode(errors="replace")


def test_nothing_is_written_into_a_screen_that_the_command_draws_on(home):
    # The command reads keys, as a full-screen client does, spirals, and tidies up when it is ended.
    drawing = f"""
import os, runpy, signal, sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b"<screen>")
def end(*_):
    os.write(1, b"</screen>")
    termios.tcsetattr(0, termios.TCSANOW, before)
    os._exit(143)
signal.signal(signal.SIGTERM, end)
sys.argv = ["claude", "--pause", "0.1", "--rounds", "100"]
runpy.run_path({str(STANDIN)!r}, run_name="__main__")
"""
    sent = screen(
        [
            *command("agent-strace", "watch", "--max-retries", "3", "--on-violation", "kill"),
            "--log",
            "watch.log",
            "--",
            sys.executable,
            "-c",
            drawing,
        ],
        home,
    )
    inside = sent[sent.index("<screen>") : sent.index("</screen>")]
    assert "Monitoring" in inside
    # Only the title is set, and the bell rings.
    bare = re.sub(r"\x1b\[22;2t|\x1b\]2;[^\x1b]*\x1b\\|\x07", "", inside)
    assert bare == "<screen>", repr(inside)
    logged = Path("watch.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\dT\S+ \[watch\] \S+  ❌ RetryWatcher", logged, re.M)
    assert "RetryWatcher" in sent[sent.index("</screen>") :]
    clean(home)


def test_usage_errors(home):
    assert run("agent-strace", "watch", "session", "--", "true", env=home).returncode == 2
    assert run("agent-strace", "watch", "--no-follow", env=home).returncode == 2
    assert run("agent-strace", "watch", "--pid", "1", "--explain", env=home).returncode in (0, 2)
    assert (
        b"agent-strace"
        in run("agent-strace", env=home).stderr + run("agent-strace", env=home).stdout
    )


def test_a_command_that_is_over_before_it_can_be_watched_is_said_to_have_been_watched_by_nobody():
    code = """
import sys
sys.argv = ["agent-strace", "watch", "--", "sh", "-c", "exit 7"]
from agent_pipes.commands import run_child as command
from agent_pipes.commands import strace
command.identify = lambda pid: None
sys.exit(strace.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, cwd=BIN.parent
    )
    assert (
        done.returncode == 7
        and b"COMMAND has shown no agent session: nothing was watched\n" in done.stderr
    )
