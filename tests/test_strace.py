"""agent-strace: each subcommand is loaded when it is called, and only then."""

import importlib
import json
import re
import subprocess
import sys

import click
import pytest
from support import ENVIRONMENT, ROOT, run

from agent_pipes.subcommands import SUBCOMMANDS

LOADED_LATE = {"agent_pipes.detect_retry", "agent_pipes.policy", "agent_pipes.shell", "agent_pipes.hooks.outcomes", "agent_pipes.config"}
"""What judges a session, or a call, and reads results: only where there is one to judge, or to read."""


def loaded(*arguments: str, input: bytes = b"") -> set[str]:
    """The modules that a call loads."""
    code = "from agent_pipes.strace import main; main()"
    words = [sys.executable, "-X", "importtime", "-c", code, *arguments]
    done = subprocess.run(words, input=input, capture_output=True, cwd=ROOT, env=ENVIRONMENT, timeout=60)
    lines = (line for line in done.stderr.decode().splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_is_a_command_of_its_name(name):
    module, summary = SUBCOMMANDS[name]
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, click.Command) and found.name == name
    assert found.help.startswith(summary.rstrip(".")), "the listing says what the command says of itself"


def test_help_names_them_all_and_loads_none():
    text = run("agent-strace", "--help").stdout.decode()
    assert all(f"\n  {name} " in text for name in SUBCOMMANDS)
    assert not loaded("--help") & {module for module, _ in SUBCOMMANDS.values()}


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_each(name):
    done = run("agent-strace", name, "--help")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.decode().startswith(f"Usage: agent-strace {name} ")


def test_hook_loads_nothing_that_it_does_not_need(tmp_path):
    """An agent waits for it at each of its calls."""
    payload = {"session_id": "s", "cwd": str(tmp_path), "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}}
    heavy = {"click", "subprocess", "agent_pipes.filter", "agent_pipes.stream", "agent_pipes.sources", "agent_pipes.process", *LOADED_LATE}
    for arguments in (["hook"], ["hook", "--guard"]):
        known = loaded(*arguments, input=json.dumps({**payload, "tool_use_id": "t"}).encode())
        known = loaded(*arguments, input=json.dumps({**payload, "tool_use_id": "u"}).encode())
        assert "agent_pipes.hooks.recorder" in known
        assert known & heavy == set()
    assert (tmp_path / ".agent-traces" / "s" / "events.ndjson").exists()


def test_unknown_subcommand_is_a_usage_error():
    done = run("agent-strace", "wach")
    assert done.returncode == 2 and b"wach" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("name", ["hook", "setup"])
def test_the_page_of_each_documents_every_option(name):
    page = (ROOT / "man" / f"agent-strace-{name}.1").read_text()
    for option in re.findall(r"^ +(?:-\w, )?-(-[a-z-]+)", run("agent-strace", name, "--help").stdout.decode(), re.M):
        assert re.search(rf"^\.It .*Fl {option}\b", page, re.M) or f", {option}\n" in page, f"man/agent-strace-{name}.1 says nothing of -{option}"
