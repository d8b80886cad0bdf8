"""Events of a recorded session file, for a report of what it cost."""

from collections.abc import Iterator
from pathlib import Path

from agent_pipes.agents.base import Session
from agent_pipes.core.event import Event
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_reader import Clock, SessionReader


class RecordedFile:
    """The events of one file, read as far as it goes now.

    recorded: leave placeholder token counts as they are.
    bad:      number of lines that could not be read so far.

    Raises click.UsageError if the file cannot be read or its format is unknown.
    """

    def __init__(self, path: Path, *, recorded: bool) -> None:
        self.path = path
        agent = discovery.format_of(path)
        session = Session(agent.name, path.stem, "", path, 0.0, 0.0)
        clock = _FixedClock(path.stat().st_mtime)
        self._reader = SessionReader(session, agent, clock, live=False, recorded=recorded)

    @property
    def bad(self) -> int:
        """Number of lines that could not be read."""
        return self._reader.bad

    def __iter__(self) -> Iterator[Event]:
        with self.path.open("rb") as content:
            lines = [content.read()] if discovery.is_document(self.path) else content
            yield from self._reader.events(self.path, 1, lines)
        yield from self._reader.rest()


class _FixedClock(Clock):
    """The file's last change, which stands in for the time of lines that carry none."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> float:
        return self.time
