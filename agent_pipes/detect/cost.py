"""trace-detect-cost: the session costs more than its limit, in all or by the hour."""

from collections import deque
from collections.abc import Iterable, Iterator

import click

from agent_pipes.core.event import Event
from agent_pipes.core.options import DOLLARS, PERCENT, limit
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.options import NO_STAND_IN, pricing_options
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
    """Dollars of one run.

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
        self.blind_spots = 0

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return findings that hold, if this event has changed the sum."""
        if not self.cost.see(event):
            return ()
        added = self.cost.total - self.total
        if added:
            self.total += added
            self.evidence.append(event.id)
            if self.rate:
                self.additions.append((now, added))
                self.recent += added
        elif not self.additions and len(self.cost.blind_spots) == self.blind_spots:
            return ()
        self.blind_spots = len(self.cost.blind_spots)
        return self.holding(now)

    def holding(self, now: float) -> Iterator[Finding]:
        """Return findings that hold now."""
        while self.additions and self.additions[0][0] <= now - RATE_WINDOW_S:
            self.recent -= self.additions.popleft()[1]
        yield from self._blind_spots()
        hourly = self.recent * HOUR_S // RATE_WINDOW_S
        if self.most and self.total > self.most:
            sums = f"{dollars(self.total, self.most)} (threshold: {dollars(self.most)})"
            yield self._finding("max", sums, self.total, self.most, "--max-cost")
        elif self.warn and self.total >= self.warn * self.most > 0:
            share = f"{self.total / self.most:.0%} of the {dollars(self.most)} limit"
            sums = f"{dollars(self.total)}, {share}"
            yield self._finding("warn", sums, self.total, self.most, "--warn-cost")
        if self.rate and hourly > self.rate:
            sums = (
                f"{dollars(hourly, self.rate)} an hour over the last 10 minutes "
                f"(threshold: {dollars(self.rate)}/h)"
            )
            yield self._finding("rate", sums, hourly, self.rate, "--max-cost-rate")

    def _blind_spots(self) -> Iterator[Finding]:
        for model, (message, shown_by) in self.cost.blind_spots.items():
            yield Finding(
                ("unseen", model),
                message,
                level="warning",
                evidence=(shown_by,),
                seen={"model": model},
            )

    def _finding(self, key: str, sums: str, value: int, most: int, option: str) -> Finding:
        seen: dict[str, object] = {
            "value": value / DOLLAR,
            "limit": most / DOLLAR,
            "estimated": self.cost.estimated,
            "hint": f"raise the limit with {option}",
        }
        if self.cost.assumed:
            seen["assumed"] = True
        return Finding(
            key,
            f"{sums}{self._doubt()}",
            level="warning" if key == "warn" else "critical",
            evidence=tuple(self.evidence),
            seen=seen,
        )

    def _doubt(self) -> str:
        """Return how much of the sum is an estimate, for a message."""
        estimated = ", estimated" if self.cost.estimated else ""
        if not self.cost.assumed:
            return estimated
        return f"{estimated}, {dollars(self.cost.assumed)} of it at assumed prices"


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


@detector("cost", guards=True, thresholds=(1, 2, 5, 10, 20, 50))
@limit(
    "--max",
    type=DOLLARS,
    flag="--max-cost",
    key="cost.max_dollars",
    default=10,
    help="Dollars that a run may cost.",
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
    type=PERCENT,
    flag="--warn-cost",
    key="cost.warn",
    help="Warn when this percentage of the limit in dollars has been spent, e.g. 80%.",
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
    """Raise a violation when a run has cost more than N dollars.

    Uses the costs added by an upstream trace-cost, otherwise computes them itself. A pricing option
    forces recomputation. A model without a price is counted at an assumed one, which is reported.
    """
    assumes = unpriced_as != NO_STAND_IN
    stand_in = unpriced_as if unpriced_as and assumes else ""
    meter = Meter(prices or "", model or "", stand_in, recorded)
    believes = not (prices or model or stand_in or recorded)
    limits = (round(max * DOLLAR), round((rate or 0.0) * DOLLAR), (warn or 0.0) / 100)
    return [lambda: CostDetector(SessionCost(meter, believes, assumes), *limits)]


main = detect_cost.main
