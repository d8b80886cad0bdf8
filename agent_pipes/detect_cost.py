"""trace-detect-cost: the session costs more than it may."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Set
from typing import Any

import click

from agent_pipes.cost import pricing_options
from agent_pipes.detector import BOUNDS, Detection, Finding, alert_option, detect
from agent_pipes.event import RECORDING, Event
from agent_pipes.filter import filter_command
from agent_pipes.money.estimate import HEARD
from agent_pipes.money.metering import Meter
from agent_pipes.money.spending import Spending
from agent_pipes.options import DOLLARS, OFF, limit
from agent_pipes.pricing import DOLLAR

SHOWN = 10
"""Responses of which a violation names the events: the latest."""

WINDOW = 600
"""Seconds over which dollars per hour are measured, always divided by all of them: one dear response is no spree."""

_NOTHING: frozenset[str] = frozenset()


class CostDetector:
    """One session's dollars, in sum and by the hour. Limits are in picodollars, 0 for none; `warn` is a part of `most`."""

    __slots__ = ("evidence", "held", "most", "rate", "recent", "spending", "spent", "total", "unseen", "warn")

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
                yield Finding(("unseen", model), message, level="warning", evidence=(shown_by,), seen={"model": model})
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
        seen = {"value": value / DOLLAR, "limit": most / DOLLAR, "estimated": self.spending.estimated}
        return Finding(key, message, level="warning" if key == "warn" else "critical", evidence=self.evidence, seen=seen)


def dollars(amount: int, other: int = 0) -> str:
    """Picodollars as people read them: two decimals, and more where these would not tell `amount` from `other` or from 0."""
    text = f"${amount / DOLLAR:.2f}"
    for places in range(3, 7):
        if text not in ("$0.00", f"${other / DOLLAR:.{places - 1}f}"):
            break
        text = f"${amount / DOLLAR:.{places}f}"
    return text


class Rate(click.ParamType):  # type: ignore[type-arg]
    """US dollars an hour, written `20/h`, `0.50/m` or `20`; `0` or `off` for no limit."""

    name = "DOLLARS/h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        amount, _, unit = value.partition("/") if isinstance(value, str) else (value, "", "")
        try:
            return float(DOLLARS.convert(amount, param, ctx)) * {"": 1, "h": 1, "m": 60, "d": 1 / 24}[unit.strip()]
        except (click.BadParameter, KeyError):
            self.fail(f"expected dollars an hour such as 20/h, or 'off', not {value!r}.", param, ctx)


class Percent(click.ParamType):  # type: ignore[type-arg]
    """A part of a limit, written `80%` or `80`; `0` or `off` for none."""

    name = "PERCENT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().removesuffix("%")
        if text.lower() == "off":
            return OFF
        if not re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text, re.ASCII):
            self.fail(f"expected a percentage below 100 such as 80%, or 'off', not {value!r}.", param, ctx)
        return float(text)


SEES = BOUNDS | RECORDING | {"session_start"}


@filter_command("trace-detect-cost", sees=SEES)
@limit("--max", type=DOLLARS, flag="--max-cost", key="cost.max_dollars", default=10, help="Dollars that a session may cost.")
@limit("--rate", type=Rate(), flag="--max-cost-rate", key="cost.rate", help="Dollars an hour that it may cost, over ten minutes: 20/h.")
@limit("--warn", type=Percent(), flag="--warn-cost", key="cost.warn", help="Warn when this part of --max is spent: 80%.")
@pricing_options(flags=False)
@alert_option("cost")
def detect_cost(
    events: Iterable[Event], max: float = 10.0, rate: float | None = None, warn: float | None = None, prices: str | None = None, model: str | None = None,
    unpriced_as: str | None = None, recorded: bool = False, alert: tuple[str, ...] = (), known: dict[str, None] | None = None,
) -> Detection:
    """Raise a violation when a session has cost more than N dollars.

    What trace-cost has written upstream is believed, unless an option here says how costs are to be told. Without it
    the cost is told here, in the same way.
    """
    meter = Meter(prices or "", model or "", unpriced_as or "", recorded)
    believes = not (prices or model or unpriced_as or recorded)
    limits = (round(max * DOLLAR), round((rate or 0.0) * DOLLAR), (warn or 0.0) / 100)
    told = {} if known is None else known
    return detect(events, "cost", lambda: CostDetector(Spending(meter, believes, told), *limits), alert, sees=SEES | HEARD)


main = detect_cost.main
