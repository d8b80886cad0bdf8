"""GitHub Copilot CLI."""

from collections.abc import Sequence
from pathlib import Path

from agent_pipes.agents.base import Agent
from agent_pipes.agents.copilot import lines, translate
from agent_pipes.agents.copilot import sessions as logs


class Copilot(Agent):
    """GitHub Copilot CLI, by its event logs and its lock files."""

    name = "copilot"
    title = "Copilot CLI"
    programs = ("copilot",)
    package = "@github/copilot"
    resume_command = "copilot --resume {id}"
    env_marker = "COPILOT_AGENT_SESSION_ID"

    sessions = staticmethod(logs.sessions)
    session_folders = staticmethod(logs.session_folders)
    sessions_at = staticmethod(logs.sessions_at)
    successor = staticmethod(logs.successor)
    process = staticmethod(logs.process)
    recognises = staticmethod(lines.recognises)
    may_matter = staticmethod(translate.may_matter)
    translator = translate.Translator

    def homes(self) -> list[Path]:
        """Return $COPILOT_HOME, else ~/.copilot."""
        return [logs.root().parent]

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its loader."""
        return logs.is_copilot(arguments)


AGENT = Copilot()
