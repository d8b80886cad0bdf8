"""trace-cost: the cost of each response, counted once, estimates, and the report."""

import json
from decimal import Decimal
from pathlib import Path

import click
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.commands.cost import cost
from agent_pipes.core.event import Event, from_fields
from agent_pipes.core.jsonl import objects
from agent_pipes.cost import meter
from agent_pipes.cost.meter import DEFAULT_MODEL, Meter
from agent_pipes.cost.options import GROUPINGS
from agent_pipes.cost.prices import DOLLAR
from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    SESSION,
    SHARED,
    START,
    Stream,
    command,
    events_of,
    run,
)
from tests.helpers.terminal import shown_on_terminal

MILLION = 1_000_000


def usage(input=0, output=0, read=0, written=0, hour=0, **more):
    names = {
        "input_tokens": input,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation_1h_input_tokens": hour,
    }
    return {name: count for name, count in (names | more).items() if count}


def response(
    stream: Stream, model="claude-opus-4-8", id="", input=MILLION, after=1.0, **more
) -> Stream:
    counts = {key: more.pop(key) for key in ("output", "read", "written", "hour") if key in more}
    stream.add(
        "llm_response",
        {"model": model, "response_id": id, "usage": usage(input, **counts), **more},
        after=after,
    )
    return stream


def costed(stream: Stream | list[dict], **options) -> list[Event]:
    fields = stream.events if isinstance(stream, Stream) else stream
    return list(cost.generator([from_fields(each) for each in fields], **options))


def costs(stream: Stream | list[dict], **options) -> list[dict]:
    return [event.data["cost"] for event in costed(stream, **options) if "cost" in event.data]


def total(stream: Stream | list[dict], **options) -> float:
    found = costs(stream, **options)
    return found[-1]["session_usd"] if found else 0.0


# What is recorded


def test_each_response_gets_its_cost_and_its_sessions_so_far():
    stream = response(response(Stream(), id="a"), id="b", input=0, output=MILLION)
    assert costs(stream) == [
        {
            "usd": 5.0,
            "response_usd": 5.0,
            "session_usd": 5.0,
            "estimated": False,
            "unpriced": False,
        },
        {
            "usd": 25.0,
            "response_usd": 25.0,
            "session_usd": 30.0,
            "estimated": False,
            "unpriced": False,
        },
    ]


def test_sessions_are_summed_apart():
    one, other = response(Stream("one"), id="a"), response(Stream("other"), id="b")
    assert [each["session_usd"] for each in costs(one.events + other.events + one.events[:0])] == [
        5,
        5,
    ]


def test_a_later_line_of_a_response_replaces_the_earlier():
    stream = response(
        response(response(Stream(), id="a", output=1), id="a", output=1000),
        id="b",
        input=0,
        output=1000,
    )
    assert [each["session_usd"] for each in costs(stream)] == [5.000025, 5.025, 5.05]


def test_a_placeholder_behind_the_final_count_replaces_nothing():
    assert total(response(response(Stream(), id="a", output=1000), id="a", output=1)) == 5.025
    # The estimate grows with the response; a final count replaces that estimate, and another
    # model's line the one that had to give up.
    assert (
        total(response(response(Stream(), id="a", output=2), id="a", output=1000, estimated=True))
        == 5.025
    )
    assert (
        total(
            response(response(Stream(), id="a", output=5000, estimated=True), id="a", output=1000)
        )
        == 5.025
    )
    assert (
        total(
            response(
                response(Stream(), id="a", output=5000), "claude-sonnet-5", id="a", output=1000
            )
        )
        == 2.01
    )


LINES = st.lists(
    st.tuples(
        st.sampled_from(["one", "other"]),
        st.sampled_from(["a", "b", "c", ""]),
        st.sampled_from(["claude-opus-4-8", "gpt-5.5", "foo-9"]),
        st.integers(0, 300_000),
        st.integers(0, 5_000),
        st.booleans(),
        st.sampled_from(["llm_response"] * 6 + ["tool_call", "tool_result", "history_start"]),
    ),
    max_size=30,
)


