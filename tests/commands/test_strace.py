"""agent-strace: each subcommand is loaded when it is called, and only then."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent_pipes.commands.subcommands import SUBCOMMANDS
from agent_pipes.commands.watch import watch
from tests.helpers.support import ENVIRONMENT, ROOT, run, until

SESSION = "strace-test"
"""A name that no store above the test's directory has."""

LOADED_LATE = {
    "agent_pipes.detect.retry.command",
    "agent_pipes.scope.policy",
    "agent_pipes.shell",
    "agent_pipes.hooks.outcomes",
    "agent_pipes.core.config",
}
"""Modules that judge sessions, calls and results: loaded only where there is one."""


def loaded(*arguments: str, input: bytes = b"") -> set[str]:
    """The modules that a call loads."""
    code = "from agent_pipes.commands.strace import main; main()"
    words = [sys.executable, "-X", "importtime", "-c", code, *arguments]
    done = subprocess.run(
        words, input=input, capture_output=True, cwd=ROOT, env=ENVIRONMENT, timeout=60
    )
    lines = (line for line in done.stderr.decode().splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_is_a_command_of_its_name(name):
    module, summary = SUBCOMMANDS[name]
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, click.Command) and found.name == name
    assert found.help and found.help[0].isupper()
    assert len(f"  {name:10}  {summary}") <= 80, "the listing has one whole line for each"


def test_help_names_them_all_and_loads_none():
    text = run("agent-strace", "--help").stdout.decode()
    assert all(f"\n  {name} " in text for name in SUBCOMMANDS)
    assert not loaded("--help") & {module for module, _ in SUBCOMMANDS.values()}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_each(name):
    done = run("agent-strace", name, "--help")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.decode().startswith(
        f"Usage: agent-strace {name} "
    )


CALLED = {
    "hook_event_name": "PreToolUse",
    "tool_name": "Bash",
    "tool_input": {"command": "cd src && grep -rn x . > y; curl https://a.org"},
}
RETURNED = {
    "hook_event_name": "PostToolUse",
    "tool_name": "Bash",
    "tool_response": {"stdout": "x", "stderr": "", "interrupted": False},
}
HEAVY = {
    "argparse", "asyncio", "click", "difflib", "importlib.metadata", "logging", "pathlib", "subprocess", "tempfile", "threading", "urllib.parse",
    "agent_pipes.core.config", "agent_pipes.detect.detector", "agent_pipes.core.filter", "agent_pipes.core.options", "agent_pipes.process.table", "agent_pipes.commands.watch",
    *(f"agent_pipes.detect.{name}" for name in ("cost", "duration", "loop", "retry", "scope", "stall")),
}  # fmt: skip
"""Modules that cost milliseconds to load, and the modules that import them."""


def hooked(directory: Path, payload: dict, *arguments: str) -> set[str]:
    """The modules that the hook loads while the agent waits for it."""
    known = loaded(
        "hook",
        *arguments,
        input=json.dumps({"session_id": SESSION, "cwd": str(directory), **payload}).encode(),
    )
    assert (
        "agent_pipes.hooks.recorder" in known
        and (directory / ".agent-traces" / SESSION / "events.ndjson").exists()
    )
    return known


def test_hook_loads_nothing_that_it_does_not_need(tmp_path):
    """An agent waits for it at each of its calls."""
    hooked(tmp_path, {**CALLED, "tool_use_id": "first"})
    for arguments in ([], ["--guard"]):
        known = hooked(tmp_path, {**CALLED, "tool_use_id": f"call{len(arguments)}"}, *arguments)
        assert known & (HEAVY | LOADED_LATE | {"agent_pipes.core.stream"}) == set()
    assert hooked(tmp_path, {**RETURNED, "tool_use_id": "first"}) & HEAVY == set()


def test_guard_loads_what_judges_a_call_and_nothing_that_reads_options(tmp_path):
    (tmp_path / ".agent-scope.json").write_text(
        '{"files": {"write": {"deny": ["deploy/**"]}}, "network": {"deny_all": true, "allow": ["a.org"]}}'
    )
    hooked(tmp_path, {**CALLED, "tool_use_id": "first"})
    known = hooked(tmp_path, {**CALLED, "tool_use_id": "call"}, "--guard")
    assert {"agent_pipes.scope.policy", "agent_pipes.scope.evaluate", "agent_pipes.shell"} <= known
    assert known & HEAVY == set()


def test_guard_loads_no_detector_for_a_session_that_is_judged_already(tmp_path):
    hooked(tmp_path, {**CALLED, "tool_use_id": "first"})
    hooked(tmp_path, {**RETURNED, "tool_use_id": "first"}, "--guard")
    notes = tmp_path / ".agent-traces" / SESSION / ".hook.json"
    until(
        lambda: notes.exists() and json.loads(notes.read_bytes()).get("verdict"),
        what="the judgement",
    )
    assert hooked(tmp_path, {**CALLED, "tool_use_id": "call"}, "--guard") & HEAVY == set()


def test_unknown_subcommand_is_a_usage_error():
    done = run("agent-strace", "wach")
    assert done.returncode == 2 and b"wach" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("name", ["hook", "setup"])
def test_the_page_of_each_documents_every_option(name):
    page = (ROOT / "man" / f"agent-strace-{name}.1").read_text()
    for option in re.findall(
        r"^ +(?:-\w, )?-(-[a-z-]+)", run("agent-strace", name, "--help").stdout.decode(), re.M
    ):
        assert re.search(rf"^\.It .*Fl {option}\b", page, re.M) or f", {option}\n" in page, (
            f"man/agent-strace-{name}.1 says nothing of -{option}"
        )


def test_the_page_and_watch_have_the_same_options():
    page = (ROOT / "man" / "agent-strace.1").read_text()
    described = {f"--{name}" for name in re.findall(r"\.(?:It )?Fl -([a-z][a-z-]*)", page)}
    described |= {f"--{name}" for name in re.findall(r" , (?:Fl )?-([a-z][a-z-]*)", page)}
    accepted = {
        name
        for param in watch.params
        if isinstance(param, click.Option) and not param.hidden
        for name in param.opts
        if name.startswith("--") and name not in getattr(param, "old", ())
    }
    assert described - {"--help"} <= accepted
    assert accepted <= described
