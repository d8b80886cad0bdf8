"""The reader of a stream: events, whole lines, bad lines."""

import os
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.commands.cost import cost
from agent_pipes.core.event import KNOWN, Event, make
from agent_pipes.core.jsonl import parse_line
from agent_pipes.core.stream import Lines, Reader, Waiter
from agent_pipes.detect.cost import detect_cost
from agent_pipes.detect.duration import detect_duration
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.stall import detect_stall
from tests.helpers.support import run
from tests.helpers.synthetic_events import events as trace

START = 1_790_000_000.0


def line(kind: str, at: float = 0.0, session: str = "s", **data: object) -> bytes:
    fields = {
        "event_type": kind,
        "timestamp": START + at,
        "event_id": f"{kind}{at}",
        "session_id": session,
        "data": data,
    }
    return orjson.dumps(fields) + b"\n"


ODD = [
    b"",
    b"\n",
    b"{}\n",
    b"not JSON\n",
    b"[1]\n",
    b"\xff\xfe\n",
    b'{"event_type":"llm_response","timestamp":1790000000.0\n',
    b"}\n",
    b" \r\n",
    # Other forms of the same: order of keys, spaces, a repeated key, an escaped type.
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
    st.builds(
        line,
        st.sampled_from(KNOWN),
        st.floats(0, 1000),
        st.sampled_from(["s", "t", "ü\n"]),
        text=st.text(max_size=8),
    ),
    st.sampled_from(ODD),
)


def read(content: bytes) -> tuple[list[Event], Reader]:
    """Return the events of a stream that ends, and their reader."""
    source, sink = os.pipe()
    with open(sink, "wb") as file:
        file.write(content)
    reader = Reader(Waiter(), source)
    try:
        return list(reader), reader
    finally:
        os.close(source)


@given(st.lists(LINES, max_size=12))
def test_every_line_flows_on_as_it_came(content):
    whole = line("session_start") + b"".join(content)
    events, _ = read(whole)
    assert b"".join(each.raw for each in events) == whole


def test_a_bad_line_is_reported_with_its_number(capfd):
    content = [line("llm_response", at) for at in range(5)]
    _, reader = read(
        b"".join(content) + b"{\n" + b"".join(content) + line("llm_response")[:-3] + b"\n"
    )
    said = capfd.readouterr().err
    assert "standard input:6: not JSON" in said and "standard input:12: not JSON" in said
    assert reader.number == 12 and reader.bad == 2


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 16])
def test_lines_are_whole_wherever_a_read_ends(chunk, monkeypatch):
    monkeypatch.setattr("agent_pipes.core.stream.CHUNK_BYTES", chunk)
    content = b"".join(ODD) + line("tool_call") + b"the last one"
    source, sink = os.pipe()
    os.write(sink, content)
    os.close(sink)
    found = [each for some in Lines(Waiter(), source) for each in some or ()]
    os.close(source)
    assert found == content.replace(b"\n", b"\n\0").split(b"\0") if b"\0" not in content else True


def mixed() -> bytes:
    """Three sessions, with usage always, later and never; they fail, repeat, end and resume."""
    content = []
    ended = 0
    for number, each in enumerate(trace(900, 3)):
        fields = parse_line(each) or {}
        who, kind = int(fields["session_id"][-1]), fields["event_type"]
        if kind == "llm_response" and (who == 2 or (who == 1 and number < 450)):
            continue
        if kind == "tool_result" and number % 7 == 0:
            fields = fields | {
                "event_type": "error",
                "data": fields["data"]
                | {"error": "Exit code 1", "exit_code": 1, "tool_name": "Bash"},
            }
        if kind == "tool_call" and number % 3:
            fields = fields | {
                "data": fields["data"]
                | {"tool_name": "Bash", "arguments": {"command": f"make {who}"}}
            }
        content.append(orjson.dumps(fields) + b"\n")
        if number % 290 == 289 and ended < 2:
            ended += 1
            content.append(line("session_end", fields["timestamp"] - START, fields["session_id"]))
    return b"".join(content)


LIMITS = [
    (cost, {}),
    (detect_cost, {"max": 0.05}),
    (detect_duration, {"max": 60.0}),
    (detect_loop, {}),
    (detect_retry, {"max": 2}),
    (detect_stall, {"max": 0.5}),
]


@pytest.mark.parametrize(("part", "options"), LIMITS, ids=lambda value: getattr(value, "name", ""))
def test_a_command_says_what_it_says_where_all_is_read(part, options):
    content = mixed()
    every = part.stage(Waiter(), **options)(
        [Event(each, parse_line(each) or {}) for each in content.splitlines(keepends=True)]
    )
    done = run(
        part.name,
        *[word for name, value in options.items() for word in (f"--{name}", str(value))],
        input=content,
    )
    assert done.stdout == b"".join(each.raw for each in every)
    assert done.stdout != content


def test_13_7_a_silent_session_has_its_ticks_while_another_is_busy():
    read, write = os.pipe()
    waiter = Waiter()
    waiter.interval = 0.1

    def event(kind: str, session: str, at: float) -> bytes:
        return make(kind, at, session, {}).raw

    def busy() -> None:
        os.write(write, event("history_end", "silent", 1_795_359_000.0))
        for number in range(20):
            os.write(write, event("user_prompt", "busy", 1_795_359_001.0 + number))
            time.sleep(0.04)
        os.write(write, event("session_end", "silent", 1_795_359_030.0))
        for number in range(10):
            os.write(write, event("user_prompt", "busy", 1_795_359_031.0 + number))
            time.sleep(0.04)
        os.close(write)

    thread = threading.Thread(target=busy)
    thread.start()
    seen = list(Reader(waiter, read))
    thread.join()
    os.close(read)
    ended = next(at for at, each in enumerate(seen) if each.type == "session_end")
    ticks = [each for each in seen[:ended] if each.type == "tick" and each.session == "silent"]
    assert len(ticks) >= 3
    assert all(1_795_359_000.0 <= each.time <= 1_795_359_030.0 for each in ticks)
    assert not [each for each in seen[ended:] if each.type == "tick" and each.session]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"type":"user","sessionId":"s","uuid":"u"}\n', "is a Claude Code transcript; put"),
        (b"root:x:0:0:root:/root:/bin/bash\n" * 40, "is not a stream of events: not JSON"),
        (b'{\n "event_type": "x"\n}\n', "use jq -c"),
        (b'{"hello": 1}\n', 'an object without "event_type"; put trace-tail before it'),
        (b"\n\n[1]\n", "found an array"),
    ],
)
@pytest.mark.parametrize("name", ["trace-detect-retry", "trace-kill", "trace-cost"])
def test_what_is_no_stream_of_events_ends_a_filter_before_anything_is_written(name, content, said):
    done = run(name, input=content)
    assert done.returncode == 2 and done.stdout.strip() == b""
    assert said in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_after_the_first_event_such_lines_are_bad_lines():
    content = line("session_start") + b'{"type":"user","sessionId":"s"}\nnot JSON\n'
    done = run("trace-detect-retry", input=content)
    assert done.returncode == 2 and done.stdout == content


def test_an_empty_standard_input_is_the_end_of_the_input():
    assert run("trace-detect-retry", input=b"").returncode == 0
    assert run("trace-detect-retry", input=b"\n").returncode == 0
