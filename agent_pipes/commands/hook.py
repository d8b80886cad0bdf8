"""agent-strace hook: record what an agent's hooks report, and answer for the guard."""

import click

from agent_pipes.agents.base_hooks import GUARDS
from agent_pipes.agents.registry import HOOKED
from agent_pipes.core.filter import Command, version_option


class GuardCommand(Command):
    """A command whose --guard may have a value, and takes no word after it for one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give --guard without a value the mode `deny`."""
        given = ["--guard=deny" if word == GUARDS["deny"] else word for word in args]
        return super().parse_args(ctx, given)


guard_option = click.option(
    "--guard",
    type=click.Choice(list(GUARDS)),
    metavar="[=stop]",
    help="Deny calls that are out of scope, and every call after the breaker has tripped. The run "
    "ends at the second denial after the trip, or with =stop at the trip.",
)


@click.command("hook", cls=GuardCommand)
@click.argument("event", required=False)
@guard_option
@click.option(
    "--provider",
    type=click.Choice(HOOKED),
    help="Agent that sent the payload, if the payload does not show it.",
)
def hook(event: str | None, guard: str | None, provider: str | None) -> int:
    """Record one event of an agent's hook in the .agent-traces store.

    The payload of a hook of Claude Code, Codex, Gemini, Copilot or Cursor is read from standard
    input. EVENT names the event if the payload does not, as in older settings. An error is printed,
    but the exit status is 0, so that the agent goes on.
    """
    from agent_pipes.hooks.recorder import run

    return run(guard=guard or "", agent=provider or "", word=event or "")


hook.params.append(version_option())
