"""Budgets over sessions: trace-detect-cost --per, in event time and within bounded memory."""

import random
import time

import pytest

from agent_pipes.core.event import from_fields
from agent_pipes.detect import budget
from agent_pipes.detect.budget import BUCKETS, Budget
from agent_pipes.detect.cost import detect_cost
from tests.commands.test_cost import costed, response
from tests.helpers.support import START, Stream, events_of, run

HOUR = 3600.0


class Fleet:
    """Builds one stream of several sessions, in the order of their arrival."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self.number = 0

    def start(self, session: str, **data: object) -> "Fleet":
        stream = Stream(session)
        stream.add("session_start", {"agent": "claude", **data}, id=f"{session}-start")
        self.events += stream.events
        return self

    def spend(self, session: str, usd: float, at: float, **fields: object) -> "Fleet":
        """One response of `usd` dollars, `at` hours after the start."""
        self.number += 1
        stream = Stream(session, START + at * HOUR)
        response(stream, id=f"{session}-{self.number}", input=round(usd * 200_000), after=0.0)
        self.events += [each | fields for each in stream.events]
        return self

    def mark(self, session: str, kind: str, at: float) -> "Fleet":
        stream = Stream(session, START + at * HOUR)
        stream.add(kind, after=0.0)
        self.events += stream.events
        return self

    def raised(self, **options: object) -> list[tuple[str, str]]:
        """(session, message) of each violation."""
        return [(each.session, each.text("message")) for each in self.violations(**options)]

    def violations(self, **options: object) -> list:
        options = {"per": "all", "max": 5, **options}
        events = [from_fields(each) for each in self.events]
        found = detect_cost.generator(events, **options)
        return [each for each in found if each.type == "violation"]


def sessions(found) -> list[str]:
    return [session for session, _ in found]


def test_who_spends_next_is_stopped_until_the_window_has_slid_below():
    fleet = Fleet().spend("a", 3, 0).spend("b", 1.5, 1).spend("b", 1, 2)
    fleet.spend("c", 0.5, 3).spend("c", 0.5, 4).spend("a", 1, 5)
    # A day after the first three dollars the window holds 3.50.
    fleet.spend("d", 0.5, 25).spend("e", 3, 25.5).spend("d", 1, 25.6)
    assert sessions(fleet.raised()) == ["b", "c", "a", "e", "d"]
    assert fleet.raised()[0][1] == "$5.50 by all sessions within 1d (threshold: $5.00)"


def test_a_session_that_is_silent_lives():
    fleet = Fleet().spend("healthy", 1, 0).spend("dear", 4.5, 1)
    assert sessions(fleet.raised()) == ["dear"]


def test_the_largest_spenders_are_named():
    fleet = Fleet()
    for number in range(20):
        fleet.spend(f"s{number:02}", 0.1 + number / 10, number / 10)
    (found,) = fleet.violations(max=20.8)
    assert found.data["evidence"] == [f"s{number:02}" for number in range(19, 9, -1)]
    assert found.data["value"] == pytest.approx(21.0) and found.data["limit"] == 20.8
    assert (found.data["per"], found.data["group"]) == ("all", "")


def test_who_spent_before_the_window_is_not_named():
    fleet = Fleet().spend("old", 4, 0).spend("a", 3, 30).spend("b", 2.5, 31)
    assert [each.data["evidence"] for each in fleet.violations()] == [["a", "b"]]


@pytest.mark.parametrize(
    ("per", "group", "whose"),
    [
        ("session", "b", "by this session"),
        ("cwd", "/srv/x", "in /srv/x"),
        ("user", "ann", "by user ann"),
        ("host", "ha", "by host ha"),
        ("all", "", "by all sessions"),
    ],
)
def test_each_kind_of_group_has_its_own_sum(per, group, whose):
    fleet = Fleet().start("a", cwd="/srv/y").start("b", cwd="/srv/x")
    fleet.spend("a", 3, 0, user="bob", host="hb")
    fleet.spend("b", 2.9, 0, user="ann", host="ha").spend("b", 0.05, 1, user="ann", host="ha")
    limit = 5.9 if per == "all" else 2.9
    found = fleet.violations(per=per, max=limit)[-1]
    assert (found.session, found.data["group"]) == ("b", group)
    assert whose in found.data["message"]


def test_a_session_adds_up_its_runs_and_a_run_does_not():
    fleet = Fleet().start("a").spend("a", 3, 0)
    fleet.start("a", resumed=True)
    fleet.events[-1] |= {"timestamp": START + HOUR, "event_id": "again"}
    fleet.spend("a", 3, 2)
    assert fleet.raised(per="run") == []
    assert sessions(fleet.raised(per="session")) == ["a"]


def test_each_response_counts_once_however_often_its_session_is_read():
    fleet = Fleet().mark("a", "history_start", 0).spend("a", 3, 0)
    again = list(fleet.events)
    fleet.mark("a", "history_end", 1)
    fleet.events += again
    assert fleet.mark("a", "history_end", 1.5).raised() == []
    assert sessions(fleet.spend("a", 2.5, 2).raised()) == ["a"]


@pytest.mark.parametrize("upstream", [False, True])
def test_a_broker_that_delivers_twice_and_out_of_order_adds_nothing(upstream):
    fleet = Fleet()
    for number in range(9):
        fleet.spend("a", 0.5, number / 10)
    fleet.events.insert(5, fleet.events[4])
    fleet.events += fleet.events[2:6]
    if upstream:
        # Costs that trace-cost has added on the host are delivered as they were written.
        written = Stream()
        written.events = fleet.events[:5] + fleet.events[6:10]
        ready = {each.id: each for each in costed(written)}
        events = [ready[each["event_id"]] for each in fleet.events]
        found = [
            each.data["value"]
            for each in detect_cost.generator(events, per="all", max=4.4)
            if each.type == "violation"
        ]
        assert found == [4.5]
    else:
        assert fleet.raised(max=4.5) == [] and len(fleet.raised(max=4.4)) == 1


def test_a_later_line_of_a_response_adds_only_what_is_more():
    fleet = Fleet()
    stream = Stream("a")
    for tokens in (200_000, 600_000, 600_000):
        response(stream, id="same", input=tokens)
    fleet.events = stream.events
    assert fleet.raised(max=3) == [] and len(fleet.raised(max=2.9)) == 1


def test_a_late_response_counts_in_its_own_bucket():
    fleet = Fleet().spend("a", 3, 23).spend("b", 2.5, 1)
    assert sessions(fleet.raised()) == ["b"]
    # What came late leaves the window early.
    fleet = Fleet().spend("a", 3, 23).spend("b", 2, 1).spend("a", 1, 25.5)
    assert fleet.raised() == []


def test_what_is_too_late_for_the_window_is_reported_once():
    fleet = Fleet().spend("a", 3, 48).spend("b", 30, 1).spend("b", 30, 2).spend("c", 30, 2)
    (found,) = fleet.violations()
    assert (found.session, found.data["level"]) == ("b", "warning")
    assert "older than the window" in found.data["message"]


def test_history_that_is_older_than_the_window_is_not_late():
    fleet = Fleet().spend("a", 3, 48).mark("b", "history_start", 0).spend("b", 30, 1)
    assert fleet.mark("b", "history_end", 48).raised() == []


def test_a_limit_that_was_passed_in_history_is_raised_where_it_ends_if_it_still_holds():
    fleet = Fleet().mark("a", "history_start", 0).spend("a", 6, 0).mark("a", "history_end", 1)
    assert sessions(fleet.raised()) == ["a"]
    fleet = Fleet().mark("a", "history_start", 0).spend("a", 6, 0).spend("b", 1, 30)
    assert fleet.mark("a", "history_end", 31).raised() == []


def test_a_wrong_clock_does_not_end_the_window_of_the_others():
    fleet = Fleet().spend("a", 3, 0).spend("wrong", 1, 24 * 365).spend("b", 1.5, 0.1)
    events = [from_fields(each) for each in fleet.events]
    for event in events:
        event.arrival = START + 0.2 * HOUR
    found = [each for each in detect_cost.generator(events, per="all", max=5)]
    assert [each.session for each in found if each.type == "violation"] == ["b"]
    # A replay that does not know when the events arrived reports what it leaves out.
    assert [each.data["level"] for each in fleet.violations()] == ["warning"]


def test_a_stream_tells_when_its_events_arrived():
    ago = (time.time() - START) / HOUR
    fleet = Fleet().spend("a", 3, ago - 0.1).spend("wrong", 1, ago + 24 * 365)
    fleet.spend("b", 1.5, ago)
    data = b"".join(from_fields(each).raw for each in fleet.events)
    done = run("trace-detect-cost", "--per", "all", "--max", "5", input=data)
    assert [each["session_id"] for each in events_of(done.stdout, "violation")] == ["b"]


def test_the_window_slides_by_a_hundred_and_forty_fourth():
    total = Budget("all", 24 * HOUR, 0)
    group = None
    for number in range(1000):
        (event,) = [from_fields(e) for e in Fleet().spend(f"s{number}", 1, number / 6).events]
        group = total.group(event, "")
        total.count(group, event, 7)
        assert len(group.buckets) <= BUCKETS
    assert group is not None and group.total == 7 * BUCKETS


@pytest.mark.parametrize("window_h", [1, 24])
def test_the_sum_is_that_of_the_events_within_the_window(window_h):
    rng = random.Random(3)
    total = Budget("all", window_h * HOUR, 0)
    width = window_h * HOUR / BUCKETS
    counted: list[tuple[int, int]] = []
    for number in range(2000):
        at = number / 50 - rng.choice([0, 0, 0, rng.random() * 30])
        (event,) = [from_fields(e) for e in Fleet().spend(f"s{number}", 1, at).events]
        group = total.group(event, "")
        counted.append((int(event.time // width), rng.randrange(1, 9)))
        total.count(group, event, counted[-1][1])
        within = sum(each for bucket, each in counted if bucket >= total.first)
        assert group.total == within


def test_window_off_adds_up_all_that_was_seen():
    fleet = Fleet().spend("a", 3, 0).spend("b", 2.5, 24 * 200)
    assert sessions(fleet.raised(window=0)) == ["b"] and fleet.raised() == []


def test_a_warning_comes_once_for_the_group():
    fleet = Fleet().spend("a", 3.9, 0).spend("b", 0.2, 1).spend("c", 0.2, 2).spend("b", 0.2, 3)
    found = fleet.violations(warn=80)
    assert [(each.session, each.data["level"]) for each in found] == [("b", "warning")]
    assert found[0].data["message"] == "$4.10 by all sessions within 1d, 82% of the $5.00 limit"


def test_groups_are_bounded(monkeypatch, capfd):
    monkeypatch.setattr(budget, "MAX_GROUPS", 100)
    total = Budget("session", 24 * HOUR, 0)
    for number in range(1000):
        (event,) = [from_fields(e) for e in Fleet().spend(f"s{number}", 1, 0).events]
        total.count(total.group(event, ""), event, 7)
    assert len(total._groups) <= 100
    assert capfd.readouterr().err.count("groups: the cost of the oldest") == 1


def test_events_without_a_user_share_one_budget_which_is_reported():
    data = b"".join(
        from_fields(each).raw for each in Fleet().spend("a", 3, 0).spend("b", 3, 1).events
    )
    done = run("trace-detect-cost", "--per", "user", "--max", "5", input=data)
    assert [each["session_id"] for each in events_of(done.stdout, "violation")] == ["b"]
    assert done.stderr.count(b"events name no user") == 1


@pytest.mark.parametrize(
    "options", [["--per", "all", "--rate", "20/h"], ["--window", "1h"], ["--per", "team"]]
)
def test_options_that_contradict_are_refused(options):
    done = run("trace-detect-cost", *options)
    assert done.returncode == 2 and b"--per" in done.stderr


def test_a_new_run_does_not_spend_what_was_spent():
    fleet = Fleet().start("a").spend("a", 3, 0)
    process = Stream("a", START + HOUR)
    process.add("process", {"pid": 7, "began": START + HOUR}, after=0.0)
    fleet.events += process.events
    fleet.spend("a", 1, 1.5).spend("b", 0.5, 2)
    assert fleet.raised(max=4.5) == [] and sessions(fleet.raised(max=4.4)) == ["b"]
