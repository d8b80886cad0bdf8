"""The commands: one file for each, name for name."""

from agent_pipes.agents import records

__all__ = ["records"]
