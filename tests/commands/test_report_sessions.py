"""The page of every recorded session: it renders, and agrees with backtest and with the bill."""

from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from agent_pipes.commands.cost import cost
from agent_pipes.commands.report_page.page import page
from agent_pipes.commands.report_page.story import Story
from agent_pipes.commands.report_page.story_builder import StoryBuilder
from agent_pipes.commands.report_page.summary import summary
from agent_pipes.commands.report_page.verdict import Breaker
from agent_pipes.core.stream import Waiter
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.report import Report
from agent_pipes.detect.backtest import Judgement, judge_events
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.sessions.discovery import named
from agent_pipes.sessions.session_reader import read_session
from tests.helpers.support import SHARED, shared_files

FILES = [
    path
    for path in shared_files("sessions/**/*.json*", "cases/reports/*.jsonl")
    if not any(mark in str(path) for mark in (".stream.", "subagents", "payloads", "meta.json"))
]
UNLIMITED = {watcher: {} for watcher in DETECTORS if watcher not in ("scope", "context", "quota")}

pytestmark = pytest.mark.skipif(not FILES, reason=f"no recorded sessions in {SHARED}")


class Balance(HTMLParser):
    """Counts the sections, rows and bodies that are opened and closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open[tag] = self.open.get(tag, 0) + 1

    def handle_endtag(self, tag):
        self.open[tag] = self.open.get(tag, 0) - 1


def story_of(path: Path) -> tuple[Story, Judgement]:
    try:
        session = named(str(path))
    except click.ClickException:
        pytest.skip("no session that can be read")
    events = list(cost.stage(Waiter())(read_session(session)))
    builders: dict[str, StoryBuilder] = {}
    specs = [DETECTORS[watcher].configured({}) for watcher in UNLIMITED]
    for event in DetectorRunner(events, specs):
        if event.type:
            builders.setdefault(event.session, StoryBuilder(event.session)).add(event)
    judged = judge_events(session, read_session(session), UNLIMITED)
    if not builders:
        pytest.skip("the session is empty")
    return next(iter(builders.values())).story(), judged


def summed(path: Path, session: str) -> float:
    """The dollars of a session in `trace-cost --summary`."""
    meter = Meter(detailed=True)
    report = Report(meter)
    for event in with_costs(read_session(named(str(path))), meter, raw=False):
        # Ends an account as trace-cost does.
        report.see(event)
    sums = {event.session: event.data["usd"] for event in report.events("session")}
    return sums.get(session, 0.0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_page_agrees_with_backtest_and_with_the_bill(path):
    story, judged = story_of(path)
    html = page(story, Breaker(watched=tuple(UNLIMITED), limits={"cost": 10.0}))
    left_open = Balance(html).open
    assert [left_open.get(tag, 0) for tag in ("main", "section", "table", "svg", "div", "a")] == [
        0
    ] * 6
    raised = [
        (each["watcher"], each["level"], each["message"])
        for each in judged.violations
        if each["session"] == story.session
    ]
    shown = [(mark.watcher, mark.level, mark.message) for mark in story.marks]
    assert sorted(shown) == sorted(raised)
    assert ("Tripped" in html) == any(level == "critical" for _, level, _ in raised)
    assert story.usd == pytest.approx(summed(path, story.session))
    assert story.usd_of_calls <= story.usd + 1e-9 or story.estimated
    assert len(html.encode()) < 60_000 + 1_700 * max(1, len(story.calls))
    assert len(summary(story).splitlines()) <= 40
