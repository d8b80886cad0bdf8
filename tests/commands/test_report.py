"""trace-report and agent-strace report: the page, its totals, its verdict, and hostile text."""

import json
import re
from html.parser import HTMLParser

import pytest

from agent_pipes.commands.report_page.story import Story
from agent_pipes.commands.report_page.story_builder import MIN_GAP_S
from agent_pipes.commands.report_page.verdict import Breaker, verdict
from tests.helpers.browser import CHROMIUM, DRIVER
from tests.helpers.detecting import read_edit_test
from tests.helpers.support import (
    ENVIRONMENT,
    FIXTURES,
    SHARED,
    Stream,
    command,
    events_of,
    run,
)
from tests.helpers.terminal import shown_on_terminal

CLAUDE_LOOP = SHARED / "sessions" / "driven" / "claude" / "loop.jsonl"
needs_sessions = pytest.mark.skipif(not SHARED.exists(), reason="no recorded sessions here")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium here")


class Text(HTMLParser):
    """Collects the tags and the text of a page, script and style aside."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def with_costs(stream: Stream) -> bytes:
    return run("trace-cost", "--summary", input=stream.bytes).stdout


def loop_events(rounds: int = 5) -> bytes:
    """A loop with costs, judged by loop and retry."""
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/home/dev/proj", "model": "m"})
    stream.add("user_prompt", {"prompt": "fix the failing test"})
    for number in range(rounds):
        usage = {"input_tokens": 1000, "output_tokens": 200}
        data = {"model": "claude-opus-4-8", "response_id": f"r{number}", "usage": usage}
        stream.add("llm_response", data)
        read_edit_test(stream, 1, first=number)
    costed = run("trace-cost", input=stream.bytes).stdout
    looped = run("trace-detect-loop", input=costed).stdout
    return run("trace-detect-retry", input=looped).stdout


def page_of(events: bytes, *arguments: str) -> str:
    done = run("trace-report", *arguments, input=events)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_the_first_line_is_the_verdict_with_what_came_after():
    events = loop_events()
    total = [e for e in events_of(events, "llm_response")][-1]["data"]["cost"]["session_usd"]
    text = Text(page_of(events)).text
    assert "Tripped: " in text and "came after" in text and "× 3" in text
    assert f"of ${total:.2f}" in text or f"of ${total:.3f}" in text
    assert "agent-strace watch --on-violation kill 3f6e2c1a" in text


def test_rounds_after_the_trip_are_counted_and_say_what_differs():
    text = Text(page_of(loop_events(rounds=5))).text
    assert "5 times" in text and "3 allowed" in text
    assert "the 2 rounds below cost" in text
    assert "return 0 → return 1" in text and "same error" in text


def test_an_edit_that_a_later_round_undoes_is_marked():
    page = page_of(loop_events(rounds=3))
    assert page.count(">overwritten<") == 2
    assert "overwritten by call" in page


def test_without_a_trip_the_nearest_limit_is_named():
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/w"})
    stream.spiral(4)
    warning = {"watcher": "retry", "level": "warning", "message": "m", "count": 4, "limit": 5}
    stream.add("violation", warning)
    text = Text(page_of(stream.bytes)).text
    assert "Nothing tripped; nearest was retry 5 at 80%." in text
    assert "What would have stopped it" not in text


@pytest.mark.parametrize(
    "story, nearest",
    [
        ({"usd": 3.0, "priced": True}, "cost $10 at 30%"),
        ({"usd": 3.0, "priced": False}, "loop 3 at 67%"),
        ({"alone": 1440.0}, "time 30m at 80%"),
        ({"silent": 540.0, "alone": 540.0}, "stall 10m at 90%"),
        ({"alone": 7200.0}, "time 30m at 99%"),
    ],
)
def test_what_nearly_tripped_is_found_over_every_limit(story, nearest):
    limits = {"cost": 10.0, "duration": 1800.0, "stall": 600.0, "retry": 5, "loop": 3, "spawn": 0}
    passed = {} if story.get("priced") else {"loop": [2.0], "retry": [2.0, 3.0], "duration": [60.0]}
    pieces = verdict(Story("s", **story), None, Breaker(limits=limits, passed=passed))
    assert "".join(text for _, text in pieces) == f"Nothing tripped; nearest was {nearest}."


def test_lower_limits_are_tried_to_see_how_near_a_count_came(tmp_path):
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/w"})
    stream.spiral(3)
    folder = tmp_path / ".agent-traces" / stream.session
    folder.mkdir(parents=True)
    (folder / "events.ndjson").write_bytes(stream.bytes)
    for flags, found in (((), "retry 5 at 60%"), (("--max-retries", 4), "retry 4 at 75%")):
        events = folder / "events.ndjson"
        done = run("agent-strace", "report", events, "--text", *flags, cwd=tmp_path)
        assert f"nearest was {found}.".encode() in done.stdout, done.stderr


def test_where_nothing_came_after_the_accent_is_unused():
    stream = Stream()
    usage = {"input_tokens": 1000, "output_tokens": 500}
    data = {"model": "claude-opus-4-8", "response_id": "r1", "usage": usage}
    stream.add("llm_response", data)
    stream.spiral(2)
    stream.add("violation", {"watcher": "retry", "level": "critical", "message": "m"})
    stream.add("assistant_response", {"text": "sorry"})
    page = page_of(run("trace-cost", input=stream.bytes).stdout)
    assert "nothing was spent after" in page and 'class="curve hot"' not in page
    assert "spent after the trip" not in Text(page).text
    labels = re.findall(r'class="yl"[^>]*>(.*?)<', page)
    assert len(labels) == len(set(labels)) >= 2


def test_rows_add_up_to_the_session_as_trace_cost_sums_it():
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/w", "model": "claude-opus-4-8"})
    for number in range(4):
        usage = {"input_tokens": 100_000 * (number + 1), "output_tokens": 3000}
        data = {"model": "claude-opus-4-8", "response_id": f"r{number}", "usage": usage}
        # An answer that is told several times counts once.
        for _ in range(3):
            stream.add("llm_response", data)
        stream.call("Bash", {"command": f"ls {number}"}, step=f"r{number}")
    data = {"model": "claude-opus-4-8", "response_id": "last", "usage": {"output_tokens": 5000}}
    stream.add("llm_response", data)
    events = with_costs(stream)
    usd = events_of(events, "cost_summary")[0]["data"]["usd"]
    page = page_of(events)
    foot = re.search(r"<tfoot>.*</tfoot>", page)[0]
    calls, rest, total = (float(n) for n in re.findall(r">(-?[\d.]+)(?=<|$)", foot))
    assert total == pytest.approx(usd, abs=0.0006)
    assert calls + rest == pytest.approx(total, abs=0.0011) and rest > 0.1
    cells = re.findall(r"<td class=us>([\d.]+)<tr class=\"det", page)
    assert sum(map(float, cells)) == pytest.approx(calls, abs=0.0021)


def test_hostile_text_is_text():
    evil = "<script>alert(1)</script>\u202egnp.exe\x1b[31m</pre><img src=x onerror=alert(2)>\u2066"
    stream = Stream(session=evil)
    stream.add("session_start", {"agent": evil, "cwd": f"/tmp/{evil}", "model": evil})
    stream.add("user_prompt", {"prompt": evil})
    stream.call(evil, {evil: evil, "command": evil}, evil, failed=True)
    stream.call("Edit", {"file_path": evil, "old_string": evil, "new_string": evil + "2"}, evil)
    stream.add("subagent_start", {"agent_id": evil, "agent_type": evil})
    stream.call("Bash", {"command": evil}, evil, agent_id=evil)
    stream.add("violation", {"watcher": evil, "level": "critical", "message": evil})
    page = page_of(stream.bytes)
    found = Text(page)
    assert found.tags.count("script") == 1 and "img" not in found.tags
    assert "<script>alert(1)</script>‹202E›gnp.exe‹001B›[31m" in found.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)


def test_a_huge_result_is_cut_and_its_size_is_shown():
    stream = Stream()
    stream.bash("cat big", "<b>" * 3_000_000)
    page = page_of(stream.bytes)
    assert len(page) < 60_000 and "(9,000,000 characters)" in page


def test_a_thousand_calls_take_less_than_a_megabyte():
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/home/dev/proj"})
    for number in range(250):
        stream.bash(f"pytest -q tests/test_{number}.py " + "x" * 300, "E   <assert>\n" * 400)
        stream.bash(f"make {number}", "Error <&>\n" * 300, failed=True)
        old = "".join(f"line {n} of {number}\n" for n in range(60))
        arguments = {"file_path": "/home/dev/proj/a.py", "old_string": old}
        stream.call("Edit", arguments | {"new_string": old.replace("line", "row")}, "ok" * 200)
        stream.call(
            "Read", {"file_path": f"/home/dev/proj/very/long/path/to/file_{number}.py"}, "é" * 3000
        )
    assert len(page_of(stream.bytes).encode()) < 1_000_000


def test_a_gap_is_folded_and_waiting_for_the_user_is_drawn():
    stream = Stream()
    stream.add("session_start", {"agent": "claude", "cwd": "/w"})
    stream.add("user_prompt", {"prompt": "go"})
    stream.bash("ls")
    stream.add("assistant_response", {"text": "done"})
    stream.add("user_prompt", {"prompt": "and now <this>"}, after=40 * MIN_GAP_S)
    stream.bash("ls -l")
    page = page_of(stream.bytes)
    assert page.count('<rect class="fold" x=') == 1 and 'class="wait"' in page
    assert "1 h 20 min without an event" in page and "and now &lt;this&gt;" in page


def test_without_costs_the_page_says_so_and_has_no_curve():
    stream = Stream()
    stream.bash("ls")
    page = page_of(stream.bytes)
    assert "put trace-cost before trace-report" in page and '<path class="curve' not in page
    assert "$0" not in Text(page).text


def test_a_kill_is_a_mark_and_ends_the_verdict():
    events = loop_events(rounds=3)
    at = json.loads(events.splitlines()[-1])["timestamp"] + 0.2
    kill = {"pid": 7, "signal": "SIGTERM", "outcome": "terminated"}
    line = {"event_type": "kill", "timestamp": at, "session_id": Stream().session, "data": kill}
    text = Text(page_of(events + json.dumps(line).encode() + b"\n")).text
    assert "; killed 200 ms later, at " in text and "What would have stopped it" not in text
    assert "terminated SIGTERM" in text


def test_of_several_sessions_one_is_shown_and_the_others_are_named():
    one, two = Stream(), Stream(session="other-session")
    one.bash("ls")
    two.bash("make other")
    done = run("trace-report", input=one.bytes + two.bytes)
    assert b"showing session 3f6e2c1a" in done.stderr and b"make other" not in done.stdout
    assert b"make other" in run("trace-report", "other", input=one.bytes + two.bytes).stdout
    missing = run("trace-report", "nosuch", input=one.bytes)
    assert missing.returncode == 2 and b"no session nosuch" in missing.stderr


def test_text_is_at_most_forty_lines_with_the_verdict_first():
    done = run("trace-report", "--text", input=loop_events())
    lines = done.stdout.decode().splitlines()
    assert len(lines) <= 40 and lines[1].startswith("Tripped: ")
    assert any("agent-strace watch --on-violation kill" in line for line in lines)
    assert all(len(line) < 100 for line in lines)


def test_text_has_nothing_that_a_terminal_obeys():
    stream = Stream()
    stream.bash("echo \x1b]52;c;aGk=\x07\x9b1m\u202e", "\x1b[2J", failed=True)
    text = run("trace-report", "--text", input=stream.bytes).stdout.decode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_a_terminal_gets_the_text():
    text = shown_on_terminal(
        command("trace-report"), ENVIRONMENT, input=loop_events(rounds=3)
    ).decode()
    assert "Tripped: " in text and "<html" not in text


def test_an_empty_input_is_no_page():
    done = run("trace-report")
    assert (done.returncode, done.stdout) == (0, b"") and b"nothing to report" in done.stderr


def test_a_bad_line_is_reported_and_the_rest_shown():
    stream = Stream()
    stream.bash("ls")
    done = run("trace-report", input=stream.bytes + b"not json\n")
    assert done.returncode == 2 and b"</html>" in done.stdout
    assert b"standard input:3:" in done.stderr


def test_odd_events_do_not_break_the_page():
    fixture = (FIXTURES / "spiral.ndjson").read_bytes()
    odd = b"".join(
        json.dumps({"event_type": kind, "session_id": "3f6e2c1a", "data": data}).encode() + b"\n"
        for kind in ("tool_call", "tool_result", "error", "llm_response", "violation", "kill")
        for data in (None, [], {"cost": 7}, {"evidence": 3, "steps": [], "limit": "x", "count": []})
    )
    assert run("trace-report", input=odd + fixture).returncode in (0, 2)
    assert b"</html>" in run("trace-report", "3f6e2c1a", input=odd + fixture).stdout


@needs_sessions
def test_the_command_reports_a_session_and_backtest_agrees(tmp_path):
    out = tmp_path / "page.html"
    done = run("agent-strace", "report", CLAUDE_LOOP, "--output", out, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = Text(out.read_text())
    events = run("trace-tail", "--no-follow", CLAUDE_LOOP).stdout
    events = run("trace-cost", "--summary", input=events).stdout
    usd = events_of(events, "cost_summary")[0]["data"]["usd"]
    assert f"${usd:.2f}" in page.text
    for name in ("trace-detect-loop", "trace-detect-retry"):
        events = run(name, input=events).stdout
    for each in events_of(events, "violation"):
        assert each["data"]["message"].split(";")[0] in page.text


@needs_sessions
def test_the_command_names_the_limits_it_was_given(tmp_path):
    done = run("agent-strace", "report", CLAUDE_LOOP, "--text", "--max-retries", 2, cwd=tmp_path)
    assert b"--max-retries 2 --on-violation kill" in done.stdout


def test_a_report_without_a_trip_says_by_which_limits(tmp_path):
    looping = FIXTURES / "looping.ndjson"
    off = ("--max-retries", "off", "--max-repeats", "off")
    text = " ".join(
        run("agent-strace", "report", looping, "--text", *off, cwd=tmp_path).stdout.decode().split()
    )
    assert "Nothing tripped" in text and "Limits: --max-retries 0, --max-repeats 0, else" in text
