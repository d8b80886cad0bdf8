"""trace-detect-stall: the agent is alive, and silent."""

from collections.abc import Iterable

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event
from agent_pipes.core.options import DURATION, limit
from agent_pipes.detect.calls import Call
from agent_pipes.detect.detector import detector
from agent_pipes.detect.duration import rounded
from agent_pipes.detect.finding import Finding, Rules
from agent_pipes.detect.turns import TurnTracker


class Silence:
    """Time without an event of a session in which it is not its user's turn."""

    __slots__ = ("in_flight", "limit", "turns")

    def __init__(self, limit: float, in_flight: float) -> None:
        self.limit = limit
        self.in_flight = in_flight
        self.turns = TurnTracker()

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        if event.type == "tick":
            return self.holding(now)
        # A silence that an event ends is raised too, so that a replay raises what live did. A tool
        # that has returned was slow; after a prompt nobody can tell who waited for whom.
        turns = self.turns
        long = 0 < self.limit <= now - turns.latest
        over = (
            self.holding(now)
            if long and not turns.in_flight and event.type != "user_prompt"
            else ()
        )
        turns.see(event, call, now)
        return over

    def holding(self, now: float) -> Iterable[Finding]:
        turns = self.turns
        allowed = self.in_flight if turns.in_flight else self.limit
        silent = now - turns.latest
        if turns.waits or not turns.latest or not 0 < allowed <= silent:
            return ()
        what = "while a tool runs" if turns.in_flight else "with nothing in flight"
        option = "--in-flight" if turns.in_flight else "--max-stall"
        message = (
            f"silent for {rounded(silent)} {what} (threshold: {format_duration(allowed)}); "
            f"raise the limit with {option}"
        )
        return (
            Finding(
                turns.latest,
                message,
                seen={"value": round(silent, 3), "limit": allowed},
            ),
        )


@detector("stall", thresholds=(300, 600, 1800))
@limit(
    "--max",
    type=DURATION,
    flag="--max-stall",
    key="stall.max_minutes",
    unit=60,
    default="10m",
    help="How long an agent may be silent.",
)
@limit(
    "--in-flight",
    type=DURATION,
    flag="--in-flight",
    key="stall.in_flight_minutes",
    unit=60,
    default="30m",
    help="How long, while a tool runs.",
)
def detect_stall(max: float, in_flight: float) -> Rules:
    """Raise a violation when it is the agent's turn, and nothing comes.

    An agent that waits for its user is not stalled, and a tool that runs is given more time.
    """
    return [lambda: Silence(max, in_flight)]


main = detect_stall.main
