"""Subcommands of agent-strace: module and summary of each."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

import click

from agent_pipes.core.filter import version_option
from agent_pipes.core.help_format import Context
from agent_pipes.core.strict_json import did_you_mean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SUBCOMMANDS = {
    "backtest": (
        "agent_pipes.commands.backtest",
        "Try limits on recorded sessions.",
    ),
    "completion": (
        "agent_pipes.commands.completion",
        "Print a shell's completion script.",
    ),
    "doctor": (
        "agent_pipes.commands.doctor",
        "Check whether a breaker would work here.",
    ),
    "examples": (
        "agent_pipes.commands.examples",
        "Copy the example sessions of the man pages.",
    ),
    "hook": (
        "agent_pipes.commands.hook",
        "Record one event of an agent's hook.",
    ),
    "man": (
        "agent_pipes.commands.man",
        "Show a man page, or list them.",
    ),
    "report": (
        "agent_pipes.commands.report_session",
        "Show a recorded session as a page.",
    ),
    "resume": (
        "agent_pipes.commands.resume",
        "Continue a paused agent, with new limits.",
    ),
    "setup": (
        "agent_pipes.commands.setup",
        "Add the hook to an agent's settings.",
    ),
    "watch": (
        "agent_pipes.commands.watch",
        "Watch agents, and report or kill at a limit.",
    ),
}
"""Module and summary by name, so that the listing loads none of them."""


class Subcommands(click.Group):
    """A group whose commands are loaded when they are called."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command, None if there is none of that name."""
        if cmd_name not in SUBCOMMANDS:
            return None
        return cast(click.Command, getattr(import_module(SUBCOMMANDS[cmd_name][0]), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; for a misspelt one, name the nearest."""
        name = args[0]
        if name in SUBCOMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = did_you_mean(name, [*SUBCOMMANDS, "--help"])
        if os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), f"trace-{name}")):
            near = f" (did you mean 'trace-{name}'?)"
        raise click.UsageError(f"no such command {name!r}{near}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in SUBCOMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[str]]":
        """Return the names that begin with `incomplete`, with their summaries."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in SUBCOMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def _show_help(ctx: click.Context) -> None:
    """Print the help if there is no subcommand."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


strace = Subcommands(
    "agent-strace",
    callback=click.pass_context(_show_help),
    invoke_without_command=True,
    help="Circuit breakers for AI coding agents.",
    epilog="Man pages: agent-strace man [PAGE]; start with agent-strace man watch.",
    params=[version_option()],
)
