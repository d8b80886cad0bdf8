"""agent-strace setup: print the settings that make an agent call the hook, or write them."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import click

from agent_pipes.agents.base_hooks import GUARDS
from agent_pipes.agents.registry import HOOKED, hooks
from agent_pipes.commands.hook import GuardCommand, guard_option
from agent_pipes.core.display import escape, unbroken
from agent_pipes.core.filter import version_option
from agent_pipes.core.stderr import warn
from agent_pipes.detect.configuration import DEFAULT_POLICY
from agent_pipes.hooks import status_line
from agent_pipes.hooks.settings_file import are_disabled, merge, settings_at
from agent_pipes.scope.standard import write_standard_policy


@click.command("setup", cls=GuardCommand)
@click.option(
    "--agent",
    type=click.Choice(HOOKED),
    help="Agent to set up.  [default: every agent that has a settings directory here]",
)
@guard_option
@click.option(
    "--project", is_flag=True, help="Use the settings of this directory instead of the user's."
)
@click.option(
    "--write",
    is_flag=True,
    help="Add the hooks to the agent's settings, and keep a copy of the former settings.",
)
@click.option("--yes", is_flag=True, help="Do not ask before changing existing settings.")
@click.option(
    "--policy",
    type=click.Choice(["standard"]),
    help="Write a standard policy to .agent-scope.json here, and do nothing else.",
)
@click.option(
    "--statusline",
    is_flag=True,
    help="Set the status line of Claude Code instead of hooks.",
)
def setup(
    agent: str | None,
    guard: str | None,
    project: bool,
    write: bool,
    yes: bool,
    policy: str | None,
    statusline: bool,
) -> int:
    """Print the settings that make an agent call the hook, or add them with --write.

    All other settings are left as they are. An existing hook of agent-strace is replaced. On a
    terminal, setup asks before it changes existing settings.
    """
    if policy:
        _write_policy()
        return 0
    if statusline:
        return _set_status_line(project, write)
    guarding = [GUARDS[guard]] if guard else []
    command = _command(guarding)
    for name in [agent] if agent else _present():
        settings = hooks(name).settings
        path = Path(settings.project) if project else settings.home / settings.file
        wanted = hooks(name).wanted(command)
        if write:
            if not (yes or _agrees(path, command)):
                warn(f"{path}: left as it is")
                continue
            merge(path, wanted)
        else:
            flags = [*(["--project"] if project else []), *guarding]
            again = unbroken(" ".join(["agent-strace setup --agent", name, *flags, "--write"]))
            warn(f"to be added to {path}; to let setup do it: {again}")
            click.echo(json.dumps(wanted, indent=2))
        if settings.note:
            warn(settings.note)
        if are_disabled(path):
            warn(f"{path}: disableAllHooks is true, so no hook will run; remove it there")
    return 0


setup.params.append(version_option())


def _agrees(path: Path, command: str) -> bool:
    """Ask before a user's settings are changed; without a terminal --write is answer enough."""
    if not (path.exists() and sys.stdin.isatty()):
        return True
    question = f"{path}: add the hook '{command}'? A copy of the present settings is kept"
    return click.confirm(escape(question), err=True)


def _set_status_line(project: bool, write: bool) -> int:
    """Print the setting of Claude Code, or add it; ask before a user's own one is replaced."""
    settings = hooks("claude").settings
    path = Path(settings.project) if project else settings.home / settings.file
    wanted = status_line.wanted(_program())
    if not write:
        flags = " --project" * project
        again = unbroken(f"agent-strace setup --statusline{flags} --write")
        warn(f"to be added to {path}; to let setup do it: {again}")
        click.echo(json.dumps(wanted, indent=2))
        return 0
    other = status_line.others(settings_at(path))
    if other:
        question = f"{path}: replace the status line {escape(other)}?"
        if not (sys.stdin.isatty() and click.confirm(question, err=True)):
            command = wanted["statusLine"]["command"]
            raise click.UsageError(
                f"{path}: has another status line, {escape(other)}, which is left as it is; "
                f"remove it there, or let it print what '{command}' prints"
            )
    merge(path, wanted, "status line")
    return 0


def _write_policy() -> None:
    try:
        write_standard_policy(DEFAULT_POLICY)
    except FileExistsError:
        raise click.UsageError(f"{DEFAULT_POLICY}: exists; move it away first") from None
    except OSError as error:
        raise click.UsageError(f"{DEFAULT_POLICY}: {error.strerror}") from None
    warn(f"{DEFAULT_POLICY}: written; read it, and change what does not fit this project")


def _present() -> list[str]:
    """Return the agents whose settings directory exists."""
    names = [name for name in HOOKED if hooks(name).settings.home.is_dir()]
    if not names:
        raise click.UsageError(
            f"none of the agents has settings here; name one with --agent: {', '.join(HOOKED)}"
        )
    return names


def _command(guarding: list[str]) -> str:
    """Return the command line of the hook, with the option of the guard, if there is one."""
    return shlex.join([_program(), "hook", *guarding])


def _program() -> str:
    """Return the path of this program: an agent need not have its user's PATH."""
    program = sys.argv[0] if os.sep in sys.argv[0] else shutil.which(sys.argv[0]) or sys.argv[0]
    if os.sep in program:
        program = os.path.abspath(program)
    return program