@given(LINES)
def test_what_the_lines_add_is_the_sum_of_the_session_to_the_last_digit(lines):
    fields = [
        {
            "event_type": kind,
            "timestamp": START + number,
            "event_id": f"e{number}",
            "session_id": session,
            "data": {
                "model": model,
                "response_id": name,
                "usage": usage(prompt, output),
                "estimated": estimated,
                "arguments": {"command": "x" * output},
                "result": "x" * prompt,
            },
        }
        for number, (session, name, model, prompt, output, estimated, kind) in enumerate(lines)
    ]
    sums: dict[str, Decimal] = {}
    last: dict[str, Decimal] = {}
    for event in costed(fields):
        if "cost" in event.data:
            added = Decimal(str(event.data["cost"]["usd"]))
            sums[event.session] = sums.get(event.session, Decimal(0)) + added
            last[event.session] = Decimal(str(event.data["cost"]["session_usd"]))
    assert sums == last


def test_a_correction_adds_the_difference_and_says_the_price_so_far():
    stream = response(response(Stream(), id="a", output=1000), id="a", output=2000)
    response(stream, "claude-sonnet-5", id="a", output=2000)
    found = [(each["usd"], each["response_usd"]) for each in costs(stream)]
    assert found == [(5.025, 5.025), (0.025, 5.05), (-3.03, 2.02)]


def test_a_stream_that_comes_twice_counts_once(monkeypatch):
    monkeypatch.setattr(meter, "MAX_STREAM_RESPONSES", 100)
    recorded, estimated = Stream("recorded"), talk(5).events
    for number in range(300):
        response(recorded, id=f"r{number}", input=1000)
        response(recorded, input=1000)
    for events in (recorded.events, estimated):
        once = total(events)
        assert once > 0
        assert total(events * 2) == once


def test_a_session_that_is_read_again_is_counted_anew():
    stream = Stream()
    stream.add("history_start")
    response(response(stream, id="a"), id="b")
    found = costs(stream.events + stream.events)
    assert [each["session_usd"] for each in found] == [5, 10, 5, 10]
    assert sum(each["usd"] for each in found) == 10


def test_what_was_estimated_and_then_recorded_is_no_estimate():
    stream = response(response(Stream(), id="a", output=400, estimated=True), id="a", output=1000)
    first, second = costs(stream)
    assert first["estimated"] and first["session_estimated_usd"] == first["session_usd"]
    assert not second["estimated"] and "session_estimated_usd" not in second


def test_responses_without_an_id_count_each():
    assert total(response(response(Stream()), id="")) == 10


def test_a_fork_that_copies_the_history_costs_nothing_again():
    old = response(response(Stream("old"), id="a"), id="b")
    fork = [event | {"session_id": "fork"} for event in old.events]
    new = response(Stream("fork", at=old.time + 60), id="c").events
    found = costs(old.events + fork + new)
    assert [(each["usd"], each["session_usd"]) for each in found] == [
        (5, 5),
        (5, 10),
        (0, 0),
        (0, 0),
        (5, 5),
    ]
    assert [each.get("counted_in") for each in found] == [None, None, "old", "old", None]


def test_sessions_that_number_their_responses_alike_are_not_each_others_copies():
    one, other = response(Stream("one"), id="1"), response(Stream("other", at=START + 1), id="1")
    repeated = response(other, id="1", output=1000)
    assert [each["session_usd"] for each in costs(one.events + repeated.events)] == [5, 5, 5.025]


def test_usage_in_anthropics_own_form_and_openais():
    stream = Stream()
    stream.add(
        "llm_response",
        {
            "model": "claude-opus-4-8",
            "usage": {
                "input_tokens": 4,
                "output_tokens": 0,
                "cache_creation_input_tokens": MILLION,
            },
        },
    )
    stream.add("llm_response", {"model": "gpt-5.5", "input_tokens": 100_000, "output_tokens": 1000})
    stream.add(
        "llm_response",
        {"model": "gpt-5.5", "usage": {"prompt_tokens": 100_000, "completion_tokens": 1000}},
    )
    assert [each["usd"] for each in costs(stream)] == [6.25002, 0.53, 0.53]


def test_an_imported_transcript_repeats_its_usage_with_each_line():
    def line(stream, read, output=100):
        told = {
            "input_tokens": 2,
            "output_tokens": output,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": 1000,
            "cache_creation": {"ephemeral_1h_input_tokens": 1000},
            "speed": "fast",
            "server_tool_use": {"web_search_requests": 1},
        }
        stream.add(
            "assistant_response",
            {"model": "claude-opus-4-8", "text": "so", "usage": told, "context_stream": "main"},
        )

    stream = Stream()
    line(stream, 10_000)
    line(stream, 10_000)
    line(stream, 11_000)
    each = 2 * (2 * 5 + 1000 * 10 + 100 * 25) / MILLION + 0.01
    assert [found["session_usd"] for found in costs(stream)] == pytest.approx(
        [each + 0.01, each + 0.01, 2 * each + 0.021]
    )


