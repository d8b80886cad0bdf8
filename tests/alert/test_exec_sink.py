"""trace-alert --exec: a program gets each alert on stdin, without a shell or a delay."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent_pipes.alert.exec_sink import Program
from agent_pipes.alert.options import SECRET_VARIABLES, split_command
from agent_pipes.process import helpers
from agent_pipes.process.handle import reap_adopted
from tests.helpers.support import STANDINS, gone, run, start, until
from tests.helpers.webhooks import violated

STANDIN = STANDINS / "claude"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def script(name: str, text: str) -> str:
    """A program of that name in this directory."""
    path = Path(name).absolute()
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def kept() -> str:
    """A program that keeps what it was given: its words, its environment and its input."""
    return script(
        "keep",
        f"#!{sys.executable}\nimport json, os, sys\nwith open('kept', 'a') as file:\n"
        "    print(json.dumps([sys.argv[1:], dict(os.environ), sys.stdin.read(), os.getcwd()]), file=file)\n",
    )


def what_was_kept() -> list[list]:
    return [json.loads(line) for line in Path("kept").read_text().splitlines()]


def test_it_gets_the_violation_as_it_stands_in_the_stream_and_our_stdout_is_the_streams():
    done = run(
        "trace-alert", "--exec", f"{kept()} 'one word' $HOME * ; true", input=violated().bytes
    )
    ((words, _, given, _),) = what_was_kept()
    assert given.encode() == violated().bytes.splitlines(keepends=True)[1]
    # A shell would have had its own idea of the last four.
    assert words == ["one word", "$HOME", "*", ";", "true"]
    assert done.stdout == violated().bytes and done.returncode == 0
    assert done.stderr.count(b"\n") == 1 and b"RetryWatcher" in done.stderr


def test_what_became_of_the_agent_is_given_to_it_too():
    stream = violated()
    stream.add("kill", {"pid": 7, "outcome": "terminated", "reason": "ended"})
    run("trace-alert", "--to", "exec", "--exec", kept(), input=stream.bytes)
    assert sorted(json.loads(given)["event_type"] for _, _, given, _ in what_was_kept()) == [
        "kill",
        "violation",
    ]


def test_our_secrets_are_not_its_own():
    secret = dict.fromkeys(SECRET_VARIABLES, "https://127.0.0.1:1/SECRET")
    run(
        "trace-alert --to exec --exec",
        kept(),
        "--drain",
        "20s",
        input=violated().bytes,
        env=secret | {"ITS": "own"},
    )
    ((_, environment, _, _),) = what_was_kept()
    assert environment["ITS"] == "own" and "SECRET" not in json.dumps(environment)


@pytest.mark.parametrize(
    "command, why",
    [
        ("no-such-program now", "'no-such-program' was not found"),
        ("'unclosed", "no closing quotation"),
        ("", "a command is expected"),
        ("./plain-file", "was not found, or cannot be executed"),
    ],
)
def test_a_command_that_cannot_be_run_stops_the_start(command, why):
    Path("plain-file").write_text("")
    done = run("trace-alert", "--exec", command, input=violated().bytes)
    assert done.returncode == 2 and done.stdout == b"" and why in done.stderr.decode()
    done = run("agent-strace", "watch", "--alert-exec", command, "--", "echo", "ran unwatched")
    assert done.returncode == 2 and done.stdout == b"" and why in done.stderr.decode()


def test_exec_without_a_command_stops_the_start():
    done = run("trace-alert", "--to", "exec", input=violated().bytes)
    assert done.returncode == 2 and done.stdout == b"" and b"--exec" in done.stderr


def test_a_violation_bound_to_a_program_that_is_not_there_is_not_lost_in_silence():
    done = run("trace-alert", input=violated(actions=["exec"]).bytes)
    assert done.returncode == 2 and b"none is configured" in done.stderr


def test_only_what_is_bound_to_it_is_given_to_it():
    run("trace-alert", "--exec", kept(), input=violated(actions=["terminal"]).bytes)
    assert not Path("kept").exists()
    run("trace-alert", "--to", "terminal", "--exec", kept(), input=violated(actions=["exec"]).bytes)
    assert len(what_was_kept()) == 1


@pytest.mark.parametrize(
    "body, said",
    [
        ("exit 3", b"fails refused an alert: it exited with status 3"),
        ("kill -9 $$", b"fails refused an alert: it was killed by SIGKILL"),
    ],
)
def test_a_failure_is_said_and_remembered(body, said):
    done = run(
        "trace-alert --to exec --exec",
        script("fails", f"#!/bin/sh\n{body}\n"),
        input=violated().bytes,
    )
    assert said in done.stderr and done.returncode == 2 and done.stdout == violated().bytes


def test_a_program_that_is_none_is_said():
    done = run("trace-alert --to exec --exec", script("garbled", "\0\1\2"), input=violated().bytes)
    assert (
        b"garbled refused an alert: it could not be run: Exec format error" in done.stderr
        and done.returncode == 2
    )


def test_failures_are_said_five_times_and_counted():
    done = run("trace-alert", "--to", "exec", "--exec", "false", input=violated(50).bytes)
    assert (
        done.stderr.count(b"it exited with status 1") == 5
        and b"refused 50 alerts in all" in done.stderr
    )


def test_what_it_says_is_shown_and_bounded():
    talks = script(
        "talks",
        "#!/bin/sh\nprintf 'red \\033[31m\\n' >&2\nyes a line | head -c 1000000 >&2\necho not an event\n",
    )
    done = run("trace-alert", "--to", "exec", "--exec", talks, input=violated().bytes)
    assert b"trace-alert: talks: red \\x1b[31m\n" in done.stderr and b"\x1b" not in done.stderr
    assert done.stderr.count(b"a line") == 4 and b"printed more lines" in done.stderr
    assert done.stdout == violated().bytes and done.returncode == 0


def test_it_need_not_read_what_it_is_given():
    done = run(
        "trace-alert --to exec --exec true", input=violated(evidence=["e" * 1000] * 1000).bytes
    )
    assert done.returncode == 0 and done.stderr == b""


def test_one_that_does_not_end_delays_nothing_and_is_ended_at_the_end():
    pids = script("hangs", "#!/bin/sh\necho $$ >> pids\nsleep 1000 & wait\n")
    process = start("trace-alert", "--to", "exec", "--exec", pids, "--drain", "1h")
    process.stdin.write(violated(20).bytes)
    process.stdin.flush()
    for _ in range(21):
        assert process.stdout.readline()
    started = until(
        lambda: (
            len(found := Path("pids").read_text().split() if Path("pids").exists() else []) == 4
            and found
        ),
        what="four of them",
    )
    process.kill()
    process.wait()
    for pid in started:
        os.killpg(int(pid), 9)

    Path("pids").unlink()
    done = run("trace-alert --to exec --exec", pids, "--drain", "2s", input=violated(6).bytes)
    assert b"hangs did not accept 6 alerts in time" in done.stderr and done.returncode == 2
    ran = [int(pid) for pid in Path("pids").read_text().split()]
    assert len(ran) == 4
    until(lambda: all(gone(pid) for pid in ran), what="their end")


def test_one_that_takes_too_long_is_killed_with_what_it_started():
    from agent_pipes.alert.batching import AlertMessage, single
    from agent_pipes.alert.delivery import Undelivered
    from agent_pipes.core.event import Event

    words = split_command(
        script("hangs", "#!/bin/sh\necho $$ > pid\nsleep 1000 &\necho $! > child\nwait\n")
    )
    with pytest.raises(Undelivered, match="timed out after"):
        Program(words, timeout_s=0.5)(single(AlertMessage(Event(b"{}\n", {}), "")))
    for name in ("pid", "child"):
        until(lambda name=name: gone(int(Path(name).read_text())))


def test_more_than_can_be_run_are_bounded_and_said():
    done = run("trace-alert --to exec --exec true --drain 100ms", input=violated(5000).bytes)
    assert done.returncode == 2 and done.stdout == violated(5000).bytes
    assert b"more alerts were dropped" in done.stderr


# In the preset.


@pytest.fixture
def home(tmp_path):
    return {name: str(tmp_path / name) for name in ("HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME")}


def test_a_config_file_runs_nothing(home):
    # An agent can write to the directory that it works in.
    for config in (
        {"alert": {"exec": "touch ran"}},
        {"webhook": {"exec": "touch ran"}},
        {"watchers": {"retry": {"exec": "touch ran"}}},
    ):
        Path(".agent-watch.json").write_text(json.dumps(config))
        done = run("agent-strace", "watch", "--", "true", env=home)
        assert done.returncode == 2 and b"unknown key" in done.stderr
    assert not Path("ran").exists()


def test_it_is_explained_in_the_shells_words(home):
    done = run("agent-strace", "watch", "--alert-exec", "sh -c 'cat > got'", "--explain", env=home)
    assert (
        b"""trace-alert --to terminal --to exec --exec 'sh -c '"'"'cat > got'"'"''""" in done.stdout
    )


def test_it_outlives_the_agent_that_the_breaker_has_started_and_ends(home):
    # The breaker adopts the agent's orphans beside its own programs and must tell them apart.
    slow = script(
        "slow",
        f"#!{sys.executable}\nimport json, os, subprocess, sys, time\nevent = json.load(sys.stdin)\n"
        "begun = time.monotonic()\nwhile time.monotonic() < begun + 2: subprocess.run(['sleep', '0.1'], check=True)\n"
        "open('told.' + event['event_type'], 'w').write(event['session_id'])\n",
    )
    # The agent's tool ignores the signal, so the breaker keeps searching the tree.
    tool = script("tool", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 60; done\n")
    agent = shlex.join([sys.executable, str(STANDIN), "--pause", "0.05", "--rounds", "200"])
    words = ["sh", "-c", f"setsid {tool} & exec {agent}"]
    done = run(
        "agent-strace watch --max-retries 3 --on-violation kill --alert-exec",
        slow,
        "--",
        *words,
        env=home,
    )
    assert done.returncode == 124 and b"slow did not" not in done.stderr, done.stderr
    assert Path("told.violation").exists() and Path("told.kill").exists(), done.stderr


def test_its_exit_status_is_not_taken_by_who_reaps_orphans():
    child = helpers.spawn(lambda: subprocess.Popen(["sh", "-c", "exit 3"], start_new_session=True))
    until(lambda: gone(child.pid))
    assert child.pid not in reap_adopted(set())
    assert child.wait() == 3
    helpers.reaped(child.pid)
    other = subprocess.Popen(["true"])
    until(lambda: gone(other.pid))
    assert other.pid in reap_adopted(set())
    other.wait()
