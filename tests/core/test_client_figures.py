"""Figures of a client's status line become events of the session that is followed."""

import json
import time

import pytest

from agent_pipes.agents.claude.status_line import figures
from agent_pipes.core.client_figures import note_figures, with_figures
from agent_pipes.core.event import make, tick
from tests.helpers.support import SESSION, START, run

GIVEN = {
    "session_id": SESSION,
    "transcript_path": "/nowhere/t.jsonl",
    "model": {"id": "claude-opus-5-5"},
    "context_window": {"context_window_size": 200_000, "used_percentage": 8},
    "rate_limits": {
        "five_hour": {"used_percentage": 91.5, "resets_at": 1_795_370_000},
        "seven_day": {"used_percentage": 12},
    },
}


@pytest.fixture(autouse=True)
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def process():
    return make("process", START, SESSION, {"pid": 7, "started": "1"})


def emitted(events) -> list[dict]:
    return [each.data for each in with_figures(iter(events)) if each.type in ("quota", "context")]


def test_quota_and_window_of_claudes_status_line():
    assert list(figures(GIVEN)) == [
        {
            "event_type": "quota",
            "data": {
                "limit": "five_hour",
                "used_percent": 91.5,
                "window_minutes": 300,
                "resets_at": 1_795_370_000,
            },
        },
        {
            "event_type": "quota",
            "data": {"limit": "seven_day", "used_percent": 12, "window_minutes": 10_080},
        },
        {"event_type": "context", "data": {"context_window": 200_000}},
    ]
    assert (
        list(figures({"rate_limits": None, "context_window": {"context_window_size": "x"}})) == []
    )


def test_figures_are_emitted_once_and_again_when_they_change(runtime):
    note_figures(SESSION, list(figures(GIVEN)))
    ticks = [tick(START + number, SESSION) for number in range(3)]
    assert [each.get("used_percent") for each in emitted([process(), *ticks])] == [91.5, 12, None]
    assert emitted(ticks) == [], "a session without a process is not followed live"

    def changing():
        yield from (process(), *ticks)
        more = {"five_hour": {"used_percentage": 95}}
        note_figures(SESSION, list(figures({**GIVEN, "rate_limits": more})))
        yield from ticks

    assert [each.get("used_percent") for each in emitted(changing())][3:] == [95]


def test_figures_of_an_earlier_process_are_over(runtime):
    note_figures(SESSION, list(figures(GIVEN)))
    later = make("process", START, SESSION, {"pid": 7, "started": "1", "began": time.time() + 60})
    assert emitted([later, tick(START, SESSION)]) == []


def test_what_is_no_figure_is_passed_over(runtime):
    note_figures(SESSION, [{"event_type": "kill", "data": {}}, {"event_type": "quota"}, "x"])
    assert emitted([process(), tick(START, SESSION)]) == []


def test_status_line_leaves_them_and_the_detectors_use_them(runtime):
    place = {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}
    done = run("trace-status", "--format", "claude", input=json.dumps(GIVEN), env=place)
    assert done.returncode == 0, done.stderr
    usage = {"input_tokens": 170_000, "output_tokens": 10_000}
    response = make("llm_response", START + 2, SESSION, {"response_id": "r", "usage": usage})
    stream = list(with_figures(iter([process(), tick(START + 1, SESSION), response])))
    lines = b"".join(each.raw for each in stream)
    warned = run("trace-detect-context", input=run("trace-detect-quota", input=lines).stdout)
    messages = [
        json.loads(line)["data"]["message"]
        for line in warned.stdout.splitlines()
        if b'"violation"' in line
    ]
    assert [each.partition(" (")[0] for each in messages] == [
        "92% of the 5h quota used",
        "context window 90% full",
    ]