def test_a_request_that_records_its_prompt_and_a_response_its_output():
    stream = Stream()
    request = stream.add("llm_request", {"model": "claude-opus-4-8", "input_tokens": 180_000})
    stream.add("llm_response", {"output_tokens": 9000}, parent=request)
    assert [found["session_usd"] for found in costs(stream)] == [0.9, 1.125]


@pytest.mark.parametrize(
    ("how", "dollars"),
    [
        ({"speed": "fast"}, 10),
        ({"service_tier": "batch"}, 2.5),
        ({"service_tier": "priority"}, 5),
        ({"service_tier": "standard"}, 5),
        ({"inference_geo": "us"}, 5.5),
        ({"inference_geo": "global"}, 5),
        ({"web_searches": 10}, 5.1),
        ({"speed": 7, "service_tier": [], "web_searches": "x"}, 5),
    ],
)
def test_what_else_a_price_depends_on(how, dollars):
    (found,) = costs(response(Stream(), id="a", **how))
    assert found["usd"] == dollars and not found["estimated"]


def test_fast_mode_of_a_model_that_has_it_no_more_is_said_to_be_an_estimate():
    (found,) = costs(response(Stream(), "claude-opus-4-6", id="a", speed="fast"))
    assert found["usd"] == 30 and found["estimated"] and not found["unpriced"]


def test_recorded_usage_only():
    stream = response(
        Stream(), id="a", input=1000, output=3000, estimated=True, recorded_output_tokens=2
    )
    assert costs(stream) == [
        {
            "usd": 0.08,
            "response_usd": 0.08,
            "session_usd": 0.08,
            "estimated": True,
            "unpriced": False,
            "session_estimated_usd": 0.08,
        }
    ]
    assert costs(stream, recorded=True) == [
        {
            "usd": 0.00505,
            "response_usd": 0.00505,
            "session_usd": 0.00505,
            "estimated": False,
            "unpriced": False,
        }
    ]


def test_a_million_tenths_of_a_cent_are_a_thousand_dollars():
    event = from_fields(
        {
            "event_type": "llm_response",
            "timestamp": START,
            "session_id": "s",
            "data": {"model": "claude-opus-4-8", "usage": usage(200)},
        }
    )
    counter = Meter()
    for _ in range(MILLION):
        found = counter.charge(event)
    assert found.session / DOLLAR == 1000.0


# What has no price


def test_an_unpriced_model_is_never_silently_free(capfd):
    stream = response(response(response(Stream(), "foo-9", id="a"), "foo-9", id="b"), id="c")
    assert [(each["usd"], each["session_usd"], each["unpriced"]) for each in costs(stream)] == [
        (0, 0, True),
        (0, 0, True),
        (5, 5, False),
    ]
    said = capfd.readouterr().err.splitlines()
    assert (
        len(said) == 1 and "no price is known for 'foo-9'" in said[0] and "--unpriced-as" in said[0]
    )


def test_a_slip_in_a_models_name_is_pointed_out(capfd):
    costs(response(Stream(), "claude-opus-4.88", id="a"))
    assert "the nearest name known is claude-opus-4-8" in capfd.readouterr().err


def test_a_stand_in_for_an_unpriced_model_gives_an_estimate():
    (found,) = costs(response(Stream(), "foo-9", id="a"), unpriced_as="claude-opus-4-8")
    assert (found["usd"], found["estimated"], found["unpriced"]) == (5, True, False)


@pytest.mark.parametrize("model", [None, "", 7])
def test_a_response_that_names_no_model_is_unpriced_until_one_is_named(model, capfd):
    stream = response(Stream(), model, id="a")
    assert [(each["usd"], each["unpriced"]) for each in costs(stream)] == [(0, True)]
    assert "--model" in capfd.readouterr().err
    assert costs(stream, model="claude-opus-4-8") == [
        {"usd": 5.0, "response_usd": 5.0, "session_usd": 5.0, "estimated": False, "unpriced": False}
    ]


def test_the_sessions_model_is_that_of_its_responses_where_they_name_none():
    stream = Stream()
    stream.add("session_start", {"model": "claude-opus-4-8"})
    assert costs(response(stream, None, id="a"), model="gpt-5.5")[0]["usd"] == 5


