"""New limits of a session that was paused and resumed, and the `resume` events that announce them.

`agent-strace resume` writes them; trace-tail and watch, which read the session, find them there
and emit `resume`, which the detectors and trace-kill obey.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, make
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.runtime_dir import changed_at, read_state, write_state

KIND = "limits"

MAX_SESSIONS = 10_000


@dataclass(frozen=True, slots=True)
class Resumption:
    """Limits that a user has allowed a session for the rest of its run.

    limits:  new limit of each watcher, in the unit of its violations' `limit`.
    ignored: watchers whose present finding is to be ignored for the rest of the run.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_data(cls, data: Fields) -> "Resumption":
        """Read the data of a `resume` event or the content of the file."""
        limits, ignored = data.get("limits"), data.get("ignored")
        return cls(
            {
                str(watcher): float(limit)
                for watcher, limit in (limits.items() if isinstance(limits, dict) else ())
                if type(limit) in (int, float)
            },
            tuple(map(str, ignored)) if isinstance(ignored, list) else (),
        )

    def data(self) -> Fields:
        """Return the fields that `from_data` reads."""
        return {"limits": dict(self.limits), "ignored": list(self.ignored)}


def allow(session: str, pid: int, started: str, more: Resumption) -> Resumption:
    """Add `more` to what the session's process is allowed, and return all of it.

    Raises OSError if the file cannot be written.
    """
    before = allowed(session, pid, started) or Resumption()
    allowance = Resumption(
        {**before.limits, **more.limits},
        tuple(dict.fromkeys((*before.ignored, *more.ignored))),
    )
    write_state(KIND, session, {"pid": pid, "started": started, **allowance.data()})
    return allowance


def allowed(session: str, pid: int, started: str) -> Resumption | None:
    """Return what this process of the session is allowed, None if nothing was changed."""
    state = read_state(KIND, session)
    if state is None or (state.get("pid"), state.get("started")) != (pid, started):
        return None
    return Resumption.from_data(state)


def with_resumptions(events: Iterable[Event]) -> Iterator[Event]:
    """Yield `events`, and a `resume` event for each live session whose limits were changed.

    The directory is looked at with each `tick`, the file of a session when its process is known.
    """
    processes: BoundedDict[str, tuple[int, str]] = BoundedDict(MAX_SESSIONS)
    announced: dict[str, Resumption | None] = {}
    seen_at = 0
    for event in events:
        if event.type == "tick" and processes and (now := changed_at()) != seen_at:
            seen_at = now
            # A tick comes after: a paused process that runs again was then resumed by its user.
            for session in list(processes):
                yield from _announce(session, processes[session], announced, event.time)
        yield event
        if event.type == "process":
            pid, started = event.data.get("pid"), event.data.get("started")
            if type(pid) is int and type(started) is str:
                processes.renew(event.session, (pid, started))
                yield from _announce(event.session, (pid, started), announced, event.time)
        elif event.type == "session_end":
            processes.pop(event.session, None)
            announced.pop(event.session, None)


def _announce(
    session: str, process: tuple[int, str], announced: dict[str, Any], now: float
) -> Iterator[Event]:
    allowance = allowed(session, *process)
    if allowance and allowance != announced.get(session):
        announced[session] = allowance
        yield make("resume", now, session, allowance.data())
