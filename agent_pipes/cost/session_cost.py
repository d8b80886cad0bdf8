"""What one session has cost so far, as trace-cost has told it upstream, or as it is told here."""

import math

from agent_pipes.core.event import RECORDING, Event
from agent_pipes.cost.estimate import HEARD, HELD
from agent_pipes.cost.meter import ASSUMED, Cost, Meter, know, may_record
from agent_pipes.cost.prices import DOLLAR


class Spending:
    """One session's sum.

    meter:     tells the cost where nobody has told it upstream.
    believes:  whether a cost that stands in an event is believed.
    total:     picodollars.
    estimated: whether any of it is an estimate.
    known:     the sessions of which the cost was told upstream, or the usage recorded: in them nothing is guessed any more.
    unseen:    why the cost cannot be seen, or is a mere guess, and the id of the event that showed it; by the model it is about.
    """

    __slots__ = ("believes", "calls", "estimated", "known", "meter", "told", "total", "unseen")

    def __init__(self, meter: Meter, believes: bool, known: dict[str, None]) -> None:
        self.meter = meter
        self.believes = believes
        self.known = known
        self.told = False
        self.calls = 0
        self.total = 0
        self.estimated = False
        self.unseen: dict[str, tuple[str, str]] = {}

    def see(self, event: Event) -> bool:
        """Whether `event` had anything to do with costs."""
        kind = event.type
        if kind in RECORDING and may_record(event):
            if not self._believe(event) and not self.told:
                self._reckon(event)
        elif kind in HEARD:
            if event.session not in self.known:
                self._guess(event)
            if kind == "session_end":
                self.known.pop(event.session, None)
                self.meter.accounts.pop(event.session, None)
        elif kind == "session_start":
            self.meter.account(event.session).model = event.text("model")
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
            or not 0 <= total < 1e9
        ):
            return False
        self.told = True
        know(self.known, event.session)
        self.total = round(total * DOLLAR)
        self.estimated = "session_estimated_usd" in cost
        if cost.get("unpriced") is True:
            self._cannot_see(event.text("model"), event.id)
        return True

    def _reckon(self, event: Event) -> None:
        if found := self.meter.charge(event):
            know(self.known, event.session)
            self._take(found, event.id)
        elif event.type in HEARD:
            self._guess(event)

    def _guess(self, event: Event) -> None:
        account = self.meter.account(event.session)
        if not account.guess:
            self.calls += (
                event.type == "tool_call" and self.meter.recorded and account.recorded is None
            )
            if self.calls == HELD:
                self.unseen.setdefault(
                    "",
                    (
                        "cannot see the cost: no usage is recorded, and --recorded estimates none",
                        event.id,
                    ),
                )
            return
        for said, found in self.meter.guess(event):
            self._take(found, said.trigger)
            if not self.meter.names_model(event.session):
                why = f"no usage and no model are recorded: the cost is guessed at the prices of {ASSUMED}; name it with --model"
                self.unseen.setdefault("", (why, said.trigger))

    def _take(self, found: Cost, id: str) -> None:
        self.total = found.session
        self.estimated = found.estimated > 0
        if found.charge.unpriced:
            self._cannot_see(found.charge.model, id)

    def _cannot_see(self, model: str, id: str) -> None:
        if model not in self.unseen and len(self.unseen) < 100:
            why = f"no price is known for {model!r}" if model else "the responses name no model"
            self.unseen[model] = (
                f"cannot see the cost: {why}; give a stand-in with --unpriced-as, or a price with --prices",
                id,
            )
