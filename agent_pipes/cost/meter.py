"""Meter of what sessions cost: each response counts once, however often it is repeated."""

from dataclasses import dataclass
from functools import lru_cache

import click

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import RECORDING, Event, digest
from agent_pipes.cost.estimate import ESTIMATE_INPUTS, EstimatedResponse
from agent_pipes.cost.ledger import NO_CHARGE, Charge, Cost, Ledger, SessionAccount
from agent_pipes.cost.price_table import PriceTable, built_in, built_in_prices
from agent_pipes.cost.prices import DOLLAR, Usage
from agent_pipes.cost.usage import may_have_usage, modes_of, usage_of

MAX_STREAM_RESPONSES, MAX_REPORT_RESPONSES = 50_000, 500_000
"""Responses over all sessions whose repetition is recognised, in a stream and in a report."""

MAX_SEEN_RESPONSES = 1_000_000
"""Responses that are not counted a second time, though they can no longer be corrected."""

MAX_SESSIONS = 10_000

MAX_TIMES = 64
"""Lines of one response whose times are kept."""

MAX_REPORTED = 10**9 * DOLLAR
"""Picodollars above which a client's own bill is cut."""

ESTIMATE_ID_PREFIX = "guess:"
"""Prefix of the `response_id` of an estimated response."""

DEFAULT_MODEL = "claude-opus-5-5"
"""Model at whose prices a session is estimated that names none: rather too dear than too cheap."""


@dataclass(slots=True)
class _Counted:
    """A response that was counted: its session, its charge, and the times of its lines."""

    session: str
    epoch: int
    charge: Charge
    times: list[float]


