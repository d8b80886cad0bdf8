"""trace-cost: what each response costs, and its session so far."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from agent_pipes.core.event import RECORDING, Event, make
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command, run_pipeline
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.stderr import warn
from agent_pipes.cost.estimate import HEARD, Said
from agent_pipes.cost.meter import ASSUMED, GUESSED, Cost, Meter, know, may_record
from agent_pipes.cost.options import pricing_options
from agent_pipes.cost.prices import DOLLAR

if TYPE_CHECKING:
    from agent_pipes.cost.report import Bill


@filter_command("trace-cost", sees=RECORDING | {"session_start", "session_end"})
@click.argument("files", nargs=-1, metavar="[FILE]...")
@pricing_options(flags=True)
@click.option(
    "--summary",
    is_flag=True,
    help="End with a cost_summary for each session: a table, where stdout is a terminal.",
)
def cost(
    events: Iterable[Event],
    files: tuple[str, ...] = (),
    prices: str | None = None,
    model: str | None = None,
    unpriced_as: str | None = None,
    recorded: bool = False,
    summary: bool = False,
    known: dict[str, None] | None = None,
) -> Events:
    """Add to each llm_response what it costs, in US dollars, and what its session has cost so far.

    Usage is taken as it was recorded. Where none was, the cost is estimated from what was said, and marked so.
    With the names of sessions' own FILEs it reads no events, but sums up these.
    """
    if files:
        return _summed_up(
            files, Meter(prices or "", model or "", unpriced_as or "", recorded, tally=True)
        )
    meter = Meter(prices or "", model or "", unpriced_as or "", recorded, tally=summary)
    return _costed(
        events,
        meter,
        _bill(meter) if summary else None,
        {} if known is None else known,
        hidden=summary and os.isatty(1),
    )


def _bill(meter: Meter) -> "Bill":
    from agent_pipes.cost.report import Bill

    return Bill(meter)


def _costed(
    events: Iterable[Event], meter: Meter, bill: "Bill | None", known: dict[str, None], hidden: bool
) -> Events:
    """`known`: the sessions that record their usage: what is said in them matters no more. `hidden`: people look at the
    summary, not at the events: these go nowhere."""
    accounts = meter.accounts
    notes = _Notes(meter)
    for event in events:
        kind = event.type
        if kind in RECORDING and may_record(event) and (found := meter.charge(event)):
            know(known, event.session)
            notes.say(found)
            _write(event, found)
        elif kind in HEARD:
            account = accounts.get(event.session)
            if account is None or account.guess:
                for said, found in meter.guess(event):
                    notes.guessed(event.session)
                    notes.say(found)
                    if kind == "llm_response":
                        _write(event, found)
                    elif not hidden:
                        yield _guessed(event.session, said, found)
        elif kind == "session_start":
            meter.account(event.session).model = event.text("model")
        if not hidden:
            yield event
        if kind == "session_end":
            known.pop(event.session, None)
            if bill:
                bill.close(event.session)
            else:
                accounts.pop(event.session, None)
    if bill:
        yield from _ended(bill, hidden)
    return None


def _summed_up(files: tuple[str, ...], meter: Meter) -> Events:
    from agent_pipes.cost import file_totals

    bad = file_totals.count(map(Path, files), meter)
    notes = _Notes(meter)
    for session, account in meter.accounts.items():
        meter.rest(account)
        if account.recorded is None and account.guessed.models:
            notes.guessed(session)
        for name, tally in account.books.models.items():
            if tally.unpriced:
                notes.unpriced(name)
    yield from _ended(_bill(meter), hidden=os.isatty(1))
    return ExitStatus.UNREADABLE if bad else None


def _ended(bill: "Bill", hidden: bool) -> Iterator[Event]:
    if hidden:
        yield Event(bill.text().encode(), {"event_type": "cost_summary"})
    else:
        yield from bill.summaries()


class _Notes:
    """Says, once each, what people must know of the sums."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.said: set[str] = set()

    def say(self, found: Cost) -> None:
        if found.charge.unpriced:
            self.unpriced(found.charge.model)

    def unpriced(self, model: str) -> None:
        if model in self.said or len(self.said) > 1000:
            return
        self.said.add(model)
        if model:
            near = self.meter.table.near(model)
            hint = f"; the nearest name known is {near}" if near else ""
            warn(
                f"no price is known for {model!r}: it counts as $0 (--prices FILE has one, --unpriced-as MODEL stands in){hint}"
            )
        else:
            warn("a response names no model: it counts as $0 (--model NAME names it)")

    def guessed(self, session: str) -> None:
        if GUESSED in self.said or self.meter.names_model(session):
            return
        self.said.add(GUESSED)
        warn(
            f"session {session} records no usage and names no model: its cost is guessed at the prices of {ASSUMED} (--model NAME names it)"
        )


