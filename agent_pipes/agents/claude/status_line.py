"""Figures that Claude Code passes to the command of its status line."""

from collections.abc import Iterator

from agent_pipes.agents.fields import number, within
from agent_pipes.core.jsonl import Fields

WINDOWS = {"five_hour": 300, "seven_day": 10_080}
"""Minutes of each window of the subscription's quota."""


def figures(record: Fields) -> Iterator[Fields]:
    """Yield what `quota` and `context` events of the session have: their type and their data."""
    limits = within(record, "rate_limits")
    for name, minutes in WINDOWS.items():
        window = within(limits, name)
        used = number(window, "used_percentage")
        if used is not None:
            data: Fields = {"limit": name, "used_percent": used, "window_minutes": minutes}
            if (resets := number(window, "resets_at")) is not None:
                data["resets_at"] = resets
            yield {"event_type": "quota", "data": data}
    size = number(within(record, "context_window"), "context_window_size")
    if size is not None and size > 0:
        yield {"event_type": "context", "data": {"context_window": size}}
