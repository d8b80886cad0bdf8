"""Report of what sessions cost: by session, day, project or model."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from agent_pipes.core.event import Event, make
from agent_pipes.cost.ledger import ModelTotals, SessionAccount
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.options import Grouping
from agent_pipes.cost.prices import DOLLAR

UNKNOWN_DAY = "unknown"

MAX_DAY = date.max.toordinal()


@dataclass(slots=True)
class Group:
    """Sums of the responses with one key: a day, a project, a model or a session.

    sessions: ids of the sessions in it.
    models:   totals by model.
    project:  working directory, of a session.
    latest:   time of the latest cost, seconds since the epoch.
    """

    key: str
    sessions: set[str] = field(default_factory=set)
    models: dict[str, ModelTotals] = field(default_factory=dict)
    project: str = ""
    latest: float = 0.0

    @property
    def totals(self) -> ModelTotals:
        """The sum over the models."""
        return merged(self.models.values())

    def add(self, session: str, model: str, totals: ModelTotals) -> None:
        """Add the totals of one model in a session."""
        self.sessions.add(session)
        self.models.setdefault(model, ModelTotals()).merge(totals)


def merged(totals: Any) -> ModelTotals:
    """Return the sum of several totals."""
    found = ModelTotals()
    for each in totals:
        found.merge(each)
    return found


class Report:
    """Sums of the sessions of a detailed meter.

    since, until: the first and the last day that count, as ordinals of local time.
    """

    def __init__(self, meter: Meter, since: int = 0, until: int = MAX_DAY) -> None:
        self.meter = meter
        self.since = since
        self.until = until
        self.projects: dict[str, str] = {}
        self._closed: list[tuple[str, SessionAccount]] = []

    def see(self, event: Event) -> None:
        """Note a session's project, and close its account when it ends."""
        if event.type == "session_start":
            self.projects[event.session] = event.text("cwd") or self.projects.get(event.session, "")
        elif event.type == "session_end":
            self.close(event.session)

    def close(self, session: str) -> None:
        """End the session's account. A resumed session gets another; the report adds them up."""
        account = self.meter.accounts.pop(session, None)
        if account:
            self._closed.append((session, account))

    def groups(self, by: Grouping) -> list[Group]:
        """Return the groups with a response: days in order, others in the order of appearance."""
        for session in list(self.meter.accounts):
            self.meter.finish(session)
            self.close(session)
        groups: dict[str, Group] = {}
        for session, account in self._closed:
            for (model, day), totals in (account.ledger.totals or {}).items():
                if totals.responses and self._counts(day):
                    key = self._key(by, session, model, day)
                    group = groups.setdefault(key, Group(key))
                    group.add(session, model, totals)
                    group.project = self.projects.get(session, "")
                    group.latest = max(group.latest, account.latest)
        found = list(groups.values())
        return sorted(found, key=lambda group: group.key) if by == "day" else found

    def _counts(self, day: int) -> bool:
        # A response without a time counts unless days are chosen.
        return self.since <= day <= self.until if day else not self.since

    def _key(self, by: Grouping, session: str, model: str, day: int) -> str:
        if by == "day":
            return str(date.fromordinal(day)) if day else UNKNOWN_DAY
        return {"session": session, "model": model, "project": self.projects.get(session, "")}[by]

    def events(self, by: Grouping) -> Iterator[Event]:
        """Yield a cost_summary for each group."""
        for group in self.groups(by):
            data = {
                **_sums(group.totals),
                "models": {name: _fields(totals) for name, totals in group.models.items()},
                "prices": self.meter.table.source,
            }
            if by == "session":
                data["cwd"] = group.project
            else:
                data = {"by": by, by: group.key, "sessions": len(group.sessions), **data}
            session = group.key if by == "session" else ""
            yield make("cost_summary", group.latest, session, data)

    @property
    def price_date(self) -> str:
        """Date of the built-in prices."""
        return self.meter.table.date


def _sums(totals: ModelTotals) -> dict[str, Any]:
    return {
        "usd": totals.usd / DOLLAR,
        "estimated_usd": totals.estimated / DOLLAR,
        "saved_usd": totals.saved / DOLLAR,
        "responses": totals.responses,
        "unpriced_responses": totals.unpriced,
    }


def _fields(totals: ModelTotals) -> dict[str, Any]:
    return {
        **_sums(totals),
        "input_tokens": totals.prompt,
        "cache_read_input_tokens": totals.read,
        "cache_creation_input_tokens": totals.written,
        "cache_creation_1h_input_tokens": totals.written_1h,
        "output_tokens": totals.output,
        "reasoning_output_tokens": totals.reasoning,
        "web_searches": totals.searches,
    }


def ordinal_of(time: float) -> int:
    """Return the local day of a time as an ordinal."""
    return datetime.fromtimestamp(time).date().toordinal()
