"""A stand-in for the session of a command that shows none, so that its duration is watched."""

import os
import time
from collections.abc import Callable, Iterable, Iterator

from agent_pipes.agents.processes import executable
from agent_pipes.agents.registry import every_agent
from agent_pipes.core.event import STAND_IN_PREFIX, Event, make, tick
from agent_pipes.core.stderr import warn
from agent_pipes.process.machine import machine_id
from agent_pipes.process.table import (
    Identity,
    all_processes,
    began,
    below,
    command_line,
    cwd,
)

PATIENCE_S = 10.0
"""Seconds in which an agent shows its session after its start."""

HEADLESS_WORDS = frozenset({"-p", "--print", "--prompt", "exec", "run", "--output-format"})
"""Arguments with which agents run without a person."""


class CommandSession:
    """The stand-in session of a command that we have started.

    It begins once the command has shown no session for PATIENCE_S, and ends with the first one
    that it does. An agent that waits for its user's first prompt has none.

    reported: the missing session was reported.
    """

    def __init__(
        self,
        child: Identity,
        has_session: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reported = False
        self._child = child
        self._has_session = has_session
        self._clock = clock
        self._patient_until = clock() + PATIENCE_S
        self._id = f"{STAND_IN_PREFIX}{child.pid}"
        self._is_begun = self._is_over = False

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield `events`, and those of the stand-in."""
        for event in events:
            if not self._is_over and self._has_session():
                self._is_over = True
                if self._is_begun:
                    data = {"reason": "the command has shown a session"}
                    yield make("session_end", event.time, self._id, data)
            yield event
            if self._is_over or event.type != "tick":
                continue
            if self._is_begun:
                yield tick(event.time, self._id)
            elif self._clock() >= self._patient_until:
                yield from self._begin()

    def _begin(self) -> Iterator[Event]:
        is_known, is_headless = _agent_below(self._child)
        if is_known and not is_headless and os.isatty(0):
            # Before the first prompt, time is the user's.
            self._patient_until = self._clock() + PATIENCE_S
            return
        self.reported = self._is_begun = True
        what = "the agent" if is_known else "COMMAND, in which no agent is known,"
        warn(f"{what} has shown no session yet: until it does, only its duration is watched")
        start = began(self._child)
        start = start if start < float("inf") else time.time()
        data = {"agent": "", "cwd": cwd(self._child.pid), "interactive": False}
        yield make("session_start", start, self._id, {**data, "cannot_tell": ["turns"]})
        process = {"pid": self._child.pid, "started": self._child.started, "how": "child"}
        yield make("process", start, self._id, {**process, "machine": machine_id()})


def _agent_below(child: Identity) -> tuple[bool, bool]:
    """Return if the command is or has started a known agent, and if that runs without a person."""
    pids = [child.pid, *(row.pid for row in below({child.pid}, all_processes()))]
    lines = [(executable(pid), command_line(pid)) for pid in pids]
    found = [
        arguments
        for program, arguments in lines
        if arguments and any(agent.is_program(program, arguments) for agent in every_agent())
    ]
    return bool(found), any(not HEADLESS_WORDS.isdisjoint(arguments) for arguments in found)
