"""A context that is compacted again and again, with no new work between."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding, seen

WARN_AT = 3
"""Compactions from which a warning is raised, below the limit."""

MAX_CALLS = 1000
"""Calls of one agent that are remembered as made."""


class Compactions:
    """Counts the compactions of one agent since it last made a call that it had not made before."""

    types = frozenset({"user_prompt", "tool_call", "compaction"})

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.compactions: list[str] = []
        self.calls: BoundedDict[int, None] = BoundedDict(MAX_CALLS)

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the compactions, if they are enough."""
        if is_person(event):
            self.compactions = []
        elif event.type == "tool_call" and call:
            if call.key not in self.calls:
                self.compactions = []
            self.calls[call.key] = None
        elif event.type == "compaction":
            self.compactions.append(event.id)
            return self.holding(now)
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the compactions, if they are enough."""
        count, limit = len(self.compactions), self.limit
        if not limit or count < min(WARN_AT, max(2, limit - 1)):
            return ()
        critical = count >= limit
        found = Finding(
            ("compactions", self.compactions[0]),
            f"the context was compacted {count} times without new work between",
            2 if critical else 1,
            "critical" if critical else "warning",
            tuple(filter(None, self.compactions[-2 * limit :])),
            seen(count, limit, "--max-compactions"),
        )
        return (found,)
