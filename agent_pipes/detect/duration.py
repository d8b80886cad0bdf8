"""trace-detect-duration: the agent has worked too long on its own."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event, Level
from agent_pipes.core.options import DURATION, Option, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call
    from agent_pipes.detect.turns import TurnTracker

LIMIT_MULTIPLES = (1.0, 1.5, 2.0)
"""Multiples of a limit of time at which the violation grows, for those that escalate."""


class Worked:
    """Time that an agent has worked: since its user's last prompt, or in the whole run.

    Silence beyond 10 minutes and the time in which the user is waited for do not count, unless
    `wall` is set or the source cannot tell whose turn it is.
    """

    types = frozenset({"tick"})

    __slots__ = ("limits", "per_run", "turns", "wall")

    def __init__(
        self, limit: float, warn: float, per_run: bool, wall: bool, turns: "TurnTracker"
    ) -> None:
        pairs: tuple[tuple[Level, float], ...] = (("warning", warn), ("critical", limit))
        self.limits = [(level, allowed) for level, allowed in pairs if allowed]
        self.per_run = per_run or wall
        self.wall = wall
        self.turns = turns

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        return self._passed(now)

    def holding(self, now: float) -> Iterable[Finding]:
        value = self._value(now)
        passed = [each for each in self.limits if value >= each[1]]
        return [self._finding(level, allowed, value, now) for level, allowed in passed[-1:]]

    @property
    def _is_wall(self) -> bool:
        return self.wall or not self.turns.known

    @property
    def _since(self) -> float:
        return self.turns.began if self.per_run else self.turns.prompted

    def _value(self, now: float) -> float:
        """Return the seconds that count, up to `now`."""
        if self._is_wall:
            return now - self._since if self._since else 0.0
        return self.turns.worked(now) if self.per_run else self.turns.worked_alone(now)

    def _passed(self, now: float) -> Iterable[Finding]:
        """Yield the limits that are passed by `now`, each with the time at which it was."""
        latest = self.turns.latest
        before = self._value(latest)
        for level, allowed in self.limits:
            for value in passed_multiples(self._value(now), allowed):
                yield self._finding(level, allowed, value, latest + max(0.0, value - before))

    def _finding(self, level: Level, allowed: float, value: float, passed: float) -> Finding:
        what = "running" if self._is_wall else "worked"
        since = "" if self.per_run else " without a prompt"
        option = "--max-duration" if level == "critical" else "--warn"
        return Finding(
            self._since,
            f"{what} for {rounded(value)}{since} (threshold: {format_duration(allowed)})",
            2 if level == "critical" else 1,
            level,
            seen={
                "value": round(value, 3),
                "limit": allowed,
                "hint": f"raise the limit with {option}",
            },
            time=passed,
        )


def passed_multiples(value: float, allowed: float) -> list[float]:
    """Return the limit and its multiples that `value` has reached, then `value` itself.

    A limit that is looked at late is raised with the values that it would have had in time.
    """
    reached = [allowed * each for each in LIMIT_MULTIPLES if value >= allowed * each]
    return [*reached, value] if reached else []


def rounded(seconds: float) -> str:
    """Return a duration as `31m` or `1h2m`: whole minutes from ten minutes on."""
    if seconds >= 600:
        return format_duration(seconds - seconds % 60)
    return format_duration(int(seconds) if seconds >= 1 else round(seconds, 3))


@detector("duration", thresholds=(600, 1800, 3600, 14400))
@limit(
    "--max",
    type=DURATION,
    flag="--max-duration",
    key="duration.max_minutes",
    unit=60,
    default="30m",
    help="Limit on the time that the agent works on its own.",
)
@limit(
    "--warn",
    type=DURATION,
    key="duration.warn_minutes",
    unit=60,
    default=0,
    help="Warn when the agent has worked this long.",
)
@click.option(
    "--per",
    cls=Option,
    key="duration.per",
    type=click.Choice(["prompt", "run"]),
    default="prompt",
    show_default=True,
    help="Count from the user's last prompt, or the whole run.",
)
@click.option(
    "--wall",
    cls=Option,
    flag="--wall",
    key="duration.wall",
    is_flag=True,
    help="Count the time elapsed in this run, including waits for the user.",
)
def detect_duration(max: float, warn: float, per: str, wall: bool) -> Rules:
    """Raise a violation when the agent has worked too long on its own.

    The time since the user's last prompt counts, except waits for the user. Of a longer silence,
    only the first 10 minutes count.
    """
    if 0 < max <= warn:
        raise click.UsageError(
            f"--warn {format_duration(warn)} must be less than --max {format_duration(max)}, "
            "or 'off'"
        )
    return [lambda turns: Worked(max, warn, per == "run", wall, turns)]


main = detect_duration.main
