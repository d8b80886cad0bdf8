"""trace-report and agent-strace report: one session as an HTML page, or as text."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from agent_pipes.core.display import fit, is_ascii_locale, terminal_size, to_ascii
from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn

if TYPE_CHECKING:
    from agent_pipes.commands.report_page.verdict import Breaker

MAX_SESSIONS = 1000
"""Sessions of one stream that are distinguished; events of further ones are ignored."""

TEXT_WIDTH, MAX_WIDTH = 100, 140
"""Columns of the summary: into a file or a pipe, and at most on a terminal."""


@filter_command("trace-report")
@click.argument("session", required=False)
@click.option("--text", is_flag=True, help="Print a summary instead of the page.")
def report(
    events: Iterable[Event],
    session: str | None = None,
    text: bool = False,
    breaker: "Breaker | None" = None,
    judge: Callable[[list[Event]], Mapping[str, Sequence[float]]] | None = None,
) -> Events:
    """Print one session as a self-contained HTML page; on a terminal, a summary.

    Costs come from an upstream trace-cost, violations from upstream detectors. Of several
    sessions the first is shown, or the one whose id begins with SESSION.
    """
    # judge returns the thresholds that the events of a session pass, for the nearest limit.
    from agent_pipes.commands.report_page.page import page
    from agent_pipes.commands.report_page.story_builder import StoryBuilder
    from agent_pipes.commands.report_page.summary import summary
    from agent_pipes.commands.report_page.verdict import UNKNOWN_BREAKER

    builders: dict[str, StoryBuilder] = {}
    seen: dict[str, list[Event]] = {}
    for event in events:
        name = event.session
        if not event.type or (name not in builders and len(builders) >= MAX_SESSIONS):
            continue
        if name not in builders:
            builders[name] = StoryBuilder(name)
        builders[name].add(event)
        if judge:
            seen.setdefault(name, []).append(event)
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
        warn(f"showing session {found[0]}; there are {others} more; name one to show it")
    story = builders[found[0]].story()
    breaker = breaker or UNKNOWN_BREAKER
    if judge and not story.trip:
        breaker = replace(breaker, passed=judge(seen[found[0]]))
    if text or os.isatty(1):
        width = min(terminal_size(1)[0], MAX_WIDTH) if os.isatty(1) else TEXT_WIDTH
        content = summary(story, breaker, width)
        if os.isatty(1) and is_ascii_locale():
            lines = (fit(to_ascii(line), width - 1, "...") for line in content.splitlines())
            content = "".join(f"{line}\n" for line in lines)
    else:
        content = page(story, breaker)
    yield Event(content.encode(errors="replace"), {"event_type": "report"})
    return None


main = report.main
