"""trace-detect-cost: limits in dollars and dollars per hour, the warning before, unknown costs."""

import json

import pytest

from agent_pipes.core.event import Event, from_fields, tick
from agent_pipes.detect.cost import detect_cost
from tests.commands.test_cost import costed, response, talk
from tests.helpers.support import FIXTURES, SESSION, START, Stream, events_of, run, violations

MILLION = 1_000_000


def detected(events, **options) -> list[dict]:
    """The violations over events, a stream of them or ready ones."""
    ready = [from_fields(each) for each in events.events] if isinstance(events, Stream) else events
    return [
        event.data for event in detect_cost.generator(ready, **options) if event.type == "violation"
    ]


def spend(*dollars: float, after: float = 1.0, **more) -> Stream:
    """Responses at these prices, one behind the other."""
    stream = Stream()
    for number, usd in enumerate(dollars):
        response(stream, id=f"r{number}", input=round(usd * 200_000), after=after, **more)
    return stream


def test_cost_threshold():
    (found,) = detected(spend(3, 2, 0.12, 1), max=5)
    assert found["message"] == "$5.12 (threshold: $5.00)"
    assert (
        found["watcher"],
        found["level"],
        found["value"],
        found["limit"],
        found["estimated"],
    ) == ("cost", "critical", 5.12, 5.0, False)
    assert found["evidence"] == ["3f6e0001", "3f6e0002", "3f6e0003"]


def test_a_limit_that_is_reached_is_not_passed():
    assert detected(spend(3, 2), max=5) == []
    assert [each["message"][:6] for each in detected(spend(3, 2, 0.000005), max=5)] == ["$5.000"]


def test_the_default_is_ten_dollars():
    assert detected(spend(10)) == [] and len(detected(spend(10, 0.01))) == 1
    assert detect_cost.stage(None)([]) is not None


def test_no_limit_no_violation():
    assert detected(spend(500), max=0) == []
    assert violations(run("trace-detect-cost", "--max", "off", input=spend(500).bytes).stdout) == []


def test_a_response_counts_once_however_often_it_is_repeated():
    stream = Stream()
    for _ in range(50):
        response(stream, id="same", input=200_000)
    assert detected(stream, max=5) == []


def test_each_session_has_its_own_limit():
    streams = [spend(3), spend(3)]
    streams[1].events = [
        event | {"session_id": "other", "data": event["data"] | {"response_id": "x"}}
        for event in streams[1].events
    ]
    events = [from_fields(each) for stream in streams for each in stream.events]
    assert detected(events, max=5) == []


def test_the_cost_that_trace_cost_wrote_is_believed():
    told = costed(spend(3, 3), unpriced_as=None)
    for event in told:
        event.data["cost"]["session_usd"] *= 2
        event.data["cost"]["response_usd"] *= 2
    (found,) = detected(told, max=10)
    assert found["value"] == 12


def test_the_pipeline_and_the_command_alone_see_the_same():
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    alone = violations(run("trace-detect-cost", "--max", "0.1", input=data).stdout)
    piped = violations(
        run("trace-detect-cost", "--max", "0.1", input=run("trace-cost", input=data).stdout).stdout
    )
    assert len(alone) == 1 and alone == piped


def test_options_on_how_costs_are_told_go_over_what_was_told(tmp_path):
    told = costed(spend(3))
    (tmp_path / "own.json").write_text(
        '{"models": {"claude-opus-4-8": {"input": 50, "output": 50}}}'
    )
    assert [each["value"] for each in detected(told, prices=str(tmp_path / "own.json"))] == [30]


@pytest.mark.parametrize(
    "cost",
    [
        None,
        7,
        {},
        {"session_usd": None},
        {"session_usd": "9"},
        {"session_usd": -1},
        {"session_usd": True},
        {"session_usd": 1e99},
        [],
    ],
)
def test_a_cost_that_makes_no_sense_is_not_believed(cost):
    stream = spend(6)
    stream.events[0]["data"]["cost"] = cost
    assert [each["value"] for each in detected(stream, max=5)] == [6]


def test_an_estimate_says_so():
    (found,) = detected(spend(3, 3, estimated=True), max=5)
    assert found["message"] == "$6.00 (threshold: $5.00), estimated" and found["estimated"] is True


def test_without_recorded_usage_the_limit_holds_for_the_estimate():
    (found,) = detected(talk(12), max=0.4)
    assert "estimated" in found["message"] and 0.4 < found["value"] < 0.5


