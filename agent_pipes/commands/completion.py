"""agent-strace completion: print click's completion script for all commands of the suite."""

import re
import time
from typing import TYPE_CHECKING

import click

from agent_pipes.core.filter import Command, version_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

MAX_SESSIONS = 100
"""Sessions that are offered, newest first."""

MAX_DIRECTORY_CHARS = 60

COMMAND_FOLLOWS = "agent_pipes.command_follows"
"""Key of Context.meta: the word to be completed belongs to another command, after `--`."""

_SAFE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Words that no shell expands; a session's id is chosen by its agent."""


def complete_session(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Return the sessions and agents whose ids and names begin with `incomplete`.

    Sessions of other directories are offered only if this one has none.
    """
    from click.shell_completion import CompletionItem

    if ctx.meta.get(COMMAND_FOLLOWS):
        return [CompletionItem(incomplete, type="file")]
    from agent_pipes.agents.registry import NAMES, agent
    from agent_pipes.core.display import escape, format_duration, truncate_left
    from agent_pipes.sessions import discovery

    here = [each for each in discovery.sessions_here() if each.id.startswith(incomplete)]
    matching = here or discovery.sessions_named(incomplete)
    offered = [each for each in matching if _SAFE_WORD.fullmatch(each.id)][:MAX_SESSIONS]
    items, now = [], time.time()
    for each in offered:
        age = format_duration(max(0, round(now - each.modified)))
        place = truncate_left(escape(each.cwd), MAX_DIRECTORY_CHARS)
        items.append(CompletionItem(each.id, help=f"{each.agent}, {age} ago, {place}"))
    for name in sorted(NAMES):
        if name.startswith(incomplete) and next(agent(name).sessions(), None):
            items.append(CompletionItem(name, help=f"session of {name}"))
    if "FILE" in (param.metavar or ""):
        items.append(CompletionItem(incomplete, type="file"))
    return items


def command_names() -> list[str]:
    """Return the names of the suite's commands, as they were installed."""
    from importlib.metadata import entry_points

    return sorted(
        {
            script.name
            for script in entry_points(group="console_scripts")
            if script.value.startswith("agent_pipes.")
        }
    )


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of all commands for SHELL.

    For bash: eval "$(agent-strace completion bash)".
    """
    from click.shell_completion import get_completion_class

    shell_class = get_completion_class(shell)
    assert shell_class is not None
    for name in command_names() or ["agent-strace"]:
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        click.echo(shell_class(click.Command(name), {}, name, variable).source())


completion.params.append(version_option())
