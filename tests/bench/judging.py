"""Time that the judgement of one shell command takes, over the recorded commands.

python tests/bench/judging.py
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from agent_pipes.core.event import Event, make  # noqa: E402
from agent_pipes.scope.evaluate import SessionScope  # noqa: E402
from agent_pipes.scope.policy import Policy  # noqa: E402
from tests.bench.corpus import EXAMPLES, SHARED  # noqa: E402

ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3)) * 3

STANDARD = json.loads((ROOT / "agent_pipes" / "data" / "standard-policy.json").read_text())
POLICIES: dict[str, dict[str, Any]] = {
    "commands only": {"commands": {"deny": ["git push", "rm -rf *"]}},
    "the standard policy": STANDARD,
    "all kinds of rule": {**STANDARD, "network": {"deny_all": True, "allow": ["*.example.org"]}},
}


def recorded_commands() -> list[str]:
    """Return the shell commands of the recorded sessions, or of the package's examples."""
    folder = SHARED / "sessions"
    found: dict[str, None] = {}
    for path in sorted((folder if folder.is_dir() else EXAMPLES).rglob("*.json*")):
        for line in path.read_bytes().splitlines():
            found.update(dict.fromkeys(_commands_in(_parsed(line))))
    return list(found)


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _commands_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        command = value.get("command") or value.get("cmd")
        if isinstance(command, list) and len(command) == 3 and command[1] in ("-c", "-lc"):
            command = command[2]
        if isinstance(command, str) and command.strip():
            yield command
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _commands_in(each)
    elif isinstance(value, str) and value.startswith("{") and '"c' in value:
        yield from _commands_in(_parsed(value))


def call(command: str) -> Event:
    return make("tool_call", 1.8e9, "s", {"tool_name": "Bash", "arguments": {"command": command}})


def judging_us(policy: dict[str, Any], commands: list[str], rounds: int = ROUNDS) -> float:
    """Return the median over the commands of their fastest judgement, in microseconds."""
    scope = SessionScope(Policy("policy.json", policy))
    scope.enter("/tmp/project")
    calls = [call(command) for command in commands]
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for at, event in enumerate(calls):
            began = time.thread_time_ns()
            scope.evaluate(event)
            best[at] = min(best[at], time.thread_time_ns() - began)
    return statistics.median(best) / 1000


if __name__ == "__main__":
    COMMANDS = recorded_commands()
    for name, content in POLICIES.items():
        print(f"{name}: {judging_us(content, COMMANDS):.0f} µs, {len(COMMANDS)} commands")
