"""Memory of the breaker while one kind of thing goes on without end.

    python tests/bench/bounds.py THING [EVENTS]

Prints the resident bytes after a third of so many events (a million), and after all of them.
All stages of `agent-strace watch` that see the stream run in this process, behind each other.
"""

import gc
import os
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Container, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from agent_pipes.commands.alert import alert  # noqa: E402
from agent_pipes.commands.cost import cost  # noqa: E402
from agent_pipes.commands.kill import kill  # noqa: E402
from agent_pipes.commands.nudge import nudge  # noqa: E402
from agent_pipes.commands.status import status  # noqa: E402
from agent_pipes.commands.watch_summary import summarize  # noqa: E402
from agent_pipes.core.event import Event  # noqa: E402
from agent_pipes.core.resumption import with_resumptions  # noqa: E402
from agent_pipes.core.stream import Waiter  # noqa: E402
from agent_pipes.detect.detector import run_detectors  # noqa: E402
from agent_pipes.detect.registry import DETECTORS  # noqa: E402
from agent_pipes.process import killer  # noqa: E402, F401

START_S = 1_790_000_000.0
MILLION = 1_000_000
FILLED = 3
"""Part of the events, as a divisor, after which growth is measured: every table is full by then."""

CACHE = type(lru_cache(lambda: None))

NO_COUNTS = ("_BYTES", "_CHARS", "_COUNT", "_S", "_USD")
"""Ends of limits that are no number of things."""


def event(kind: str, number: int, session: str = "s", **data: Any) -> Event:
    """Return the event with this number; each has an id and a time of its own."""
    fields = {
        "event_type": kind,
        "timestamp": START_S + number / 10,
        "event_id": f"{kind}{number}",
        "session_id": session,
        "data": data,
    }
    if kind in ("tool_result", "error"):
        fields["parent_id"] = f"tool_call{number}"
    return Event(b"{}\n", fields)


def call(number: int, session: str = "s", command: str = "", **data: Any) -> Event:
    """Return the call with this number."""
    arguments = {"command": command or f"make target{number}"}
    return event("tool_call", number, session, tool_name="Bash", arguments=arguments, **data)


def failure(number: int, session: str = "s", **data: Any) -> Event:
    """Return the failure of the call with this number."""
    text = f"Exit code 1\nno rule for {number}"
    return event("error", number, session, tool_name="Bash", error=text, reason="exit", **data)


def response(number: int, session: str = "s", model: str = "claude-opus-4-5") -> Event:
    """Return a response with a usage."""
    usage = {"input_tokens": 1000, "output_tokens": 10}
    return event(
        "llm_response", number, session, model=model, response_id=f"r{number}", usage=usage
    )


def violation(number: int, session: str = "s", **data: Any) -> Event:
    """Return a violation of a detector upstream."""
    return event("violation", number, session, watcher="own", level="critical", message="m", **data)


def _allowance(number: int) -> Event:
    return event("resume", number, limits={f"watcher{number}": 5.0}, ignored=[f"other{number}"])


