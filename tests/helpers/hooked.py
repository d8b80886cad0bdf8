"""Helpers for tests of hooks: payloads as agents send them, and the store that they come to."""

import json
import os
from hashlib import sha256
from pathlib import Path

from agent_pipes.hooks import recorder
from tests.helpers.support import FIXTURES, run

AGENTS = ("claude", "codex", "gemini", "copilot", "cursor")
SESSION = "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134"
TOP = {
    "event_type",
    "timestamp",
    "event_id",
    "session_id",
    "parent_id",
    "duration_ms",
    "data",
    "prev_hash",
}
"""The keys that an event in the store may have: with another one its other readers drop it."""
META = {
    "session_id", "started_at", "ended_at", "agent_name", "command", "tool_calls", "llm_requests", "errors", "total_tokens", "total_duration_ms",
    "workspace_id", "attribution",
}  # fmt: skip
"""Keys of a session's meta.json: with any other, its other readers do not find the session."""


def payloads(agent: str, cwd: Path | str = "/home/dev/proj") -> list[dict]:
    """The payloads of one session of `agent`, in `cwd`."""
    text = (FIXTURES / "hooks" / f"{agent}.ndjson").read_text().replace("/home/dev/proj", str(cwd))
    return [json.loads(line) for line in text.splitlines()]


def claude(event: str, cwd: Path, **more: object) -> dict:
    """One payload of Claude Code's."""
    return {
        "session_id": SESSION,
        "transcript_path": "/nowhere/t.jsonl",
        "cwd": str(cwd),
        "hook_event_name": event,
        **more,
    }


def call(cwd: Path, tool: str, number: int = 1, **arguments: object) -> dict:
    return claude(
        "PreToolUse", cwd, tool_name=tool, tool_input=arguments, tool_use_id=f"toolu_{number}"
    )


def failure(cwd: Path, command: str, number: int, text: str = "Exit code 1\nFAILED") -> dict:
    return claude(
        "PostToolUseFailure",
        cwd,
        tool_name="Bash",
        tool_input={"command": command},
        tool_use_id=f"toolu_{number}",
        error=text,
    )


def success(cwd: Path, tool: str, number: int, response: object, **arguments: object) -> dict:
    return claude(
        "PostToolUse",
        cwd,
        tool_name=tool,
        tool_input=arguments,
        tool_use_id=f"toolu_{number}",
        tool_response=response,
    )


def record(payload: dict, **options: object) -> bytes:
    """Return the hook's answer to the payload, in this process."""
    return recorder.record(json.dumps(payload).encode(), **options)


def hook(
    payload: dict | bytes,
    *arguments: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
):
    """The hook as agents call it."""
    return run(
        "agent-strace",
        "hook",
        *arguments,
        input=payload if isinstance(payload, bytes) else json.dumps(payload),
        cwd=cwd,
        env=env,
    )


def lines(store: Path, session: str = SESSION[:16]) -> list[bytes]:
    return (store / session / "events.ndjson").read_bytes().splitlines(keepends=True)


def events(store: Path, session: str = SESSION[:16], kind: str = "") -> list[dict]:
    """The session's events, or those of one type, which are chained and in the store's own form."""
    raw = lines(store, session)
    found = [json.loads(line) for line in raw]
    for number, event in enumerate(found):
        assert set(event) <= TOP and event["session_id"] == session and len(event["event_id"]) == 12
        before = sha256(raw[number - 1].rstrip(b"\n")).hexdigest() if number else None
        assert event.get("prev_hash") == before, f"line {number + 1} is not tied to the one before"
    return [event for event in found if not kind or event["event_type"] == kind]


def meta(store: Path, session: str = SESSION[:16]) -> dict:
    said = json.loads((store / session / "meta.json").read_bytes())
    assert set(said) <= META
    return said


def names(store: Path) -> set[str]:
    """The files in the store itself, each by the head of its name."""
    return {".".join(name.split(".")[:2]) for name in os.listdir(store) if name.startswith(".")}
