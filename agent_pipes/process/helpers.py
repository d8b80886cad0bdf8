"""Registry of the helper processes that we spawn (programs that deliver alerts).

A subreaper's helpers and the agent's orphans have the same parent, so that helpers are registered:
they are not killed with the agent, and their exit status is left to whoever waits for it. Each
helper is the leader of a session of its own, which no process of the agent can join.
"""

from _thread import allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent_pipes.process.table import Process

if TYPE_CHECKING:
    from subprocess import Popen

lock = allocate_lock()
"""Held while a helper is spawned and while the process table is scanned for the agent's tree."""

running: set[int] = set()
"""PIDs, and so session IDs, of the helpers that have not been waited for."""


def spawn(start: "Callable[[], Popen[bytes]]") -> "Popen[bytes]":
    """Register the process that `start` starts in a new session, and return it."""
    with lock:
        child = start()
        running.add(child.pid)
    return child


def reaped(pid: int) -> None:
    """Remove a helper that was waited for: its PID can be reused from now on."""
    with lock:
        running.discard(pid)


def is_helper(row: Process) -> bool:
    """Return True if the process is a helper or was started by one."""
    return row.session in running or row.group in running
