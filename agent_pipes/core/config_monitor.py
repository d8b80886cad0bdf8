"""Config and policy files of a running watch: changes, and who else may make them."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn

OTHERS_MAY_WRITE = 0o022
OTHERS_MAY_READ = 0o044


def writable_by_others(path: Path) -> bool:
    """Return True if other users than the file's owner may write it."""
    with suppress(OSError):
        return bool(path.stat().st_mode & OTHERS_MAY_WRITE)
    return False


def readable_by_others(path: Path) -> bool:
    """Return True if other users than the file's owner may read it."""
    with suppress(OSError):
        return bool(path.stat().st_mode & OTHERS_MAY_READ)
    return False


def writable_by_agent(path: Path) -> bool:
    """Return True if an agent of this directory, running as this user, can replace the file."""
    real, here = Path(os.path.realpath(path)), Path(os.path.realpath("."))
    # Write permission on the directory suffices to put another file in its place.
    return here in real.parents and (os.access(real, os.W_OK) or os.access(real.parent, os.W_OK))


class ConfigMonitor:
    """The files that limits were read from, and their state at that time."""

    def __init__(self) -> None:
        self._states: dict[Path, tuple[int, ...]] = {}

    def add(self, path: Path) -> None:
        """Record the file's state; to be called before it is read."""
        self._states[path] = _state(path)

    def warn_of_writable(self) -> None:
        """Warn of files that the agent can change."""
        if mine := [str(path) for path in self._states if writable_by_agent(path)]:
            verb, them = ("is", "it") if len(mine) == 1 else ("are", "them")
            warn(
                f"warning: the agent can edit {' and '.join(mine)}, which {verb} in its directory; "
                f"move {them} and pass --config or --policy"
            )

    def warn_of_changes(self) -> None:
        """Warn, once, of each file that was changed after it had been read."""
        for path, before in list(self._states.items()):
            if _state(path) != before:
                del self._states[path]
                warn(f"{path} has changed; the change takes effect at the next start")


def _state(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return ()


@filter_command("config-monitor")
def monitor_config(events: Iterable[Event], monitor: ConfigMonitor) -> Events:
    """Pass events on, and check the files at each tick and at the end."""
    for event in events:
        yield event
        if event.type == "tick":
            monitor.warn_of_changes()
    monitor.warn_of_changes()
    return ExitStatus.OK
