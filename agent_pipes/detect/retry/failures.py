"""The same command fails again and again."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.calls import Call, is_same_attempt
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen
from agent_pipes.detect.outcomes import Outcome
from agent_pipes.detect.progress import TestProgress
from agent_pipes.detect.results import Result

MAX_COMMANDS = 48
"""Commands of one agent whose failures are counted; the one that last failed longest ago goes."""

MAX_EVIDENCE = 10
"""Failures that a violation names: the latest."""

CHANGING_FAILURE_FACTOR = 4
"""Limit, as a multiple of `--max`, for a command that fails differently after each change."""


class Streak:
    """Failures of one command since it last succeeded.

    label:    the command for people.
    key:      id of the event that began the count.
    count:    failures since progress: since it failed differently after something had changed.
    total:    all failures.
    changes:  number of changes that had been made at the last failure.
    attempt:  the last call that failed.
    last:     its result.
    evidence: ids of the latest failures.
    """

    __slots__ = ("attempt", "changes", "count", "evidence", "key", "label", "last", "total")

    def __init__(self) -> None:
        self.label = ""
        self.key: str | int = ""
        self.count = self.total = self.changes = 0
        self.attempt: Call | None = None
        self.last: Result | None = None
        self.evidence: tuple[str, ...] = ()


class RepeatedFailure:
    """Counts the failures of each command of one agent.

    changes:   number of successful changes that followed a failure.
    unchanged: no change has succeeded since the last failure.
    """

    types = CALLS_AND_PROMPTS

    def __init__(self, limit: int, warn: int) -> None:
        self.limit = limit
        self.warn = warn
        self.streaks: BoundedDict[int, Streak] = BoundedDict(MAX_COMMANDS)
        self.failures = self.changes = 0
        self.unchanged = True
        self.progress = TestProgress()

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the streak that `event` has lengthened, if it is long enough."""
        if is_person(event):
            self.streaks.clear()
        elif call and call.answer:
            if self.progress.made_by(call.started_by or call):
                self.streaks.clear()
            if call.outcome is Outcome.FAILED:
                return self._failed(call.started_by or call, call.answer, call.result)
            if call.outcome in (Outcome.OK, Outcome.ANSWER) and self.streaks:
                self._succeeded(call.started_by or call)
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return all streaks that are long enough."""
        return [found for streak in self.streaks.values() for found in self._judge(streak)]

    def _succeeded(self, call: Call) -> None:
        self.streaks.pop(call.target, None)
        if self.unchanged and call.changes:
            self.unchanged = False
            self.changes += 1

    def _failed(self, call: Call, event: Event, result: Result) -> Iterable[Finding]:
        streak = self.streaks.get(call.target)
        if streak is None:
            streak = Streak()
        elif is_same_attempt(call, streak.attempt):
            return ()
        self.failures += 1
        self.unchanged = True
        if streak.last and self.changes > streak.changes and not result.same(streak.last):
            streak.count = 0
        if not streak.count:
            streak.key = event.id or self.failures
        streak.count += 1
        streak.total += 1
        streak.label, streak.attempt = call.label, call
        streak.last, streak.changes = result, self.changes
        if event.id:
            streak.evidence = (*streak.evidence[1 - MAX_EVIDENCE :], event.id)
        self.streaks.renew(call.target, streak)
        return self._judge(streak)

    def _judge(self, streak: Streak) -> Iterable[Finding]:
        count = streak.count
        if 0 < self.limit * CHANGING_FAILURE_FACTOR <= streak.total:
            count = streak.total
        critical = 0 < self.limit <= count
        if not critical and not 0 < self.warn <= count:
            return ()
        times = "once" if count == 1 else f"{count} times"
        found = Finding(
            streak.key,
            f"{streak.label} failed {times}",
            2 if critical else 1,
            "critical" if critical else "warning",
            streak.evidence,
            seen(count, self.limit, "--max-retries"),
        )
        return (found,)
