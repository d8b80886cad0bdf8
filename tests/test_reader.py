"""What is read of a stream, and what is passed on without a look: it makes no difference but to the time it takes."""

import os

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.event import AS_WRITTEN, KNOWN, WRITTEN, Event
from agent_pipes.stream import Lines, Reader, Waiter

START = 1_790_000_000.0


def line(kind: str, at: float = 0.0, session: str = "s", **data: object) -> bytes:
    fields = {"event_type": kind, "timestamp": START + at, "event_id": f"{kind}{at}", "session_id": session, "data": data}
    return orjson.dumps(fields) + b"\n"


ODD = [
    b"", b"\n", b"{}\n", b"not JSON\n", b"[1]\n", b"\xff\xfe\n", b'{"event_type":"llm_response","timestamp":1790000000.0\n', b"}\n", b" \r\n",
    # Other forms of the same: keys in another order, spaces, a key that comes again, a type in other letters.
    b'{"timestamp":1790000001.0,"event_type":"tool_call","session_id":"s","event_id":"c","data":{}}\n',
    b'{"event_type": "tool_call", "timestamp": 1790000001.0, "session_id": "s", "event_id": "c", "data": {}}\n',
    b'{"event_type":"llm_response","timestamp":1790000001.0,"data":{},"event_type":"tool_call"}\n',
    b'{"event_type":"llm_responses","timestamp":1790000001.0,"session_id":"s"}\n',
    # Where a writer broke off, and another went on.
    line("llm_response", 2)[:60] + line("tool_call", 2),
    line("llm_response", 2)[:-1] + line("tool_call", 3),
    line("llm_response", 2)[:60] + b"\n",
    # What only quotes an event is none.
    line("llm_response", 4, text=line("tool_call", 4).decode()),
    line("llm_response", 4, event_type="tool_call"),
]
LINES = st.one_of(
    st.builds(line, st.sampled_from(KNOWN), st.floats(0, 1000), st.sampled_from(["s", "t", "ü\n"]), text=st.text(max_size=8)), st.sampled_from(ODD)
)


def read(content: bytes, **how: object) -> tuple[list[Event], Reader]:
    """The events of a stream that ends, as `Reader` has them."""
    source, sink = os.pipe()
    with open(sink, "wb") as file:
        file.write(content)
    reader = Reader(Waiter(), source, **how)  # type: ignore[arg-type]
    try:
        return list(reader), reader
    finally:
        os.close(source)


def told(events: list[Event], kinds: frozenset[str]) -> list[tuple[object, ...]]:
    return [(each.type, each.time, each.session, each.id, each.parent, each.data) for each in events if each.type in kinds]


SEEN = [frozenset({"tool_call", "tool_result"}), frozenset({"violation"}), frozenset({"llm_response", "tick", "session_end"})]


@given(st.lists(LINES, max_size=12), st.sampled_from(SEEN), st.booleans())
def test_what_is_not_looked_into_flows_on_and_hides_nothing(content, sees, meets):
    whole = b"".join(content)
    every, _ = read(whole)
    some, _ = read(whole, sees=sees, meets=meets)
    assert b"".join(each.raw for each in some) == b"".join(each.raw for each in every) == whole
    assert told(some, sees) == told(every, sees)
    # A type that the vocabulary does not have is nobody's to skip.
    assert told(some, frozenset({"llm_responses"})) == told(every, frozenset({"llm_responses"}))


@given(st.lists(LINES, max_size=12), st.sampled_from(SEEN))
def test_a_sessions_first_event_is_met_whatever_its_type(content, sees):
    def first(events: list[Event]) -> dict[str, float]:
        times: dict[str, float] = {}
        for each in events:
            if each.session and each.time:
                times.setdefault(each.session, each.time)
        return times

    whole = b"".join(content)
    assert first(read(whole, sees=sees, meets=True)[0]) == first(read(whole)[0])


def test_lines_in_a_row_that_nobody_looks_into_are_one():
    content = [line("llm_response", at) for at in range(5)]
    events, reader = read(b"".join(content[:3]) + line("tool_call", 3) + b"".join(content[3:]), sees=SEEN[0])
    assert [each.type for each in events] == ["", "tool_call", ""]
    assert [each.time for each in events] == [START + 2, START + 3, START + 4]
    assert reader.number == 6 and not reader.bad


def test_a_bad_line_has_its_number_whatever_was_passed_before(capfd):
    content = [line("llm_response", at) for at in range(5)]
    read(b"".join(content) + b"{\n" + b"".join(content) + line("llm_response")[:-3] + b"\n", sees=SEEN[0])
    said = capfd.readouterr().err
    assert "standard input:6: not JSON" in said and "standard input:12: not JSON" in said


def test_each_type_begins_in_its_own_way():
    assert len(WRITTEN) == len(KNOWN) - 1 and all(len(begin) == AS_WRITTEN for begin in WRITTEN)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
def test_lines_are_whole_wherever_a_read_ends(chunk, monkeypatch):
    monkeypatch.setattr("agent_pipes.stream.CHUNK", chunk)
    content = b"".join(ODD) + line("tool_call") + b"the last one"
    source, sink = os.pipe()
    os.write(sink, content)
    os.close(sink)
    found = [each for some in Lines(Waiter(), source) for each in some or ()]
    os.close(source)
    assert found == content.replace(b"\n", b"\n\0").split(b"\0") if b"\0" not in content else True
