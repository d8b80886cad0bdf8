"""Synthetic sessions with the mix of recorded ones, about 400 bytes per line.

The mix is that of recorded sessions (Claude Code, Codex, Copilot and Gemini together): of a hundred events 29 tool calls,
27 results and 2 errors, 36 responses of the model with their usage, 6 of its texts. Nothing in it trips a limit at its default.

    python tests/helpers/synthetic_events.py EVENTS [SESSIONS] > trace.ndjson
"""

import random
import sys
from collections.abc import Iterator

import orjson

MODEL = "claude-opus-4-5"

POLICY = '{"files": {"write": {"allow": ["**", "/home/ann/app/**"]}}, "commands": {"deny": ["rm -rf *"]}}'
"""A policy that these sessions keep to."""


def events(count: int, sessions: int = 1) -> Iterator[bytes]:
    """`count` lines of `sessions` sessions, interleaved; the same for the same numbers."""
    dice = random.Random(7)
    times = [1_790_000_000.0] * sessions
    number = 0
    while number < count:
        who = number % sessions
        session = f"5f2c8a1e-7b3d-4e90-a1c4-{who:012d}"
        for kind, name, parent, data in _turn(dice, f"{who}_{number}"):
            times[who] += dice.uniform(0.01, 0.6)
            fields = {
                "event_type": kind,
                "timestamp": round(times[who], 3),
                "event_id": name,
                "session_id": session,
            }
            if parent:
                fields["parent_id"] = parent
            yield orjson.dumps(fields | {"data": data}) + b"\n"
            number += 1
            if number == count:
                return


def _turn(dice: random.Random, name: str) -> Iterator[tuple[str, str, str, dict[str, object]]]:
    """A response of the model, its calls, and what became of them."""
    shown = dice.randrange
    usage = {
        "input_tokens": shown(400),
        "output_tokens": shown(30, 900),
        "cache_read_input_tokens": shown(9_000, 140_000),
        "cache_creation_input_tokens": shown(4_000),
    }
    response = {
        "model": MODEL,
        "response_id": f"msg_{name}",
        "usage": usage,
        "service_tier": "standard",
    }
    yield "llm_response", f"r{name}", "", response
    if dice.random() < 0.2:
        yield "assistant_response", f"t{name}", "", {"text": _words(dice, 30)}
    if dice.random() < 0.25:
        return
    for index in range(1 if dice.random() < 0.9 else 2):
        call = f"toolu_{name}_{index}"
        tool, arguments, result = _call(dice)
        yield (
            "tool_call",
            call,
            "",
            {"tool_name": tool, "arguments": arguments, "step": f"msg_{name}"},
        )
        size = len(result)
        digest = f"{dice.getrandbits(96):024x}"
        if dice.random() < 0.06:
            yield (
                "error",
                f"e{call}",
                call,
                {
                    "tool_name": tool,
                    "error": f"Exit code 1\n{result}",
                    "result_bytes": size,
                    "result_digest": digest,
                    "exit_code": 1,
                },
            )
        elif dice.random() < 0.995:
            yield (
                "tool_result",
                f"o{call}",
                call,
                {
                    "tool_name": tool,
                    "result": result,
                    "result_bytes": size,
                    "result_digest": digest,
                },
            )


def _call(dice: random.Random) -> tuple[str, dict[str, object], str]:
    path = f"/home/ann/app/src/{_word(dice)}/{_word(dice)}.py"
    kind = dice.random()
    if kind < 0.45:
        command = dice.choice(
            (
                f"cd /home/ann/app && python -m pytest -q tests/test_{_word(dice)}.py 2>&1 | tail -20",
                f"rg -n {_word(dice)} src | head",
                f"git diff --stat {path}",
                f"ls -la {path}",
            )
        )
        return "Bash", {"command": command, "description": _words(dice, 6)}, _words(dice, 36)
    if kind < 0.75:
        return (
            "Read",
            {"file_path": path, "offset": dice.randrange(900), "limit": 80},
            _words(dice, 60),
        )
    if kind < 0.9:
        return (
            "Edit",
            {"file_path": path, "old_string": _words(dice, 20), "new_string": _words(dice, 24)},
            f"The file {path} has been updated.",
        )
    return (
        "Grep",
        {"pattern": f"{_word(dice)}.*{_word(dice)}", "path": "/home/ann/app"},
        _words(dice, 30),
    )


_VOCABULARY = [
    f"{a}{b}{c}"
    for a in ("pay", "log", "sess", "cart", "index", "route", "cache", "token")
    for b in ("", "_in", "er", "ment")
    for c in ("", "_id", "s")
]


def _word(dice: random.Random) -> str:
    return f"{_VOCABULARY[dice.randrange(len(_VOCABULARY))]}{dice.randrange(1000)}"


def _words(dice: random.Random, count: int) -> str:
    return " ".join(dice.choices(_VOCABULARY, k=count))


if __name__ == "__main__":
    sys.stdout.buffer.writelines(events(*map(int, sys.argv[1:])))
