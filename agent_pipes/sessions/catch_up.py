"""History in a stream of events that is read again, from a broker or a file.

A detector that starts anew has forgotten what it counted. The log is its state: events from before
its start are marked as history, so that it counts them and raises what still holds.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, make

IDLE_S = 5.0
"""Seconds without an old event after which the history of all sessions has ended."""

MAX_SESSIONS = 100_000
"""Sessions that are kept, ten times as many as a detector keeps."""


class Clock(Protocol):
    """Seconds since the epoch: at the start, and now."""

    began: float

    def now(self) -> float:
        """Return seconds since the epoch."""


class CatchUp:
    """Puts `history_start` and `history_end` around each session's events from before the start.

    A session's history ends at its first event of a later time; where none comes, once no old
    events come any more, or with the stream.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._in_history: BoundedDict[str, bool] = BoundedDict(MAX_SESSIONS)
        self._last_old = 0.0

    def mark(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the events, and the marks."""
        for event in events:
            if event.type and event.type != "tick" and event.session:
                yield from self._see(event)
            else:
                yield event
            if self._last_old and self._clock.now() - self._last_old >= IDLE_S:
                yield from self._end_all()
        yield from self._end_all()

    def _see(self, event: Event) -> Iterator[Event]:
        session = event.session
        old = 0 < event.time < self._clock.began
        in_history = self._in_history.get(session)
        if old:
            self._last_old = self._clock.now()
            if in_history is None:
                in_history = True
                if event.type != "history_start":
                    yield make("history_start", event.time, session, {})
            self._in_history.renew(session, in_history)
        elif in_history and event.time:
            in_history = self._in_history[session] = False
            yield self._end(session)
        if in_history and event.type == "history_end":
            # The history that is being read goes on to our own start.
            return
        yield event
        if event.type == "session_end":
            self._in_history.pop(session, None)

    def _end_all(self) -> Iterator[Event]:
        for session, in_history in self._in_history.items():
            if in_history:
                self._in_history[session] = False
                yield self._end(session)
        self._last_old = 0.0

    def _end(self, session: str) -> Event:
        return make("history_end", self._clock.now(), session, {})
