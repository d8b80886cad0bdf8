"""Whose turn it is in a session: the agent's, a tool's, or its user's."""

import math

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.detect.call_tracker import MAX_OPEN_CALLS
from agent_pipes.detect.calls import Call

MAX_WORKING_SILENCE_S = 600.0
"""Seconds of one silence that count as work: beyond, an agent hangs or its client has gone."""

QUICK_KINDS = frozenset({"read", "write", "edit"})
MAX_QUICK_CALL_S = 60.0
"""Tools that take no time, and the seconds after which one waits for its user's permission.

In 425 recorded sessions 110 such calls were open for longer, the longest for 18 hours; each
waited at a permission prompt.
"""

IGNORED = frozenset({"tick", "process", "history_start", "history_end", "quota", "context"})
"""Types that say nothing of the turn, and whose time is not that of the agent's work."""


class TurnTracker:
    """Follows whose turn it is, all agents of a session together.

    _open:    calls that are not answered: True for those of quick tools.
    began:    time of the first event, seconds since the epoch; 0.0 before it.
    headless: no person is there, as the source says: nothing waits for permission.
    known:    False if the source cannot tell whose turn it is.
    latest:   time of the last event; 0.0 before the first.
    prompted: time of the last prompt of its user, or that of the first event.

    If the client itself says whom it waits for (the `status` of a `waiting` event), that decides
    until it says something else; otherwise the calls and answers imply it.
    """

    __slots__ = (
        "_alone",
        "_blind",
        "_ended",
        "_open",
        "_said",
        "_total",
        "_unseen",
        "_waiting",
        "began",
        "headless",
        "known",
        "latest",
        "prompted",
    )

    def __init__(self) -> None:
        self._open: BoundedDict[Call, bool] = BoundedDict(MAX_OPEN_CALLS)
        self._ended = True
        self._waiting = False
        self._said = ""
        # Calls run that the source shows only when they are over; it never tells if any do.
        self._unseen = self._blind = False
        self._alone = self._total = 0.0
        self.began = self.prompted = self.latest = 0.0
        self.headless = False
        self.known = True

    @property
    def in_flight(self) -> bool:
        """True while a tool runs, or may run without being shown."""
        return bool(self._open) or self._unseen or self._blind

    @property
    def waits(self) -> bool:
        """True if the agent waits for its user: its turn has ended, or it asks something."""
        return self._said != "nobody" if self._said else self._ended or self._waiting

    @property
    def may_ask(self) -> bool:
        """True if an open call may wait for a permission that no event shows."""
        return not self.headless and not self._said

    def waits_at(self, now: float) -> bool:
        """Return True if the agent waits for its user at `now`, seconds since the epoch.

        A quick tool that is open for long waits for permission, unless the run is headless.
        """
        return self.waits or now - self.latest > self.max_silence

    @property
    def max_silence(self) -> float:
        """Seconds after `latest` from which on a silence means that the user is waited for."""
        quick = self.may_ask and True in self._open.values()
        return MAX_QUICK_CALL_S if quick else math.inf

    def worked_alone(self, now: float) -> float:
        """Return the seconds of work since its user's last prompt, up to `now`."""
        return self._alone + self._working(now)

    def worked(self, now: float) -> float:
        """Return the seconds of work in all that was seen, up to `now`."""
        return self._total + self._working(now)

    def _working(self, now: float) -> float:
        """Return the seconds of work since `latest`: at most MAX_WORKING_SILENCE_S."""
        if self.waits or not self.latest:
            return 0.0
        return max(0.0, min(now - self.latest, self.max_silence, MAX_WORKING_SILENCE_S))

    def see(self, event: Event, call: Call | None, now: float) -> None:
        """Follow `event`, which happened at `now`: never before the events seen earlier."""
        kind = event.type
        if kind in IGNORED:
            return
        if not is_rejected(event):
            # A user who refuses a call was asked all the while.
            working = self._working(now)
            self._alone += working
            self._total += working
        if is_person(event):
            self._alone = 0.0
            self.prompted = now
        if kind == "tool_call":
            self._ended = self._unseen = False
            self._waiting = call is not None and kind_of(call.tool) == "ask"
            if call and not call.answer:
                self._open[call] = kind_of(call.tool) in QUICK_KINDS
        elif kind == "tool_result" or kind == "error":
            self._see_result(event, call)
        elif kind == "assistant_response":
            if not event.agent:
                self._unseen = False
                # Calls that are still open were lost, or go on in the background.
                self._open.clear()
                self._ended = True
                self._waiting = False
        elif kind == "user_prompt":
            self._ended = self._waiting = self._unseen = False
        elif kind == "session_start":
            self._ended = True
            self.headless = event.data.get("interactive") is False
            untold = cannot_tell(event)
            self._blind = "in_flight" in untold
            self.known = self.known and "turns" not in untold
        elif kind == "waiting":
            if event.text("status"):
                self._said = event.text("for")
            self._waiting = self._waiting or not event.agent
        elif kind == "llm_request" or kind == "llm_response":
            self._waiting = False
            self._unseen = event.data.get("in_flight") is True
        self.latest = now
        self.began = self.began or now
        self.prompted = self.prompted or now

    def _see_result(self, event: Event, call: Call | None) -> None:
        reason = event.data.get("reason")
        known = call is not None and call in self._open
        if call is not None and known:
            del self._open[call]
        if reason == "api" and call is None:
            # The turn of the main agent ends with a failed request; a retry begins it again.
            self._waiting = self._waiting or not event.agent
        elif known or reason == "interrupted":
            self._ended = reason in ("rejected", "interrupted")
            self._waiting = False


def is_rejected(event: Event) -> bool:
    """Return True for the answer by which a user refuses a call: until then the user was asked."""
    return event.type == "error" and event.data.get("reason") == "rejected"


def cannot_tell(event: Event) -> list[object]:
    """Return what the source of a session cannot tell, as its `session_start` has it."""
    found = event.data.get("cannot_tell")
    return found if isinstance(found, list) else []
