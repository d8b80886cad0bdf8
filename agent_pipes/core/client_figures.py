"""Figures that a client tells only a command of its own, for whoever follows the session.

Claude Code's transcript has no quota and no size of the context window; the command of its status
line is given both, and leaves them here. trace-tail and watch emit them as events.
"""

import time
from collections.abc import Iterable, Iterator

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, make
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.runtime_dir import changed_at, read_state, write_state

KIND = "figures"

TYPES = frozenset({"quota", "context"})
"""Types of the events that the figures may become."""

MAX_SESSIONS = 10_000


def note_figures(session: str, figures: list[Fields]) -> None:
    """Leave the figures of a session, if there are new ones. Raises OSError."""
    if figures and (read_state(KIND, session) or {}).get("figures") != figures:
        write_state(KIND, session, {"figures": figures, "time": time.time()})


def with_figures(events: Iterable[Event]) -> Iterator[Event]:
    """Yield `events`, and those of the figures of each live session when they have changed."""
    last: BoundedDict[str, list[Fields]] = BoundedDict(MAX_SESSIONS)
    began: BoundedDict[str, float] = BoundedDict(MAX_SESSIONS)
    seen_at = 0
    for event in events:
        yield event
        if event.type == "process":
            last.setdefault(event.session, [])
            began[event.session] = event.number("began") or 0.0
        elif event.type == "session_end":
            last.pop(event.session, None)
        elif event.type == "tick" and last and (now := changed_at()) != seen_at:
            seen_at = now
            for session in list(last):
                yield from _changed(session, last, began.get(session, 0.0), event.time)


def _changed(
    session: str, last: BoundedDict[str, list[Fields]], began: float, now: float
) -> Iterator[Event]:
    state = read_state(KIND, session) or {}
    figures, left = state.get("figures"), state.get("time")
    # Those of an earlier process of the session may be of yesterday.
    if not isinstance(figures, list) or not isinstance(left, (int, float)) or left < began:
        return
    for figure in figures:
        if not isinstance(figure, dict) or figure in last[session]:
            continue
        kind, data = figure.get("event_type"), figure.get("data")
        if kind in TYPES and isinstance(data, dict):
            yield make(str(kind), now, session, data)
    last[session] = figures
