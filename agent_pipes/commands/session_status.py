"""State of a session as trace-status shows it: counts, call in flight, nearness of limits."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from agent_pipes.core.event import OURS, Event
from agent_pipes.core.resumption import Resumption
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.calls import Call
from agent_pipes.detect.context import context_size
from agent_pipes.detect.turns import IGNORED, TurnTracker

RATE_WINDOW_S = 900.0
"""Time over which dollars an hour are taken."""

MIN_RATE_WINDOW_S = 30.0
MAX_RATE_SAMPLES = 256
MAX_OPEN_CALLS = 16

NEAR = 0.8
"""Part of a limit from which on it is shown as near."""

STUCK_WITHOUT_LIMIT_S = 300.0
"""Silence of a working agent that is shown as stuck where no limit of silence is known."""

KILLS = frozenset({"terminated", "killed", "interrupted"})
KILLED = KILLS | {"not_running"}


class State(IntEnum):
    """State of a session, in the order of the table's rows."""

    TRIPPED = 0
    STUCK = 1
    WAITING = 2
    WORKING = 3
    PAUSED = 4
    IDLE = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """Nearness of one limit.

    name:  the watcher.
    limit: the limit in the watcher's unit: dollars, seconds, a count.
    part:  part of the limit that is reached, 0.0 or more.
    eta:   time at which it is reached at the present rate, in seconds since the epoch, or infinite.
    """

    name: str
    limit: float
    part: float
    eta: float


