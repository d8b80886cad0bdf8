"""Live view of trace-status: what is shown at which width, with and without colour and Unicode."""

import json
import math
import re

import pytest

from agent_pipes.commands.session_status import SessionStatus, State
from agent_pipes.commands.status_table import table, tmux
from agent_pipes.commands.status_view import line
from agent_pipes.core.display import cell_width
from agent_pipes.core.event import make
from agent_pipes.core.style import Style
from tests.helpers.support import SHARED, START, Stream, run

LIMITS = {"cost": 10.0, "duration": 1800.0, "stall": 600.0, "retry": 5.0}
NOW = START + 1000
PLAIN = Style()
WIDTHS = [*range(20, 60, 3), 72, 80, 99, 100, 112, 120, 132, 140, 150, 200]


def session(name: str = "4e19aab4-1", cwd: str = "/srv/shop/api", usd: float = 1.0):
    """A session that has worked for 1,000 s, at a steady rate of dollars."""
    found = SessionStatus(name)

    def see(kind: str, at: float, data: dict) -> None:
        found.see(make(kind, at, name, data))

    see("session_start", START, {"agent": "claude", "cwd": cwd, "model": "claude-opus-4-8"})
    see("user_prompt", START + 1, {"prompt": "go"})
    for part in range(1, 11):
        cost = {"session_usd": usd * part / 10}
        see("llm_response", START + 99 * part, {"model": "claude-opus-4-8", "cost": cost})
    return found


def with_event(kind: str, data: dict, at: float = NOW - 12, **more) -> SessionStatus:
    found = session(**more)
    found.see(make(kind, at, found.name, data))
    return found


CALL = {"tool_name": "Bash", "arguments": {"command": "make -j8"}}
WORKING = with_event("tool_call", CALL)
WAITING = with_event("waiting", {"for": "permission"}, at=NOW - 192)
DEAR = with_event("tool_call", CALL, usd=9.41)
TRIPPED = with_event(
    "violation",
    {"watcher": "loop", "level": "critical", "message": "detected loop (read→edit) × 3"},
)
IDLE = with_event("assistant_response", {"text": "done"}, name="idle1234", cwd="/srv/docs")
PAUSED = with_event("kill", {"outcome": "paused"}, name="paused")
EVERY = [WORKING, WAITING, DEAR, TRIPPED, IDLE]


def drawn(found: SessionStatus, width: int, style: Style = PLAIN) -> str:
    return line(found, LIMITS, NOW, "+12:03", width, style, "[watch] ")


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_reaches_the_last_column(width, ascii):
    style = Style(ascii=ascii)
    lines = [drawn(each, width, style) for each in EVERY]
    assert all(cell_width(each) < width for each in lines), lines
    if width >= 40:
        rows = table(EVERY, LIMITS, NOW, width, 24, style)
        assert all(cell_width(each) < width for each in rows), rows
    assert not ascii or all(each.isascii() for each in lines)


def test_the_line_has_the_old_words_first_then_the_limits_and_the_call():
    assert drawn(WORKING, 120).startswith(
        "[watch] +12:03  ✅ 13 events, $1.00, 0 retries · 30m ███▎··"
    )
    assert re.fullmatch(
        r"\[watch\] \+12:03  ✅ 13 events, \$1\.00, 0 retries · 30m \S+ 55% at \d\d:\d\d"
        r" · \$10 \S+ 10% at \d\d:\d\d · make -j8 \(0:12\)",
        drawn(WORKING, 130),
    )


def test_parts_are_dropped_in_order_as_the_width_shrinks():
    found = [drawn(WORKING, width) for width in (160, 100, 72, 62, 50, 30)]
    assert "$10" in found[0] and "make" in found[0]
    assert "$10" not in found[1] and "30m" in found[1] and "make" in found[1]
    assert "make" not in found[2] and " at " in found[2]
    assert " at " not in found[3] and "30m" in found[3]
    assert found[4].startswith("+12:03 ✅ $1.00 · 30m")
    assert found[5] == "+12:03 ✅ $1.00"


def test_a_loud_state_stays_and_near_a_limit_the_bar_does():
    assert drawn(WAITING, 70).endswith("· waiting for you (0:10)")
    assert drawn(WAITING, 40) == "+12:03 ✅ waiting for you (0:10)"
    assert "killed" not in drawn(TRIPPED, 120) and "tripped: loop (read→edit) × 3" in drawn(
        TRIPPED, 120
    )
    assert "⚠  13 events, $9.41" in drawn(DEAR, 80) and "$10 █████▋ 94% in 1:" in drawn(DEAR, 80)


