"""trace-detect-cost: the session costs more than its limit, in all or by the hour."""

import click

from agent_pipes.core.options import DOLLARS, DURATION, PERCENT, Option, limit
from agent_pipes.cost.options import NO_STAND_IN, pricing_options
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules

DAY_S = 86_400.0


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
    help="Limit on the cost of a run.",
)
@limit(
    "--rate",
    type=Rate(),
    flag="--max-cost-rate",
    key="cost.rate",
    help="Limit on the cost per hour, measured over ten minutes, such as 20/h.",
)
@limit(
    "--warn",
    type=PERCENT,
    flag="--warn-cost",
    key="cost.warn",
    help="Warn when this percentage of the limit in dollars has been spent, such as 80%.",
)
@click.option(
    "--per",
    cls=Option,
    type=click.Choice(["run", "session", "cwd", "user", "host", "all"]),
    default="run",
    show_default=True,
    flag="--cost-per",
    key="cost.per",
    help="Add up the cost of a run, of a session, or of all sessions of a directory, user or host.",
)
@limit(
    "--window",
    type=DURATION,
    flag="--cost-window",
    key="cost.window_hours",
    unit=3600,
    help="Time over which the cost of several sessions is added up; by default 24h.",
)
@pricing_options(flags=False)
def detect_cost(
    max: float = 10.0,
    rate: float | None = None,
    warn: float | None = None,
    per: str = "run",
    window: float | None = None,
    prices: str | None = None,
    model: str | None = None,
    unpriced_as: str | None = None,
    recorded: bool = False,
) -> Rules:
    """Raise a violation when a run, or a group of sessions, has cost more than N dollars.

    With --per, several sessions share the limit, and each session that spends more after it is
    exceeded is stopped. A cost is known only after the response, so each live session can exceed
    the limit by one response.

    Uses the costs added by an upstream trace-cost, otherwise computes them itself. A pricing option
    forces recomputation. A model without a price is counted at an assumed price, with a warning.
    """
    from agent_pipes.cost.meter import Meter
    from agent_pipes.cost.session_cost import SessionCost
    from agent_pipes.detect.budget import Budget
    from agent_pipes.detect.cost_rules import BudgetDetector, CostDetector

    assumes = unpriced_as != NO_STAND_IN
    stand_in = unpriced_as if unpriced_as and assumes else ""
    meter = Meter(prices or "", model or "", stand_in, recorded)
    believes = not (prices or model or stand_in or recorded)
    most, share = round(max * DOLLAR), (warn or 0.0) / 100
    if per != "run":
        if rate:
            raise click.UsageError(
                f"--rate is a limit of one run, and cannot be used with --per {per}"
            )
        budget = Budget(per, DAY_S if window is None else window, most)
        return [lambda _: BudgetDetector(SessionCost(meter, believes, assumes), budget, share)]
    if window:
        raise click.UsageError("--window needs --per with a group of sessions")
    limits = (most, round((rate or 0.0) * DOLLAR), share)
    return [lambda _: CostDetector(SessionCost(meter, believes, assumes), *limits)]


main = detect_cost.main
