"""State that the rules of trace-detect-loop share, of one agent."""

from typing import NamedTuple

from agent_pipes.core.event import Level
from agent_pipes.detect.loop.history import MAX_TURNS, CallHistory
from agent_pipes.detect.loop.repeat_finder import RepeatFinder
from agent_pipes.detect.loop.turn import Turn

MIN_HISTORY_CALLS, MAX_HISTORY_CALLS = 64, 1000
"""Calls of one agent that are compared; how many of them depends on the limits."""

NEVER = 1 << 60
"""Number of turns since something that has not happened."""


class Limits(NamedTuple):
    """The limits for sequences of calls; 0 is no limit."""

    max: int = 3
    length: int = 3
    same_result: int = 5
    same_call: int = 20
    warn: int = 2
    key: str = "result"


class Found(NamedTuple):
    """A rule's finding: it happened `times` times, and `option` allows `limit`; 0 is no limit.

    size: 1 for a warning, 2 at the limit, one more at every power of two from twice the limit on
          (at 3: 8, 16, 32, …).
    """

    level: Level
    size: int
    message: str
    times: int
    limit: int
    option: str
    ids: list[str]
    steps: list[str]


class AgentState:
    """The turns of one agent since its user's last prompt.

    turn:          the turn that is going on.
    history:       the calls before it.
    exact:         repeats of turns with the same calls and results.
    stuck:         repeats of turns with the same targets and ways of ending.
    clock:         the session's clock, seconds.
    since_failure: turns since one in which a call failed.
    """

    def __init__(self, limits: Limits) -> None:
        size = max(
            MIN_HISTORY_CALLS,
            3 * limits.same_result,
            3 * limits.same_call,
            2 * limits.max * limits.length,
        )
        most = max(limits.same_result, limits.same_call, 8)
        self.limits = limits
        self.history = CallHistory(min(MAX_HISTORY_CALLS, size), most)
        self.exact = RepeatFinder(MAX_TURNS)
        self.stuck = RepeatFinder(MAX_TURNS)
        self.since_failure = NEVER
        self.clock = 0.0
        self.begin("")

    def begin(self, name: str) -> None:
        """Begin a turn."""
        self.turn = Turn(name, alone=self.limits.key != "result")

    def verbs(self, turns: int) -> list[str]:
        """Return one word for each of the last `turns`, the present one included."""
        return [*(turn.verb for turn in self.history.last_turns(turns - 1)), self.turn.verb]

    def polls(self, turns: int) -> bool:
        """Return True if at least half of the last `turns`, the present one included, polled."""
        polls = sum(turn.polls for turn in self.history.last_turns(turns - 1)) + self.turn.polls
        return 2 * polls >= turns
