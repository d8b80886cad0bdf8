"""The steps that a session's violations have reached, and the limits that its user has raised."""

from collections.abc import Hashable, Sequence

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import format_limit
from agent_pipes.core.event import Event, is_person
from agent_pipes.core.resumption import Resumption
from agent_pipes.detect.finding import Finding

KEPT_WATCHERS = frozenset({"cost", "scope", "quota"})
"""Watchers whose state, and so whose steps, a person's prompt does not reset."""

GROWTH = 0.5
"""Part of its limit by which a finding must have grown to count as another violation."""

MAX_WATCHERS = 100
"""Watchers of one session whose limits its user may raise: a detector in awk is one, too."""

MAX_IGNORED = 1_000
"""Findings of one session that its user may ignore."""

Rank = tuple[int, int, int]


class Ladder:
    """The steps of one session.

    A watcher's n-th critical violation takes the n-th of its steps, later ones take the last. A
    finding that stays is another violation at 1.5 times its limit, at 2 times and so on, as long
    as there are steps. Once its user has raised a limit, that is the one that counts.
    """

    def __init__(self) -> None:
        self._taken: BoundedDict[str, int] = BoundedDict(MAX_WATCHERS)
        self._limits: BoundedDict[str, float] = BoundedDict(MAX_WATCHERS)
        self._resumed: BoundedDict[str, int] = BoundedDict(MAX_WATCHERS)
        self._ignored: BoundedDict[Hashable, None] = BoundedDict(MAX_IGNORED)
        self._ignored_next: BoundedDict[str, None] = BoundedDict(MAX_WATCHERS)
        self._last: dict[str, Hashable] = {}
        self._paused_by = ""
        self._without_nudge = False

    @property
    def is_paused(self) -> bool:
        """True if the agent was paused and has written nothing since."""
        return bool(self._paused_by)

    def see(self, event: Event) -> None:
        """Note a resumption, a person's prompt, or a sign of life of a paused agent."""
        if event.type == "resume":
            self._resume(Resumption.from_data(event.data))
        elif event.type == "process":
            self._without_nudge = event.data.get("hooked") is False
        elif is_person(event):
            for watcher in self._taken.keys() - KEPT_WATCHERS:
                del self._taken[watcher]
        if event.type != "tick":
            self._paused_by = ""

    def rank(self, watcher: str, steps: Sequence[str], key: Hashable, found: Finding) -> Rank:
        """Return how far a finding has come: it is raised if that is more than before.

        (0, 0, 0) is less than any rank: the user has raised the limit beyond it, or ignores it.
        """
        if found.level != "critical":
            return (0, found.step, 0)
        if watcher in self._ignored_next:
            del self._ignored_next[watcher]
            self._ignored[key] = None
        if key in self._ignored:
            return (0, 0, 0)
        amount, limit = self._amount(found), self._limit(watcher, found)
        if amount and amount < limit:
            return (0, 0, 0)
        grown = int((amount / limit - 1) / GROWTH) if limit > 0 and amount else 0
        return (self._resumed.get(watcher, 0), found.step, min(grown, max(0, len(steps) - 1)))

    def take(
        self, watcher: str, steps: Sequence[str], key: Hashable, found: Finding
    ) -> tuple[Finding, tuple[str, ...]]:
        """Return the finding as it is raised, and the step that it takes, if there are any."""
        if found.level != "critical":
            return found, ()
        self._last[watcher] = key
        if watcher in self._limits and "limit" in found.seen:
            limit = self._limits[watcher]
            found = found._replace(
                message=f"{found.message}; the limit was raised to {format_limit(watcher, limit)}",
                seen={**found.seen, "limit": limit},
            )
        if self._without_nudge:
            # No hook of this agent could deliver it.
            steps = [step for step in steps if step != "nudge"]
        if not steps:
            return found, ()
        if self._paused_by:
            # Another watcher has paused the agent at the same event: one step is enough.
            return found, ("pause",)
        taken = self._taken.get(watcher, 0)
        self._taken[watcher] = taken + 1
        step = steps[min(taken, len(steps) - 1)]
        if step == "pause":
            self._paused_by = watcher
        return found, (step,)

    def _resume(self, resumption: Resumption) -> None:
        for watcher, limit in resumption.limits.items():
            self._limits[watcher] = limit
        for watcher in resumption.ignored:
            if watcher in self._last:
                self._ignored[self._last[watcher]] = None
            else:
                self._ignored_next[watcher] = None
        for watcher in {*resumption.limits, self._paused_by} - {""}:
            self._resumed[watcher] = self._resumed.get(watcher, 0) + 1
            # The step that paused the agent is the next one again.
            self._taken[watcher] = max(0, self._taken.get(watcher, 0) - 1)

    def _limit(self, watcher: str, found: Finding) -> float:
        limit = found.seen.get("limit", 0)
        own = float(limit) if isinstance(limit, (int, float)) else 0.0
        return max(own, self._limits.get(watcher, 0.0)) if own else 0.0

    @staticmethod
    def _amount(found: Finding) -> float:
        amount = found.seen.get("value", found.seen.get("count", 0))
        return float(amount) if isinstance(amount, (int, float)) else 0.0
