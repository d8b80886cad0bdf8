"""Kiro CLI, whose sessions are recognised so that they are not taken for another agent's."""

from agent_pipes.agents.base import Agent
from agent_pipes.core.jsonl import Fields


class Kiro(Agent):
    """Kiro CLI: its conversations are not read."""

    name = "kiro"
    title = "Kiro"
    refusal = "a Kiro conversation, which cannot be read"

    def recognises(self, record: Fields) -> bool:
        """Return True for a conversation."""
        return "conversation_id" in record and type(record.get("history")) is list


AGENT = Kiro()
