"""Troubles and healthy work of many tools and agents get the verdict that their user would want."""

import pytest

from agent_pipes.agents import registry
from agent_pipes.core.event import from_fields
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.shell.summaries import tool_of, verdict
from tests import judged
from tests.helpers import native

WATCHERS = ("retry", "loop", "spawn", "stall")


def events(case: judged.Case) -> list[dict]:
    """Return the case's session as its agent's translator reads it."""
    lines = [*native.session(case.agent, case.steps)]
    if case.agent == "opencode":
        return lines
    agent = registry.agent(case.agent.removesuffix("-code"))
    translator = agent.translator(max_result=4096, recorded=True)
    read = [event for line in lines for event in translator.translate(line, 0.0, "x.jsonl")]
    return [*read, *translator.end()]


def raised(case: judged.Case) -> list[tuple[int, str, str]]:
    """Return call, level and message of each violation at the defaults."""
    specs = [DETECTORS[name].configured({}) for name in WATCHERS]
    calls, found = 0, []
    for event in DetectorRunner(map(from_fields, events(case)), specs):
        if event.type == "tool_call" and not event.data.get("wrapper"):
            calls += 1
        elif event.type == "violation":
            found.append((calls, event.text("level"), event.text("message")))
    return found


@pytest.mark.parametrize("case", judged.cases(), ids=lambda case: f"{case.name}-{case.agent}")
def test_each_case_gets_the_verdict_that_its_user_wants(case):
    found = raised(case)
    if case.by:
        levels = ("critical",) if case.level == "critical" else ("critical", "warning")
        assert [each for each in found if each[0] <= case.by and each[1] in levels], found
    else:
        assert not [each for each in found if each[1] == "critical"]


@pytest.mark.parametrize("row", judged.rows("tools"), ids=lambda row: row["tool"])
def test_the_summary_of_each_tool_is_read(row):
    tool = tool_of(row["command"])
    assert tool.name and tool.is_hidden
    assert verdict(tool, row["failing"].replace("{n}", "3")) == "failed"
    if "passing" in row:
        assert verdict(tool, row["passing"].replace("{n}", "3")) == "passed"