def test_text_of_no_model_is_free_and_not_unpriced():
    assert costs(response(Stream(), "<synthetic>", id="a")) == [
        {"usd": 0.0, "response_usd": 0.0, "session_usd": 0.0, "estimated": False, "unpriced": False}
    ]


@pytest.mark.parametrize("name", ["foo-9", "claude-opus-4.88"])
def test_a_stand_in_without_a_price_stops_the_start(name):
    with pytest.raises(click.UsageError, match="no price is known for it"):
        cost.generator([], unpriced_as=name)
    done = run("trace-cost", "--unpriced-as", "claude-opus-4.88")
    assert done.returncode == 2 and b"did you mean claude-opus-4-8?" in done.stderr


def test_prices_of_ones_own(tmp_path):
    (tmp_path / "own.json").write_text('{"models": {"foo-9": {"input": 3, "output": 4}}}')
    stream = response(Stream(), "foo-9", id="a")
    done = run("trace-cost", "--prices", tmp_path / "own.json", input=stream.bytes)
    assert events_of(done.stdout)[0]["data"]["cost"]["usd"] == 3 and done.stderr == b""
    (tmp_path / "bad.json").write_text('{"models": {"foo-9": {"inptu": 3}}}')
    done = run("trace-cost", "--prices", tmp_path / "bad.json", input=stream.bytes)
    assert done.returncode == 2 and done.stdout == b"" and b"did you mean 'input'" in done.stderr


# What passes through


def test_only_the_lines_that_get_a_cost_are_changed_and_only_by_it():
    data = (FIXTURES / "spiral.ndjson").read_bytes()
    done = run("trace-cost", input=data)
    assert done.returncode == 0
    for before, after in zip(data.splitlines(), done.stdout.splitlines(), strict=True):
        event = json.loads(after)
        if event["event_type"] == "llm_response":
            event["data"].pop("cost")
            assert event == json.loads(before) and after.startswith(before[:-2])
        else:
            assert after == before


ODD = [
    b'{"data": {"usage":{"input_tokens":1000000} ,"model":"claude-opus-4-8"}, "event_type":"llm_response","more":{"data":{"a":1}},"session_id":"s"}\n',
    b'{"event_type":"llm_response","session_id":"s","data":{"model":"claude-opus-4-8","usage":{"input_tokens":1000000},"n":123456789012345678901234567890}}\n',
    b'{"event_type":"llm_response","session_id":"s","data":{"model":"claude-opus-4-8","usage":{"input_tokens":1000000},"text":"\\ud83d"}}\n',
    b'{"event_type":"llm_response","session_id":"s","data":{"model":"claude-opus-4-8","usage":{"input_tokens":1000000}},"a\\"data":{"x":1}}\n',
    b'{"event_type":"llm_response","data":{"usage":{"input_tokens":1}},"data":{"model":"claude-opus-4-8","usage":{"input_tokens":1000000},"x":"\xff"} }\r\n',
    b'{"event_type":"llm_response","session_id":"s","prev_hash":"x","data":{"model":"claude-opus-4-8","usage":{"input_tokens":1000000},"cost":{"usd":99}}}',
]


@pytest.mark.parametrize("line", ODD)
def test_a_line_written_in_another_way_keeps_all_it_says(line):
    (event,) = cost.generator([Event(line, next(objects(line)))])
    assert event.raw.endswith(b"\n") is line.endswith(b"\n")
    before, after = (
        json.loads(line.decode(errors="replace")),
        json.loads(event.raw.decode(errors="replace")),
    )
    assert after["data"].pop("cost")["session_usd"] == 5
    if before["data"].pop("cost", None) is None:
        added = orjson.dumps(event.data["cost"])
        assert event.raw.replace(b',"cost":' + added, b"") == line
    assert after == before


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
    st.just({}),
    st.just({"usd": "x"}),
)
KEYS = (
    "model",
    "response_id",
    "usage",
    "estimated",
    "speed",
    "service_tier",
    "inference_geo",
    "web_searches",
    "recorded_output_tokens",
    "cost",
    "agent_id",
)
COUNTED = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cache_creation_1h_input_tokens",
    "cache_creation",
    "server_tool_use",
)


