"""What we have started ourselves for work of our own, beside an agent.

It has the parent that the agent's orphans are given to (us), and must be told from them: it is not to be ended with the
agent, nor is its exit status anybody's but of the one who waits for it. Each errand begins a session of its own, which
what it starts stays in: an agent's process cannot get into it.
"""

from _thread import allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent_pipes.process.table import Process

if TYPE_CHECKING:
    from subprocess import Popen

lock = allocate_lock()
"""Held while an errand begins, and while anybody looks for the agent's: in between it would be taken for one of those."""

begun: set[int] = set()
"""The numbers of those that have not been waited for yet, which are those of their sessions."""


def begin(start: "Callable[[], Popen[bytes]]") -> "Popen[bytes]":
    """The process that `start` starts, which is to begin a session."""
    with lock:
        child = start()
        begun.add(child.pid)
    return child


def over(pid: int) -> None:
    """It has been waited for: its number may be another's from now on. What it has left behind is no errand any more."""
    with lock:
        begun.discard(pid)


def is_one(row: Process) -> bool:
    """Whether the process is an errand, or was started by one."""
    return row.session in begun or row.group in begun