def test_the_estimate_in_the_pipeline_and_alone_is_the_same():
    events = [from_fields(json.loads(event.raw)) for event in costed(talk(12))]
    alone, piped = detected(talk(12), max=0.4), detected(events, max=0.4)
    assert (alone[0]["value"], alone[0]["message"]) == (piped[0]["value"], piped[0]["message"])


def test_explicit_usage_of_an_imported_session_is_seen():
    stream = Stream()
    stream.add(
        "assistant_response",
        {
            "model": "claude-opus-4-6",
            "text": "done",
            "usage": {"input_tokens": 180_000, "output_tokens": 9000},
        },
    )
    stream.add("llm_request", {"model": "claude-opus-4-6", "input_tokens": 180_000})
    assert [each["value"] for each in detected(stream, max=1)] == [1.125]
    assert [each["value"] for each in detected(stream, max=1.5)] == [2.025]


def test_money_is_seen_to_the_last_thousandth():
    assert [each["message"][:32] for each in detected(spend(0.0012), max=0.001)] == [
        "$0.0012 (threshold: $0.001)"
    ]


# Dollars an hour


def test_dollars_an_hour_over_ten_minutes():
    # $20 an hour are $3.33 in ten minutes.
    assert detected(spend(1, 1, 1), max=0, rate=20) == []
    (found,) = detected(spend(1, 1, 1, 0.5), max=0, rate=20)
    assert found["message"] == "$21.00 an hour over the last 10 minutes (threshold: $20.00/h)"
    assert (found["value"], found["limit"]) == (21, 20)


def test_what_was_spent_longer_ago_does_not_count():
    assert detected(spend(*[1] * 100, after=200), max=0, rate=20) == []
    assert len(detected(spend(*[1] * 100, after=190), max=0, rate=20)) == 1


def test_a_correction_is_no_spending():
    stream = spend(3)
    for _ in range(20):
        response(stream, id="r0", input=600_000)
    assert detected(stream, max=0, rate=20) == []


def test_timestamps_that_step_back_do_no_harm():
    stream = spend(1, 1, 1, 1, after=190)
    stream.events[2]["timestamp"] -= 272
    assert len(detected(stream, max=0, rate=20)) == 1


# A warning before


def test_a_warning_before_the_limit():
    found = detected(spend(3, 1, 0.5, 0.6), max=5, warn=80)
    assert [(each["level"], each["value"]) for each in found] == [("warning", 4), ("critical", 5.1)]
    assert found[0]["message"] == "$4.00, 80% of the $5.00 limit"


def test_no_warning_once_the_limit_is_passed():
    assert [each["level"] for each in detected(spend(6), max=5, warn=80)] == ["critical"]


def test_a_warning_is_no_violation_to_the_exit_status():
    assert run("trace-detect-cost --max 5 --warn 80% -e", input=spend(4.5).bytes).returncode == 0
    assert run("trace-detect-cost --max 5 --warn 80% -e", input=spend(5.5).bytes).returncode == 1


# What cannot be seen


def test_an_unpriced_session_is_told_of_at_its_start():
    stream = response(response(Stream(), "foo-9", id="a"), "foo-9", id="b")
    for events in (stream, costed(stream)):
        (found,) = detected(events)
        assert found["level"] == "warning" and found["evidence"] == ["3f6e0001"]
        assert (
            found["message"]
            == "no price for 'foo-9': it counts as $0, so --max-cost will not stop it; give its "
            "price with --prices, or a stand-in with --unpriced-as"
        )
    (found,) = detected(response(Stream(), None, id="a"))
    assert "the responses name no model" in found["message"]


def test_a_new_model_of_a_known_maker_is_counted_at_an_assumed_price():
    stream = response(response(Stream(), "gpt-6.2-sol", id="a"), "gpt-6.2-sol", id="b")
    for events in (stream, costed(stream)):
        warning, critical = detected(events, max=5)
        assert warning["level"] == "warning" and warning["evidence"] == ["3f6e0001"]
        assert "counted at the price of gpt-6-sol (assumed)" in warning["message"]
        assert critical["level"] == "critical" and critical["assumed"] is True
        assert critical["value"] == 8.0 and "$8.00 of it at assumed prices" in critical["message"]


def test_an_assumed_price_is_never_in_the_bill():
    stream = response(Stream(), "gpt-6.2-sol", id="a")
    assert [event.data["cost"]["session_usd"] for event in costed(stream)] == [0]


