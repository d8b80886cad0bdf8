"""OpenCode."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, RowReader, Session, SessionFolder
from agent_pipes.agents.by_directory import DirectoryProcesses
from agent_pipes.agents.opencode import translate
from agent_pipes.agents.opencode.place import database

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

RECENT_S = 60.0
"""Seconds since its last change for which a change of the database may concern a session."""

_SERVERS = frozenset({"serve", "web", "acp"})


class OpenCode(Agent):
    """OpenCode 1.18, by the event table of its database and the directory of its process."""

    name = "opencode"
    title = "OpenCode"
    programs = ("opencode",)
    package = "opencode-ai"
    process_found_by: ClassVar[ProcessFoundBy] = "cwd"

    recognises = staticmethod(translate.recognises)
    translator = translate.Translator

    def __init__(self) -> None:
        self._processes = DirectoryProcesses(self)

    def homes(self) -> list[Path]:
        """Return the folder of the database."""
        return [database().parent]

    def sessions(self) -> Iterator[Session]:
        """Yield every session of the database; those of subagents are part of theirs."""
        return self.recent_sessions(0.0)

    def recent_sessions(self, since: float) -> Iterator[Session]:
        """Yield the sessions that changed after `since`."""
        if not database().is_file():
            return iter(())
        from agent_pipes.agents.opencode import store

        return store.sessions(since)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folder of the database."""
        return [SessionFolder(database().parent, 0)]

    def sessions_at(self, path: Path) -> list[Session] | None:
        """Return the latest sessions when the database or its log has changed."""
        ours = path.name.startswith(database().name)
        return list(self.recent_sessions(time.time() - RECENT_S)) if ours else []

    def row_reader(self, path: Path) -> RowReader | None:
        """Return a reader of the session's rows."""
        if path.parent.name != database().name:
            return None
        from agent_pipes.agents.opencode import store

        return store.EventRows(path)

    def process(self, session: Session) -> "Identity | None":
        """Return the process in the session's directory, if there is exactly one."""
        return self._processes.of(session, self.sessions())

    def marker(self, session: str, pid: int) -> str:
        """Return the variable with the agent's PID, which survives in its tools."""
        return f"OPENCODE_PID={pid}"

    def is_program(self, executable: str, arguments: Sequence[str]) -> bool:
        """Return True for the program unless it serves several sessions."""
        names = {os.path.basename(path).removesuffix(".exe") for path in (executable, arguments[0])}
        return "opencode" in names and _SERVERS.isdisjoint(arguments[1:2])


AGENT = OpenCode()
