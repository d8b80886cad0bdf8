"""Whose turn it is in a session: the agent's, a tool's, or its user's."""

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.detect.call_tracker import MAX_OPEN_CALLS
from agent_pipes.detect.calls import Call

_IGNORED = frozenset({"tick", "process", "history_start", "history_end"})


class TurnTracker:
    """Follows whose turn it is, all agents of a session together.

    latest: time of the last event, seconds since the epoch; 0.0 before the first.
    waits:  the user is waited for: the agent was asked nothing yet, has ended its turn, asks
            something, or was interrupted.
    idle:   seconds for which the user was waited for, up to `latest`.
    """

    __slots__ = ("_open", "idle", "latest", "waits")

    def __init__(self) -> None:
        self._open: BoundedDict[Call | None, None] = BoundedDict(MAX_OPEN_CALLS)
        self.latest = 0.0
        self.waits = True
        self.idle = 0.0

    @property
    def in_flight(self) -> bool:
        """True while a tool runs."""
        return bool(self._open)

    def idle_at(self, now: float) -> float:
        """Return the seconds for which the user was waited for, up to `now`."""
        return self.idle + (now - self.latest if self.waits and self.latest else 0.0)

    def see(self, event: Event, call: Call | None, now: float) -> None:
        """Follow `event`, which happened at `now`: never before the events seen earlier."""
        kind = event.type
        if kind in _IGNORED:
            return
        if kind == "tool_call":
            if call and not call.answer:
                self._open[call] = None
            self.waits = call is not None and kind_of(call.tool) == "ask"
        elif kind == "tool_result" or kind == "error":
            self._answered(event, call, now)
        elif kind == "assistant_response":
            if not event.agent:
                # Calls that are still open were lost, or go on in the background.
                self._open.clear()
                self.waits = True
        elif kind == "user_prompt" or kind == "session_start":
            self.idle = self.idle_at(now)
            self.waits = kind == "session_start"
        self.latest = now

    def _answered(self, event: Event, call: Call | None, now: float) -> None:
        if call in self._open:
            del self._open[call]
        else:
            call = None
        reason = event.data.get("reason")
        if call is not None and reason == "rejected":
            # A user who refuses a call was asked all the while.
            self.idle += max(0.0, now - max(call.time, self.latest))
        elif self.waits and call is not None and kind_of(call.tool) == "ask":
            self.idle = self.idle_at(now)
        if call is not None or reason == "interrupted":
            self.waits = reason in ("rejected", "interrupted")
