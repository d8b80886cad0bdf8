"""Waits of a session for its user, for people who want to be told."""

from collections.abc import Iterator

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, make
from agent_pipes.core.jsonl import Fields
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.turns import IGNORED, TurnTracker

SETTLE_S = 5.0
"""Seconds of a wait from which it is reported: an agent writes texts between two calls."""

MAX_SESSIONS = 10_000

WANTED = {
    "permission": "your permission",
    "question": "your answer",
    "prompt": "your next prompt",
}
"""Words for the `for` of a `waiting` event."""


class Waits:
    """Finds the waits of all sessions of a stream."""

    def __init__(self) -> None:
        self._sessions: BoundedDict[str, SessionWaits] = BoundedDict(MAX_SESSIONS)

    def see(self, event: Event) -> Iterator[Event]:
        """Yield a `waiting` event for each session whose user has been waited for since SETTLE_S.

        A tick without a session is one of all.
        """
        session = event.session
        if event.type == "session_end":
            self._sessions.pop(session, None)
        elif event.type == "tick":
            for name in [session] if session else list(self._sessions):
                found = self._sessions.get(name)
                if found and found.is_due(event.time):
                    yield make("waiting", event.time, name, found.report())
        else:
            if session not in self._sessions:
                self._sessions[session] = SessionWaits()
            self._sessions[session].see(event)


class SessionWaits:
    """Waits of one session; each is reported once, and none that history has."""

    __slots__ = ("_asked", "_calls", "_in_history", "_reported", "_tool", "_turns")

    def __init__(self) -> None:
        self._turns = TurnTracker()
        self._calls = CallTracker()
        self._asked = ""
        self._tool = ""
        self._in_history = False
        self._reported = True

    def see(self, event: Event) -> None:
        """Follow an event that is no tick."""
        kind, turns = event.type, self._turns
        if kind in ("history_start", "history_end"):
            self._in_history = kind == "history_start"
            # The user who starts a watch knows that the agent waits already.
            self._reported = turns.waits
            return
        if kind in IGNORED:
            return
        turns.see(event, self._calls.see(event), max(event.time, turns.latest))
        self._asked = event.text("for") if kind == "waiting" else ""
        if kind == "tool_call":
            self._tool = event.text("tool_name")
        # The client may say again that a turn has ended; each question is another.
        goes_on = turns.waits and self._asked in ("", "prompt")
        self._reported = self._in_history or (self._reported and goes_on)

    def is_due(self, now: float) -> bool:
        """Return True if a wait has lasted long enough at `now` and was not reported."""
        turns = self._turns
        if self._reported or self._in_history or turns.headless:
            return False
        return turns.waits_at(now) and now - turns.latest >= SETTLE_S

    def report(self) -> Fields:
        """Return the data of the `waiting` event, and note that the wait was reported."""
        self._reported = True
        wanted = self._asked if self._asked in WANTED else self._guess()
        by = f" for {self._tool}" if wanted == "permission" and self._tool else ""
        return {"for": wanted, "message": f"waits for {WANTED[wanted]}{by}"}

    def _guess(self) -> str:
        """Return what is waited for, by the calls that are open."""
        if kind_of(self._tool) == "ask" and self._turns.in_flight:
            return "question"
        return "permission" if self._turns.in_flight else "prompt"
