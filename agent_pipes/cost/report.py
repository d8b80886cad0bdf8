"""Report of what sessions cost: tokens and dollars by session and model, and what caching saved."""

from collections.abc import Iterator
from typing import Any

from agent_pipes.core.display import escape
from agent_pipes.core.event import Event, make
from agent_pipes.cost.ledger import ModelTotals, SessionAccount
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.prices import DOLLAR

SESSION_WIDTH, MODEL_WIDTH = 36, 40
"""Columns to which a session's id and a model's name are cut."""


class Report:
    """Sums of the sessions of a meter that keeps totals by model."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.closed: list[tuple[str, SessionAccount]] = []

    def close(self, session: str) -> None:
        """End the session's account. A resumed session gets another; the report adds them up."""
        account = self.meter.accounts.pop(session, None)
        if account:
            self.closed.append((session, account))

    def sessions(self) -> dict[str, tuple[float, dict[str, ModelTotals]]]:
        """Return time of the latest cost and totals by model, by session in order of appearance."""
        for session in list(self.meter.accounts):
            self.meter.finish(session)
            self.close(session)
        found: dict[str, tuple[float, dict[str, ModelTotals]]] = {}
        for session, account in self.closed:
            latest, models = found.setdefault(session, (0.0, {}))
            for model, totals in (account.ledger.models or {}).items():
                if totals.responses:
                    models.setdefault(model, ModelTotals()).merge(totals)
            found[session] = (max(latest, account.latest), models)
        return {session: each for session, each in found.items() if each[1]}

    def events(self) -> Iterator[Event]:
        """Yield a cost_summary for each session with a response."""
        for session, (latest, models) in self.sessions().items():
            yield make(
                "cost_summary",
                latest,
                session,
                {
                    **_sums(merged(models)),
                    "models": {name: _fields(totals) for name, totals in models.items()},
                    "prices": self.meter.table.source,
                },
            )

    def text(self) -> str:
        """Return a table for a terminal: a row for each session and model, and the sums."""
        sessions = self.sessions()
        rows = [
            (session, name, totals)
            for session, (_, models) in sessions.items()
            for name, totals in models.items()
        ]
        if len(sessions) > 1:
            by_model: dict[str, ModelTotals] = {}
            for _, name, totals in rows:
                by_model.setdefault(name, ModelTotals()).merge(totals)
            rows += [
                ("all sessions", name, totals)
                for name, totals in sorted(by_model.items(), key=lambda each: -each[1].usd)
            ]
            rows.append(("all sessions", "", merged(by_model)))
        return _table(rows, self.meter.table.source)


def merged(models: dict[str, ModelTotals]) -> ModelTotals:
    """Return the sum over the models."""
    found = ModelTotals()
    for totals in models.values():
        found.merge(totals)
    return found


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


HEADER = (
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


def _table(rows: list[tuple[str, str, ModelTotals]], source: str) -> str:
    cells = [HEADER, *(_row(*row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    notes = [f"Prices: {source}. SAVED is what the prompts would have cost more without caching."]
    if any(totals.estimated for _, _, totals in rows):
        notes.append("~ is, or holds, an estimate.")
    if any(totals.unpriced for _, _, totals in rows):
        notes.append(
            "? holds responses of a model without a known price, which count as nothing here."
        )
    return "\n".join([*(line.rstrip() for line in lines), *notes, ""])


def _row(session: str, model: str, totals: ModelTotals) -> tuple[str, ...]:
    counts = (
        totals.responses,
        totals.prompt - totals.read - totals.written,
        totals.read,
        totals.written,
        totals.output,
    )
    marks = ("~" if totals.estimated else "") + ("?" if totals.unpriced else "")
    return (
        escape(session)[:SESSION_WIDTH],
        escape(model)[:MODEL_WIDTH] or "-",
        *(f"{count:,}" for count in counts),
        f"{marks}{totals.usd / DOLLAR:,.2f}",
        f"{totals.saved / DOLLAR:,.2f}",
    )
