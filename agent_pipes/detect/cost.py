"""trace-detect-cost: the session costs more than it may."""

import re
from collections.abc import Iterable
from typing import Any

import click

from agent_pipes.core.event import RECORDING, Event
from agent_pipes.core.filter import filter_command
from agent_pipes.core.options import DOLLARS, OFF, limit
from agent_pipes.cost.options import pricing_options
from agent_pipes.detect.detector import BOUNDS, Detection, alert_option, detect


class Rate(click.ParamType):  # type: ignore[type-arg]
    """US dollars an hour, written `20/h`, `0.50/m` or `20`; `0` or `off` for no limit."""

    name = "DOLLARS/h"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
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
    """A part of a limit, written `80%` or `80`; `0` or `off` for none."""

    name = "PERCENT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).strip().removesuffix("%")
        if text.lower() == "off":
            return OFF
        if not re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text, re.ASCII):
            self.fail(
                f"expected a percentage below 100 such as 80%, or 'off', not {value!r}.", param, ctx
            )
        return float(text)


SEES = BOUNDS | RECORDING | {"session_start"}
"""What it looks into of a session whose cost is told or recorded; of others it is shown what is said, too."""


@filter_command("trace-detect-cost", sees=SEES)
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
@alert_option("cost")
def detect_cost(
    events: Iterable[Event],
    max: float = 10.0,
    rate: float | None = None,
    warn: float | None = None,
    prices: str | None = None,
    model: str | None = None,
    unpriced_as: str | None = None,
    recorded: bool = False,
    alert: tuple[str, ...] = (),
    known: dict[str, None] | None = None,
) -> Detection:
    """Raise a violation when a session has cost more than N dollars.

    What trace-cost has written upstream is believed, unless an option here says how costs are to be told. Without it
    the cost is told here, in the same way.
    """
    from agent_pipes.cost.estimate import HEARD
    from agent_pipes.cost.meter import Meter
    from agent_pipes.cost.prices import DOLLAR
    from agent_pipes.cost.session_cost import Spending
    from agent_pipes.detect.cost_detector import CostDetector

    meter = Meter(prices or "", model or "", unpriced_as or "", recorded)
    believes = not (prices or model or unpriced_as or recorded)
    limits = (round(max * DOLLAR), round((rate or 0.0) * DOLLAR), (warn or 0.0) / 100)
    told = {} if known is None else known
    return detect(
        events,
        "cost",
        lambda: CostDetector(Spending(meter, believes, told), *limits),
        alert,
        sees=SEES | HEARD,
    )


main = detect_cost.main
