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
    help="Deny calls that are out of scope, and all calls after the breaker has tripped; the run "
    "is ended with the second of these, with =stop at once.",
)


@click.command("hook", cls=GuardCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("event", required=False)
@guard_option
@click.option(
    "--provider",
    type=click.Choice(HOOKED),
    help="The agent, where its payload does not tell.",
)
def hook(event: str | None, guard: str | None, provider: str | None) -> int:
    """Write down what an agent says through its hooks, in the .agent-traces store.

    Reads one payload of a hook of Claude Code, Codex, Gemini, Copilot or Cursor on standard input.
    EVENT says what has happened, in the words of older settings, where the payload does not.
    Whatever goes wrong, the exit status is 0.
    """
    from agent_pipes.hooks.recorder import run

    return run(guard=guard or "", agent=provider or "", word=event or "")


hook.params.append(version_option())
