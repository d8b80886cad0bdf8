"""Process of a session that no file names: by its program and the directory it works in."""

import os
from collections.abc import Iterable

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.processes import runs
from agent_pipes.agents.ttl_cache import Look
from agent_pipes.core.stderr import warn
from agent_pipes.process.table import Identity, all_processes, began, cwd, user

START_TOLERANCE_S = 2.0
"""Seconds by which a file may seem to have changed before its process began."""


class DirectoryProcesses:
    """The processes of one agent, by the directories they work in; a scan serves all sessions."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._scan = Look(self._processes)
        self._reported: set[str] = set()

    def of(self, session: Session, sessions: Iterable[Session]) -> Identity | None:
        """Return the process of `session`, which must be the last one written in its directory.

        Two processes in one directory are none, which is reported once: to end one of them would
        be a guess.
        """
        if not session.cwd:
            return None
        try:
            directory = os.path.realpath(session.cwd)
            found = self._scan(self._agent.name).get(directory, [])
            if not found:
                return None
            here = [each for each in sessions if os.path.realpath(each.cwd or "/") == directory]
            last = max(here, key=lambda each: each.modified, default=session)
            written_since = last.modified >= min(map(began, found)) - START_TOLERANCE_S
        except OSError:
            return None
        if last.id != session.id or not written_since:
            return None
        if len(found) > 1:
            self._report(directory, len(found))
            return None
        return found[0]

    def _report(self, directory: str, count: int) -> None:
        if directory not in self._reported:
            self._reported.add(directory)
            warn(
                f"{count} processes of {self._agent.title} in {directory}: cannot tell which one "
                "writes this session; name the one to kill with --pid"
            )

    def _processes(self) -> dict[str, list[Identity]]:
        found = {
            pid: row
            for pid, row in all_processes().items()
            if not row.kernel and user(pid) == os.getuid() and runs(self._agent, pid)
        }
        # A wrapper has the agent as its child; a signal would not reach the agent through it.
        wrappers = {row.parent for row in found.values()}
        places: dict[str, list[Identity]] = {}
        for pid, row in found.items():
            if pid not in wrappers and (directory := cwd(pid)):
                places.setdefault(os.path.realpath(directory), []).append(row.identity)
        return places
