"""Session files in one folder for each directory, whose first lines name id, directory and time."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agent_pipes.agents.base import Session
from agent_pipes.agents.fields import string, time_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import objects

MAX_HEAD_BYTES = 64 << 10
MAX_HEADS = 20_000


class JsonlSessions:
    """The sessions of one agent.

    agent:   name of the agent.
    pattern: glob of the session files below the root.
    key:     key of the session's id in the first line.
    """

    def __init__(self, agent: str, pattern: str, key: str) -> None:
        self.agent = agent
        self.pattern = pattern
        self.key = key
        self._heads: BoundedDict[tuple[str, int], tuple[str, str, float]] = BoundedDict(MAX_HEADS)

    def every(self, root: Path) -> Iterator[Session]:
        """Yield the sessions below `root`."""
        for path in sorted(root.glob(self.pattern)):
            yield from self.at(path)

    def changed(self, path: Path) -> list[Session] | None:
        """Return the session in a file that has changed; None for another path."""
        return list(self.at(path)) if path.suffix == ".jsonl" else None

    def at(self, path: Path) -> Iterator[Session]:
        """Yield the session in a file, unless its first line is no session's."""
        try:
            status = path.stat()
            place = (str(path), status.st_ino)
            if place not in self._heads:
                with path.open("rb") as file, suppress(ValueError):
                    for record in objects(file.readline(MAX_HEAD_BYTES)):
                        if name := string(record, self.key):
                            head = (name, string(record, "cwd"), time_of(record, 0.0))
                            self._heads[place] = head
        except OSError:
            return
        if place in self._heads:
            name, cwd, started = self._heads[place]
            yield Session(self.agent, name, cwd, path, started, status.st_mtime)
