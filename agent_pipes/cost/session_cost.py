"""Cost of one session so far: as an upstream trace-cost added it, or computed here."""

import math

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import RECORDING, Event
from agent_pipes.cost.assumed import assumed_price
from agent_pipes.cost.estimate import ESTIMATE_INPUTS, MIN_UNRECORDED_RESPONSES
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import DEFAULT_MODEL, Meter
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.usage import may_have_usage, modes_of, usage_of

MAX_COST_USD = 1e9
"""An upstream cost from here on is not believed."""

MAX_BLIND_SPOTS = 100

MAX_ASSUMED_RESPONSES = 1_000
"""Responses of a model at assumed prices that a later line may correct."""

NO_USAGE = "the cost is unknown: no usage is recorded, and --recorded forbids estimates"


class SessionCost:
    """Sum of one session.

    meter:       computes the cost if no upstream trace-cost has.
    believes:    True if a cost in an event is believed.
    assumes:     True if a response without a price is counted at an assumed one.
    priced:      picodollars since the first event seen.
    assumed:     picodollars of responses that have no price, at assumed ones.
    estimated:   True if a part of the total is an estimate.
    blind_spots: by model, why the cost is unknown or assumed, and the event id that shows it.
    """

    types = RECORDING | ESTIMATE_INPUTS | {"reported_cost", "session_start", "history_start"}

    def __init__(self, meter: Meter, believes: bool, assumes: bool = True) -> None:
        self.meter = meter
        self.believes = believes
        self.believed = False
        self.baseline: int | None = None
        self.unrecorded_calls = 0
        self.assumes = assumes
        self.priced = self.assumed = 0
        self._assumed: BoundedDict[str, BoundedDict[str, int]] = BoundedDict(MAX_BLIND_SPOTS)
        self.estimated = False
        self.blind_spots: dict[str, tuple[str, str]] = {}

    @property
    def total(self) -> int:
        """Picodollars that count against a limit."""
        return self.priced + self.assumed

    def see(self, event: Event) -> bool:
        """Update the sum; False if the event has nothing to do with it."""
        kind = event.type
        if kind in RECORDING and may_have_usage(event):
            if not self._believe(event) and not self.believed:
                self._compute(event)
        elif kind in ESTIMATE_INPUTS:
            if not self.believed:
                self._estimate(event)
            if kind == "session_end":
                self.meter.accounts.pop(event.session, None)
        elif kind == "reported_cost":
            self._take_report(event)
        elif kind in ("session_start", "history_start"):
            self.meter.see(event)
        else:
            return False
        return True

    def _believe(self, event: Event) -> bool:
        cost = event.data.get("cost")
        if not self.believes or type(cost) is not dict:
            return False
        total = cost.get("session_usd")
        if (
            (type(total) is not float and type(total) is not int)
            or not math.isfinite(total)
            or not 0 <= total < MAX_COST_USD
        ):
            return False
        self.believed = True
        first = 0 if "counted_in" in cost else cost.get("response_usd", total)
        self._add_up(round(total * DOLLAR), round(float(first) * DOLLAR))
        self.estimated = "session_estimated_usd" in cost
        if cost.get("unpriced") is True and "counted_in" not in cost:
            self._assume(event, event.text("model"))
        return True

    def _compute(self, event: Event) -> None:
        if cost := self.meter.charge(event):
            self._take(cost)
            if cost.charge.unpriced and not cost.counted_in:
                self._assume(event, cost.charge.model)
        elif event.type in ESTIMATE_INPUTS:
            self._estimate(event)

    def _estimate(self, event: Event) -> None:
        if self.meter.recorded:
            self._count_unrecorded_call(event)
            return
        for response, cost in self.meter.estimate(event):
            self._take(cost)
            if not self.meter.names_model(event.session):
                why = (
                    "no usage and no model are recorded: the cost is guessed at the prices of "
                    f"{DEFAULT_MODEL}; name it with --model"
                )
                self.blind_spots.setdefault("", (why, response.trigger))

    def _count_unrecorded_call(self, event: Event) -> None:
        if event.type == "tool_call" and self.meter.account(event.session).recorded is None:
            self.unrecorded_calls += 1
        if self.unrecorded_calls == MIN_UNRECORDED_RESPONSES:
            self.blind_spots.setdefault("", (NO_USAGE, event.id))

    def _take_report(self, event: Event) -> None:
        """Replace assumed prices of models by the client's own bill."""
        if not self._believe(event) and not self.believed:
            cost = self.meter.take_report(event)
            if cost:
                self._take(cost)
        models = event.data.get("models")
        for name in models if isinstance(models, dict) else ():
            self.assumed -= sum(self._assumed.pop(str(name).partition("[")[0], {}).values())

    def _take(self, cost: Cost) -> None:
        self._add_up(cost.session, 0 if cost.counted_in else cost.charge.usd)
        self.estimated = cost.estimated > 0

    def _add_up(self, session: int, response: int) -> None:
        """Set the total from the session's sum; what precedes the first response is not part."""
        if self.baseline is None or session < self.baseline:
            # Upstream has forgotten the session if its sum falls: what was counted stays.
            self.baseline = session - response - self.priced
        self.priced = session - self.baseline

    def _assume(self, event: Event, model: str) -> None:
        """Count a response without a price at an assumed one, and report the first of its model."""
        usage = usage_of(event, self.meter.recorded)
        assumed = None
        if self.assumes and model and usage:
            assumed = assumed_price(self.meter.table, model, modes_of(event))
        if assumed and usage:
            picodollars = assumed.price.at(event.time, usage.prompt).cost(usage)
            identity = event.text("response_id") or event.id
            responses = self._assumed.setdefault(model, BoundedDict(MAX_ASSUMED_RESPONSES))
            old = responses.get(identity, 0)
            responses[identity] = max(picodollars, old)
            self.assumed += max(0, picodollars - old)
        if model not in self.blind_spots and len(self.blind_spots) < MAX_BLIND_SPOTS:
            stand_in = assumed.model if assumed else ""
            self.blind_spots[model] = (_unpriced_message(model, stand_in), event.id)


def _unpriced_message(model: str, stand_in: str) -> str:
    if not model:
        return "the responses name no model: they count as $0; name it with --model"
    advice = "give its price with --prices, or a stand-in with --unpriced-as"
    if stand_in:
        return f"no price for {model!r}: counted at the price of {stand_in} (assumed); {advice}"
    return f"no price for {model!r}: it counts as $0, so --max-cost will not stop it; {advice}"
