"""All that each detector must do: no wrong type stops it, and those that are off by default are."""

from typing import Any

import pytest

from agent_pipes.detect.registry import DETECTORS
from tests.helpers.detecting import raised
from tests.helpers.support import START, run

KINDS = (
    "tool_call", "tool_result", "error", "assistant_response", "user_prompt", "llm_response",
    "session_start", "subagent_start", "subagent_stop", "quota", "process", "waiting", "compaction",
)  # fmt: skip

ODD: list[Any] = [
    None,
    [],
    "x",
    {"tool_name": 7, "arguments": [1], "step": {}, "reason": [], "agent_id": {}},
    {"tool_use_id": [], "result": {}, "error": {}, "result_bytes": "x", "result_digest": 5},
    {"usage": 5, "model": [], "cost": "x", "response_id": {}},
    {"usage": {"input_tokens": "x", "output_tokens": -1}, "context_window": "x"},
    {"agent_id": 5, "parent_agent_id": {}, "depth": []},
    {"used_percent": "x", "resets_at": 1e300, "window_minutes": -5, "limit": []},
    {"used_percent": True, "prompt": 5, "origin": [], "text": {}},
    {"cannot_tell": 7, "interactive": "no", "began": "today", "for": 3},
]


@pytest.mark.parametrize("watcher", [name for name in DETECTORS if name != "scope"])
@pytest.mark.parametrize("data", ODD, ids=str)
def test_wrong_types_end_no_detector(
    watcher: str, data: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[dict[str, Any]] = [
        {"event_type": "llm_response", "timestamp": "x"},
        {"event_type": "user_prompt", "timestamp": 1e400, "data": []},
        {"event_type": "tick"},
    ]
    for number, kind in enumerate(KINDS * 3):
        place = {"timestamp": START + number, "event_id": f"e{number % 5}", "session_id": "s"}
        events.append({"event_type": kind, **place, "parent_id": "e0", "data": data})
        events.append({"event_type": kind, **place, "event_id": 5, "parent_id": [], "data": data})
    raised(DETECTORS[watcher], events)
    # A detector that raises is dropped with a message.
    assert "failed (" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["context", "quota"])
def test_watch_runs_it_only_if_asked(name: str) -> None:
    line = "agent-strace watch --explain"
    asked = run(line, f"--max-{name}", "70%").stdout
    assert f"trace-detect-{name}".encode() in asked
    assert f"trace-detect-{name}".encode() not in run(line).stdout
