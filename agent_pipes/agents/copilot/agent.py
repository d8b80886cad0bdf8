"""GitHub Copilot CLI."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents.base import Agent, Session, SessionFolder
from agent_pipes.agents.copilot import sessions, translate
from agent_pipes.agents.copilot.lines import recognises
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


class Copilot(Agent):
    """GitHub Copilot CLI, by its event logs and its lock files."""

    name = "copilot"
    title = "Copilot CLI"
    programs = ("copilot",)
    package = "@github/copilot"
    resume_command = "copilot --resume {id}"
    env_marker = "COPILOT_AGENT_SESSION_ID"

    def homes(self) -> list[Path]:
        """Return $COPILOT_HOME, else ~/.copilot."""
        return [sessions.root().parent]

    def sessions(self) -> Iterator[Session]:
        """Yield every session that has a log."""
        return sessions.sessions()

    def successor(self, session: Session) -> Session | None:
        """Return the session that the process has opened since by /new."""
        return sessions.successor(session)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions appear."""
        return sessions.session_folders()

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the sessions that a change of `path` concerns."""
        return sessions.sessions_at(path)

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a log or of `--output-format json`."""
        return recognises(record)

    def may_matter(self, line: bytes) -> bool:
        """Return False for lines of types that give no event."""
        return translate.may_matter(line)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator for a log; counts are always exact."""
        return translate.Translator(max_result)

    def process(self, session: Session) -> "Identity | None":
        """Return the process whose lock is beside the log."""
        return sessions.process(session)

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its loader."""
        return sessions.is_copilot(arguments)


AGENT = Copilot()
