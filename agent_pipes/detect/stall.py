"""trace-detect-stall: the agent is alive, silent, and nobody is waited for."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event, Level
from agent_pipes.core.options import COUNT, DURATION, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.duration import passed_multiples, rounded
from agent_pipes.detect.finding import Finding, Rules
from agent_pipes.detect.refusals import Refusals

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call
    from agent_pipes.detect.turns import TurnTracker


class Silence:
    """Time without an event of a session in which it is not its user's turn.

    A call that is open may wait for a permission that the source does not record, so its silence
    is a warning, unless the run is headless or the client says that it waits for nobody.
    """

    types = frozenset({"tick"})

    __slots__ = ("in_flight", "limit", "turns")

    def __init__(self, limit: float, in_flight: float, turns: "TurnTracker") -> None:
        self.limit = limit
        self.in_flight = in_flight
        self.turns = turns

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        silent = self._silent(now)
        return [self._finding(each) for each in passed_multiples(silent, self._allowed)]

    def holding(self, now: float) -> Iterable[Finding]:
        silent = self._silent(now)
        return [self._finding(silent)] if silent >= self._allowed else []

    @property
    def _allowed(self) -> float:
        return (self.in_flight if self.turns.in_flight else self.limit) or math.inf

    def _silent(self, now: float) -> float:
        """Return the seconds of silence; 0.0 if the user is waited for."""
        turns = self.turns
        return 0.0 if not turns.latest or turns.waits_at(now) else now - turns.latest

    def _finding(self, value: float) -> Finding:
        turns, allowed = self.turns, self._allowed
        level: Level = "warning" if turns.in_flight and turns.may_ask else "critical"
        what = "while a tool runs" if turns.in_flight else "with nothing in flight"
        option = "--in-flight" if turns.in_flight else "--max-stall"
        return Finding(
            turns.latest,
            f"silent for {rounded(value)} {what} (threshold: {format_duration(allowed)})",
            level=level,
            seen={
                "value": round(value, 3),
                "limit": allowed,
                "hint": f"raise the limit with {option}",
            },
            time=turns.latest + value,
        )


@detector("stall", thresholds=(300, 600, 1800))
@limit(
    "--max",
    type=DURATION,
    flag="--max-stall",
    key="stall.max_minutes",
    unit=60,
    default="10m",
    help="Limit on the time that the agent is silent.",
)
@limit(
    "--in-flight",
    type=DURATION,
    flag="--in-flight",
    key="stall.in_flight_minutes",
    unit=60,
    default="30m",
    help="Limit on the time that the agent is silent while a tool runs.",
)
@limit(
    "--max-refused",
    type=COUNT,
    flag="--max-refused",
    key="stall.max_refused",
    default=30,
    help="Limit on refused requests in a row.",
)
def detect_stall(max: float, in_flight: float, max_refused: int) -> Rules:
    """Raise a violation when the agent is silent for too long during its turn.

    An agent that waits for its user is not stalled, and a tool that runs is given more time. The
    limit on refused requests in a row raises a violation, too.
    """
    return [lambda turns: Silence(max, in_flight, turns), lambda _: Refusals(max_refused)]


main = detect_stall.main
