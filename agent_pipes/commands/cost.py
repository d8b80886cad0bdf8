"""trace-cost: cost of each response, and of its session so far."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents.base import Session
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command, run_pipeline
from agent_pipes.core.options import POINT_IN_TIME
from agent_pipes.core.stderr import warn
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.estimate import EstimatedResponse
from agent_pipes.cost.ledger import Cost
from agent_pipes.cost.meter import DEFAULT_MODEL, Meter
from agent_pipes.cost.options import NO_STAND_IN, pricing_options
from agent_pipes.cost.report import GROUPINGS, MAX_DAY, Grouping, Report, ordinal_of

MAX_NOTED_MODELS = 1000
"""Models without a price that are reported; further ones are not."""


@filter_command("trace-cost")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@pricing_options(flags=True)
@click.option(
    "--summary",
    is_flag=True,
    help="End with a cost_summary for each session; on a terminal, print a table instead.",
)
@click.option(
    "--by",
    type=click.Choice(GROUPINGS),
    help="Summarise by day, project, model or session instead of events.",
)
@click.option("--all", "every", is_flag=True, help="Read all sessions of this machine.")
@click.option(
    "--since",
    type=POINT_IN_TIME,
    help="Count from this day on: 7d, yesterday, 2026-11-20.",
)
@click.option("--until", type=POINT_IN_TIME, help="Count up to this day, included.")
@click.option(
    "--reverse", is_flag=True, help="Print the totals first, and the rows in reverse order."
)
def cost(
    events: Iterable[Event],
    files: tuple[str, ...] = (),
    prices: str | None = None,
    model: str | None = None,
    unpriced_as: str | None = None,
    recorded: bool = False,
    summary: bool = False,
    by: Grouping | None = None,
    every: bool = False,
    since: float | None = None,
    until: float | None = None,
    reverse: bool = False,
) -> Events:
    """Add to each llm_response its cost in US dollars, and that of its session so far.

    Recorded usage is used. Without it, the cost is estimated from the text, and marked as an
    estimate. With FILEs of sessions or --all, a bill of these is printed instead.
    """
    reads_sessions = bool(files) or every
    reports = summary or by is not None or reads_sessions
    if (since or until) and not reports:
        raise click.UsageError("--since and --until need --summary, --by or --all")
    stand_in = "" if unpriced_as in (None, NO_STAND_IN) else unpriced_as
    meter = Meter(prices or "", model or "", stand_in, recorded, detailed=reports)
    if not reports:
        return _filter(events, meter, None)
    days = (ordinal_of(since) if since else 0, ordinal_of(until) if until else MAX_DAY)
    output = _Output(Report(meter, *days), by or "session", reverse)
    if not reads_sessions:
        return _filter(events, meter, output)
    # Only a report of sessions needs what reads them: a filter starts without it.
    from agent_pipes.cost.recorded import session_at
    from agent_pipes.sessions import discovery

    sessions = [session_at(Path(file)) for file in files]
    if every:
        sessions += [each for each in discovery.sessions() if each.modified >= (since or 0.0)]
    return _report_sessions(sessions, meter, output)


class _Output:
    """A report, as a table on a terminal, else as events."""

    def __init__(self, report: Report, by: Grouping, reverse: bool) -> None:
        self.report = report
        self.by = by
        self.reverse = reverse
        self.is_table = os.isatty(1)

    def events(self) -> Iterator[Event]:
        """Yield the report's events, or print its table."""
        if self.is_table:
            from agent_pipes.core.table import terminal_style
            from agent_pipes.cost.report_table import report_table

            text = report_table(self.report, self.by, terminal_style(), self.reverse)
            # No event: a line of an event is escaped on a terminal, which a table does itself.
            click.echo(text, nl=False)
        else:
            yield from self.report.events(self.by)


def _filter(events: Iterable[Event], meter: Meter, output: _Output | None) -> Events:
    """Yield the events with their costs, then the report; a table replaces the events."""
    hidden = output is not None and output.is_table
    for event in with_costs(events, meter, _Notes(meter).add, raw=not hidden):
        if not hidden:
            yield event
        if output:
            output.report.see(event)
        elif event.type == "session_end":
            meter.accounts.pop(event.session, None)
    if output:
        yield from output.events()
    return None


def _report_sessions(sessions: list[Session], meter: Meter, output: _Output) -> Events:
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


_run_filter = cost.callback


def _run(exit_status: bool, **options: Any) -> Any:
    """Run the command. With files to read, stdin may be anything, a terminal too."""
    if options["files"] or options["every"]:
        return run_pipeline([(cost, options)], exit_status=exit_status)
    assert _run_filter
    return _run_filter(exit_status=exit_status, **options)


cost.callback = _run

main = cost.main