def test_a_response_at_an_assumed_price_counts_once():
    stream = Stream()
    for _ in range(50):
        response(stream, "gpt-6.2-sol", id="same", input=100_000)
    assert [each["level"] for each in detected(stream, max=1)] == ["warning"]


def test_no_price_is_assumed_with_unpriced_as_off():
    stream = response(response(Stream(), "gpt-6.2-sol", id="a"), "gpt-6.2-sol", id="b")
    (found,) = detected(stream, max=5, unpriced_as="off")
    assert found["level"] == "warning" and "it counts as $0" in found["message"]


def test_the_hint_says_how_to_raise_the_limit_and_the_message_does_not():
    (found,) = detected(spend(11))
    assert found["hint"] == "raise the limit with --max" and "--max" not in found["message"]


def test_a_detector_that_starts_late_counts_from_there_on():
    events = costed(spend(3, 3, 3))
    assert detected(events[1:], max=5)[0]["value"] == 6


def test_a_stand_in_lets_it_see():
    (found,) = detected(response(Stream(), "foo-9", id="a"), max=4, unpriced_as="claude-opus-4-8")
    assert found["level"] == "critical" and found["estimated"] is True


def test_a_session_that_names_no_model_and_records_no_usage_is_told_of():
    found = detected(talk(5, model=None))
    assert [each["level"] for each in found] == ["warning"] and "--model" in found[0]["message"]
    assert detected(talk(5, model=None), model="gpt-5.5") == []


def test_a_session_without_usage_is_told_of_where_nothing_may_be_estimated():
    (found,) = detected(talk(5), recorded=True)
    assert found["level"] == "warning" and "--recorded forbids estimates" in found["message"]
    assert detected(response(talk(2), id="a").bash("ls").bash("ls").bash("ls"), recorded=True) == []


# History, silence, the end


def history(stream: Stream, live: int) -> list[Event]:
    """The stream's events, of which the last `live` come after the history."""
    marks = [
        {"event_type": kind, "timestamp": START, "session_id": SESSION, "data": {}}
        for kind in ("history_start", "history_end")
    ]
    events = stream.events
    return [
        from_fields(each)
        for each in (
            marks[0],
            *events[: len(events) - live],
            marks[1],
            *events[len(events) - live :],
        )
    ]


def test_a_limit_passed_before_we_came_is_raised_when_the_history_ends():
    events = history(spend(6, 1), live=1)
    kinds = [event.type for event in detect_cost.generator(events, max=5)]
    assert kinds == ["history_start", "llm_response", "history_end", "violation", "llm_response"]


def test_dollars_spent_an_hour_ago_are_no_spree_when_the_history_ends():
    stream = spend(6)
    stream.add("user_prompt", {"prompt": "go on"}, after=3600)
    assert detected(history(stream, live=0), max=0, rate=20) == []
    assert len(detected(history(spend(6), live=0), max=0, rate=20)) == 1


def test_ticks_raise_nothing():
    events = [from_fields(each) for each in spend(6).events]
    assert len(detected([*events, tick(START + 100), tick(START + 1000)], max=5, rate=20)) == 2


def test_a_session_that_begins_again_after_its_end_has_its_limit_again():
    stream = spend(6)
    stream.add("session_end")
    response(stream, id="x", input=200_000)
    assert len(detected(stream, max=5)) == 1


def test_the_sinks_it_is_bound_to():
    (found,) = violations(
        run("trace-detect-cost --max 5 --alert file --alert kill", input=spend(6).bytes).stdout
    )
    assert found["actions"] == ["file", "kill"]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--max", "five", b"expected dollars"),
        ("--max", "-1", b"expected dollars"),
        ("--max", "nan", b"expected dollars"),
        ("--rate", "20/y", b"20/h"),
        ("--rate", "fast", b"20/h"),
        ("--rate", "nan/h", b"20/h"),
        ("--warn", "100%", b"below 100"),
        ("--warn", "-5", b"below 100"),
        ("--warn", "most", b"below 100"),
        ("--prices", "nowhere.json", b"nowhere.json: No such file"),
        ("--unpriced-as", "foo-9", b"no price is known"),
        ("--alert", "shout", b"'shout' is not one of"),
    ],
)
def test_a_bad_option_stops_it_before_it_starts(option, value, told):
    done = run("trace-detect-cost", option, value, input=spend(6).bytes)
    assert done.returncode == 2 and done.stdout == b"" and told in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("written", "raised"),
    [
        ("20/h", 1),
        ("$20/h", 1),
        ("20", 1),
        ("0.3/m", 1),
        ("480/d", 1),
        ("30/h", 0),
        ("0.5/m", 0),
        ("off", 0),
        ("0", 0),
    ],
)
def test_a_rate_as_people_write_it(written, raised):
    assert (
        len(
            violations(
                run("trace-detect-cost --max off --rate", written, input=spend(4).bytes).stdout
            )
        )
        == raised
    )


