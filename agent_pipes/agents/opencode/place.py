"""Location of OpenCode's database; reading it takes sqlite3, which most commands need not load."""

from pathlib import Path

from agent_pipes.agents.base import home_from


def database() -> Path:
    """Return the path of the database: opencode.db in the data directory of OpenCode."""
    return home_from("XDG_DATA_HOME", ".local", "share") / "opencode" / "opencode.db"
