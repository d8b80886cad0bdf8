"""The output of trace-cost: events with their costs, and the bill."""

import os
from collections.abc import Iterable, Iterator

import click

from agent_pipes.agents.base import Session
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events
from agent_pipes.core.stderr import warn
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.estimate import EstimatedResponse
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import DEFAULT_MODEL, Meter
from agent_pipes.cost.options import Grouping
from agent_pipes.cost.report import Report

MAX_NOTED_MODELS = 1000
"""Models without a price that are reported; further ones are not."""


class Output:
    """A report, as a table on a terminal, else as events."""

    def __init__(self, report: Report, by: Grouping, reverse: bool) -> None:
        self.report = report
        self.by = by
        self.reverse = reverse
        self.is_table = os.isatty(1)

    def events(self) -> Iterator[Event]:
        """Yield the report's events, or print its table."""
        if self.is_table:
            from agent_pipes.core.style import terminal_style
            from agent_pipes.cost.report_table import report_table

            text = report_table(self.report, self.by, terminal_style(), self.reverse)
            # No event: a line of an event is escaped on a terminal, which a table does itself.
            click.echo(text, nl=False)
        else:
            yield from self.report.events(self.by)


def annotated(events: Iterable[Event], meter: Meter, output: Output | None) -> Events:
    """Yield the events with their costs, then the report; a table replaces the events."""
    hidden = output is not None and output.is_table
    is_empty = True
    for event in with_costs(events, meter, _Notes(meter).add, raw=not hidden):
        is_empty = False
        if not hidden:
            yield event
        if output:
            output.report.see(event)
        elif event.type == "session_end":
            meter.accounts.pop(event.session, None)
    if output:
        if is_empty:
            warn("no event on standard input; --all reads the sessions of this machine")
        yield from output.events()
    return None


def report_sessions(sessions: list[Session], meter: Meter, output: Output) -> Events:
    from agent_pipes.cost.recorded import SessionCosts

    notes = _Notes(meter)
    unreadable = False
    for session in sessions:
        costs = SessionCosts(session, meter)
        for event, found in costs:
            for response, cost in found:
                notes.add(event.session, response, cost)
            output.report.see(event)
        unreadable |= costs.bad > 0
    yield from output.events()
    return ExitStatus.UNREADABLE if unreadable else None


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
            warn("a response names no model and counts as $0; set one with --model")
            return
        near = self.meter.table.nearest_name(model)
        hint = f"; the nearest name known is {near}" if near else ""
        warn(
            f"no price is known for {model!r}: it counts as $0 "
            f"(set one with --prices FILE, or use another model's with --unpriced-as MODEL){hint}"
        )

    def _add_assumed_model(self, session: str) -> None:
        if self.assumed_model or self.meter.names_model(session):
            return
        self.assumed_model = True
        warn(
            f"session {session} records no usage and names no model: its cost is guessed at the "
            f"prices of {DEFAULT_MODEL} (--model NAME names it)"
        )
