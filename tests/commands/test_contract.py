"""Rules of agent-pipes(7), section by section, for every command; a new one inherits them."""

import importlib
import os
import pty
import re
import select
import signal
import subprocess

import pytest

from agent_pipes import __version__
from agent_pipes.core.filter import Filter
from agent_pipes.detect.registry import DETECTORS
from tests.helpers.support import (
    BIN,
    ENVIRONMENT,
    FIXTURES,
    ROOT,
    SCRIPTS,
    Stream,
    command,
    run,
    start,
    until,
)

NAMES = sorted(SCRIPTS)


def filter_of(name: str) -> Filter | None:
    module = importlib.import_module(SCRIPTS[name].split(":")[0])
    return next(
        (
            value
            for value in vars(module).values()
            if isinstance(value, Filter) and value.name == name
        ),
        None,
    )


SINKS = ("trace-report",)
"""Commands that read events and print something else; the tests of events passed on skip them."""

FILTERS = [
    name for name in NAMES if (found := filter_of(name)) and found.reads and name not in SINKS
]

# What a filter cannot start without, beside its input.
NEEDS = {"trace-detect-scope": ("--policy", "policy.json")}


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text('{"files": {"write": {"deny": ["deploy/**"]}}}')


def arguments(name: str) -> tuple[str, ...]:
    return NEEDS.get(name, ())


def test_each_registered_detector_is_a_command():
    missing = {f"trace-detect-{watcher}" for watcher in DETECTORS} - set(SCRIPTS)
    assert missing == set(), "pyproject.toml: add it to [project.scripts]"


@pytest.mark.parametrize("name", NAMES)
def test_has_its_launcher_its_page_and_its_test(name):
    module = SCRIPTS[name].split(":")[0].removeprefix("agent_pipes.")
    tests = ROOT / "tests" / f"{module.replace('.', '/')}.py"
    tests = tests.with_name(f"test_{tests.name}")
    assert (BIN / name).resolve() == (BIN / "agent-strace").resolve(), (
        f"bin/{name} is missing: ln -s agent-strace bin/{name}"
    )
    assert (ROOT / "man" / f"{name}.1").exists(), f"man/{name}.1 is missing"
    assert tests.exists(), f"{tests.relative_to(ROOT)} is missing"
    if name.startswith("trace-"):
        detector = name.removeprefix("trace-detect-")
        room = "commands" if detector == name else "detect"
        leaf = detector.removeprefix("trace-")
        assert module in (f"{room}.{leaf}", f"{room}.{leaf}.command"), (
            f"{name} belongs in a module of its own name in {room}/"
        )


