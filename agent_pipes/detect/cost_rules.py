"""Rules of trace-detect-cost: dollars of a run, and of a group of sessions."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.session_cost import SessionCost
from agent_pipes.detect.budget import Budget, Group
from agent_pipes.detect.finding import Finding

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

MAX_EVIDENCE = 10
"""Responses that a violation names: the latest."""

RATE_WINDOW_S = 600
"""Window over which dollars per hour are measured.

The sum is always divided by the whole window, so that one expensive response passes no rate.
"""

HOUR_S = 3600

MAX_OPEN_RESPONSES = 64
"""Responses of one session to which a later line may still add."""


class CostDetector:
    """Dollars of one run.

    most: limit of the sum in picodollars, 0 for none.
    rate: limit of picodollars per hour, 0 for none.
    warn: fraction of `most` that raises a warning, 0 for none.
    """

    types = SessionCost.types

    def __init__(self, cost: SessionCost, most: int, rate: int = 0, warn: float = 0.0) -> None:
        self.cost = cost
        self.most, self.rate, self.warn = most, rate, warn
        self.total = self.recent = 0
        self.additions: deque[tuple[float, int]] = deque()
        self.evidence: deque[str] = deque(maxlen=MAX_EVIDENCE)
        self.blind_spots = 0

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        """Return findings that hold, if this event has changed the sum."""
        if not self.cost.see(event):
            return ()
        added = self.cost.total - self.total
        if added:
            self.total += added
            self.evidence.append(event.id)
            if self.rate:
                self.additions.append((now, added))
                self.recent += added
        elif not self.additions and len(self.cost.blind_spots) == self.blind_spots:
            return ()
        self.blind_spots = len(self.cost.blind_spots)
        return self.holding(now)

    def holding(self, now: float) -> Iterator[Finding]:
        """Return findings that hold now."""
        while self.additions and self.additions[0][0] <= now - RATE_WINDOW_S:
            self.recent -= self.additions.popleft()[1]
        yield from self._blind_spots()
        hourly = self.recent * HOUR_S // RATE_WINDOW_S
        if self.most and self.total > self.most:
            sums = f"{dollars(self.total, self.most)} (threshold: {dollars(self.most)})"
            yield self._finding("max", sums, self.total, self.most, "--max-cost")
        elif self.warn and self.total >= self.warn * self.most > 0:
            share = f"{self.total / self.most:.0%} of the {dollars(self.most)} limit"
            sums = f"{dollars(self.total)}, {share}"
            yield self._finding("warn", sums, self.total, self.most, "--warn-cost")
        if self.rate and hourly > self.rate:
            sums = (
                f"{dollars(hourly, self.rate)} an hour over the last 10 minutes "
                f"(threshold: {dollars(self.rate)}/h)"
            )
            yield self._finding("rate", sums, hourly, self.rate, "--max-cost-rate")

    def _blind_spots(self) -> Iterator[Finding]:
        for model, (message, shown_by) in self.cost.blind_spots.items():
            yield Finding(
                ("unseen", model),
                message,
                level="warning",
                evidence=(shown_by,),
                seen={"model": model},
            )

    def _finding(self, key: str, sums: str, value: int, most: int, option: str) -> Finding:
        seen: dict[str, object] = {
            "value": value / DOLLAR,
            "limit": most / DOLLAR,
            "estimated": self.cost.estimated,
            "hint": f"raise the limit with {option}",
        }
        if self.cost.assumed:
            seen["assumed"] = True
        return Finding(
            key,
            f"{sums}{self._doubt()}",
            level="warning" if key == "warn" else "critical",
            evidence=tuple(self.evidence),
            seen=seen,
        )

    def _doubt(self) -> str:
        """Return how much of the sum is an estimate, for a message."""
        estimated = ", estimated" if self.cost.estimated else ""
        if not self.cost.assumed:
            return estimated
        return f"{estimated}, {dollars(self.cost.assumed)} of it at assumed prices"


class BudgetDetector(CostDetector):
    """Dollars of one session, as a part of what its group has spent.

    A group's sum stays above the limit until the window has slid on: whoever spends next is
    stopped, the session that passes the limit first.

    spent_at: how often the group had passed its limit when this session last spent beyond it.
    """

    def __init__(self, cost: SessionCost, budget: Budget, warn: float) -> None:
        super().__init__(cost, budget.most, warn=warn)
        self.budget = budget
        self.group: Group | None = None
        self.amounts: BoundedDict[str, int] = BoundedDict(MAX_OPEN_RESPONSES)
        self.session = self.cwd = ""
        self.in_history = False
        self.spent_at = 0
        self.late: tuple[Finding, ...] = ()

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        """Return findings that hold, if the session has spent something with this event."""
        self.cwd = (event.type == "session_start" and event.text("cwd")) or self.cwd
        self.in_history = self.in_history or event.type == "history_start"
        if not self.cost.see(event):
            return ()
        added = self.cost.total - self.total
        if added > 0:
            self.total += added
            self._spend(event, added)
        return self._holding() if added > 0 or self.cost.blind_spots else ()

    def _spend(self, event: Event, added: int) -> None:
        self.session = event.session
        name = event.text("response_id") or event.id
        self.amounts[name] = self.amounts.get(name, 0) + added
        self.group = self.budget.group(event, self.cwd)
        if self.budget.count(self.group, event, self.amounts[name]):
            self.spent_at = self.group.times_passed if self.group.is_over else self.spent_at
        elif not (self.in_history or self.budget.late_reported):
            self.budget.late_reported = True
            message = "a response is older than the window: not counted (shown once)"
            self.late = (Finding("late", message, level="warning", evidence=(event.id,)),)

    def holding(self, now: float) -> Iterator[Finding]:
        """Return findings that hold now, at the end of the history."""
        self.in_history = False
        return self._holding()

    def _holding(self) -> Iterator[Finding]:
        yield from self._blind_spots()
        yield from self.late
        group, most = self.group, self.most
        if group is None:
            return
        group.compare(most, self.budget.first)
        if group.is_over and self.spent_at == group.times_passed:
            sums = f"{dollars(group.total, most)} {self._whose(group)} (threshold: {dollars(most)})"
            yield self._of_group(group, "max", sums, "--max-cost")
        elif not group.is_over and group.warns(self.session, self.warn * most):
            share = f"{group.total / most:.0%} of the {dollars(most)} limit"
            sums = f"{dollars(group.total)} {self._whose(group)}, {share}"
            yield self._of_group(group, "warn", sums, "--warn-cost")

    def _of_group(self, group: Group, key: str, sums: str, option: str) -> Finding:
        self.evidence = deque(group.spenders)
        found = self._finding(key, sums, group.total, self.most, option)
        seen = {**found.seen, "per": self.budget.per, "group": group.name}
        return found._replace(key=(key, group.name, group.times_passed), seen=seen)

    def _whose(self, group: Group) -> str:
        names = {"session": "by this session", "all": "by all sessions", "cwd": "in"}
        whose = names.get(self.budget.per, f"by {self.budget.per}")
        name = "" if self.budget.per in ("session", "all") else f" {group.name or 'unknown'}"
        within = self.budget.window_s
        return f"{whose}{name}" + (f" within {format_duration(within)}" if within else "")


def dollars(amount: int, other: int = 0) -> str:
    """Return picodollars for people, with the decimals that tell `amount` from `other` and 0."""
    text = f"${amount / DOLLAR:.2f}"
    for places in range(3, 7):
        if text not in ("$0.00", f"${other / DOLLAR:.{places - 1}f}"):
            break
        text = f"${amount / DOLLAR:.{places}f}"
    return text