@pytest.mark.parametrize(
    ("written", "raised"), [("80%", 1), ("80", 1), ("75.5%", 1), ("95%", 0), ("off", 0), ("0", 0)]
)
def test_a_percentage_as_people_write_it(written, raised):
    assert (
        len(
            violations(
                run("trace-detect-cost --max 5 --warn", written, input=spend(4.2).bytes).stdout
            )
        )
        == raised
    )


def test_events_pass_through_byte_for_byte():
    data = spend(6).bytes
    out = run("trace-detect-cost", "--max", "5", input=data).stdout
    assert (
        b"".join(line for line in out.splitlines(keepends=True) if b'"violation"' not in line)
        == data
    )
    assert len(events_of(out, "violation")) == 1


# The client's own bill


def test_the_clients_own_bill_replaces_an_assumed_price():
    stream = response(Stream(), "claude-newton-1", id="a")
    stream.add("reported_cost", {"usd": 3.5, "models": {"claude-newton-1[1m]": 3.0, "other": 1.0}})
    response(stream, id="b", input=200_000)
    for events in (stream, costed(stream)):
        found = detected(events, max=1)
        assert [each["level"] for each in found] == ["warning", "critical"]
        assert found[1]["value"] == 8.0 and found[1]["assumed"] is True
        (critical,) = [each for each in detected(events, max=3.5) if each["level"] == "critical"]
        assert critical["value"] == 8.0
    events = costed(stream)
    assert [event.data["cost"]["session_usd"] for event in events] == [0.0, 3.0, 4.0]
    (late,) = detected(events[1:], max=3.5)
    assert late["value"] == 4.0 and "assumed" not in late


def test_an_absurd_bill_of_the_clients_is_cut():
    stream = response(Stream(), "house-model", id="a")
    stream.add("reported_cost", {"usd": 1e300, "models": {"house-model": 1e300}})
    assert [event.data["cost"]["session_usd"] for event in costed(stream)] == [0.0, 1e9]


def test_the_clients_bill_of_a_model_with_a_price_changes_nothing():
    stream = response(Stream(), id="a")
    stream.add("reported_cost", {"usd": 99.0, "models": {"claude-opus-4-8": 99.0}})
    assert [event.data.get("cost", {}).get("session_usd") for event in costed(stream)] == [5, None]


@pytest.mark.parametrize(
    ("model", "reported", "usd"),
    [
        ("house-model", 2.5, 2.5),
        ("house-model", 0, 0),
        ("house-model", -1, 0),
        ("house-model", "2.5", 0),
        ("house-model", 1e300, 1e9),
        ("claude-opus-4-8", 99.0, 5),
    ],
)
def test_the_clients_cost_of_a_response_counts_where_no_price_is_known(model, reported, usd):
    data = {"model": model, "usage": {"input_tokens": 1_000_000}, "reported_usd": reported}
    stream = Stream()
    stream.add("llm_response", data)
    (event,) = costed(stream)
    assert event.data["cost"]["session_usd"] == usd
    assert event.data["cost"]["unpriced"] is (usd == 0)


# The run


def test_dollars_of_an_earlier_run_do_not_count():
    stream = spend(8)
    later = {"pid": 5, "started": 7, "began": stream.time + 3600, "how": "given"}
    stream.add("process", later, after=3600.0)
    response(stream, id="new", input=800_000)
    for events in (stream, costed(stream)):
        assert detected(events, max=10) == []
    response(stream, id="newer", input=2_000_000)
    for events in (stream, costed(stream)):
        (found,) = detected(events, max=10)
        assert found["value"] == 14.0


def test_a_session_that_is_read_again_counts_once():
    stream = Stream()
    stream.add("history_start", {})
    response(stream, id="a", input=1_200_000)
    stream.add("history_end", {})
    twice = stream.events + stream.events
    for events in ([from_fields(each) for each in twice], costed(twice)):
        assert detected(events, max=10) == []
        assert [each["value"] for each in detected(events, max=5)] == [6.0]