def _write(event: Event, found: Cost) -> None:
    """Put the cost into the event's data; the rest of its line stays as it is, byte for byte."""
    data = event.data
    cost = _fields(found)
    event.data = {**data, "cost": cost}
    try:
        before = orjson.dumps(data)
    except (TypeError, ValueError):
        before = b""
    if "cost" not in data and len(before) > 2 and event.raw.endswith(b',"data":' + before + b"}\n"):
        event.raw = b'%b,"cost":%b}}\n' % (event.raw[:-3], orjson.dumps(cost))
    else:
        with suppress(RecursionError):
            event.raw = _spliced(event.raw, data, cost)


def _spliced(raw: bytes, data: Fields, cost: Fields) -> bytes:
    """The line with `cost` in its data, however it was written. A cost that stands there already is replaced."""
    import json

    text = raw.decode(errors="surrogateescape")
    begin, end = _place(text)
    if "cost" in data:
        inside = json.dumps({**data, "cost": cost}, separators=(",", ":"))
    else:
        inside = (
            f'{text[begin : end - 1]}{"," if data else ""}"cost":{orjson.dumps(cost).decode()}'
            + "}"
        )
    return f"{text[:begin]}{inside}{text[end:]}".encode(errors="surrogateescape")


_BETWEEN = pattern(r"[\s,:]*")


def _place(text: str) -> tuple[int, int]:
    """Where the value of the key `data` begins and ends in the object that `text` holds: of the last, if there are more."""
    import json

    decoder = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
    at = text.index("{") + 1
    found = (0, 0)
    while text[at := _BETWEEN.match(text, at).end()] == '"':  # type: ignore[union-attr]
        key, at = decoder.raw_decode(text, at)
        begin = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        _, at = decoder.raw_decode(text, begin)
        if key == "data":
            found = begin, at
    return found


def _fields(found: Cost) -> dict[str, Any]:
    """A cost as its event says it; see FIELDS in trace-cost(1)."""
    charge = found.charge
    fields: dict[str, Any] = {
        "usd": charge.usd / DOLLAR,
        "session_usd": found.session / DOLLAR,
        "estimated": charge.estimated,
        "unpriced": charge.unpriced,
    }
    if found.estimated:
        fields["session_estimated_usd"] = found.estimated / DOLLAR
    if found.counted_in:
        fields["counted_in"] = found.counted_in
    return fields


def _guessed(session: str, said: Said, found: Cost) -> Event:
    """The response that nobody recorded, as an event of its own."""
    charge = found.charge
    usage = charge.usage
    data: Fields = {
        "model": charge.model,
        "response_id": f"{GUESSED}{session}:{said.agent}:{said.number}",
        "usage": {
            "input_tokens": usage.prompt,
            "output_tokens": usage.output,
            "cache_read_input_tokens": usage.read,
            "cache_creation_input_tokens": usage.written,
        },
        "estimated": True,
        "cost": _fields(found),
    }
    if said.agent:
        data["agent_id"] = said.agent
    return make("llm_response", said.time, session, data, parent=said.trigger)


_from_stdin = cost.callback


def _start(exit_status: bool, **options: Any) -> Any:
    """Run the command. Where it has files to read, it does not matter what standard input is."""
    if options["files"]:
        return run_pipeline([(cost, options)], exit_status=exit_status)
    assert _from_stdin
    return _from_stdin(exit_status=exit_status, **options)


cost.callback = _start

main = cost.main
