"""Agents that work in a directory and show no session there."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from agent_pipes.agents.processes import runs
from agent_pipes.agents.registry import every_agent
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.stderr import warn
from agent_pipes.process import table

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

PATIENCE_S = 10.0
"""Seconds in which an agent shows its session after its start."""

INTERVAL_S = 60.0
"""Seconds between two looks: each reads the whole process table."""

MAX_REPORTED = 1000
"""Processes that are remembered as reported."""


class UnseenAgents:
    """Reports each agent that works in one of `directories` and has no session that can be found.

    Its sessions may be elsewhere ($HOME, $CLAUDE_CONFIG_DIR and the like differ from ours) or in
    a form that is not known; before its first prompt it may have none.
    """

    def __init__(
        self, directories: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directories = directories
        self._clock = clock
        self._next_look = clock() + PATIENCE_S
        self._reported: BoundedDict[int, None] = BoundedDict(MAX_REPORTED)

    def report(self, followed: Iterable[tuple[str, "Identity | None"]]) -> None:
        """Look once in a while; `followed` are agents and processes of the sessions followed."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + INTERVAL_S
        sessions = list(followed)
        # One of several processes runs a session whose process is not known.
        unclear = {name for name, process in sessions if process is None}
        for pid, name, title in self._agents(sessions):
            if name not in unclear:
                self._reported[pid] = None
                warn(
                    f"{title} (pid {pid}) runs in this directory, but has no session: NOT watched "
                    "(it may get one with its first prompt; else see agent-strace doctor)"
                )

    def _agents(
        self, sessions: list[tuple[str, "Identity | None"]]
    ) -> Iterable[tuple[int, str, str]]:
        """Yield PID, name and title of agents that are new, outermost first."""
        processes = table.all_processes()
        served = {process.pid for _, process in sessions if process}
        served |= {each.pid for pid in served for each in table.ancestors(pid)}
        served |= {each.pid for each in table.below(served & processes.keys(), processes)}
        started = time.time() - PATIENCE_S
        for pid in sorted(processes.keys() - served):
            where = table.cwd(pid)
            if not where or where not in self._directories:
                continue
            agent = next((each for each in every_agent() if runs(each, pid)), None)
            if agent is None or pid in self._reported:
                continue
            if table.began(processes[pid].identity) > started:
                continue
            # A wrapper and the agent below it are one.
            if all(each.pid not in self._reported for each in table.ancestors(pid)):
                yield pid, agent.name, agent.title
