"""The detector of trace-detect-cost: what a session has cost, in sum and by the hour."""

from collections import deque
from collections.abc import Iterable, Iterator, Set

from agent_pipes.core.event import Event
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.session_cost import Spending
from agent_pipes.detect.detector import Finding

SHOWN = 10
"""Responses of which a violation names the events: the latest."""

WINDOW = 600
"""Seconds over which dollars per hour are measured, always divided by all of them: one dear response is no spree."""

_NOTHING: frozenset[str] = frozenset()


class CostDetector:
    """One session's dollars, in sum and by the hour. Limits are in picodollars, 0 for none; `warn` is a part of `most`."""

    __slots__ = (
        "evidence",
        "held",
        "most",
        "rate",
        "recent",
        "spending",
        "spent",
        "total",
        "unseen",
        "warn",
    )

    def __init__(self, spending: Spending, most: int, rate: int = 0, warn: float = 0.0) -> None:
        self.spending = spending
        self.most, self.rate, self.warn = most, rate, warn
        self.total = self.recent = 0
        self.spent: deque[tuple[float, int]] | None = deque() if rate else None
        self.evidence: tuple[str, ...] = ()
        self.held: Set[str] = _NOTHING
        self.unseen = 0

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        if not self.spending.see(event):
            return ()
        added = self.spending.total - self.total
        if added:
            self.total += added
            self.evidence = (*self.evidence[1 - SHOWN :], event.id)
            if self.spent is not None:
                self.spent.append((now, added))
                self.recent += added
        if not added and not self.spent and len(self.spending.unseen) == self.unseen:
            return ()
        self.unseen = len(self.spending.unseen)
        holds = self._holds(now)
        # What holds on is not put into words again with every event: it was raised, or is asked for when history ends.
        new = holds - self.held
        self.held = holds
        return self._said(new) if new else ()

    def holding(self, now: float) -> Iterable[Finding]:
        self.held = self._holds(now)
        return self._said(self.held)

    def _holds(self, now: float) -> Set[str]:
        """Which limits are passed, and of which models the cost cannot be seen."""
        while self.spent and self.spent[0][0] <= now - WINDOW:
            self.recent -= self.spent.popleft()[1]
        holds = set(map("unseen ".__add__, self.spending.unseen))
        if self.most and self.total > self.most:
            holds.add("max")
        elif self.warn and self.total >= self.warn * self.most > 0:
            holds.add("warn")
        if self.rate and self.recent * 3600 // WINDOW > self.rate:
            holds.add("rate")
        return holds or _NOTHING

    def _said(self, holds: Set[str]) -> Iterator[Finding]:
        estimated = ", estimated" if self.spending.estimated else ""
        for model, (message, shown_by) in self.spending.unseen.items():
            if f"unseen {model}" in holds:
                yield Finding(
                    ("unseen", model),
                    message,
                    level="warning",
                    evidence=(shown_by,),
                    seen={"model": model},
                )
        if "max" in holds:
            message = f"{dollars(self.total, self.most)} (threshold: {dollars(self.most)}){estimated}; raise it with --max-cost"
            yield self._finding("max", message, self.total, self.most)
        if "warn" in holds:
            message = f"{dollars(self.total)} is {self.total / self.most:.0%} of {dollars(self.most)}{estimated}; say when to be warned with --warn"
            yield self._finding("warn", message, self.total, self.most)
        if "rate" in holds:
            hourly = self.recent * 3600 // WINDOW
            message = f"{dollars(hourly, self.rate)} an hour over the last 10 minutes (threshold: {dollars(self.rate)}/h){estimated}; raise it with --max-cost-rate"
            yield self._finding("rate", message, hourly, self.rate)

    def _finding(self, key: str, message: str, value: int, most: int) -> Finding:
        seen = {
            "value": value / DOLLAR,
            "limit": most / DOLLAR,
            "estimated": self.spending.estimated,
        }
        return Finding(
            key,
            message,
            level="warning" if key == "warn" else "critical",
            evidence=self.evidence,
            seen=seen,
        )


def dollars(amount: int, other: int = 0) -> str:
    """Picodollars as people read them: two decimals, and more where these would not tell `amount` from `other` or from 0."""
    text = f"${amount / DOLLAR:.2f}"
    for places in range(3, 7):
        if text not in ("$0.00", f"${other / DOLLAR:.{places - 1}f}"):
            break
        text = f"${amount / DOLLAR:.{places}f}"
    return text
