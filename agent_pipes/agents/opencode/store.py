"""OpenCode's database: its sessions, and the append-only table of their events."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from agent_pipes.agents.base import Session
from agent_pipes.agents.opencode.place import database

SESSIONS = """
select id, directory, time_created, time_updated from session
where parent_id is null and time_updated >= ? order by time_updated
"""

EVENTS = "select rowid, aggregate_id, seq, type, data from event where rowid > ? order by rowid"


def connect(path: Path) -> sqlite3.Connection:
    """Open the database to read. A reader of its write-ahead log neither blocks nor is blocked."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1, isolation_level=None)


def sessions(since: float = 0.0) -> Iterator[Session]:
    """Yield the sessions that changed after `since` (seconds since the epoch).

    A session's path is that of the database followed by the session's id.
    """
    path = database()
    try:
        connection = connect(path)
    except sqlite3.Error:
        return
    try:
        for name, directory, created, updated in connection.execute(SESSIONS, (since * 1000,)):
            place = path / str(name)
            yield Session(
                "opencode", str(name), str(directory or ""), place, created / 1000, updated / 1000
            )
    except (sqlite3.Error, TypeError):
        return
    finally:
        connection.close()


class EventRows:
    """The events of one session and of its subagents, as lines of JSON, as they are committed."""

    def __init__(self, path: Path) -> None:
        """Prepare to read the session at `path`, see sessions()."""
        self._database = path.parent
        self.log = f"{path.parent}-wal"
        self._family = {path.name}
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._last = 0

    def read(self) -> list[bytes]:
        """Return the rows that have been committed since the last call."""
        try:
            if self._connection is None:
                if not self._database.is_file():
                    return []
                self._connection = connect(self._database)
            (version,) = self._connection.execute("pragma data_version").fetchone()
            if version == self._version:
                return []
            lines = list(self._rows(self._connection))
        except sqlite3.Error:
            # The table does not exist yet, or a checkpoint is running: the next call tries again.
            self.close()
            return []
        self._version = version
        return lines

    def close(self) -> None:
        """Close the database; the next read opens it again, and goes on where it was."""
        if self._connection:
            self._connection.close()
        self._connection, self._version = None, -1

    def _rows(self, connection: sqlite3.Connection) -> Iterator[bytes]:
        for row, aggregate, seq, kind, data in connection.execute(EVENTS, (self._last,)):
            self._last = row
            try:
                content = json.loads(data)
            except ValueError:
                continue
            info = content.get("info") if isinstance(content, dict) else None
            if isinstance(info, dict) and info.get("parentID") in self._family:
                self._family.add(aggregate)
            if aggregate in self._family:
                record = {"aggregate_id": aggregate, "seq": seq, "type": kind, "data": content}
                yield json.dumps(record).encode() + b"\n"
