"""The exit statuses of agent-pipes(7)."""

from collections.abc import Iterable
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit status of every command of this suite."""

    OK = 0
    """The input has ended."""
    VIOLATION = 1
    """A violation was seen, and `-e` was given."""
    UNREADABLE = 2
    """Usage, or input that could not be read."""
    BROKE_OFF = 3
    """The stream ended while a breaker was armed."""
    KILLED = 124
    """The breaker ended the agent."""
    NOT_KILLED = 125
    """A kill was called for and did not happen."""


_BY_RANK = (
    ExitStatus.OK,
    ExitStatus.UNREADABLE,
    ExitStatus.VIOLATION,
    ExitStatus.BROKE_OFF,
    ExitStatus.KILLED,
    ExitStatus.NOT_KILLED,
)


def worst(statuses: Iterable[int]) -> int:
    """Return the exit status that matters most to whoever reads one."""
    return max(statuses, key=_BY_RANK.index, default=ExitStatus.OK)
