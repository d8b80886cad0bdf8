"""Files of agent-pipes-recipes(7), each with its reader; test_man.py runs its commands.

What sends something, or costs something, has a stand-in on PATH: notify-send, and claude.
"""

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers.pages import ROOT, environment, examples_directory, files
from tests.helpers.support import BIN, FIXTURES, Stream, until

PAGE = ROOT / "man" / "agent-pipes-recipes.7"
STANDIN = ROOT / "tests" / "standin" / "claude"


def needs(*tools: str):
    gone = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(gone), reason=f"{', '.join(gone)} not installed")


@pytest.fixture
def here(tmp_path):
    """A directory with the recipes in it, and nobody's sessions."""
    return examples_directory(tmp_path / "examples", PAGE)


def program(here: Path, name: str, text: str) -> None:
    """A stand-in of that name, first on the PATH of `surroundings`."""
    (here / "bin").mkdir(exist_ok=True)
    (here / "bin" / name).write_text(text)
    (here / "bin" / name).chmod(0o755)


def surroundings(here: Path, **more: str) -> dict[str, str]:
    found = environment(here)
    return found | {"PATH": f"{here / 'bin'}:{found['PATH']}"} | more


def stored(here: Path, name: str) -> None:
    """A session of this directory in its store, now, as the fixture of that name has it."""
    events = [json.loads(line) for line in (FIXTURES / name).read_text().splitlines()]
    events[0]["data"]["cwd"] = str(here)
    folder = here / ".agent-traces" / events[0]["session_id"]
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "meta.json").write_text(
        json.dumps({"session_id": events[0]["session_id"], "started_at": events[0]["timestamp"]})
    )


def test_every_file_that_is_shown_is_tried():
    tried = {"review.mk", "deploys.awk", "size.jq", "edits.py"} | {
        "breaker.cron",
        "breaker.service",
        "status.conf",
        "agent.yml",
        "notify.sh",
    }
    assert set(files(PAGE)) == tried
    for name in ("review.mk", "deploys.awk", "size.jq", "edits.py"):
        assert re.search(rf"^\$ .*\b{re.escape(name)}\b", PAGE.read_text(), re.M), (
            f"nothing runs {name}"
        )