@given(
    st.sampled_from(
        [
            "llm_response",
            "llm_request",
            "assistant_response",
            "tool_call",
            "tool_result",
            "user_prompt",
            "error",
            "session_start",
            "session_end",
        ]
    ),
    st.dictionaries(st.sampled_from(KEYS), WRONG),
    st.dictionaries(st.sampled_from(COUNTED), WRONG),
    st.booleans(),
)
def test_a_wrong_type_never_stops_it(kind, data, counts, recorded):
    events = [
        from_fields(
            {
                "event_type": kind,
                "timestamp": START,
                "event_id": "e",
                "session_id": "s",
                "data": {"model": "gpt-5.5", "usage": counts} | data,
            }
        )
    ] * 3
    for event in cost.generator(events, recorded=recorded):
        found = event.data.get("cost")
        if type(found) is dict and "session_usd" in found:
            assert found["session_usd"] >= 0


# What is not recorded


def talk(rounds: int, model: str | None = "claude-opus-4-8", session: str = SESSION) -> Stream:
    stream = Stream(session)
    stream.add("session_start", {"model": model} if model else {})
    stream.add("user_prompt", {"prompt": "fix the failing test"})
    for _ in range(rounds):
        stream.bash("python -m pytest -q", "F" * 900)
    return stream


def test_without_usage_the_cost_is_estimated_and_marked():
    stream = talk(5)
    added = [event for event in costed(stream) if event.type == "llm_response"]
    assert len(added) == 5
    assert all(
        event.data["estimated"] is True and event.data["cost"]["estimated"] is True
        for event in added
    )
    assert all(event.data["model"] == "claude-opus-4-8" for event in added)
    sums = [event.data["cost"]["session_usd"] for event in added]
    assert sums == sorted(sums) and sums[-1] == added[-1].data["cost"]["session_estimated_usd"]
    # The first request caches the unseen part and the others read it: it is never counted anew.
    assert 0.2 < sums[0] < 0.25 and 0.02 < sums[1] - sums[0] < 0.03


def test_what_was_there_before_flows_through_an_estimate_unchanged():
    stream = talk(5)
    kept = [event.raw for event in costed(stream) if event.type != "llm_response"]
    assert b"".join(kept) == b"".join(from_fields(each).raw for each in stream.events)


def test_an_estimated_response_stands_before_what_answers_it_and_names_what_it_was_told_from():
    events = costed(talk(4))
    places = [place for place, event in enumerate(events) if event.type == "llm_response"]
    assert [events[place + 1].type for place in places[2:]] == ["tool_result"] * len(places[2:])
    calls = [event.id for event in events if event.type == "tool_call"]
    assert [events[place].parent for place in places] == calls


def test_no_estimate_is_made_where_usage_is_recorded_however_late():
    late = talk(2)
    response(late, id="a")
    for _ in range(5):
        late.bash("ls")
    assert [(each["usd"], each["session_usd"], each["estimated"]) for each in costs(late)] == [
        (5, 5, False)
    ]
    later = response(talk(6), id="a")
    found = costs(later)
    assert sum(Decimal(str(each["usd"])) for each in found) == 5
    assert len(found) == 7 and found[-1] | {"usd": 5.0} == {
        "usd": 5.0,
        "response_usd": 5.0,
        "session_usd": 5.0,
        "estimated": False,
        "unpriced": False,
    }


def test_a_subagent_is_estimated_as_a_conversation_of_its_own():
    def agents(stream):
        for _ in range(4):
            stream.bash("ls").bash("ls", agent_id="a1")
        return [
            event.data.get("agent_id", "")
            for event in costed(stream)
            if event.type == "llm_response"
        ]

    assert sorted(agents(talk(0))) == [""] * 4 + ["a1"] * 4


def test_a_response_that_records_no_usage_is_estimated_in_its_own_line(capfd):
    stream = Stream()
    request = stream.add("llm_request", {"model": "claude-opus-4-8", "message_count": 1})
    stream.add("llm_response", {"content_preview": "x" * 300}, parent=request)
    events = costed(stream)
    assert [event.type for event in events] == ["llm_request", "llm_response"]
    assert events[1].data["cost"] == {
        "usd": 0.0025,
        "response_usd": 0.0025,
        "session_usd": 0.0025,
        "estimated": True,
        "unpriced": False,
        "session_estimated_usd": 0.0025,
    }


