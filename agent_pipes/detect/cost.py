"""trace-detect-cost: the session costs more than its limit, in all or by the hour."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Set

import click

from agent_pipes.core.event import Event
from agent_pipes.core.options import DOLLARS, OFF, limit
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.options import pricing_options
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.session_cost import SessionCost
from agent_pipes.detect.calls import Call
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules

MAX_EVIDENCE = 10
"""Responses that a violation names: the latest."""

RATE_WINDOW_S = 600
"""Window over which dollars per hour are measured.

The sum is always divided by the whole window, so that one expensive response passes no rate.
"""

HOUR_S = 3600


class CostDetector:
    """Dollars of one session.

    most: limit of the sum in picodollars, 0 for none.
    rate: limit of picodollars per hour, 0 for none.
    warn: fraction of `most` that raises a warning, 0 for none.
    """

    def __init__(self, cost: SessionCost, most: int, rate: int = 0, warn: float = 0.0) -> None:
        self.cost = cost
        self.most, self.rate, self.warn = most, rate, warn
        self.total = self.recent = 0
        self.additions: deque[tuple[float, int]] = deque()
        self.evidence: deque[str] = deque(maxlen=MAX_EVIDENCE)
        self.held: Set[str] = frozenset()
        self.blind_spots = 0

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return findings that hold since this event."""
        if not self.cost.see(event):
            return ()
        added = self.cost.total - self.total
        if added:
            self.total += added
            self.evidence.append(event.id)
            if self.rate:
                self.additions.append((now, added))
                self.recent += added
        if not added and not self.additions and len(self.cost.blind_spots) == self.blind_spots:
            return ()
        self.blind_spots = len(self.cost.blind_spots)
        holds = self._holds(now)
        new = holds - self.held
        self.held = holds
        return self._findings(new)

    def holding(self, now: float) -> Iterable[Finding]:
        """Return findings that hold now."""
        self.held = self._holds(now)
        return self._findings(self.held)

    def _holds(self, now: float) -> Set[str]:
        """Return the limits that are passed, and the models whose cost is unknown."""
        while self.additions and self.additions[0][0] <= now - RATE_WINDOW_S:
            self.recent -= self.additions.popleft()[1]
        holds = set(map("unseen ".__add__, self.cost.blind_spots))
        if self.most and self.total > self.most:
            holds.add("max")
        elif self.warn and self.total >= self.warn * self.most > 0:
            holds.add("warn")
        if self.rate and self._hourly() > self.rate:
            holds.add("rate")
        return holds

    def _hourly(self) -> int:
        return self.recent * HOUR_S // RATE_WINDOW_S

    def _findings(self, holds: Set[str]) -> Iterator[Finding]:
        estimated = ", estimated" if self.cost.estimated else ""
        for model, (message, shown_by) in self.cost.blind_spots.items():
            if f"unseen {model}" in holds:
                yield Finding(
                    ("unseen", model),
                    message,
                    level="warning",
                    evidence=(shown_by,),
                    seen={"model": model},
                )
        if "max" in holds:
            message = (
                f"{dollars(self.total, self.most)} (threshold: {dollars(self.most)})"
                f"{estimated}; raise it with --max-cost"
            )
            yield self._finding("max", message, self.total, self.most)
        if "warn" in holds:
            message = (
                f"{dollars(self.total)} is {self.total / self.most:.0%} of {dollars(self.most)}"
                f"{estimated}; say when to be warned with --warn"
            )
            yield self._finding("warn", message, self.total, self.most)
        if "rate" in holds:
            hourly = self._hourly()
            message = (
                f"{dollars(hourly, self.rate)} an hour over the last 10 minutes "
                f"(threshold: {dollars(self.rate)}/h){estimated}; raise it with --max-cost-rate"
            )
            yield self._finding("rate", message, hourly, self.rate)

    def _finding(self, key: str, message: str, value: int, most: int) -> Finding:
        return Finding(
            key,
            message,
            level="warning" if key == "warn" else "critical",
            evidence=tuple(self.evidence),
            seen={
                "value": value / DOLLAR,
                "limit": most / DOLLAR,
                "estimated": self.cost.estimated,
            },
        )


def dollars(amount: int, other: int = 0) -> str:
    """Return picodollars for people, with the decimals that tell `amount` from `other` and 0."""
    text = f"${amount / DOLLAR:.2f}"
    for places in range(3, 7):
        if text not in ("$0.00", f"${other / DOLLAR:.{places - 1}f}"):
            break
        text = f"${amount / DOLLAR:.{places}f}"
    return text


class Rate(click.ParamType):  # type: ignore[type-arg]
    """US dollars per hour, written `20/h`, `0.50/m` or `20`; `0` or `off` for no limit."""

    name = "DOLLARS/h"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return dollars per hour."""
        amount, _, unit = value.partition("/") if isinstance(value, str) else (value, "", "")
        try:
            return (
                float(DOLLARS.convert(amount, param, ctx))
                * {"": 1, "h": 1, "m": 60, "d": 1 / 24}[unit.strip()]
            )
        except (click.BadParameter, KeyError):
            self.fail(
                f"expected dollars an hour such as 20/h, or 'off', not {value!r}.", param, ctx
            )


class Percent(click.ParamType):  # type: ignore[type-arg]
    """Part of a limit, written `80%` or `80`; `0` or `off` for none."""

    name = "PERCENT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the percentage."""
        text = str(value).strip().removesuffix("%")
        if text.lower() == "off":
            return OFF
        if not re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text, re.ASCII):
            self.fail(
                f"expected a percentage below 100 such as 80%, or 'off', not {value!r}.", param, ctx
            )
        return float(text)


@detector("cost", guards=True, thresholds=(1, 2, 5, 10, 20, 50))
@limit(
    "--max",
    type=DOLLARS,
    flag="--max-cost",
    key="cost.max_dollars",
    default=10,
    help="Dollars that a session may cost.",
)
@limit(
    "--rate",
    type=Rate(),
    flag="--max-cost-rate",
    key="cost.rate",
    help="Dollars an hour that it may cost, over ten minutes: 20/h.",
)
@limit(
    "--warn",
    type=Percent(),
    flag="--warn-cost",
    key="cost.warn",
    help="Warn when this part of --max is spent: 80%.",
)
@pricing_options(flags=False)
def detect_cost(
    max: float = 10.0,
    rate: float | None = None,
    warn: float | None = None,
    prices: str | None = None,
    model: str | None = None,
    unpriced_as: str | None = None,
    recorded: bool = False,
) -> Rules:
    """Raise a violation when a session has cost more than N dollars.

    What trace-cost has written upstream is believed, unless an option here says how costs are to
    be told. Without it the cost is told here, in the same way.
    """
    meter = Meter(prices or "", model or "", unpriced_as or "", recorded)
    believes = not (prices or model or unpriced_as or recorded)
    limits = (round(max * DOLLAR), round((rate or 0.0) * DOLLAR), (warn or 0.0) / 100)
    return [lambda: CostDetector(SessionCost(meter, believes), *limits)]


main = detect_cost.main
