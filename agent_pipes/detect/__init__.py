"""Detectors, one file or folder each, and what they share: driver, calls, outcomes."""

from agent_pipes.agents import records

__all__ = ["records"]