def test_colour_adds_escapes_and_no_text():
    for found in EVERY:
        painted = drawn(found, 100, Style(colour=True))
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == drawn(found, 100)
    assert "\x1b[31;1mtripped" in drawn(TRIPPED, 100, Style(colour=True))


def test_the_agents_words_are_escaped():
    evil = with_event("tool_call", {"tool_name": "Bash", "arguments": {"command": "\x1b[2Jx"}})
    evil.cwd = "/srv/\x1b]52;c;aGk=\x07"
    text = drawn(evil, 200) + "".join(table([evil], LIMITS, NOW, 200, 24, Style()))
    assert "\x1b" not in text and "\x07" not in text


def test_rows_are_sorted_by_state_and_the_rest_is_counted():
    rows = table(EVERY, LIMITS, NOW, 120, 24, Style())
    assert [row[0] for row in rows[1:6]] == ["✗", "?", "›", "›", "·"]
    assert "94%" in rows[3] and rows[6].startswith("───")
    assert rows[7].startswith(
        "5 sessions · ✗ 1 tripped · ? 1 waiting for you · › 2 working · $13.41"
    )
    many = [session(name=f"s{number}") for number in range(50)]
    short = table(many, LIMITS, NOW, 120, 24, Style())
    assert len(short) == 23 and "… and 31 more" in short


def test_the_line_of_tmux():
    text = tmux(EVERY, LIMITS, NOW, Style())
    assert text.startswith("✗ 5 · ✗1 ?1 · $13.41 · $10 94% in ")


CONTEXT = {"context_window": 200_000, "usage": {"input_tokens": 39_000, "output_tokens": 1000}}


def test_context_is_shown_where_the_source_tells_until_it_is_compacted():
    found = with_event("llm_response", CONTEXT)
    assert found.context == 0.2 and " 20%" in table([found], LIMITS, NOW, 140, 24, PLAIN)[1]
    assert "CTX" not in table([found], LIMITS, NOW, 139, 24, PLAIN)[0]
    found.see(make("llm_response", NOW, found.name, CONTEXT | {"agent_id": "a1"}))
    assert found.context == 0.2
    found.see(make("compaction", NOW, found.name, {"trigger": "auto"}))
    assert math.isnan(found.context) and math.isnan(session().context)


COLUMNS = {
    40: "DIRECTORY $ LIMIT",
    56: "DIRECTORY DOING $ LIMIT",
    64: "DIRECTORY DOING $ LIMIT REACHED",
    72: "DIRECTORY DOING $ NEAREST LIMIT REACHED",
    100: "STATE ID DIRECTORY DOING FOR $ NEAREST LIMIT REACHED",
    112: "STATE ID DIRECTORY DOING FOR $ $/H NEAREST LIMIT REACHED",
    132: "STATE AGENT ID DIRECTORY DOING FOR $ $/H FAIL NEAREST LIMIT REACHED",
    140: "STATE AGENT ID DIRECTORY DOING FOR $ $/H CTX FAIL NEAREST LIMIT REACHED",
    150: "STATE AGENT ID DIRECTORY DOING FOR MODEL $ $/H CTX FAIL NEAREST LIMIT REACHED",
}


@pytest.mark.parametrize("width", [*COLUMNS, *(each - 1 for each in COLUMNS if each > 40), 200])
def test_columns_are_dropped_in_the_stated_order(width):
    expected = COLUMNS[max(each for each in COLUMNS if each <= width)]
    assert table(EVERY, LIMITS, NOW, width, 24, PLAIN)[0].split() == expected.split()


LOOK = SHARED / "look" / "status.txt"


@pytest.mark.skipif(not LOOK.exists(), reason="no mock-ups here")
@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_has_the_form_of_the_mock_up(width, ascii):
    form = "ASCII (LANG=C)" if ascii else "Unicode"
    block = LOOK.read_text().split(f"== several sessions, {width} columns, {form}\n")[1]
    expected = block.split("\n\n")[0].splitlines()
    sessions = [TRIPPED, session(name="stuck"), WAITING, DEAR, WORKING, PAUSED, IDLE]
    style = Style(ascii=ascii)
    drawn = table(sessions, LIMITS, NOW + 550, width, 24, style)
    assert drawn[0].split() == expected[0].split()
    marks = [line[0] for line in expected[1:-2]]
    assert [line[0] for line in drawn[1:-2]] == sorted(
        [line[0] for line in drawn[1:-2]], key=marks.index
    )
    assert set(line[0] for line in drawn[1:-2]) <= set(marks) and drawn[-2] == expected[-2]
    numbers = re.compile(r"[\d.]+")
    assert numbers.sub("N", drawn[-1]) == numbers.sub("N", expected[-1])


