"""Cursor's agent of the terminal, known by its hooks only."""

import os
from collections.abc import Sequence
from pathlib import Path

from agent_pipes.agents.base import Agent
from agent_pipes.core.lazy_regex import pattern

_PROGRAM = pattern(r"(^|/)cursor-agent(/|$)")


class Cursor(Agent):
    """Cursor: its transcripts have no times, no usage and often no results, so none are read."""

    name = "cursor"
    title = "Cursor"
    programs = ("cursor-agent",)

    def homes(self) -> list[Path]:
        """Return ~/.cursor."""
        return [Path.home() / ".cursor"]

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the agent of the terminal; ending the editor would end all in it."""
        script = next((each for each in arguments[1:] if not each.startswith("-")), "")
        return _PROGRAM.search(arguments[0]) is not None or (
            os.path.basename(arguments[0]).startswith("node")
            and _PROGRAM.search(script) is not None
        )


AGENT = Cursor()
