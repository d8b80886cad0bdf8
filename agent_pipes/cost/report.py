"""What sessions have come to: by session and by model, tokens of each kind, dollars, and what caching has saved."""

from collections.abc import Iterator
from typing import Any

from agent_pipes.core.event import Event, make
from agent_pipes.core.stderr import shown
from agent_pipes.cost.meter import Account, Meter, Tally
from agent_pipes.cost.prices import DOLLAR


class Bill:
    """The sessions of a meter that keeps tallies, as they end."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.closed: list[tuple[str, Account]] = []

    def close(self, session: str) -> None:
        """The session has ended. One that is taken up again begins another sum; the summary holds both."""
        account = self.meter.accounts.pop(session, None)
        if account:
            self.closed.append((session, account))

    def sessions(self) -> dict[str, tuple[float, dict[str, Tally]]]:
        """When each session last cost something, and its models' tallies, in the order in which the sessions came."""
        for session in list(self.meter.accounts):
            self.meter.rest(self.meter.accounts[session])
            self.close(session)
        found: dict[str, tuple[float, dict[str, Tally]]] = {}
        for session, account in self.closed:
            latest, models = found.setdefault(session, (0.0, {}))
            for model, tally in account.books.models.items():
                if tally.responses:
                    models.setdefault(model, Tally()).merge(tally)
            found[session] = (max(latest, account.latest), models)
        return {session: (latest, models) for session, (latest, models) in found.items() if models}

    def summaries(self) -> Iterator[Event]:
        """A cost_summary for each session that has cost something."""
        table = self.meter.table
        for session, (latest, models) in self.sessions().items():
            yield make(
                "cost_summary",
                latest,
                session,
                {
                    **_sums(total(models)),
                    "models": {name: _fields(tally) for name, tally in models.items()},
                    "prices": table.source,
                },
            )

    def text(self) -> str:
        """The same for people: a row for each session and model, and the sums."""
        sessions = self.sessions()
        rows = [
            (session, name, tally)
            for session, (_, models) in sessions.items()
            for name, tally in models.items()
        ]
        if len(sessions) > 1:
            by_model: dict[str, Tally] = {}
            for _, name, tally in rows:
                by_model.setdefault(name, Tally()).merge(tally)
            rows += [
                ("all sessions", name, tally)
                for name, tally in sorted(by_model.items(), key=lambda each: -each[1].usd)
            ]
            rows.append(("all sessions", "", total(by_model)))
        return _table(rows, self.meter.table.source)


def total(models: dict[str, Tally]) -> Tally:
    found = Tally()
    for tally in models.values():
        found.merge(tally)
    return found


def _sums(tally: Tally) -> dict[str, Any]:
    return {
        "usd": tally.usd / DOLLAR,
        "estimated_usd": tally.estimated / DOLLAR,
        "saved_usd": tally.saved / DOLLAR,
        "responses": tally.responses,
        "unpriced_responses": tally.unpriced,
    }


def _fields(tally: Tally) -> dict[str, Any]:
    return {
        **_sums(tally),
        "input_tokens": tally.prompt,
        "cache_read_input_tokens": tally.read,
        "cache_creation_input_tokens": tally.written,
        "cache_creation_1h_input_tokens": tally.written_1h,
        "output_tokens": tally.output,
        "reasoning_output_tokens": tally.reasoning,
        "web_searches": tally.searches,
    }


HEAD = (
    "SESSION",
    "MODEL",
    "RESPONSES",
    "INPUT",
    "CACHE READ",
    "CACHE WRITE",
    "OUTPUT",
    "DOLLARS",
    "SAVED",
)


def _table(rows: list[tuple[str, str, Tally]], source: str) -> str:
    cells = [HEAD, *(_row(*row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    notes = [f"Prices: {source}. SAVED is what the prompts would have cost more without caching."]
    if any(tally.estimated for _, _, tally in rows):
        notes.append("~ is, or holds, an estimate.")
    if any(tally.unpriced for _, _, tally in rows):
        notes.append(
            "? holds responses of a model without a known price, which count as nothing here."
        )
    return "\n".join([*(line.rstrip() for line in lines), *notes, ""])


def _row(session: str, model: str, tally: Tally) -> tuple[str, ...]:
    counts = (
        tally.responses,
        tally.prompt - tally.read - tally.written,
        tally.read,
        tally.written,
        tally.output,
    )
    marks = ("~" if tally.estimated else "") + ("?" if tally.unpriced else "")
    return (
        shown(session)[:36],
        shown(model)[:40] or "-",
        *(f"{count:,}" for count in counts),
        f"{marks}{tally.usd / DOLLAR:,.2f}",
        f"{tally.saved / DOLLAR:,.2f}",
    )
