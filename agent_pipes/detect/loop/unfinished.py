"""Calls that never come back: put into the background unasked, or killed by their timeout."""

from collections.abc import Iterable

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen
from agent_pipes.detect.outcomes import Outcome, timed_out

_ASKED = ("run_in_background", "is_background", "background", "async", "detach")
"""Arguments by which an agent asks for a background run."""


class UnfinishedCalls:
    """Counts the commands of one agent in a row that did not return.

    A command that ends, whatever its status, begins a new count; other tools do not matter.
    """

    types = CALLS_AND_PROMPTS

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls: list[str] = []
        self.count = 0
        self.label = ""

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the row of unfinished calls, if it is long enough."""
        if is_person(event):
            self.count, self.calls = 0, []
        if not self.limit or call is None or call.answer is None or not call.command:
            return ()
        if call.outcome is Outcome.VOID or kind_of(call.tool) == "stdin":
            return ()
        if any(call.arguments.get(name) is True for name in _ASKED):
            return ()
        if call.outcome is not Outcome.RUNNING and not timed_out(call.answer):
            self.count, self.calls = 0, []
            return ()
        self.count += 1
        self.label = call.label
        self.calls = [*self.calls[1 - 2 * self.limit :], call.id]
        return self.holding(now)

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the row of unfinished calls, if it is long enough."""
        if not self.limit or self.count < max(2, self.limit - 1):
            return ()
        critical = self.count >= self.limit
        found = Finding(
            ("unfinished", self.calls[0] if self.count <= 2 * self.limit else ""),
            f"{self.count} commands in a row did not return, the last one {self.label}",
            2 if critical else 1,
            "critical" if critical else "warning",
            tuple(self.calls),
            seen(self.count, self.limit, "--max-unfinished"),
        )
        return (found,)
