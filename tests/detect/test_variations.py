"""Two variations of every recorded case get the verdict that its user wanted."""

import pytest

from agent_pipes.core.event import Event, from_fields
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.runner import DetectorRunner
from tests import variations
from tests.helpers.support import SHARED

FOLDER = SHARED / "cases" / "reports"
SAME_TROUBLE = {"loop", "retry", "stall", "spawn"}

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the recorded cases are not here")

CASES = variations.cases_of(FOLDER) if FOLDER.exists() else []


def raised(events: variations.Events) -> list[tuple[int, Event]]:
    """Return each violation at the defaults, and how many calls of the case came before it."""
    specs = [
        part.configured({})
        for name, part in DETECTORS.items()
        if name != "scope" and not part.on_request
    ]
    calls, found = 0, []
    for event in DetectorRunner(map(from_fields, events), specs):
        if event.type == "tool_call" and not event.id.startswith(variations.INSERTED):
            calls += 1
        elif event.type == "violation":
            found.append((calls, event))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_variations_get_the_verdict_of_their_case(case):
    events = variations.events_of(FOLDER / case["file"])
    assert events
    for kind, varied in variations.variations_of(case["file"], events):
        found = raised(varied)
        stops = [event for _, event in found if event.text("level") != "warning"]
        if not case["expect"]:
            assert not stops, (kind, stops[0].text("message"))
        for wanted in case["expect"]:
            timed = wanted["watcher"] in ("cost", "duration")
            named = {wanted["watcher"]} if timed else SAME_TROUBLE
            by_call = [at for at, event in found if event.text("watcher") in named]
            assert by_call and by_call[0] <= wanted["by_call"], (kind, by_call[:1], wanted)
