"""trace-report and agent-strace report: one session as an HTML page, or as text."""

import os
import shutil
from collections.abc import Iterable

import click

from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn

MAX_SESSIONS = 1000
"""Sessions of one stream that are told apart; events of further ones are ignored."""

TEXT_WIDTH, MAX_WIDTH = 100, 140
"""Columns of the summary: into a file or a pipe, and at most on a terminal."""


@filter_command("trace-report")
@click.argument("session", required=False)
@click.option("--text", is_flag=True, help="Print a summary instead of the page.")
def report(
    events: Iterable[Event],
    session: str | None = None,
    text: bool = False,
    watched: tuple[str, ...] = (),
    limits: dict[str, float] | None = None,
    flags: tuple[str, ...] = (),
) -> Events:
    """Print one session as a self-contained HTML page; on a terminal, a summary.

    Costs come from an upstream trace-cost, violations from upstream detectors. Of several
    sessions the first is shown, or the one whose id begins with SESSION.
    """
    from agent_pipes.commands.report_page.page import page
    from agent_pipes.commands.report_page.story import StoryBuilder
    from agent_pipes.commands.report_page.summary import summary

    builders: dict[str, StoryBuilder] = {}
    for event in events:
        name = event.session
        if not event.type or (name not in builders and len(builders) >= MAX_SESSIONS):
            continue
        if name not in builders:
            builders[name] = StoryBuilder(name)
        builders[name].add(event)
    found = [name for name in builders if name.startswith(session or "")]
    if not found and session:
        known = ", ".join(list(builders)[:5]) or "none"
        warn(f"standard input: no session {session}; found: {known}")
        return 2
    if not found:
        warn("standard input: no events, so there is nothing to report")
        return None
    if len(found) > 1:
        others = len(found) - 1
        warn(f"showing session {found[0]}; {others} more on standard input: name one to see it")
    story = builders[found[0]].story()
    if text or os.isatty(1):
        columns = shutil.get_terminal_size((TEXT_WIDTH, 24)).columns
        width = min(columns, MAX_WIDTH) if os.isatty(1) else TEXT_WIDTH
        content = summary(story, watched, limits, flags, width)
    else:
        content = page(story, watched, limits, flags)
    yield Event(content.encode(errors="replace"), {"event_type": "report"})
    return None


main = report.main