class SessionStatus:
    """Counts and state of one session.

    failing: failures since the last success or prompt.
    cause:   message of the critical violation that tripped the session, "" before or once resumed.
    trip:    the limit that was exceeded then.
    raised:  limits that its user has set for the rest of the run.
    killed:  the breaker has ended its process.
    is_ending: it has been asked to, and has not yet.
    pid:     PID of its process, 0 if unknown.
    run_began: start of its process, seconds since the epoch, 0.0 if unknown.
    context: part of the context window that is used, NaN if the source does not tell.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.agent = ""
        self.cwd = ""
        self.model = ""
        self.events = 0
        self.cost = 0.0
        self.estimated = False
        self.unpriced = False
        self.failing = 0
        self.cause = ""
        self.trip = Progress("", 0.0, 1.0, 0.0)
        self.raised: dict[str, float] = {}
        self.killed = False
        self.is_ending = False
        self.paused = False
        self.ended = False
        self.pid = 0
        self.in_history = False
        self.is_live = False
        self.asks = ""
        self.context = math.nan
        self.began = self.run_began = 0.0
        self._turns = TurnTracker()
        self._tracker = CallTracker()
        self._calls: deque[Call] = deque(maxlen=MAX_OPEN_CALLS)
        self._costs: deque[tuple[float, float]] = deque(maxlen=MAX_RATE_SAMPLES)

    def see(self, event: Event) -> None:
        """Count an event of the session."""
        kind = event.type
        if kind in OURS:
            self._see_breaker(event)
            return
        self.events += 1
        self.began = self.began or event.time
        call = self._tracker.see(event)
        if kind == "tool_call" and call:
            self._calls.append(call)
        self._turns.see(event, call, max(event.time, self._turns.latest))
        if kind != "waiting" and kind not in IGNORED:
            self.asks = ""
        if kind == "error" and event.data.get("reason") in ("exit", "tool", None):
            self.failing += 1
        elif kind in ("tool_result", "user_prompt"):
            self.failing = 0
        if kind == "llm_response":
            self._see_response(event)
        elif kind == "session_start":
            self._see_start(event)
        elif kind == "session_end":
            self.ended = True
        elif kind == "waiting":
            said = event.text("for") or "you"
            self.asks = "" if said == "nobody" else said
        elif kind == "user_prompt":
            self._see_prompt(event)
        elif kind == "compaction" and not event.agent:
            self.context = math.nan

    def _see_start(self, event: Event) -> None:
        self.agent = event.text("agent") or self.agent
        self.cwd = event.text("cwd") or self.cwd
        self.model = event.text("model") or self.model
        self.ended = False

    def _see_prompt(self, event: Event) -> None:
        if event.text("origin") in ("", "person"):
            self.cause = ""
            self.killed = self.paused = False

    def _see_response(self, event: Event) -> None:
        if not event.agent:
            self.model = event.text("model") or self.model
            tokens, window = context_size(event)
            self.context = tokens / window if tokens and window else self.context
        cost = event.data.get("cost")
        if not isinstance(cost, dict):
            return
        total = cost.get("session_usd")
        if isinstance(total, (int, float)):
            self.cost = total
            self._costs.append((event.time, total))
        self.estimated = self.estimated or cost.get("estimated") is True
        self.unpriced = self.unpriced or cost.get("unpriced") is True

    def _see_breaker(self, event: Event) -> None:
        if event.type == "violation" and event.data.get("level") != "warning":
            self.cause = event.text("message")
            limit = event.data.get("limit")
            reached = float(limit) if isinstance(limit, (int, float)) else 0.0
            self.trip = Progress(event.text("watcher"), reached, 1.0, event.time)
        elif event.type == "process":
            pid = event.data.get("pid")
            self.pid = pid if type(pid) is int else 0
            began = event.data.get("began")
            self.run_began = float(began) if isinstance(began, (int, float)) else 0.0
        elif event.type == "history_start":
            self.in_history = True
        elif event.type == "history_end":
            self.in_history, self.is_live = False, True
        elif event.type == "kill":
            outcome = event.text("outcome")
            self.killed = self.killed or outcome in KILLED
            self.paused = outcome == "paused"
            self.is_ending = False
        elif event.type == "resume":
            self.cause, self.paused = "", False
            self.raised = dict(Resumption.from_data(event.data).limits)

    @property
    def last(self) -> float:
        """Time of the last event, seconds since the epoch."""
        return self._turns.latest

    def silence(self, now: float) -> float:
        """Return the seconds since the session's last event."""
        return max(0.0, now - self._turns.latest) if self._turns.latest else 0.0

    def calls_in_flight(self) -> list[Call]:
        """Return the calls without a result, oldest first."""
        return (
            [call for call in self._calls if call.answer is None] if self._turns.in_flight else []
        )

    def dollars_per_hour(self, now: float) -> float:
        """Return the rate of the last quarter of an hour, NaN if it is not known."""
        while self._costs and self._costs[0][0] < now - RATE_WINDOW_S:
            self._costs.popleft()
        if len(self._costs) < 2 or now - self._costs[0][0] < MIN_RATE_WINDOW_S:
            return math.nan
        first_time, first_cost = self._costs[0]
        return (self._costs[-1][1] - first_cost) / (now - first_time) * 3600

    def state(self, now: float, stall_limit_s: float = 0.0) -> State:
        """Return the state at `now`; a silence near `stall_limit_s` is stuck."""
        if self.cause:
            return State.TRIPPED
        if self.paused:
            return State.PAUSED
        if self.asks in ("permission", "question"):
            return State.WAITING
        if self.ended:
            return State.IDLE
        if self._turns.waits:
            return State.IDLE if self.events else State.WORKING
        silent = self.silence(now)
        stuck_after = NEAR * stall_limit_s if stall_limit_s else STUCK_WITHOUT_LIMIT_S
        return State.STUCK if silent >= stuck_after and not self._turns.in_flight else State.WORKING

    def worked_alone(self, now: float) -> float:
        """Return the seconds that the agent has worked since its user's last prompt."""
        return self._turns.worked_alone(now)

    def progress(self, limits: Mapping[str, float], now: float) -> list[Progress]:
        """Return the nearness of the `limits` that can be told, nearest first."""
        found = []
        moving = self.state(now, limits.get("stall", 0.0)) in (State.WORKING, State.STUCK)
        for name, configured in limits.items():
            limit = self.raised.get(name, configured)
            if not limit or (self.cause and name == self.trip.name):
                continue
            value, rate = self._value_and_rate(name, now)
            left = limit - value
            eta = now + left / rate if moving and rate > 0 and left > 0 else math.inf
            found.append(Progress(name, limit, max(0.0, value / limit), now if left <= 0 else eta))
        found.sort(key=lambda each: -each.part)
        return [self.trip, *found] if self.cause else found

    def _value_and_rate(self, name: str, now: float) -> tuple[float, float]:
        """Return how much of a limit's unit is used, and how much a second is."""
        if name == "cost":
            rate = self.dollars_per_hour(now)
            return self.cost, 0.0 if math.isnan(rate) else rate / 3600
        if name == "duration":
            return self.worked_alone(now), 1.0
        if name == "stall":
            waits = self._turns.waits or self._turns.in_flight or bool(self.asks)
            return (0.0, 0.0) if waits else (self.silence(now), 1.0)
        if name == "retry":
            return float(self.failing), 0.0
        return 0.0, 0.0
