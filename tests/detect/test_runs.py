"""The driver counts the present run alone, for every detector."""

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.runs import MAX_RESTART_GAP_S, RunTracker
from tests.helpers.detecting import raised
from tests.helpers.support import SESSION, START, Stream

DAY_S = 86_400.0


def mark(kind: str, at: float, **data: object) -> dict:
    return {"event_type": kind, "timestamp": at, "session_id": SESSION, "data": data}


def failures(times: int, at: float = START, first: int = 0) -> Stream:
    stream = Stream(at=at)
    stream.number = first
    return stream.spiral(times)


def attached(*, began: float, late: bool = False) -> list[dict]:
    """Four failures of a week ago, read as history; the process began at `began`."""
    old = failures(4)
    process = mark("process", began, began=began)
    return [
        mark("history_start", old.events[0]["timestamp"]),
        *([] if late else [process]),
        *old.events,
        *([process] if late else []),
        mark("history_end", began + 1),
    ]


def test_failures_before_the_process_started_do_not_count():
    began = START + 7 * DAY_S
    new = failures(4, began + 2, first=100)
    assert not raised(detect_retry, [*attached(began=began), *new.events])
    assert len(raised(detect_retry, [*attached(began=began), *failures(5, began, 100).events])) == 1


def test_without_a_process_or_a_mark_the_session_is_one_run():
    later = failures(1, START + 7 * DAY_S, first=100)
    assert len(raised(detect_retry, [*failures(4).events, *later.events])) == 1


@pytest.mark.parametrize("data", [{"resumed": True}, {"source": "resume"}])
def test_a_mark_of_resumption_begins_a_run(data):
    later = failures(4, START + DAY_S, first=100)
    resumed = mark("session_start", START + DAY_S, **data)
    assert not raised(detect_retry, [*failures(4).events, resumed, *later.events])


@pytest.mark.parametrize("gap, runs", [(MAX_RESTART_GAP_S - 5, 1), (MAX_RESTART_GAP_S + 5, 2)])
def test_a_headless_session_that_is_taken_up_at_once_continues_its_run(gap, runs):
    start = mark("session_start", START, interactive=False)
    old = failures(4)
    began = old.time + gap
    process = mark("process", began, began=began)
    later = failures(1, began, first=100)
    found = raised(detect_retry, [start, *old.events, process, *later.events])
    assert len(found) == (1 if runs == 1 else 0)


def test_a_process_that_is_found_late_drops_what_was_before_it():
    began = START + 7 * DAY_S
    events = [*failures(4).events, *failures(1, began + 5, 100).events]
    process = mark("process", began + 30, began=began)
    later = failures(1, began + 40, 200)
    # The fifth failure is raised before the process is known; what follows counts anew.
    assert len(raised(detect_retry, [*events, process, *later.events])) == 1
    fewer = [*failures(3).events, *failures(1, began + 5, 100).events]
    assert not raised(detect_retry, [*fewer, process, *later.events])


def test_a_process_that_is_found_late_in_its_only_run_drops_nothing():
    events = failures(4)
    process = mark("process", events.time, began=START)
    later = failures(1, events.time + 5, 100)
    assert len(raised(detect_retry, [*events.events, process, *later.events])) == 1


def test_the_same_process_again_begins_no_run():
    began = START - 10
    process = mark("process", START, began=began)
    events = failures(4)
    later = failures(1, events.time + 5, 100)
    found = raised(detect_retry, [process, *events.events, process, *later.events])
    assert len(found) == 1


def test_history_that_is_read_again_counts_once_and_is_raised_once():
    events = failures(4)
    again = [mark("history_start", START), *events.events, mark("history_end", events.time)]
    one = failures(1, events.time, 100)
    assert not raised(detect_retry, [*again, *again])
    [found] = raised(detect_retry, [*again, *again, *one.events])
    assert found["count"] == 5


def test_a_new_run_raises_again():
    began = START + DAY_S
    process = mark("process", began, began=began)
    events = [*failures(5).events, process, *failures(5, began, 100).events]
    assert len(raised(detect_retry, events)) == 2


def test_the_tracker_counts_the_runs():
    tracker = RunTracker()
    for event in attached(began=START + DAY_S):
        tracker.begins(from_fields(event))
    assert tracker.divided == 1 and tracker.began == START + DAY_S
    tracker.restart()
    for event in attached(began=START + DAY_S):
        tracker.begins(from_fields(event))
    assert tracker.divided == 2