def test_the_colours_are_those_of_the_mock_up():
    rows = table([*EVERY, PAUSED], LIMITS, NOW, 120, 24, Style(colour=True))
    text = "\n".join(rows)
    for painted in (
        "\x1b[31;1m✗\x1b[0m \x1b[31;1mtripped", "\x1b[31;1m 100%\x1b[0m", "\x1b[33m  94%\x1b[0m",
        "\x1b[36;1m?\x1b[0m \x1b[36;1mwaiting", "\x1b[2m‖\x1b[0m", "\x1b[2m·\x1b[0m",
        "\x1b[36;1m? 1 waiting for you\x1b[0m", "\x1b[2m─",
    ):  # fmt: skip
        assert painted in text, painted
    assert not re.search(r"\x1b\[(?!31;1m|33;1m|33m|36;1m|2m|0m)", text)


def test_a_row_says_why_a_session_tripped_and_what_the_others_do():
    asks = with_event("tool_call", CALL, name="asks")
    asks.see(make("waiting", NOW - 5, asks.name, {"for": "permission"}))
    cost = {"watcher": "cost", "level": "critical", "limit": 10.0}
    dear = with_event("violation", cost | {"message": "$10.02 (threshold: $10.00)"}, name="dear")
    dear.see(make("kill", NOW, dear.name, {"outcome": "terminated"}))
    fetch = {"tool_name": "WebFetch", "arguments": {"url": "https://example.com/a"}}
    rows = "\n".join(
        table([asks, dear, with_event("tool_call", fetch)], LIMITS, NOW, 160, 9, PLAIN)
    )
    assert "killed: cost $10.02 of $10 " in rows and 'asks: "make -j8"' in rows
    assert "WebFetch example.com/a" in rows
    paused = with_event("kill", {"outcome": "paused"})
    assert drawn(paused, 100).endswith("· paused: agent-strace resume 4e19aab4")
    assert drawn(paused, 40).endswith("paused (0:10) · $1.00")
    stuck = line(session(), LIMITS, NOW + 550, "+12:03", 44, PLAIN)
    assert stuck == "+12:03 ⚠  no event for 9:20 · $1.00"


def test_without_unicode_nothing_else_is_written():
    odd = session(cwd="/srv/Übung/日本")
    odd.see(make("tool_call", NOW, odd.name, {"tool_name": "Bash", "arguments": {"command": "é"}}))
    style = Style(ascii=True)
    assert all(row.isascii() for row in table([odd, *EVERY], LIMITS, NOW, 132, 24, style))
    assert drawn(odd, 120, style).isascii() and tmux([odd], LIMITS, NOW, style).isascii()


def test_a_resumed_session_has_the_limits_that_its_user_set():
    failures = {"level": "critical", "watcher": "retry", "limit": 3, "message": "failed 3 times"}
    found = with_event("violation", failures)
    found.see(make("kill", NOW, found.name, {"outcome": "paused"}))
    found.see(make("resume", NOW, found.name, {"limits": {"retry": 40}}))
    assert found.state(NOW) == State.WORKING
    limits = {each.name: each.limit for each in found.progress(LIMITS, NOW)}
    assert limits == LIMITS | {"retry": 40}


def test_states_follow_the_events():
    found = session()
    assert found.state(NOW, 600) == State.WORKING
    assert found.state(NOW + 500, 600) == State.STUCK
    found.see(make("kill", NOW, found.name, {"outcome": "paused"}))
    assert found.state(NOW, 600) == State.PAUSED
    assert TRIPPED.state(NOW) == State.TRIPPED
    again = with_event("violation", {"level": "critical", "watcher": "cost"})
    again.see(make("user_prompt", NOW, again.name, {"prompt": "go on"}))
    assert again.state(NOW) == State.WORKING


def test_once_prints_a_table_and_json_in_place_of_the_events():
    stream = Stream().spiral(2)
    done = run("trace-status", "--once", "--limit", "retry=4", input=stream.bytes)
    assert (done.returncode, done.stderr) == (0, b"") and "retry 4" in done.stdout.decode()
    done = run("trace-status", "--json", "--limit", "retry=4", input=stream.bytes)
    same = run("trace-status", "--format", "json", "--limit", "retry=4", input=stream.bytes)
    assert done.stdout == same.stdout
    found = json.loads(done.stdout)
    assert found["events"] == 4 and found["failing"] == 2 and found["limits"][0]["part"] == 0.5
    done = run("trace-status", "--limit", "retries=4", input=b"")
    assert done.returncode == 2 and b"cost, duration, stall, retry" in done.stderr