@pytest.mark.parametrize("name", NAMES)
def test_version(name):
    done = run(name, "--version")
    assert (done.returncode, done.stdout.decode().strip(), done.stderr) == (
        0,
        f"{name} {__version__}",
        b"",
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("name", NAMES)
def test_help(name, flag):
    done = run(name, flag)
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout.decode().startswith(f"Usage: {name} ")


@pytest.mark.parametrize("name", NAMES)
def test_help_to_a_full_disk_is_an_error_not_a_traceback(name):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(name, "--help"), stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_a_usage_error(name):
    done = run(name, "--no-such-option")
    assert done.returncode == 2 and done.stdout == b""
    assert name.encode() in done.stderr and b"no-such-option" in done.stderr.lower()


@pytest.mark.parametrize("name", NAMES)
def test_the_page_documents_every_option(name):
    page = (ROOT / "man" / f"{name}.1").read_text().replace("\\-", "-")
    documented = {
        word
        for line in page.splitlines()
        if re.search(r"\bFl ", line)
        for word in line.split()
        if word.startswith("-")
    }
    subcommands = ["watch"] if name == "agent-strace" else [""]
    for subcommand in subcommands:
        text = run(name, *filter(None, [subcommand]), "--help").stdout.decode()
        for option in re.findall(
            r"--[a-z-]+",
            " ".join(re.findall(r"^  ((?:-\w+, )?--[a-z][^ ]*(?:[,/] *--[^ ]+)*)", text, re.M)),
        ):
            assert f"-{option.removeprefix('--')}" in documented, (
                f"man/{name}.1 says nothing of {option}"
            )


MIXED = b"".join(
    [
        b'{"event_type":"session_start","timestamp":1795359278.5,"session_id":"s","data":{"cwd":"/"}}\n',
        b'{ "event_type" : "tool_call", "timestamp":1795359279.0 , "session_id":"s","data":{"tool_name":"Bash","arguments":{"command":"ls"}}}\n',
        b'{"event_type":"never_heard_of","timestamp":"x","data":[1,2],"more":{"a":1e400}}\n',
        b'{"event_type":"tool_call","data":{"tool_name":null,"arguments":"a string"}}\r\n',
        b'{"event_type":7,"timestamp":true,"session_id":{},"data":null}\n',
        b'{"event_type":"error","timestamp":1795359280,"session_id":"s","data":{"error":["\\ud83d"],"exit_code":"one"}}\n',
        b"\n",
        b'{"event_type":"tool_result","timestamp":1795359281.5,"session_id":"s","parent_id":9,"data":{"result":{"a":[[[]]]}}}',
    ]
)


def added(line: bytes) -> bool:
    """Return True for the last response that trace-cost estimates at the end of a session."""
    return line.startswith(b'{"event_type":"llm_response"') and b'"estimated":' in line


@pytest.mark.parametrize("name", FILTERS)
def test_passes_everything_through_byte_for_byte(name):
    done = run(name, *arguments(name), input=MIXED)
    assert b"Traceback" not in done.stderr
    kept = b"".join(
        line
        for line in done.stdout.splitlines(keepends=True)
        if b'"violation"' not in line and b'"cost_summary"' not in line and not added(line)
    )
    # A last line without its end gets one if an event follows it.
    assert kept in (MIXED, MIXED + b"\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    "bad",
    [
        b"not json\n",
        b'{"event_type":"tool_call",\n',
        b"[1,2]\n",
        b"\xff\xfe{\x00\n",
        b'{"a":' * 100_000 + b"\n",
    ],
)
def test_a_bad_line_is_said_with_its_number_and_flows_on(name, bad):
    stream = Stream()
    stream.bash("ls")
    done = run(name, *arguments(name), input=stream.bytes + bad + stream.bytes)
    lines = done.stdout.splitlines(keepends=True)
    assert b"".join(line for line in lines if not added(line)) == stream.bytes + bad + stream.bytes
    assert b"standard input:3:" in done.stderr and b"Traceback" not in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("name", FILTERS)
def test_empty_input_is_the_end_of_input(name):
    done = run(name, *arguments(name))
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("name", FILTERS)
def test_writes_what_it_has_before_it_waits_for_more(name):
    process = start(name, *arguments(name))
    line = b'{"event_type":"user_prompt","timestamp":1795359278.5,"session_id":"s","data":{"prompt":"go"}}\n'
    process.stdin.write(line)
    process.stdin.flush()
    assert select.select([process.stdout], [], [], 20)[0], (
        "nothing came out while the input was open"
    )
    assert os.read(process.stdout.fileno(), 65536) == line
    process.stdin.close()
    assert process.wait(20) == 0


@pytest.mark.parametrize("name", FILTERS)
def test_dies_of_sigpipe_when_its_reader_has_gone_also_while_idle(name):
    process = start(name, *arguments(name))
    process.stdin.write(
        b'{"event_type":"user_prompt","timestamp":1795359278.5,"session_id":"s","data":{}}\n'
    )
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == -signal.SIGPIPE
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", FILTERS)
def test_dies_of_the_signal_that_ends_it(name, number):
    process = start(name, *arguments(name))
    process.stdin.write(
        b'{"event_type":"user_prompt","timestamp":1795359278.5,"session_id":"s","data":{}}\n'
    )
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(number)
    assert process.wait(20) == -number
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("name", FILTERS)
def test_a_full_disk_is_an_error_not_a_traceback(name):
    stream = Stream()
    stream.bash("ls")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(name, *arguments(name)),
            input=stream.bytes,
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
    assert b"No space left on device" in done.stderr and b"Traceback" not in done.stderr
    # trace-kill goes on without its output: there is still an agent to end.
    assert done.returncode == (0 if filter_of(name).must_run else 2)


@pytest.mark.parametrize("name", FILTERS)
def test_a_closed_standard_output_is_refused_at_the_start(name):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command(name, *arguments(name))],
        input=b"",
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert done.returncode == 2 and b"standard output is closed" in done.stderr


@pytest.mark.parametrize("name", FILTERS)
def test_a_terminal_on_standard_input_is_refused_with_a_hint(name):
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command(name, *arguments(name)), stdin=theirs, capture_output=True, env=ENVIRONMENT
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2 and re.search(rb"trace-tail( --all)? \|", done.stderr)


@pytest.mark.parametrize("name", FILTERS)
def test_exit_status_1_for_a_violation_with_e(name):
    seen = Stream()
    seen.add(
        "violation", {"watcher": "retry", "level": "critical", "message": "m", "actions": ["file"]}
    )
    warned = Stream()
    warned.add(
        "violation", {"watcher": "retry", "level": "warning", "message": "m", "actions": ["file"]}
    )
    assert run(name, *arguments(name), "-e", input=seen.bytes).returncode == 1
    assert run(name, *arguments(name), input=seen.bytes).returncode == 0
    assert run(name, *arguments(name), "--exit-status", input=warned.bytes).returncode == 0


@pytest.mark.parametrize("name", FILTERS)
def test_what_an_agent_wrote_never_reaches_the_terminal_raw(name):
    stream = Stream(session="s\x1b[2J")
    evil = "\x1b]52;c;aGk=\x07\x1b[2J\u202edeploy\x9b1m"
    stream.add("session_start", {"cwd": f"/tmp/{evil}", "model": evil, "path": evil})
    for _ in range(8):
        stream.bash(f"{evil} test", evil, failed=True)
    stream.call("Write", {"file_path": f"deploy/{evil}"})
    stream.add("violation", {"watcher": evil, "level": "critical", "message": evil})
    done = run(name, *arguments(name), input=stream.bytes)
    assert not re.search(
        rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]", done.stderr
    ), done.stderr


@pytest.mark.parametrize("name", FILTERS)
def test_any_cut_of_the_input_gives_the_same_output(name):
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    whole = run(name, *arguments(name), input=data)
    process = start(name, *arguments(name), stderr=subprocess.DEVNULL)
    for at in range(0, len(data), 700):
        process.stdin.write(data[at : at + 700])
        process.stdin.flush()
    process.stdin.close()
    assert process.stdout.read() == whole.stdout
    until(lambda: process.poll() is not None)
