"""trace-detect-duration: the session runs too long."""

from collections.abc import Iterable

import click

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event, Level
from agent_pipes.core.options import DURATION, Option, limit
from agent_pipes.detect.calls import Call
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules
from agent_pipes.detect.turns import TurnTracker


class Age:
    """Time for which a session has been running, from its own start."""

    __slots__ = ("limits", "standing", "start", "turns")

    def __init__(self, limit: float, warn: float, active: bool) -> None:
        both: tuple[tuple[Level, float], ...] = (("critical", limit), ("warning", warn))
        self.limits = tuple((level, each) for level, each in both if each)
        self.turns = TurnTracker() if active else None
        self.start = 0.0
        self.standing: dict[Level, tuple[Finding, ...]] = {}

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        if not self.start:
            self.start = now
        if self.turns:
            self.turns.see(event, call, now)
        age = self._age(now)
        for level, allowed in self.limits:
            if age >= allowed:
                # A message is built once: it was raised, or is asked for when history ends.
                return () if level in self.standing else self._found(level, allowed, age)
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        self.standing.clear()
        age = self._age(now)
        return next(
            (self._found(level, allowed, age) for level, allowed in self.limits if age >= allowed),
            (),
        )

    def _age(self, now: float) -> float:
        return (
            now - self.start - (self.turns.idle_at(now) if self.turns else 0.0)
            if self.start
            else 0.0
        )

    def _found(self, level: Level, allowed: float, age: float) -> tuple[Finding, ...]:
        without = ", without the time its user was waited for" if self.turns else ""
        raised = "; raise the limit with --max-duration" if level == "critical" else ""
        message = (
            f"running for {rounded(age)} (threshold: {format_duration(allowed)}){without}{raised}"
        )
        found = Finding(
            "duration",
            message,
            2 if level == "critical" else 1,
            level,
            seen={"value": round(age, 3), "limit": allowed},
        )
        self.standing[level] = (found,)
        return self.standing[level]


def rounded(seconds: float) -> str:
    """Return a duration as `31m` or `1h2m`: whole minutes from ten minutes on."""
    return format_duration(
        seconds - seconds % 60
        if seconds >= 600
        else int(seconds)
        if seconds >= 1
        else round(seconds, 3)
    )


@detector("duration", thresholds=(600, 1800, 3600, 14400))
@limit(
    "--max",
    type=DURATION,
    flag="--max-duration",
    key="duration.max_minutes",
    unit=60,
    default="30m",
    help="How long a session may run.",
)
@limit(
    "--warn",
    type=DURATION,
    key="duration.warn_minutes",
    unit=60,
    default=0,
    help="Warn of a session that has run this long.",
)
@click.option(
    "--active",
    cls=Option,
    key="duration.active",
    is_flag=True,
    help="Leave out the time that the agent waited for its user.",
)
def detect_duration(max: float, warn: float, active: bool) -> Rules:
    """Raise a violation when a session has run too long, counted from its own start.

    Silence does not stop the clock: what is too long is raised while the agent says nothing.
    """
    if 0 < max <= warn:
        raise click.UsageError(
            f"--warn {format_duration(warn)}: a warning is expected before "
            f"--max {format_duration(max)}, or 'off'"
        )
    return [lambda: Age(max, warn, active)]


main = detect_duration.main
