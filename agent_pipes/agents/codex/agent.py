"""Codex CLI."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy
from agent_pipes.agents.codex import place, translate
from agent_pipes.agents.codex import sessions as rollouts


class Codex(Agent):
    """Codex CLI 0.66 and later, by its rollouts and by the files that its process holds open."""

    name = "codex"
    title = "Codex"
    programs = ("codex",)
    package = "@openai/codex"
    resume_command = "codex resume {id}"
    process_found_by: ClassVar[ProcessFoundBy] = "fd"
    env_marker = "CODEX_SESSION_ID"
    needs_process = False
    has_control_socket = True

    sessions = staticmethod(rollouts.sessions)
    recent_sessions = staticmethod(rollouts.sessions)
    session_folders = staticmethod(rollouts.session_folders)
    sessions_at = staticmethod(rollouts.sessions_at)
    files = staticmethod(rollouts.files)
    folders = staticmethod(rollouts.folders)
    is_closed = staticmethod(rollouts.is_closed)
    is_active = staticmethod(rollouts.is_active)
    process = staticmethod(rollouts.process)
    control_socket = staticmethod(rollouts.control_socket)
    recognises = staticmethod(translate.recognises)
    may_matter = staticmethod(translate.may_matter)
    may_record_usage = staticmethod(translate.may_record_usage)
    translator = translate.Translator

    def homes(self) -> list[Path]:
        """Return $CODEX_HOME, else ~/.codex."""
        return [place.home()]

    def may_be_prompt(self, line: bytes) -> bool:
        """Return False for a line that is no message of a user."""
        return b'"role":"user"' in line or b"UserMessage" in line or b'"user_message"' in line

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program unless it is a server of several sessions."""
        return rollouts.is_codex(arguments)

    def interrupt(self, control: Path, session: str) -> bool:
        """Interrupt the session's turn in the daemon."""
        from agent_pipes.agents.codex.control_socket import interrupt

        return interrupt(control, session) == "interrupted"


AGENT = Codex()
