"""agent-strace hook: record what an agent's hooks report, and answer for the guard."""

import click

from agent_pipes.agents.registry import HOOKED
from agent_pipes.core.filter import Command, version_option


@click.command("hook", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("event", required=False)
@click.option(
    "--guard",
    is_flag=True,
    help="Deny calls that are out of scope, and all calls after the breaker has tripped.",
)
@click.option(
    "--provider",
    type=click.Choice(HOOKED),
    help="The agent, where its payload does not tell.",
)
def hook(event: str | None, guard: bool, provider: str | None) -> int:
    """Write down what an agent says through its hooks, in the .agent-traces store.

    Reads one payload of a hook of Claude Code, Codex, Gemini, Copilot or Cursor on standard input.
    EVENT says what has happened, in the words of older settings, where the payload does not.
    Whatever goes wrong, the exit status is 0.
    """
    from agent_pipes.hooks.recorder import run

    return run(guard=guard, agent=provider or "", word=event or "")


hook.params.append(version_option())
