"""The files that say what is watched for: who else may change them, and whether they were changed after they had been read."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn


def open_to_all(path: Path) -> bool:
    """Whether other users than its owner may write the file."""
    with suppress(OSError):
        return bool(path.stat().st_mode & 0o022)
    return False


def open_to_agent(path: Path) -> bool:
    """Whether an agent of this directory, which runs as we do, could change the file by which it is watched."""
    real, here = Path(os.path.realpath(path)), Path(os.path.realpath("."))
    # Who may write in the directory can put another file in its place.
    return here in real.parents and (os.access(real, os.W_OK) or os.access(real.parent, os.W_OK))


class Orders:
    """The config and the policy of a watch, as they stood when they were read."""

    def __init__(self) -> None:
        self._as_read: dict[Path, tuple[int, ...]] = {}

    def add(self, path: Path) -> None:
        """The file is to be read now."""
        self._as_read[path] = _state(path)

    def say_who_may_write(self) -> None:
        """Tell people of the files that the agent may change."""
        if mine := [str(path) for path in self._as_read if open_to_agent(path)]:
            warn(
                f"{' and '.join(mine)}: where the agent works, which may write there: better kept elsewhere (agent-strace doctor says more)"
            )

    def say_what_changed(self) -> None:
        """Tell people, once, of each file that is not any more what was read."""
        for path, before in list(self._as_read.items()):
            if _state(path) != before:
                del self._as_read[path]
                warn(f"{path} has changed: what it says now counts from the next start on")


def _state(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return ()


@filter_command("--orders")
def kept(events: Iterable[Event], orders: Orders) -> Events:
    """Look at the files when the agent pauses, and at the end."""
    for event in events:
        yield event
        if event.type == "tick":
            orders.say_what_changed()
    orders.say_what_changed()
    return ExitStatus.OK
