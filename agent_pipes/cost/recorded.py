"""Costs of recorded sessions, read for a report."""

from collections.abc import Iterator
from pathlib import Path

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.event import Event
from agent_pipes.cost.estimate import EstimatedResponse
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import Meter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_reader import Clock, read_session


class FixedClock(Clock):
    """Time of lines that carry none: that of the session's last change."""

    def __init__(self, time: float) -> None:
        self.time = time

    def now(self) -> float:
        """Return the time."""
        return self.time


def session_at(path: Path) -> Session:
    """Return the session whose main file is at `path`.

    Raises click.UsageError if the file cannot be read or its format is unknown.
    """
    agent = discovery.format_of(path)
    return Session(agent.name, path.stem, "", path, 0.0, path.stat().st_mtime)


class SessionCosts:
    """Iterator over the events of one session that matter to its cost, and what they cost.

    Only lines that may record usage are parsed. A session that records none is read again in full,
    because an estimate needs all that was said.

    bad: number of lines that could not be read, once the iteration is over.
    """

    def __init__(self, session: Session, meter: Meter) -> None:
        self.session = session
        self.meter = meter
        self.bad = 0

    def __iter__(self) -> Iterator[tuple[Event, list[tuple[EstimatedResponse | None, Cost]]]]:
        ids: set[str] = set()
        agent = agent_named(self.session.agent)
        skips = type(agent).may_record_usage is not Agent.may_record_usage
        for event in self._events(usage_only=skips):
            if event.session not in ids:
                ids.add(event.session)
            yield event, self.meter.see(event)
        if skips and not self.meter.recorded and not self._recorded(ids):
            for each in ids:
                self.meter.accounts.pop(each, None)
            for event in self._events(usage_only=False):
                yield event, self.meter.see(event)

    def _events(self, *, usage_only: bool) -> Iterator[Event]:
        self.bad = yield from read_session(
            self.session,
            clock=FixedClock(self.session.modified),
            recorded=self.meter.recorded,
            usage_only=usage_only,
        )

    def _recorded(self, ids: set[str]) -> bool:
        accounts = (self.meter.accounts.get(each) for each in ids)
        return any(account and account.recorded for account in accounts)
