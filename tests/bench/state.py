"""What the preset holds of a session, in bytes, and which of its stages how much of it.

python tests/bench/state.py
"""

import functools
import gc
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from agent_pipes.commands.alert import alert
from agent_pipes.commands.cost import cost
from agent_pipes.commands.status import status
from agent_pipes.core.event import Event
from agent_pipes.core.filter import Filter
from agent_pipes.core.jsonl import objects
from agent_pipes.core.stream import Waiter
from agent_pipes.cost import meter
from agent_pipes.detect import results
from agent_pipes.detect.registry import DETECTORS
from tests.bench.trace import events

PRESET: tuple[Filter, ...] = (cost, *DETECTORS.values(), alert, status)
"""The stages of the preset that remember something, in their order. The policy is that of the working directory."""

START = 40

SESSIONS = 10_000
"""Sessions over which is spread what the preset remembers of all of them together."""


def of_a_session(parts: Iterable[Filter], sessions: int, each: int) -> float:
    """Bytes that `parts`, one behind the other, hold of a session of `each` events, where there are SESSIONS of them."""
    held = []
    for number in (1, 1 + sessions):
        with _spread(number):
            held += on_the_way(parts, number * each, number)
    return (held[1] - held[0]) / sessions


def on_the_way(parts: Iterable[Filter], count: int, sessions: int, samples: int = 1) -> list[int]:
    """Bytes that are held at so many places, as far apart, of a stream of `count` events."""
    found: list[int] = []

    def read() -> Iterator[Event]:
        for number, line in enumerate(events(count, sessions), 1):
            yield Event(line, next(objects(line)))
            if number % (count // samples) == 0:
                found.append(_held())

    stream: Any = read()
    last = None
    for part in parts:
        stage = part.stage(Waiter())(stream)
        if not stage.joins(last, None):
            last = stream = stage
    # What is loaded with the first events is the program, not what it remembers.
    out = iter(stream)
    for _ in range(START):
        next(out)
    tracemalloc.start()
    try:
        for _ in out:
            pass
    finally:
        tracemalloc.stop()
    return found


def _held() -> int:
    """Bytes that are held now, but for what is remembered of commands and paths, whoever ran them: that is the process's."""
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper):
            each.cache_clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def _spread(sessions: int) -> Iterator[None]:
    """Of what is remembered of all sessions together, these have their share."""
    before = results.BUDGET, meter.RESPONSES
    results.BUDGET, meter.RESPONSES = (each * sessions // SESSIONS for each in before)
    try:
        yield
    finally:
        results.BUDGET, meter.RESPONSES = before


def main() -> None:
    sessions, each = 20, 1000
    for part in PRESET:
        print(f"{of_a_session([part], sessions, each) / 1024:6.1f} KB  {part.name} alone")
    print(
        f"{of_a_session(PRESET, sessions, each) / 1024:6.1f} KB  all of them in one process, which share what they work out"
    )


if __name__ == "__main__":
    main()
