"""Adding to each response what it costs."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from agent_pipes.core.event import Event, make
from agent_pipes.core.jsonl import Fields
from agent_pipes.cost.estimate import EstimatedResponse
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import ESTIMATE_ID_PREFIX, Meter
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.splice import spliced

Note = Callable[[str, EstimatedResponse | None, Cost], None]
"""Called with each cost: its session, the response if it is estimated, the cost."""


def with_costs(
    events: Iterable[Event], meter: Meter, note: Note | None = None, *, raw: bool = True
) -> Iterator[Event]:
    """Yield the events; a response has `cost` in its data, an unrecorded one becomes an event.

    The sum of a session's `usd` is its latest `session_usd`, also if a response is corrected, if
    the session is read again, and if usage is recorded after it was estimated.

    raw: put the cost into the event's line too. False if the lines are not written.
    """
    for event in events:
        for response, cost in meter.see(event):
            if note:
                note(event.session, response, cost)
            if response is None or event.type == "llm_response":
                _add_cost(event, cost, raw)
            else:
                yield _estimated_event(event.session, response, cost)
        yield event
    for session in list(meter.accounts):
        for response, cost in meter.finish(session):
            if note:
                note(session, response, cost)
            yield _estimated_event(session, response, cost)


def _add_cost(event: Event, cost: Cost, raw: bool) -> None:
    """Put the cost into the event's data; the rest of its line stays as it is, byte for byte."""
    data, fields = event.data, _fields(cost)
    event.data = {**data, "cost": fields}
    if raw:
        with suppress(RecursionError):
            event.raw = spliced(event.raw, data, "cost", fields)


def _fields(cost: Cost) -> dict[str, Any]:
    """Return the cost as an event has it; see FIELDS in trace-cost(1)."""
    charge = cost.charge
    fields: dict[str, Any] = {
        "usd": cost.added / DOLLAR,
        "response_usd": charge.usd / DOLLAR,
        "session_usd": cost.session / DOLLAR,
        "estimated": charge.estimated,
        "unpriced": charge.unpriced,
    }
    if cost.estimated:
        fields["session_estimated_usd"] = cost.estimated / DOLLAR
    if cost.counted_in:
        fields["counted_in"] = cost.counted_in
    return fields


def _estimated_event(session: str, response: EstimatedResponse, cost: Cost) -> Event:
    """Return an llm_response for a response that is not recorded."""
    usage = cost.charge.usage
    data: Fields = {
        "model": cost.charge.model,
        "response_id": f"{ESTIMATE_ID_PREFIX}{session}:{response.agent}:{response.number}",
        "usage": {
            "input_tokens": usage.prompt,
            "output_tokens": usage.output,
            "cache_read_input_tokens": usage.read,
            "cache_creation_input_tokens": usage.written,
        },
        "estimated": True,
        "cost": _fields(cost),
    }
    if response.agent:
        data["agent_id"] = response.agent
    return make("llm_response", response.time, session, data, parent=response.trigger)
