"""A process that can be named, watched and ended without mistaking it for another."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, and no later one of the same number. `started` is its start time: on Linux clock ticks since boot."""

    pid: int
    started: str
