"""trace-cost: cost of each response, and of its session so far."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command, run_pipeline
from agent_pipes.core.stderr import warn
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.estimate import EstimatedResponse
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import DEFAULT_MODEL, Meter
from agent_pipes.cost.options import NO_STAND_IN, pricing_options
from agent_pipes.cost.recorded import RecordedFile
from agent_pipes.cost.report import Report

MAX_NOTED_MODELS = 1000
"""Models without a price that are reported; further ones are not."""


@filter_command("trace-cost")
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
) -> Events:
    """Add to each llm_response what it costs, in US dollars, and what its session has cost so far.

    Usage is taken as it was recorded. Where none was, the cost is estimated from what was said, and marked so.
    With the names of sessions' own FILEs it reads no events, but sums up these.
    """
    report = summary or bool(files)
    stand_in = "" if unpriced_as in (None, NO_STAND_IN) else unpriced_as
    meter = Meter(prices or "", model or "", stand_in, recorded, by_model=report)
    if files:
        return _report_files([Path(file) for file in files], meter)
    return _filter(events, meter, Report(meter) if report else None)


def _filter(events: Iterable[Event], meter: Meter, report: Report | None) -> Events:
    """Yield the events with their costs, then the report.

    On a terminal a report replaces the events.
    """
    hidden = report is not None and os.isatty(1)
    for event in with_costs(events, meter, _Notes(meter).add, raw=not hidden):
        if not hidden:
            yield event
        if event.type == "session_end":
            if report:
                report.close(event.session)
            else:
                meter.accounts.pop(event.session, None)
    if report:
        yield from _report_events(report, hidden)
    return None


def _report_files(files: list[Path], meter: Meter) -> Events:
    report = Report(meter)
    notes = _Notes(meter)
    unreadable = False
    for file in files:
        reading = RecordedFile(file, recorded=meter.recorded)
        for event in reading:
            for response, cost in meter.see(event):
                notes.add(event.session, response, cost)
        unreadable |= reading.bad > 0
    yield from _report_events(report, os.isatty(1))
    return ExitStatus.UNREADABLE if unreadable else None


def _report_events(report: Report, as_text: bool) -> Iterator[Event]:
    if as_text:
        yield Event(report.text().encode(), {"event_type": "cost_summary"})
    else:
        yield from report.events()


class _Notes:
    """Reports on stderr, once each, what a reader of the sums must know."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.unpriced: set[str] = set()
        self.assumed_model = False

    def add(self, session: str, response: EstimatedResponse | None, cost: Cost) -> None:
        if response:
            self._add_assumed_model(session)
        if cost.charge.unpriced:
            self._add_unpriced(cost.charge.model)

    def _add_unpriced(self, model: str) -> None:
        if model in self.unpriced or len(self.unpriced) >= MAX_NOTED_MODELS:
            return
        self.unpriced.add(model)
        if not model:
            warn("a response names no model: it counts as $0 (--model NAME names it)")
            return
        near = self.meter.table.nearest_name(model)
        hint = f"; the nearest name known is {near}" if near else ""
        warn(
            f"no price is known for {model!r}: it counts as $0 "
            f"(--prices FILE has one, --unpriced-as MODEL stands in){hint}"
        )

    def _add_assumed_model(self, session: str) -> None:
        if self.assumed_model or self.meter.names_model(session):
            return
        self.assumed_model = True
        warn(
            f"session {session} records no usage and names no model: its cost is guessed at the "
            f"prices of {DEFAULT_MODEL} (--model NAME names it)"
        )


_run_filter = cost.callback


def _run(exit_status: bool, **options: Any) -> Any:
    """Run the command. With files to read, stdin may be anything, a terminal too."""
    if options["files"]:
        return run_pipeline([(cost, options)], exit_status=exit_status)
    assert _run_filter
    return _run_filter(exit_status=exit_status, **options)


cost.callback = _run

main = cost.main
