"""An agent with one JSONL file per session, whose process is found by its directory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder, home_from
from agent_pipes.agents.by_directory import DirectoryProcesses
from agent_pipes.agents.fields import string, time_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import objects
from agent_pipes.core.lazy_regex import pattern

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

MAX_HEAD_BYTES = 64 << 10
MAX_HEADS = 20_000

_RUNTIMES = ("node", "nodejs", "bun")


class JsonlAgent(Agent):
    """Base of such an agent, which declares these besides its name, title and translator.

    home_variable: environment variable with its folder.
    home:          its folder below the user's home directory otherwise.
    layout:        glob of the session files in its folder; the first part is the folder of all.
    session_key, cwd_key, time_key: keys of the session's id, its directory and its start in the
                   first line. A time is in ISO format, or in milliseconds since the epoch.
    script:        expression of its script in a JavaScript runtime.
    """

    process_found_by: ClassVar[ProcessFoundBy] = "cwd"
    home_variable: ClassVar[str]
    home: ClassVar[tuple[str, ...]]
    layout: ClassVar[str]
    session_key: ClassVar[str]
    cwd_key: ClassVar[str] = "cwd"
    time_key: ClassVar[str] = "timestamp"
    script: ClassVar[str]

    def __init__(self) -> None:
        self._folder, _, self._below = self.layout.partition("/")
        self._heads: BoundedDict[tuple[str, int], tuple[str, str, float]] = BoundedDict(MAX_HEADS)
        self._processes = DirectoryProcesses(self)
        self._script = pattern(self.script)

    def homes(self) -> list[Path]:
        """Return the folder that the environment names, else the one in the home directory."""
        return [home_from(self.home_variable, *self.home)]

    def session_folders(self) -> list[SessionFolder]:
        """Return the folder of all sessions, with one folder for each directory in it."""
        return [SessionFolder(self._root(), self._below.count("/"))]

    def sessions(self) -> Iterator[Session]:
        """Yield every session file."""
        for path in sorted(self._root().glob(self._below)):
            yield from self._session_at(path)

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the session in a file that has changed."""
        return list(self._session_at(path)) if path.suffix == ".jsonl" else None

    def _root(self) -> Path:
        return self.homes()[0] / self._folder

    def _session_at(self, path: Path) -> Iterator[Session]:
        """Yield the session in a file, unless its first line is no session's."""
        try:
            status = path.stat()
            place = (str(path), status.st_ino)
            if place not in self._heads:
                with path.open("rb") as file, suppress(ValueError):
                    for record in objects(file.readline(MAX_HEAD_BYTES)):
                        if name := string(record, self.session_key):
                            started = time_of(record, 0.0, self.time_key)
                            self._heads[place] = name, string(record, self.cwd_key), started
        except OSError:
            return
        if place in self._heads:
            name, cwd, started = self._heads[place]
            yield Session(self.name, name, cwd, path, started, status.st_mtime)

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
