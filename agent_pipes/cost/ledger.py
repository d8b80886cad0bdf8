"""Sums of what responses cost: by session, and by model within it."""

from dataclasses import astuple, dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.cost.estimate import Estimator
from agent_pipes.cost.prices import Usage

MAX_UNPRICED_MODELS = 100

QUARTER_S = 900
"""A quarter of an hour: every offset from UTC is a multiple of it."""

MAX_OPEN_REQUESTS = 256
"""Requests of one session that wait for their response."""


class Charge(NamedTuple):
    """Cost of one response. `usd` and `saved` are picodollars.

    saved: what caching saved, 0 if the meter keeps no totals.
    time:  seconds since the epoch, 0.0 if unknown.
    """

    usd: int
    estimated: bool
    unpriced: bool
    model: str
    usage: Usage
    saved: int
    time: float


NO_CHARGE = Charge(0, False, False, "", Usage(), 0, 0.0)


class Cost(NamedTuple):
    """Cost of one response, and its session's sum with it, in picodollars.

    added:      what this line adds to the sum; negative if it corrects the response downwards.
    session:    the sum.
    estimated:  the part of the sum that is an estimate.
    counted_in: the session that this response was copied from by a fork and counted in, or "".
    """

    charge: Charge
    added: int
    session: int
    estimated: int
    counted_in: str = ""


@dataclass(slots=True)
class ModelTotals:
    """Responses and tokens of one model in a session. `usd`, `saved`, `estimated`: picodollars."""

    responses: int = 0
    usd: int = 0
    saved: int = 0
    estimated: int = 0
    unpriced: int = 0
    prompt: int = 0
    read: int = 0
    written: int = 0
    written_1h: int = 0
    output: int = 0
    reasoning: int = 0
    searches: int = 0

    def add(self, charge: Charge, sign: int = 1) -> None:
        """Add the charge, or subtract it if `sign` is -1."""
        usage = charge.usage
        self.responses += sign
        self.usd += sign * charge.usd
        self.saved += sign * charge.saved
        self.prompt += sign * usage.prompt
        self.read += sign * usage.read
        self.written += sign * usage.written
        self.written_1h += sign * usage.written_1h
        self.output += sign * usage.output
        self.reasoning += sign * usage.reasoning
        self.searches += sign * usage.searches
        if charge.estimated:
            self.estimated += sign * charge.usd
        if charge.unpriced:
            self.unpriced += sign

    def merge(self, other: "ModelTotals") -> None:
        """Add the other's sums to this one's."""
        for each, value in zip(fields(self), astuple(other), strict=True):
            setattr(self, each.name, getattr(self, each.name) + value)


class Ledger:
    """Sums of one session in picodollars, and by model and day if `detailed` is set.

    totals: by model and by day of local time (ordinal, 0 without a time).
    """

    def __init__(self, detailed: bool) -> None:
        self.total = 0
        self.estimated = 0
        self.totals: dict[tuple[str, int], ModelTotals] | None = {} if detailed else None

    def replace(self, old: Charge, new: Charge) -> None:
        """Count `new` instead of `old`."""
        self.total += new.usd - old.usd
        self.estimated += new.usd * new.estimated - old.usd * old.estimated
        if self.totals is not None:
            self._totals(self.totals, new).add(new)
            if old is not NO_CHARGE:
                self._totals(self.totals, old).add(old, -1)

    def add_reported(self, model: str, usd: int, time: float) -> None:
        """Add what the client itself reports for a model without a price, in picodollars."""
        self.total += usd
        if self.totals is not None:
            charge = NO_CHARGE._replace(model=model, time=time)
            self._totals(self.totals, charge).usd += usd
            for (other, _), totals in self.totals.items():
                if other == model:
                    totals.unpriced = 0

    def _totals(self, totals: dict[tuple[str, int], ModelTotals], charge: Charge) -> ModelTotals:
        key = charge.model, local_day(charge.time)
        found = totals.get(key)
        if found is None:
            found = totals[key] = ModelTotals()
        return found


def local_day(time: float) -> int:
    """Return the day of a time in seconds since the epoch as a proleptic ordinal, 0 for no time."""
    return _day_of_quarter(int(time // QUARTER_S)) if time else 0


@lru_cache(maxsize=10_000)
def _day_of_quarter(quarter: int) -> int:
    return datetime.fromtimestamp(quarter * QUARTER_S).date().toordinal()


class SessionAccount:
    """One session.

    recorded:  ledger of the recorded usage; None until there is any, after which `estimated` no
               longer counts.
    estimator: estimates the responses; None once usage is recorded, and if nothing is estimated.
    model:     the model that the session, or its latest request, named.
    latest:    time of its latest cost, seconds since the epoch.
    requests:  prompt tokens of the requests that have no response yet.
    unpriced:  models without a price, and picodollars that the client has reported for them.
    announced: the sum that was returned last.
    epoch:     how often the session was read again from its start.
    """

    def __init__(self, *, estimates: bool, detailed: bool) -> None:
        self.estimates = estimates
        self.detailed = detailed
        self.announced = 0
        self.epoch = -1
        self.restart()

    def restart(self) -> None:
        """Begin anew, because the session is read again from its start."""
        self.epoch += 1
        self.recorded: Ledger | None = None
        self.estimated = Ledger(self.detailed)
        self.estimator = Estimator() if self.estimates else None
        self.unpriced: BoundedDict[str, int] = BoundedDict(MAX_UNPRICED_MODELS)
        self.model = ""
        self.latest = 0.0
        self.requests: BoundedDict[str, int] = BoundedDict(MAX_OPEN_REQUESTS)

    @property
    def ledger(self) -> Ledger:
        """The ledger that counts."""
        return self.recorded or self.estimated

    def cost(self, charge: Charge, counted_in: str = "") -> Cost:
        """Return the cost of a line with the sum after it."""
        ledger = self.ledger
        added, self.announced = ledger.total - self.announced, ledger.total
        return Cost(charge, added, ledger.total, ledger.estimated, counted_in)

    def ledger_for(self, *, estimate: bool) -> Ledger:
        """Return the ledger for a response; the first that is recorded ends the estimate."""
        self.estimator = None
        if self.recorded is None and not estimate:
            self.recorded = Ledger(self.detailed)
        return self.ledger
