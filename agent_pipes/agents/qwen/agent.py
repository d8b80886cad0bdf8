"""Qwen Code."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder, home_from
from agent_pipes.agents.by_directory import DirectoryProcesses
from agent_pipes.agents.jsonl_sessions import JsonlSessions
from agent_pipes.agents.qwen import translate
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

_SCRIPT = pattern(r"(^|/)qwen$|/qwen-code/")


class QwenCode(Agent):
    """Qwen Code 0.24, by its chat files and the directory of its process."""

    name = "qwen"
    title = "Qwen Code"
    programs = ("qwen",)
    package = "@qwen-code/qwen-code"
    process_found_by: ClassVar[ProcessFoundBy] = "cwd"

    def __init__(self) -> None:
        self._sessions = JsonlSessions("qwen", "*/chats/*.jsonl", key="sessionId")
        self._processes = DirectoryProcesses(self)

    def homes(self) -> list[Path]:
        """Return $QWEN_HOME, else ~/.qwen."""
        return [home_from("QWEN_HOME", ".qwen")]

    def session_folders(self) -> list[SessionFolder]:
        """Return the folder of projects, with the chats of each below."""
        return [SessionFolder(self._root(), 2)]

    def sessions(self) -> Iterator[Session]:
        """Yield every chat file."""
        return self._sessions.every(self._root())

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the session in a file that has changed."""
        return self._sessions.changed(path)

    def _root(self) -> Path:
        return self.homes()[0] / "projects"

    def recognises(self, record: Fields) -> bool:
        """Return True for a line of a chat file, and for the start of stream-json."""
        return translate.recognises(record)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> translate.Translator:
        """Return a translator; counts are always exact."""
        return translate.Translator(max_result)

    def process(self, session: Session) -> "Identity | None":
        """Return the process in the session's directory, if there is exactly one."""
        return self._processes.of(session, self.sessions())

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its script in a JavaScript runtime."""
        program = os.path.basename(arguments[0])
        if program == "qwen":
            return True
        script = next((each for each in arguments[1:] if not each.startswith("-")), "")
        return program in ("node", "nodejs", "bun") and _SCRIPT.search(script) is not None


AGENT = QwenCode()
