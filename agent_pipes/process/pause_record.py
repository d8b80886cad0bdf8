"""Record of a paused agent, for the command that resumes it."""

import os
import sys
from dataclasses import asdict, dataclass

from agent_pipes.core.jsonl import Fields
from agent_pipes.core.runtime_dir import read_state, read_states, remove_state, write_state
from agent_pipes.process.machine import machine_id
from agent_pipes.process.table import Identity, identify

KIND = "paused"


@dataclass(frozen=True, slots=True)
class PauseRecord:
    """A paused agent.

    session:     session ID.
    pid:         PID of the agent, and
    started:     its start time.
    marker:      environment variable and value of what the agent starts, `NAME=VALUE` or "".
    watcher:     the watcher that raised the violation.
    message:     its message.
    amount:      its `value` or `count`, 0 if it has none.
    limit:       its `limit`, 0 if it has none.
    breaker_pid: PID of the breaker, and
    breaker_started: its start time.
    command:     the breaker's command line.
    cwd:         the breaker's working directory.
    machine:     where the PIDs are valid.
    """

    session: str
    pid: int
    started: str
    marker: str = ""
    watcher: str = ""
    message: str = ""
    amount: float = 0.0
    limit: float = 0.0
    breaker_pid: int = 0
    breaker_started: str = ""
    command: tuple[str, ...] = ()
    cwd: str = ""
    machine: str = ""
    kills: bool = False

    @property
    def agent(self) -> Identity:
        """The paused process."""
        return Identity(self.pid, self.started)

    @property
    def breaker(self) -> Identity:
        """The process that paused it."""
        return Identity(self.breaker_pid, self.breaker_started)

    def write(self) -> None:
        """Write the record. Raises OSError."""
        write_state(KIND, self.session, asdict(self))

    def is_being_killed(self) -> bool:
        """Return True if a user has asked for the agent to be killed since the record was read."""
        return (read_state(KIND, self.session) or {}).get("kills") is True

    def remove(self) -> None:
        """Remove the record: the agent is paused no more."""
        remove_state(KIND, self.session)


def record(
    session: str, agent: Identity, marker: tuple[str, str] | None, trigger: Fields
) -> PauseRecord:
    """Return the record of an agent that this process has paused because of a violation."""
    ourselves = identify(os.getpid())
    return PauseRecord(
        session=session,
        pid=agent.pid,
        started=agent.started,
        marker="=".join(marker) if marker else "",
        watcher=str(trigger.get("watcher", "")),
        message=str(trigger.get("message", "")),
        amount=_number(trigger.get("value", trigger.get("count"))),
        limit=_number(trigger.get("limit")),
        breaker_pid=ourselves.pid if ourselves else 0,
        breaker_started=ourselves.started if ourselves else "",
        command=tuple(sys.argv),
        cwd=os.getcwd(),
        machine=machine_id(),
    )


def paused_agents() -> list[PauseRecord]:
    """Return the records of the agents of this machine that are alive, the newest first."""
    found = []
    for state in read_states(KIND):
        try:
            each = PauseRecord(**{**state, "command": tuple(map(str, state.get("command") or ()))})
        except TypeError:
            continue  # a record of another version
        if each.machine != machine_id():
            continue
        if identify(each.pid) == each.agent:
            found.append(each)
        else:
            each.remove()
    return found


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