THINGS: dict[str, Callable[[int], list[Event]]] = {
    "sessions": lambda n: [event("session_start", n, f"s{n}", cwd=f"/srv/{n}")],
    "histories": lambda n: [event("history_start", n, f"s{n}")],
    "processes": lambda n: [
        event("process", n, f"s{n}", pid=4_000_000 + n, started=str(n), machine="elsewhere")
    ],
    "ended sessions": lambda n: [
        event("session_start", n, f"s{n}"), call(n, f"s{n}"), event("session_end", n, f"s{n}")
    ],
    "open calls": lambda n: [call(n)],
    "calls": lambda n: [call(n), event("tool_result", n, tool_name="Bash", result=f"made {n}")],
    "failures": lambda n: [call(n), failure(n)],
    "subagents": lambda n: [
        event("subagent_start", n, agent_id=f"a{n}"), call(n, agent_id=f"a{n}"),
        failure(n, agent_id=f"a{n}"),
    ],
    "responses": lambda n: [response(n)],
    "models": lambda n: [response(n, model=f"model-{n}")],
    "responses of sessions": lambda n: [response(n, f"s{n}")],
    "findings": lambda n: [
        call(n, command=f"make t{n // 6}"), failure(n), event("tool_result", n, result="ok")
    ],
    "violations": lambda n: [violation(n)],
    "violations of sessions": lambda n: [violation(n, f"s{n}", actions=["nudge"])],
    "resumptions": lambda n: [_allowance(n)],
    "prompts": lambda n: [event("user_prompt", n, prompt=f"do {n}")],
    "messages": lambda n: [event("assistant_response", n, text=f"I think that {n} is right.")],
    "waits": lambda n: [event("waiting", n, f"s{n}", **{"for": "permission"})],
    "hosts": lambda n: [call(n, command=f"curl https://host{n}.example/")],
    "files": lambda n: [
        event("tool_call", n, tool_name="Write", arguments={"file_path": f"/etc/{n}"})
    ],
    "ticks": lambda n: [event("tick", n)],
}  # fmt: skip
"""Streams without end: by name, the events of each round."""


def events_of(thing: str) -> Iterator[Event]:
    """Yield the events of a thing, without end."""
    number = 0
    while True:
        yield from THINGS[thing](number)
        number += 1


def pipeline(events: Iterator[Event], folder: Path) -> Iterator[Event]:
    """Return the stages of a breaker behind `events`, with every detector."""
    policy = folder / "policy.json"
    policy.write_text(
        '{"files": {"write": {"deny": ["/etc/**"]}}, "network": {"allow": ["example.org"]}}'
    )
    waiter = Waiter()
    specs = [
        part.configured({"policy": policy} if watcher == "scope" else {})
        for watcher, part in DETECTORS.items()
    ]
    stream: Any = with_resumptions(events)
    for part, options in (
        (cost, {}),
        (run_detectors, {"specs": specs, "strict": True}),
        (kill, {}),
        (nudge, {}),
        (alert, {}),
        (status, {}),
        (summarize, {}),
    ):
        stream = part.stage(waiter, **options)(stream)
    return iter(stream)


def growth(thing: str, most: int, memory: Callable[[], int]) -> int:
    """Return the bytes by which `memory` grows in the last two thirds of `most` events."""
    third, whole = memories(thing, most, memory)
    return whole - third


def memories(thing: str, most: int, memory: Callable[[], int]) -> list[int]:
    """Return what `memory` tells after a third of `most` events, and after all."""
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"XDG_RUNTIME_DIR": name, "HOME": name}
        found: list[int] = []
        events = measured(islice(events_of(thing), most), {most // FILLED, most - 1}, memory, found)
        for _ in pipeline(events, Path(name)):
            pass
        return found


def measured(
    events: Iterator[Event], at: Container[int], memory: Callable[[], int], found: list[int]
) -> Iterator[Event]:
    """Yield `events`; append to `found` what `memory` tells before those of these numbers."""
    for number, each in enumerate(events):
        if number in at:
            found.append(memory())
        yield each


def resident() -> int:
    """Return the resident bytes of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def allocated() -> int:
    """Return the bytes that Python's objects take, once tracemalloc is started, without caches.

    Each cache of a function has a limit, and is larger than the stream is long.
    """
    for each in gc.get_objects():
        if isinstance(each, CACHE):
            each.cache_clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def lower_limits(most: int) -> None:
    """Lower how many things every module remembers, so that a short stream fills its tables.

    The stages import what does their work when they run: they run once before.
    """
    growth("calls", FILLED, lambda: 0)
    for name, module in list(sys.modules.items()):
        if name.startswith("agent_pipes."):
            for limit, value in list(vars(module).items()):
                is_count = limit.startswith("MAX_") and not limit.endswith(NO_COUNTS)
                if is_count and type(value) is int and value > most:
                    setattr(module, limit, most)


if __name__ == "__main__":
    most = int(sys.argv[2]) if len(sys.argv) > 2 else MILLION
    print(*memories(sys.argv[1], most, resident))
