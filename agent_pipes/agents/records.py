"""Names the records of agents for filters that are given them instead of events."""

from agent_pipes.core import foreign
from agent_pipes.core.jsonl import Fields


def describe(record: Fields) -> str:
    """Return what a record is, such as "a Claude Code transcript"; "" if no agent wrote it."""
    from agent_pipes.agents import registry

    agent = registry.recognised(record)
    return f"a {agent.title} transcript" if agent and not agent.is_native else ""


foreign.register("agents", describe)