@needs("sh")
@pytest.mark.parametrize("name, told", [("spiral.ndjson", True), ("deploy.ndjson", False)])
def test_cron_mails_what_ran_into_a_limit_and_nothing_else(here, name, told):
    *settings, line = files(PAGE)["breaker.cron"].splitlines()[1:]
    assert [setting for setting in settings if "=" not in setting] == []
    fields = line.split(None, 5)
    assert all(re.fullmatch(r"[\d*,/-]+", field) for field in fields[:5])
    # cron takes an unquoted % for a newline.
    assert "%" not in fields[5]
    stored(here, name)
    done = subprocess.run(
        ["sh", "-c", fields[5]],
        cwd=here,
        env={"HOME": str(here), "PATH": f"{BIN}:{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
    )
    assert (
        done.stdout == b""
        and (b"RetryWatcher" in done.stderr) == told
        and (done.stderr == b"") == (not told)
    ), done.stderr


@needs("systemd-analyze")
def test_the_unit_is_one(here):
    (here / ".local" / "bin").mkdir(parents=True)
    (here / ".local" / "bin" / "agent-strace").symlink_to(BIN / "agent-strace")
    (here / "run").mkdir(mode=0o700)
    variables = surroundings(here, XDG_RUNTIME_DIR=str(here / "run"))
    verify = ["systemd-analyze", "--user", "verify"]
    done = subprocess.run(
        [*verify, here / "breaker.service"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "Failed to" in done.stderr and "manager" in done.stderr:
        pytest.skip(f"systemd-analyze verifies nothing here: {done.stderr.strip()}")
    assert done.returncode == 0 and "breaker.service" not in done.stderr, done.stderr
    # That it is looked at is seen by what is wrong on purpose.
    wrong = here / "wrong.service"
    wrong.write_text(
        (here / "breaker.service")
        .read_text()
        .replace("%h/.local/bin/agent-strace", "%h/nowhere")
        .replace("Restart=always", "Restarts=always")
    )
    done = subprocess.run(
        [*verify, wrong], env=variables, capture_output=True, text=True, timeout=60
    )
    assert "Restarts" in done.stderr and "nowhere" in done.stderr


def test_the_units_command_is_one_of_ours(here):
    command = (
        re.search(r"^ExecStart=(.*)$", files(PAGE)["breaker.service"], re.M)
        .group(1)
        .replace("%h", str(here))
    )
    words = shlex.split(command)
    done = subprocess.run(
        [BIN / Path(words[0]).name, *words[1:], "--explain"],
        cwd=here,
        env=surroundings(here),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (
        done.returncode == 0
        and "trace-tail --all |" in done.stdout
        and "trace-kill |" in done.stdout
        and "--to file" in done.stdout
    )


@needs("tmux", "jq")
def test_the_status_line_shows_the_dollars_of_the_panes_directory(here, tmp_path):
    # Whoever named the directory is not to be obeyed.
    project = here / "a $(touch obeyed) 'project"
    project.mkdir()
    stored(project, "spiral.ndjson")
    tmux = ["tmux", "-S", str(tmp_path / "socket"), "-f", str(here / "status.conf")]
    variables = surroundings(here, TERM="screen")
    # tmux runs what stands in a status line for a terminal that shows it, and for nobody else.
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.execvpe("tmux", [*tmux, "new-session", "sleep 60"], variables)
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        os.set_blocking(terminal, False)
        screen = bytearray()

        def shown() -> bool:
            with suppress(BlockingIOError):
                screen.extend(os.read(terminal, 65536))
            return b"0.27 USD" in screen

        until(shown, what="the dollars in the status line")
    finally:
        subprocess.run([*tmux, "kill-server"], env=variables, capture_output=True, timeout=30)
        os.close(terminal)
        os.waitpid(pid, 0)
    assert not (project / "obeyed").exists() and not (here / "obeyed").exists()


def steps() -> list[dict[str, str]]:
    """The steps of the workflow: what of YAML they use, and nothing else, is read."""
    found: list[dict[str, str]] = []
    for line in files(PAGE)["agent.yml"].splitlines()[1:]:
        if step := re.fullmatch(r"- (\w+): (.+)", line):
            found.append({step.group(1): step.group(2)})
        elif key := re.fullmatch(r"  (\w+): (.+)", line):
            found[-1][key.group(1)] = "" if key.group(2) == "|" else key.group(2)
        elif line:
            assert line.startswith("    ") and "run" in found[-1], line
            found[-1]["run"] += line[4:] + "\n"
    return found


def test_the_steps_are_what_yaml_takes_them_for():
    assert [set(step) for step in steps()] == [{"name", "run"}, {"name", "if", "run"}]
    yaml = pytest.importorskip(
        "yaml", reason="PyYAML is not installed: the steps' form was checked without it"
    )
    assert yaml.safe_load(files(PAGE)["agent.yml"]) == steps()


@needs("jq", "bash")
def test_the_step_fails_when_the_agent_wanted_more_and_the_summary_says_what(here):
    program(
        here,
        "claude",
        f"#!/bin/sh\nexec {sys.executable} {STANDIN} --scenario costly --pause 0.3\n",
    )
    variables = surroundings(
        here, RUNNER_TEMP=str(here), GITHUB_STEP_SUMMARY=str(here / "summary.md")
    )
    agent, summary = (step["run"] for step in steps())
    for number, (script, status) in enumerate(((agent, 124), (summary, 0))):
        # As the runner runs them.
        (here / f"{number}.sh").write_text(script)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", f"{number}.sh"],
            cwd=here,
            env=variables,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
    lines = (here / "summary.md").read_text().splitlines()
    assert (
        "threshold: $2.00" in lines[0]
        and "SIGTERM" in lines[1]
        and all(line.startswith('    "') for line in lines)
    )


@needs("jq")
@pytest.mark.parametrize("name, times", [("spiral.ndjson", 1), ("deploy.ndjson", 0)])
def test_a_notification_is_sent_for_each_alert(here, name, times):
    program(
        here,
        "notify-send",
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open('sent', 'a'))\n",
    )
    words = "trace-detect-retry --max 3 | trace-alert --to exec --exec 'sh notify.sh'"
    with (FIXTURES / name).open() as events:
        done = subprocess.run(
            ["bash", "-c", words],
            stdin=events,
            cwd=here,
            env=surroundings(here),
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    sent = [json.loads(line) for line in (here / "sent").read_text().splitlines()] if times else []
    assert (here / "sent").exists() == bool(times)
    assert (
        sent
        == [
            [
                "--urgency",
                "critical",
                "--",
                "An agent",
                "&quot;python -m pytest -q&quot; failed 3 times",
            ]
        ]
        * times
    )


@needs("jq")
def test_a_notification_obeys_nothing_that_an_agent_wrote(here):
    program(
        here,
        "notify-send",
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open('sent', 'a'))\n",
    )
    stream = Stream()
    stream.add(
        "violation",
        {
            "watcher": "retry",
            "message": "--icon=x $(touch obeyed) `touch obeyed` '; touch obeyed; <a href='https://evil.example'>click</a>",
        },
    )
    subprocess.run(
        [BIN / "trace-alert", "--to", "exec", "--exec", "sh notify.sh"],
        input=stream.bytes,
        cwd=here,
        env=surroundings(here),
        capture_output=True,
        timeout=60,
    )
    ((*_, message),) = [json.loads(line) for line in (here / "sent").read_text().splitlines()]
    assert (
        message.startswith("--icon=x $(touch obeyed)")
        and "<" not in message
        and not (here / "obeyed").exists()
    )


# The detectors: their lines count on a pipe, and not in a session's own file.

# mawk reads in blocks unless it is told not to; other kinds of awk do not know the option.
MAWK = shutil.which("mawk") is not None and os.path.realpath(shutil.which("awk") or "").endswith(
    "mawk"
)

DETECTORS = {
    "awk": (
        ["awk", *(["-W", "interactive"] if MAWK else []), "-f", "deploys.awk"],
        "deploy.ndjson",
        "spiral.ndjson",
    ),
    "jq": (
        ["jq", "-c", "--unbuffered", "--argjson", "max", "80", "-f", "size.jq"],
        "spiral.ndjson",
        "deploy.ndjson",
    ),
    "python": ([sys.executable, "edits.py"], "looping.ndjson", "spiral.ndjson"),
}


@pytest.mark.parametrize("tool", DETECTORS)
def test_a_detector_of_ones_own_is_believed_and_only_adds(here, tool):
    words, trips, healthy = DETECTORS[tool]
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    for name, times in ((trips, 1), (healthy, 0)):
        with (here / name).open() as events:
            out = subprocess.run(
                words,
                stdin=events,
                cwd=here,
                env=surroundings(here),
                capture_output=True,
                check=True,
                timeout=60,
            ).stdout
        lines = out.splitlines()
        added = [
            json.loads(line)
            for line in lines
            if b'"event_type":"violation"' in line.replace(b": ", b":")
        ]
        passed = [json.loads(line) for line in lines if json.loads(line) not in added]
        assert (len(added) >= 1) == bool(times) and passed == [
            json.loads(line) for line in (here / name).read_text().splitlines()
        ]
        told = subprocess.run(
            [BIN / "trace-alert"],
            input=out,
            env=surroundings(here),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert told.stderr.count(b"\n") == len(added)
        # In the place of a session's own file the same lines are what an agent could write.
        (here / "forged.ndjson").write_bytes(out)
        read = subprocess.run(
            [BIN / "trace-tail", "--no-follow", "forged.ndjson"],
            cwd=here,
            env=surroundings(here),
            capture_output=True,
            timeout=60,
        )
        assert b'"violation"' not in b"".join(
            line for line in read.stdout.splitlines() if b'"unbelieved"' not in line
        )


@pytest.mark.parametrize("tool", DETECTORS)
def test_a_detector_of_ones_own_says_it_at_once(here, tool):
    words, trips, _ = DETECTORS[tool]
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=here, env=surroundings(here)
    )
    process.stdin.write((here / trips).read_bytes())
    process.stdin.flush()
    os.set_blocking(process.stdout.fileno(), False)
    seen = bytearray()

    def said() -> bool:
        seen.extend(process.stdout.read() or b"")
        return b"violation" in seen

    try:
        until(said, what="the violation, while the input is open")
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
