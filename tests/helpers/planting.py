"""Helpers for tests of termination: process trees, and a clock that moves when told."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_pipes.process.handle import ProcessHandle, become_subreaper, reap_adopted
from agent_pipes.process.table import Identity, all_processes, below, identify, process_at
from tests.helpers.support import until
from tests.helpers.trees import Tree

BREAKER = [sys.executable, str(Path(__file__).parent / "breaker.py")]


@contextmanager
def planting() -> Iterator[Callable[..., Tree]]:
    """Process trees with named members, cleared away at the end; an open descriptor fails."""
    before = set(os.listdir("/proc/self/fd"))
    trees: list[Tree] = []
    held: list[ProcessHandle] = []

    def plant(root: dict, **popen) -> Tree:
        tree = Tree(root, **popen)
        trees.append(tree)

        def hold(name: str = "agent") -> ProcessHandle:
            held.append(ProcessHandle(tree.pids[name]))
            return held[-1]

        tree.hold = hold
        return tree

    yield plant
    for one in held:
        one.close()
    for tree in trees:
        tree.close()
    assert set(os.listdir("/proc/self/fd")) == before, "a file descriptor was left open"


@contextmanager
def subreaping() -> Iterator[Identity | None]:
    """Ourselves as the subreaper of the orphans of our children; None where a system has none."""
    if not become_subreaper():
        yield None
        return
    yield identify(os.getpid())
    ctypes.CDLL(None).prctl(36, ctypes.c_ulong(0), 0, 0, 0)
    until(lambda: not reap_adopted(set()), what="the last of the orphans")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ticking(Clock):
    """A clock that advances by a millisecond at each reading, which limits the readings."""

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def lives(tree: Tree, *names: str) -> bool:
    return all(identify(tree.pids[name]) for name in names)


def gone(tree: Tree, *names: str) -> bool:
    return not any(identify(tree.pids[name]) for name in names)


def descendants(pid: int) -> list[Identity]:
    """Return the identities of what a process has started, parents first, without orphans."""
    return [process.identity for process in below({pid}, all_processes())]


def state(tree: Tree, name: str) -> str:
    return process_at(tree.pids[name]).state


TOOLS = [
    {
        "name": "shell",
        "session": True,
        "children": [
            {"name": "command"},
            {"name": "grouped", "group": True},
            {"name": "orphan", "orphan": True},
        ],
    },
    {"name": "server", "group": True, "children": [{"name": "worker", "orphan": True}]},
]
"""A shell in its own session and a server in its own group, each with an orphan."""


def hear_outcome(tree: Tree, name: str) -> list[str]:
    return tree.hear(f"{name}-outcome")


def signalled(tree: Tree, *names: str) -> None:
    for name in names:
        os.kill(tree.pids[name], signal.SIGUSR1)
