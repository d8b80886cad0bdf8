"""agent-strace: each subcommand is loaded when it is called, and only then."""

import importlib
import subprocess
import sys

import click
import pytest
from support import ENVIRONMENT, ROOT, run

from agent_pipes.subcommands import SUBCOMMANDS


def loaded(*arguments: str, input: bytes = b"") -> set[str]:
    """The modules that a call loads."""
    code = "import sys; from agent_pipes.strace import main\ntry: main()\nfinally: sys.stderr.write(chr(10) + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], input=input, capture_output=True, cwd=ROOT, env=ENVIRONMENT, timeout=60)
    return set(done.stderr.decode().splitlines()[-1].split())


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
def test_help_and_version_of_each(name):
    done = run("agent-strace", name, "--help")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.decode().startswith(f"Usage: agent-strace {name} ")
    assert run("agent-strace", name, "--version").stdout.startswith(name.encode())


def test_unknown_subcommand_is_a_usage_error():
    done = run("agent-strace", "wach")
    assert done.returncode == 2 and b"wach" in done.stderr and done.stdout == b""
