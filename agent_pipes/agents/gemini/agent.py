"""Gemini CLI."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder
from agent_pipes.agents.gemini import sessions, translate
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


class Gemini(Agent):
    """Gemini CLI, by its chat logs and the directory of its process."""

    name = "gemini"
    title = "Gemini CLI"
    programs = ("gemini",)
    package = "@google/gemini-cli"
    process_found_by: ClassVar[ProcessFoundBy] = "cwd"
    document_suffix = ".json"

    def homes(self) -> list[Path]:
        """Return .gemini in $GEMINI_CLI_HOME, else in the home directory."""
        return [sessions.root().parent]

    def sessions(self) -> Iterator[Session]:
        """Yield every session but those of subagents."""
        return sessions.sessions()

    def files(self, session: Session) -> list[Path]:
        """Return the session's log, then those of subagents."""
        return sessions.files(session)

    def folders(self, session: Session) -> list[Path]:
        """Return the folder of subagents' logs."""
        return sessions.folders(session)

    def successor(self, session: Session) -> Session | None:
        """Return the session that the process has opened since by /clear."""
        return sessions.successor(session)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions appear."""
        return sessions.session_folders()

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a log or of stream-json, and for an old document."""
        return translate.recognises(record)

    def may_matter(self, line: bytes) -> bool:
        """Return False for lines that only repeat results or times."""
        return translate.may_matter(line)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator for a log, a document or stream-json; counts are always exact."""
        return translate.Translator(max_result)

    def process(self, session: Session) -> "Identity | None":
        """Return the process that works in the session's directory and began before it."""
        return sessions.process(session)

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its script in a JavaScript runtime."""
        return sessions.is_gemini(arguments)


AGENT = Gemini()
