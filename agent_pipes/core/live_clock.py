"""Time of one live session."""

import time
from collections.abc import Callable


class LiveClock:
    """Time of a live session: of its latest event, then that in which this machine is awake.

    A machine that sleeps, or whose clock is set, makes no silence: the next event carries the
    new time, and this clock goes on from there.
    """

    __slots__ = ("_at", "_monotonic", "_time")

    def __init__(self, now: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._time = now
        self._at = monotonic()

    def now(self) -> float:
        """Return seconds since the epoch; they never go back."""
        return self._time + self._monotonic() - self._at

    def see(self, time: float) -> None:
        """Follow an event of the session that happened at `time`, seconds since the epoch."""
        if time > self.now():
            self._time, self._at = time, self._monotonic()