def test_a_short_session_is_estimated_at_its_end_or_at_that_of_the_input():
    stream = talk(1)
    at_end_of_input = costed(stream)
    assert [event.type for event in at_end_of_input[-2:]] != ["llm_response"] * 2
    assert "cost" in at_end_of_input[-1].data
    stream.add("session_end")
    events = costed(stream)
    assert events[-1].type == "session_end" and "cost" in events[-2].data
    assert events[-2].raw == at_end_of_input[-1].raw


def test_recorded_only_estimates_nothing():
    assert costs(talk(6), recorded=True) == []


def test_a_session_that_names_no_model_is_estimated_at_one_and_it_is_said(capfd):
    found = [event.data for event in costed(talk(4, model=None)) if event.type == "llm_response"]
    assert {data["model"] for data in found} == {DEFAULT_MODEL} and found[-1]["cost"]["usd"] > 0
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and DEFAULT_MODEL in said and "--model" in said
    named = [
        event.data["model"]
        for event in costed(talk(4, model=None), model="gpt-5.5")
        if event.type == "llm_response"
    ]
    assert set(named) == {"gpt-5.5"} and capfd.readouterr().err == ""


def test_what_trace_cost_has_estimated_a_second_one_does_not_estimate_again():
    once = costed(talk(6))
    again = list(cost.generator([from_fields(json.loads(event.raw)) for event in once]))
    assert [event.raw for event in again] == [event.raw for event in once]


def test_an_idle_session_pays_for_its_cache_again():
    busy, idle = talk(4), talk(4)
    busy.bash("ls")
    idle.time += 3600
    idle.bash("ls")
    assert total(idle) > total(busy) + 0.1


# The bill


def test_a_summary_for_each_session(tmp_path):
    one = response(
        response(Stream("one"), id="a", read=500_000, hour=1000, written=3000, output=100),
        "gpt-5.5",
        id="b",
        input=1000,
    )
    other = response(Stream("other"), "foo-9", id="c")
    *events, first, second = costed(one.events + other.events, summary=True)
    assert [event.type for event in events] == ["llm_response"] * 3
    assert (first.session, second.session) == ("one", "other") and first.time == one.time
    opus = (497_000 * 5 + 500_000 * 0.5 + 2000 * 6.25 + 1000 * 10 + 100 * 25) / MILLION
    assert first.data["usd"] == pytest.approx(opus + 0.005)
    assert first.data["models"]["claude-opus-4-8"] == {
        "usd": pytest.approx(opus),
        "estimated_usd": 0.0,
        "saved_usd": pytest.approx((500_000 * 4.5 - 2000 * 1.25 - 1000 * 5) / MILLION),
        "responses": 1,
        "unpriced_responses": 0,
        "input_tokens": MILLION,
        "cache_read_input_tokens": 500_000,
        "cache_creation_input_tokens": 3000,
        "cache_creation_1h_input_tokens": 1000,
        "output_tokens": 100,
        "reasoning_output_tokens": 0,
        "web_searches": 0,
    }
    assert first.data["responses"] == 2 and "genai-prices" in first.data["prices"]
    assert (second.data["usd"], second.data["unpriced_responses"]) == (0, 1)


def test_the_summary_counts_a_corrected_response_once_and_a_session_that_went_on_as_one():
    stream = response(response(Stream(), id="a", output=1), id="a", output=1000)
    stream.add("session_end")
    response(stream, id="b", input=0, output=1000)
    (summary,) = [event for event in costed(stream, summary=True) if event.type == "cost_summary"]
    assert (
        summary.data["usd"],
        summary.data["responses"],
        summary.data["models"]["claude-opus-4-8"]["output_tokens"],
    ) == (5.05, 2, 2000)


def test_the_summary_holds_what_a_short_session_was_estimated_at():
    (summary,) = [event for event in costed(talk(1), summary=True) if event.type == "cost_summary"]
    assert 0.2 < summary.data["usd"] == summary.data["estimated_usd"] < 0.3


def test_the_summary_leaves_no_trace_of_an_estimate_that_was_recorded_later():
    stream = response(talk(6), "gpt-5.5", id="a", input=1000)
    (summary,) = [event for event in costed(stream, summary=True) if event.type == "cost_summary"]
    assert list(summary.data["models"]) == ["gpt-5.5"] and summary.data["estimated_usd"] == 0


def on_a_terminal(stream: Stream | list[dict], *options: str, width=80, **env: str) -> list[str]:
    """Return the lines that a terminal of so many columns shows."""
    fields = stream.events if isinstance(stream, Stream) else stream
    shown = shown_on_terminal(
        command("trace-cost", *options),
        ENVIRONMENT | {"NO_COLOR": "1", "COLUMNS": "", **env},
        columns=width,
        input=b"".join(from_fields(each).raw for each in fields),
    )
    return shown.decode().replace("\r\n", "\n").splitlines()