class Meter:
    """Computes what responses cost, and keeps the sums of each session.

    prices:      path of a file whose prices replace built-in ones, "" for none.
    model:       the model of responses that name none.
    unpriced_as: the model at whose price a model without one is counted, "" to count it as 0.
    recorded:    use recorded usage only: no estimates, no correction of placeholders.
    detailed:    keep totals by model and day too, and forget no session.

    Raises click.UsageError if the file is invalid or `unpriced_as` has no price.
    """

    def __init__(
        self,
        prices: str = "",
        model: str = "",
        unpriced_as: str = "",
        recorded: bool = False,
        *,
        detailed: bool = False,
    ) -> None:
        self.model = model
        self.unpriced_as = unpriced_as
        self.recorded = recorded
        self.detailed = detailed
        self.table = _price_table(prices)
        self.accounts: dict[str, SessionAccount] = {} if detailed else BoundedDict(MAX_SESSIONS)
        self._counted: BoundedDict[str, _Counted] = BoundedDict(
            MAX_REPORT_RESPONSES if detailed else MAX_STREAM_RESPONSES
        )
        self._seen: BoundedDict[int, None] = BoundedDict(MAX_SEEN_RESPONSES)
        if unpriced_as and not self.table.find(unpriced_as):
            near = self.table.nearest_name(unpriced_as)
            hint = f"; did you mean {near}?" if near else ""
            raise click.UsageError(f"--unpriced-as {unpriced_as}: no price is known for it{hint}")

    def account(self, session: str) -> SessionAccount:
        """Return the session's account, a new one if there is none."""
        account = self.accounts.get(session)
        if account is None:
            account = SessionAccount(estimates=not self.recorded, detailed=self.detailed)
            self.accounts[session] = account
        return account

    def see(self, event: Event) -> list[tuple[EstimatedResponse | None, Cost]]:
        """Return the cost that the event records, or those of the estimated responses before it."""
        if event.type in RECORDING and may_have_usage(event) and (cost := self.charge(event)):
            return [(None, cost)]
        if event.type in ESTIMATE_INPUTS:
            return [*self.estimate(event)]
        if event.type == "session_start":
            self.account(event.session).model = event.text("model")
        elif event.type == "history_start":
            self.account(event.session).restart()
        elif event.type == "reported_cost" and (cost := self.take_report(event)):
            return [(None, cost)]
        return []

    def take_report(self, event: Event) -> Cost | None:
        """Count what the client's own bill has for models without a price; None if nothing."""
        account, models = self.account(event.session), event.data.get("models")
        added = 0
        for name, usd in models.items() if isinstance(models, dict) else ():
            model = str(name).partition("[")[0]
            if model not in account.unpriced or type(usd) not in (int, float):
                continue
            new = _picodollars(usd) - account.unpriced[model]
            if new > 0:
                account.unpriced[model] += new
                account.ledger.add_reported(model, new, event.time)
                added += new
        charge = NO_CHARGE._replace(usd=added, time=event.time)
        return account.cost(charge) if added else None

    def charge(self, event: Event) -> Cost | None:
        """Count `event`, of a type in RECORDING; None if it records no usage."""
        data = event.data
        usage = usage_of(event, self.recorded)
        account = self.account(event.session)
        identity = _identity(event)
        if event.type != "llm_response" or account.requests:
            identity, usage = self._from_store(event, account, usage)
        if usage is None:
            return None
        estimated = data.get("estimated") is True and not (
            self.recorded and "recorded_output_tokens" in data
        )
        model = event.text("model") or account.model or self.model
        charge = self.price(model, usage, event.time, estimated, modes_of(event))
        if charge.unpriced and (reported := event.number("reported_usd") or 0.0) > 0:
            # The client has a price for a model that the table lacks.
            charge = charge._replace(usd=_picodollars(reported), unpriced=False)
        return self.count(event.session, identity, event.time, charge)

    def count(self, session: str, identity: str, time: float, charge: Charge) -> Cost:
        """Add a charge to its session, once for each response `identity`; "" never repeats."""
        account = self.account(session)
        account.latest = time or account.latest
        ledger = account.ledger_for(estimate=identity.startswith(ESTIMATE_ID_PREFIX))
        counted = self._counted.get(identity)
        if counted and counted.session != session:
            if time in counted.times:
                return account.cost(charge, counted.session)
            # Two agents that number their responses alike do not copy each other.
            identity = f"{session}\0{identity}"
            counted = self._counted.get(identity)
        if counted and counted.epoch == account.epoch:
            charge = _count_again(ledger, counted, time, charge)
        elif self._is_new(session, account.epoch, identity):
            if charge.unpriced:
                account.unpriced.setdefault(charge.model, 0)
            if identity:
                self._counted[identity] = _Counted(session, account.epoch, charge, [time])
            ledger.replace(NO_CHARGE, charge)
        return account.cost(charge)

    def _is_new(self, session: str, epoch: int, identity: str) -> bool:
        """Return False for a response that was counted so long ago that its charge is forgotten."""
        if not identity:
            return True
        key = hash((session, epoch, identity))
        if key in self._seen:
            return False
        self._seen[key] = None
        return True

    def _from_store(
        self, event: Event, account: SessionAccount, usage: Usage | None
    ) -> tuple[str, Usage | None]:
        """Return identity and usage of a response that a store keeps in other or several events."""
        if event.type == "llm_request":
            account.model = event.text("model") or account.model
            if usage is not None:
                account.requests[event.id] = usage.prompt
            return f"request:{event.id}", usage
        if event.parent in account.requests:
            usage = usage or Usage()
            prompt = usage.prompt or account.requests[event.parent]
            return f"request:{event.parent}", usage._replace(prompt=prompt)
        if event.type == "assistant_response" and usage and (usage.read or usage.written):
            # An imported transcript repeats a response's usage in each of its lines, without an id.
            content = (event.session, event.text("context_stream"), event.text("model"), usage[:4])
            return digest("\0".join(map(str, content)).encode()), usage
        return _identity(event), usage

    def price(
        self,
        model: str,
        usage: Usage,
        time: float,
        estimated: bool = False,
        modes: tuple[str, ...] = (),
    ) -> Charge:
        """Return the charge for `usage` of `model` at `time`; 0 and unpriced without a price."""
        price = self.table.find(model, *modes) if model else None
        if price is None and self.unpriced_as:
            price = self.table.find(self.unpriced_as, *modes)
            estimated = True
        if price is None:
            return Charge(0, estimated, True, model, usage, 0, time)
        rates = price.at(time, usage.prompt)
        saved = rates.saved(usage) if self.detailed else 0
        estimated = estimated or price.estimated
        return Charge(rates.cost(usage), estimated, False, model, usage, saved, time)

    def estimate(self, event: Event) -> list[tuple[EstimatedResponse, Cost]]:
        """Count and return the responses before `event`, if the session records no usage."""
        account = self.account(event.session)
        complete = account.estimator.see(event) if account.estimator else []
        return [(response, self._count_estimate(account, response)) for response in complete]

    def finish(self, session: str) -> list[tuple[EstimatedResponse, Cost]]:
        """Count and return the responses that were not complete when the input ended."""
        account = self.account(session)
        complete = account.estimator.finish() if account.estimator else []
        return [(response, self._count_estimate(account, response)) for response in complete]

    def _count_estimate(self, account: SessionAccount, response: EstimatedResponse) -> Cost:
        model = account.model or self.model or self.unpriced_as or DEFAULT_MODEL
        charge = self.price(model, response.usage(model), response.time, True)
        account.latest = response.time or account.latest
        account.estimated.replace(NO_CHARGE, charge)
        return account.cost(charge)

    def names_model(self, session: str) -> bool:
        """Return True if the session's model is known, from its events or from an option."""
        account = self.accounts.get(session)
        return bool((account and account.model) or self.model or self.unpriced_as)


def _identity(event: Event) -> str:
    """Return the name under which a response counts once, "" if it has none."""
    if identity := event.text("response_id"):
        return identity
    return f"event:{event.session}:{event.id}" if event.id else ""


@lru_cache(maxsize=4)
def _picodollars(usd: float) -> int:
    """Return a client's own figure in picodollars, cut to MAX_REPORTED."""
    return round(min(usd * DOLLAR, MAX_REPORTED))


def _price_table(path: str) -> PriceTable:
    """Return the built-in prices, replaced by those in the file at `path`, "" for none."""
    if not path:
        return built_in_prices()
    from agent_pipes.cost.price_file import load

    return PriceTable(built_in(), load(path))


def _count_again(ledger: Ledger, counted: _Counted, time: float, charge: Charge) -> Charge:
    """Count a repetition or correction of a counted response, and return its charge now."""
    if _corrects(charge, counted.charge):
        ledger.replace(counted.charge, charge)
        counted.charge = charge
    if len(counted.times) < MAX_TIMES:
        counted.times.append(time)
    return counted.charge


def _corrects(new: Charge, old: Charge) -> bool:
    """Return True if `new` replaces `old` as the charge of the same response.

    The later record wins, unless it is for the same model and has fewer tokens: some agents write
    a partial record last.
    """
    if new.model != old.model or (old.estimated and not new.estimated):
        return True
    return new.usage.prompt + new.usage.output >= old.usage.prompt + old.usage.output
