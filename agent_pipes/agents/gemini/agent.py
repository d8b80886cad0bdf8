"""Gemini CLI."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy
from agent_pipes.agents.gemini import sessions as logs
from agent_pipes.agents.gemini import translate


class Gemini(Agent):
    """Gemini CLI, by its chat logs and the directory of its process."""

    name = "gemini"
    title = "Gemini CLI"
    programs = ("gemini",)
    package = "@google/gemini-cli"
    process_found_by: ClassVar[ProcessFoundBy] = "cwd"
    document_suffix = ".json"

    sessions = staticmethod(logs.sessions)
    session_folders = staticmethod(logs.session_folders)
    files = staticmethod(logs.files)
    folders = staticmethod(logs.folders)
    successor = staticmethod(logs.successor)
    process = staticmethod(logs.process)
    recognises = staticmethod(translate.recognises)
    may_matter = staticmethod(translate.may_matter)
    translator = translate.Translator

    def homes(self) -> list[Path]:
        """Return .gemini in $GEMINI_CLI_HOME, else in the home directory."""
        return [logs.root().parent]

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its script in a JavaScript runtime."""
        return logs.is_gemini(arguments)


AGENT = Gemini()