def two_sessions() -> list[dict]:
    """A cheap session of a day before, and a dear one with an unpriced model."""
    cheap, dear = Stream("cheap", at=START), Stream("dear", at=START + 86_400)
    cheap.add("session_start", {"agent": "claude", "cwd": "/home/ann/cheap"})
    response(cheap, id="c", input=1000, estimated=True)
    dear.add("session_start", {"agent": "claude", "cwd": "/home/ann/dear"})
    response(response(dear, id="a", input=1_234_567), "foo\x1b[2J", id="b")
    return cheap.events + dear.events


def test_on_a_terminal_the_summary_is_a_table_and_all_that_is_shown():
    header, first, second, rule, sums, *notes = on_a_terminal(two_sessions(), "--summary")
    assert header.split() == ["SESSION", "PROJECT", "MODEL", "IN", "CACHED", "OUT", "$"]
    assert first.split()[0] == "cheap" and "~0.01" in first.split()
    assert second.split()[0] == "dear" and "?6.17" in second.split()
    assert set(rule) == {"─"} and sums.split()[0] == "all" and sums.split()[-1] == "~?6.18"
    assert "prices of 20" in notes[-1] and "\x1b" not in "".join(notes) + second


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("by", GROUPINGS)
def test_no_line_of_a_table_is_wider_than_the_terminal(by, width):
    lines = on_a_terminal(two_sessions(), "--by", by, width=width)
    assert max(map(len, lines)) < width and any("6.1" in line for line in lines)
    assert any("█" in line for line in lines) or by == "session" or width == 40


def test_a_table_in_ascii_and_turned():
    lines = on_a_terminal(two_sessions(), "--by", "day", "--reverse", LC_ALL="C", PYTHONUTF8="0",
                          PYTHONCOERCECLOCALE="0")  # fmt: skip
    assert all(line.isascii() for line in lines)
    assert [line.split()[0] for line in lines[1:2]] == ["all"]
    assert lines[3].split()[0] > lines[4].split()[0]


def summaries(*options: str, events=None) -> list[dict]:
    data = b"".join(from_fields(each).raw for each in events or two_sessions())
    found = events_of(run("trace-cost", *options, input=data).stdout)
    return [event["data"] for event in found if event["event_type"] == "cost_summary"]


def test_sums_by_day_project_model_and_session_are_the_same_dollars():
    for by in GROUPINGS:
        found = summaries("--by", by)
        assert sum(each["usd"] for each in found) == pytest.approx(6.177835)
        if by != "session":
            assert [each["by"] for each in found] == [by] * len(found)
    days = [each["day"] for each in summaries("--by", "day")]
    assert days == sorted(days) and len(days) == 2
    assert [each["project"] for each in summaries("--by", "project")] == [
        "/home/ann/cheap",
        "/home/ann/dear",
    ]


def test_since_and_until_choose_days():
    first, second = (each["day"] for each in summaries("--by", "day"))
    assert [each["day"] for each in summaries("--by", "day", "--since", second)] == [second]
    assert [each["day"] for each in summaries("--by", "day", "--until", first)] == [first]
    assert summaries("--by", "day", "--since", "yesterday") == []


@pytest.mark.parametrize(
    "options", [["--since", "whenever", "--summary"], ["--since", "1d"], ["--by", "hour"]]
)
def test_a_choice_of_days_that_means_nothing_stops_the_start(options):
    done = run("trace-cost", *options)
    assert done.returncode == 2 and done.stdout == b""


def test_all_sums_up_the_sessions_of_this_machine(tmp_path):
    folder = tmp_path / ".claude" / "projects" / "p"
    folder.mkdir(parents=True)
    line = (FIXTURES / "claude" / "projects").rglob("*.jsonl")
    for path in line:
        (folder / path.name).write_bytes(path.read_bytes())
    env = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": "", "CODEX_HOME": ""}
    every = events_of(run("trace-cost", "--all", "--by", "session", env=env).stdout)
    tailed = run("trace-tail", "--no-follow", "--all", env=env).stdout
    piped = events_of(run("trace-cost", "--summary", input=tailed).stdout)
    sums = {each["session_id"]: each["data"]["usd"] for each in every}
    assert sums and sums == {
        each["session_id"]: each["data"]["usd"]
        for each in piped
        if each["event_type"] == "cost_summary"
    }


