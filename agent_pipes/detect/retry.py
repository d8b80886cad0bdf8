"""trace-detect-retry: the same command fails again and again."""

from collections.abc import Iterable

import click

from agent_pipes.core.event import Event
from agent_pipes.core.filter import filter_command
from agent_pipes.core.options import COUNT, limit
from agent_pipes.detect.calls import Call, OpenCalls
from agent_pipes.detect.detector import CALLS, Detection, Finding, alert_option, detect
from agent_pipes.detect.results import FAILED, OK, Result, failure_of, outcome

COMMANDS = 48
"""Commands of one agent of which the failures are counted: the one that last failed longest ago is forgotten first."""

SHOWN = 10
"""Failures of which a violation names the events: the latest."""


PATIENCE = 4
"""How many times the limit a command may fail when it fails in another way each time that something was changed."""


class Streak:
    """The failures of one command since it last succeeded.

    count: those since there was progress: it failed in another way after something had been changed.
    total: all.
    step:  the hash of what the parallel calls of the last attempt share.
    """

    __slots__ = ("changes", "count", "events", "last", "number", "step", "total")

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = self.total = self.changes = 0
        self.last: Result | None = None
        self.step = 0
        self.events: tuple[str, ...] = ()


class Retries:
    """The commands of one agent that fail."""

    __slots__ = (
        "changed",
        "changes",
        "limit",
        "number",
        "open",
        "own",
        "standing",
        "streaks",
        "warn",
    )

    def __init__(self, limit: int, warn: int) -> None:
        self.limit = limit
        self.warn = warn
        self.open = OpenCalls()
        self.streaks: dict[int, Streak] = {}
        self.standing: dict[int, Finding] = {}
        self.number = self.changes = 0
        self.changed = False
        self.own = object()

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        kind = event.type
        if kind == "tool_call":
            self.open.opened(event)
        elif kind == "tool_result" or kind == "error":
            call = self.open.answered(event)
            if call is not None:
                call = self.open.ended(event, call)
                came = outcome(event)
                if came == FAILED:
                    return self._failed(call, event)
                if came == OK and self.streaks:
                    self._succeeded(call)
        elif kind == "user_prompt" and self.streaks:
            self.streaks.clear()
            self.standing.clear()
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        return self.standing.values()

    def _succeeded(self, call: Call) -> None:
        if self.streaks.pop(call.target, None):
            self.standing.pop(call.target, None)
        if not self.changed and call.changes:
            self.changed = True
            self.changes += 1

    def _failed(self, call: Call, event: Event) -> Iterable[Finding]:
        target = call.target
        streak = self.streaks.get(target)
        if streak is None:
            self.number += 1
            streak = self.streaks[target] = Streak(self.number)
            if len(self.streaks) > COMMANDS:
                oldest = next(iter(self.streaks))
                del self.streaks[oldest]
                self.standing.pop(oldest, None)
        elif call.step and hash(call.step) == streak.step:
            # Parallel calls of one response are one attempt.
            return ()
        self.changed = False
        result = failure_of(event)
        if streak.last and not result.same(streak.last) and self.changes > streak.changes:
            self.number += 1
            streak.number, streak.count = self.number, 0
        streak.last, streak.changes, streak.step = result, self.changes, hash(call.step)
        streak.count += 1
        streak.total += 1
        self.streaks[target] = self.streaks.pop(target)
        if event.id:
            streak.events = (*streak.events[1 - SHOWN :], event.id)
        return self._judge(call, streak)

    def _judge(self, call: Call, streak: Streak) -> Iterable[Finding]:
        limit, count = self.limit, streak.count
        if 0 < limit * PATIENCE <= streak.total:
            count = streak.total
        critical = 0 < limit <= count
        if not critical and not 0 < self.warn <= count:
            return ()
        times = "once" if count == 1 else f"{count} times"
        message = f"{call.label} failed {times}{'; raise the limit with --max-retries' if critical else ''}"
        seen = {"count": count, **({"limit": limit} if limit else {})}
        found = Finding(
            (self.own, streak.number),
            message,
            2 if critical else 1,
            "critical" if critical else "warning",
            streak.events,
            seen,
        )
        self.standing[call.target] = found
        return (found,)


@filter_command("trace-detect-retry", sees=CALLS)
@limit(
    "--max",
    type=COUNT,
    flag="--max-retries",
    key="retry.max",
    default=5,
    help="Failures of one command to allow.",
)
@limit(
    "--warn",
    type=COUNT,
    key="retry.warn",
    default=0,
    help="Warn when one command has failed this often.",
)
@alert_option("retry")
def detect_retry(events: Iterable[Event], max: int, warn: int, alert: tuple[str, ...]) -> Detection:
    """Raise a violation when the same command has failed N times, with no success of it in between.

    Commands are the same whatever stands before and behind them for show (cd, variables, 2>&1, tail), failing edits when
    they are of the same file. A call that its user refused, or that another call took down, has not failed.
    """
    if 0 < max <= warn:
        raise click.UsageError(f"--warn {warn}: a warning is expected before --max {max}, or 'off'")
    return detect(events, "retry", lambda: Retries(max, warn), alert, sees=CALLS, per_agent=True)


main = detect_retry.main
