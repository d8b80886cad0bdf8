"""Codex CLI."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder
from agent_pipes.agents.codex import control_socket, sessions, translate
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


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

    def homes(self) -> list[Path]:
        """Return $CODEX_HOME, else ~/.codex."""
        return [control_socket.home()]

    def sessions(self) -> Iterator[Session]:
        """Yield every session that has a rollout."""
        return sessions.sessions()

    def recent_sessions(self, since: float) -> Iterator[Session]:
        """Yield the sessions that changed after `since` or may be live."""
        return sessions.sessions(since)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions appear."""
        return sessions.session_folders()

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the sessions that a change of `path` concerns."""
        return sessions.sessions_at(path)

    def files(self, session: Session) -> list[Path]:
        """Return the rollout, then those of subagents."""
        return sessions.files(session)

    def folders(self, session: Session) -> list[Path]:
        """Return the folder of today's rollouts."""
        return sessions.folders(session)

    def is_closed(self, session: Session) -> bool:
        """Return True if no process holds the rollout open."""
        return sessions.is_closed(session)

    def is_active(self, session: Session) -> bool:
        """Return True if a process holds the rollout open."""
        return sessions.is_active(session)

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a rollout or of `codex exec --json`."""
        return translate.recognises(record)

    def may_matter(self, line: bytes) -> bool:
        """Return False for lines of types that give no event."""
        return translate.may_matter(line)

    def may_record_usage(self, line: bytes) -> bool:
        """Return False for lines of types that name no usage, model or thread."""
        return translate.may_record_usage(line)

    def may_be_prompt(self, line: bytes) -> bool:
        """Return False for a line that is no message of a user."""
        return b'"role":"user"' in line or b"UserMessage" in line or b'"user_message"' in line

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator for rollouts or for `codex exec --json`; counts are always exact."""
        return translate.Translator(max_result)

    def process(self, session: Session) -> "Identity | None":
        """Return the process that holds the rollout open, if it can be ended."""
        return sessions.process(session)

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program unless it is a server of several sessions."""
        return sessions.is_codex(arguments)

    def control_socket(self, session: Session) -> Path | None:
        """Return the daemon's control socket, if the daemon runs the session."""
        return sessions.control_socket(session)

    def interrupt(self, control: Path, session: str) -> bool:
        """Interrupt the session's turn in the daemon."""
        return control_socket.interrupt(control, session) == "interrupted"


AGENT = Codex()