# Recorded sessions and cases beside the project


def recorded(path: Path, source: str, *, raw: bool = False, **options) -> list[dict]:
    """The costs that trace-cost finds in a session's own file."""
    translator = agent_named(source).translator()
    fields = [
        each
        for line in path.read_bytes().splitlines()
        for record in objects(line)
        for each in translator.translate(record, START, str(path))
    ]
    return costs(fields + list(translator.end()), recorded=raw, **options)


def expected(folder: str) -> list:
    file = SHARED / "cases" / folder / "expected.json"
    if not file.exists():
        return [
            pytest.param(
                "", "", {}, marks=pytest.mark.skip(reason="the cases are not beside the project")
            )
        ]
    return [
        pytest.param(file.parent / f"{name}.jsonl", folder.removeprefix("cost-"), case, id=name)
        for name, case in json.loads(file.read_text()).items()
    ]


UNPRICED = {
    "future_opus_7",
    "unknown_model",
    "model_null",
    "exec_turn_completed",
    "no_turn_context",
}


@pytest.mark.parametrize(
    ("path", "source", "case"), [*expected("cost-claude"), *expected("cost-codex")]
)
def test_case(path, source, case):
    found = recorded(path, source)
    usd = found[-1]["session_usd"] if found else 0.0
    if path.stem == "fast_opus46":
        assert usd in (5.0, 30.0) and found[-1]["estimated"]
    elif case["usd"] is not None:
        assert usd == pytest.approx(case["usd"], abs=1e-6), case["note"]
        assert not any(each["estimated"] for each in found)
    assert any(each["unpriced"] for each in found) == (path.stem in UNPRICED)


def sessions() -> list:
    file = SHARED / "cases" / "session-costs.json"
    if not file.exists():
        return [
            pytest.param(
                "",
                "",
                0,
                marks=pytest.mark.skip(reason="the recorded sessions are not beside the project"),
            )
        ]
    known = json.loads(file.read_text())
    claude = [
        pytest.param(name, "claude", case["with_subagents"], id=name)
        for name, case in known["claude-code"].items()
    ]
    return claude + [
        pytest.param(name, "codex", case, id=name) for name, case in known["codex"].items()
    ]


@pytest.mark.parametrize(("name", "source", "usd"), sessions())
def test_a_recorded_session_costs_what_two_other_tools_say(name, source, usd):
    path = (
        SHARED / "sessions" / {"claude": "claude-code", "codex": "codex"}[source] / f"{name}.jsonl"
    )
    found = recorded(path, source, raw=True)
    assert found[-1]["session_usd"] == pytest.approx(usd, abs=1e-6)
    # Without --recorded nothing is less, and what is more says that it is an estimate.
    estimate = recorded(path, source)
    assert estimate[-1]["session_usd"] >= found[-1]["session_usd"] - 1e-9
    assert (
        estimate[-1]["session_usd"] - found[-1]["session_usd"] < 1e-9
        or "session_estimated_usd" in estimate[-1]
    )


@pytest.mark.skipif(
    not (SHARED / "sessions" / "claude-code").exists(),
    reason="the recorded sessions are not beside the project",
)
@pytest.mark.parametrize(("folder", "source"), [("claude-code", "claude"), ("codex", "codex")])
def test_an_estimate_is_as_near_as_the_page_says(folder, source):
    """Error of the estimate in trace-cost(1), for these sessions without their usage."""
    ratios, real, guessed = [], 0.0, 0.0
    for path in sorted((SHARED / "sessions" / folder).glob("*.jsonl")):
        translator = agent_named(source).translator()
        fields = [
            each
            for line in path.read_bytes().splitlines()
            for record in objects(line)
            for each in translator.translate(record, START, str(path))
        ]
        models = [
            each["data"].get("model") for each in fields if each["event_type"] == "llm_response"
        ]
        if not models:
            continue
        silent = [each for each in fields if each["event_type"] != "llm_response"] + [
            fields[-1] | {"event_type": "session_end"}
        ]
        usd, guess = total(fields), total(silent, model=max(set(models), key=models.count))
        ratios.append(guess / usd)
        real, guessed = real + usd, guessed + guess
    assert min(ratios) >= 0.4 and max(ratios) <= 1.4, ratios
    assert 0.9 <= guessed / real <= 1.05
