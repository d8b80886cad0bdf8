"""trace-cost: cost of each response, and of its session so far."""

from collections.abc import Iterable
from typing import Any

import click

from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command, run_pipeline
from agent_pipes.core.options import POINT_IN_TIME
from agent_pipes.core.stderr import warn
from agent_pipes.cost.options import GROUPINGS, NO_STAND_IN, Grouping, pricing_options


@filter_command("trace-cost")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@pricing_options(flags=True)
@click.option(
    "--summary",
    is_flag=True,
    help="Add a cost_summary event per session at the end; on a terminal, print a table.",
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

    Costs are computed from recorded usage; without it, they are estimated from the text and marked
    as estimates. With FILEs of sessions or --all, a bill of these sessions is printed instead.
    """
    from agent_pipes.commands.cost_output import Output, annotated, report_sessions
    from agent_pipes.cost.meter import Meter
    from agent_pipes.cost.report import MAX_DAY, Report, ordinal_of

    reads_sessions = bool(files) or every
    reports = summary or by is not None or reads_sessions
    if (since or until) and not reports:
        raise click.UsageError("--since and --until need --summary, --by or --all")
    stand_in = "" if unpriced_as in (None, NO_STAND_IN) else unpriced_as
    meter = Meter(prices or "", model or "", stand_in, recorded, detailed=reports)
    if not reports:
        return annotated(events, meter, None)
    days = (ordinal_of(since) if since else 0, ordinal_of(until) if until else MAX_DAY)
    output = Output(Report(meter, *days), by or "session", reverse)
    if not reads_sessions:
        return annotated(events, meter, output)
    # Only a report of sessions needs what reads them: a filter starts without it.
    from pathlib import Path

    from agent_pipes.cost.recorded import session_at
    from agent_pipes.sessions import discovery

    sessions = [session_at(Path(file)) for file in files]
    if every:
        sessions += discovery.sessions(since=since or 0.0)
    if not sessions:
        warn("no session to bill" + (" that changed since then" if since else ""))
    return report_sessions(sessions, meter, output)


_run_filter = cost.callback


def _run(exit_status: bool, **options: Any) -> Any:
    """Run the command. With files to read, stdin may be anything, a terminal too."""
    if options["files"] or options["every"]:
        return run_pipeline([(cost, options)], exit_status=exit_status)
    assert _run_filter
    return _run_filter(exit_status=exit_status, **options)


cost.callback = _run

main = cost.main
