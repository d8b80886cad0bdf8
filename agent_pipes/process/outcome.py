"""The result of signalling an agent and its children."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from agent_pipes.process.handle import ProcessHandle
from agent_pipes.process.table import Identity

Result = Literal[
    "terminated", "killed", "paused", "continued", "interrupted", "not_running", "failed"
]


class Outcome(NamedTuple):
    """The result of a termination or a pause.

    outcome:   `terminated`, the agent exited in its grace; `killed`, it took SIGKILL;
               `paused`, `continued`, `interrupted`: it was sent SIGSTOP, SIGCONT or SIGTSTP;
               `not_running`, it had exited before; `failed`, a process does not do as it should.
    reason:    what happened, as a sentence for people.
    waited_ms: milliseconds since the start.
    survivors: the processes still alive, of the agent and its tree; empty unless `failed`.
    """

    outcome: Result
    reason: str
    waited_ms: float
    survivors: Sequence[Identity] = ()


def describe(agent: ProcessHandle, others: int) -> str:
    """Return the words for the agent and the number of other processes."""
    if not others:
        return f"process {agent.identity.pid}"
    children = "child process" if others == 1 else "child processes"
    return f"process {agent.identity.pid} and its {others} {children}"
