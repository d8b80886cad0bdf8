"""An agent with one file per session, whose process is found by its directory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder, home_from
from agent_pipes.agents.by_directory import DirectoryProcesses
from agent_pipes.agents.jsonl_sessions import JsonlSessions
from agent_pipes.core.lazy_regex import pattern

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

_RUNTIMES = ("node", "nodejs", "bun")


class JsonlAgent(Agent):
    """Base of such an agent, which declares these besides its name, title and translator.

    home_variable: environment variable with its folder.
    home:          its folder below the user's home directory otherwise.
    layout:        glob of the session files in its folder; the first part is the folder of all.
    session_key:   key of the session's id in the first line.
    script:        expression of its script in a JavaScript runtime.
    """

    process_found_by: ClassVar[ProcessFoundBy] = "cwd"
    home_variable: ClassVar[str]
    home: ClassVar[tuple[str, ...]]
    layout: ClassVar[str]
    session_key: ClassVar[str]
    script: ClassVar[str]

    def __init__(self) -> None:
        self._folder, _, below = self.layout.partition("/")
        self._depth = below.count("/")
        self._sessions = JsonlSessions(self.name, below, key=self.session_key)
        self._processes = DirectoryProcesses(self)
        self._script = pattern(self.script)

    def homes(self) -> list[Path]:
        """Return the folder that the environment names, else the one in the home directory."""
        return [home_from(self.home_variable, *self.home)]

    def session_folders(self) -> list[SessionFolder]:
        """Return the folder of all sessions, with one folder for each directory in it."""
        return [SessionFolder(self._root(), self._depth)]

    def sessions(self) -> Iterator[Session]:
        """Yield every session file."""
        return self._sessions.every(self._root())

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the session in a file that has changed."""
        return self._sessions.changed(path)

    def _root(self) -> Path:
        return self.homes()[0] / self._folder

    def process(self, session: Session) -> "Identity | None":
        """Return the process in the session's directory, if there is exactly one."""
        return self._processes.of(session, self.sessions())

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program, and for its script in a JavaScript runtime."""
        program = os.path.basename(arguments[0])
        if program in self.programs:
            return True
        script = next((each for each in arguments[1:] if not each.startswith("-")), "")
        return program in _RUNTIMES and self._script.search(script) is not None
