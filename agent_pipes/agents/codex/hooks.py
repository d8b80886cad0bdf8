"""Hooks of Codex, which writes payloads as Claude Code does and adds its turn."""

import os
import stat

from agent_pipes.agents.base_hooks import (
    CLAUDE_KINDS,
    MAX_RESULT_BYTES,
    Hooks,
    HookSettings,
    Payload,
    pre_tool_decision,
)
from agent_pipes.agents.fields import string, within
from agent_pipes.core.jsonl import Fields, objects

ROLLOUT_TAIL_BYTES = 256 << 10
"""Bytes at the end of a rollout that are searched for the end of a call that has just ended."""

NOT_CALLED = frozenset({"PostToolUseFailure", "PermissionDenied", "StopFailure"})
"""Events of Claude Code that Codex has not."""


class CodexHooks(Hooks):
    """Codex's hooks. A result is the command's output alone: its status is in the rollout."""

    name = "codex"
    store_name = "codex"
    context_kinds = frozenset({"result"})
    settings = HookSettings(
        "CODEX_HOME",
        ".codex",
        "hooks.json",
        ".codex/hooks.json",
        [event for event in CLAUDE_KINDS if event not in NOT_CALLED],
        note="Codex runs a new hook only after you have trusted it: type /hooks in Codex",
    )

    def recognises(self, record: Fields, event: str) -> bool:
        """Return True for a payload that has a turn, or names a rollout or no transcript."""
        if "turn_id" in record:
            return True
        transcript = record.get("transcript_path")
        return "transcript_path" in record and (
            transcript is None or os.path.basename(str(transcript)).startswith("rollout-")
        )

    def call(self, record: Fields, event: str) -> tuple[str, Fields]:
        """Return the call; a patch has the argument name that it has in a rollout."""
        tool, arguments = super().call(record, event)
        if tool == "apply_patch" and "command" in arguments:
            arguments = {"input": arguments["command"]}
        return tool, arguments

    def outcome(self, payload: Payload) -> tuple[str, Fields]:
        """Return the event for the end of a call, with what the rollout says of it."""
        from agent_pipes.agents.codex.outcomes import ended_of, outcome

        item = _turn_item(payload.transcript, payload.call)
        ended = outcome("", payload.record.get("tool_response"), ended_of(item) if item else None)
        return ended.event(payload.tool, MAX_RESULT_BYTES)

    def denial(self, why: str) -> Fields:
        """Return a permission decision and nothing else: with `continue` Codex makes the call."""
        return pre_tool_decision("deny", why)


def _turn_item(rollout: str, call: str) -> Fields:
    """Return the rollout's item of the call `call`, which has just ended; {} if there is none."""
    name = call.encode()
    for line in reversed(_tail(rollout).split(b"\n") if name else ()):
        if name in line and b'"item_completed"' in line:
            try:
                items = [within(within(record, "payload"), "item") for record in objects(line)]
            except ValueError:
                continue
            for item in items:
                if string(item, "id") == call:
                    return item
    return {}


def _tail(path: str) -> bytes:
    """Return the end of a file, b"" if there is none or it is no regular file."""
    if not os.path.isabs(path):
        return b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        start = max(0, status.st_size - ROLLOUT_TAIL_BYTES)
        return os.pread(fd, ROLLOUT_TAIL_BYTES, start) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(fd)


HOOKS = CodexHooks()
