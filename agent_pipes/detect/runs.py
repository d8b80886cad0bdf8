"""Division of a session into runs: a limit counts the present run alone."""

from collections import deque

from agent_pipes.core.event import Event

CLOCK_TOLERANCE_S = 2.0
"""Seconds by which the first event of a run may precede the start of its process."""

MAX_RESTART_GAP_S = 60.0
"""Seconds after its last event within which a headless session that is taken up continues its run.

A supervisor that resumes an agent again and again is one run; a person who resumes one is not.
"""


MAX_KEPT_TIMES = 64
"""Times of the latest events of a session, to find the last one before a process started."""


def divides_runs(event: Event) -> bool:
    """Return True if the event tells where a run begins: a process, or a mark of resumption."""
    return event.type == "process" or is_resumption(event)


def is_resumption(event: Event) -> bool:
    """Return True for a `session_start` by which a session is taken up again."""
    if event.type != "session_start":
        return False
    return event.data.get("resumed") is True or event.text("source") == "resume"


class RunTracker:
    """Tells the driver at which events of a session a new run begins.

    A run begins at the start of the agent's process, or at a mark of resumption that the source
    records. Without either the session is one run.

    began:   start of the present run's process, seconds since the epoch; 0.0 if unknown.
    divided: number of times that a new run began.
    """

    __slots__ = ("_edge", "_headless", "_times", "began", "divided")

    def __init__(self) -> None:
        self._edge = 0.0
        self._headless = False
        self._times: deque[float] = deque(maxlen=MAX_KEPT_TIMES)
        self.began = 0.0
        self.divided = 0

    def restart(self) -> None:
        """Forget the events: the session is read again from its start."""
        self._times.clear()
        self._edge = self.began - CLOCK_TOLERANCE_S if self.began else 0.0

    def begins(self, event: Event) -> bool:
        """Return True if a new run begins with `event`: what was counted before is dropped."""
        kind = event.type
        new = False
        if kind == "process":
            new = self._see_process(event)
        elif kind == "history_end":
            # Without an event since the process started, all that was seen is before it.
            new = bool(self._edge) and self._cut(self._edge)
        elif kind != "history_start":
            if kind == "session_start":
                self._see_start(event)
            resumed = is_resumption(event)
            if resumed or (self._edge and event.time >= self._edge):
                new = self._cut(event.time if resumed else self._edge)
            if event.time:
                self._times.append(event.time)
        self.divided += new
        return new

    def _see_start(self, event: Event) -> None:
        interactive = event.data.get("interactive")
        if isinstance(interactive, bool):
            self._headless = not interactive

    def _see_process(self, event: Event) -> bool:
        began = event.number("began")
        if not began or began == self.began:
            return False
        self.began = began
        self._edge = began - CLOCK_TOLERANCE_S
        if not self._times or self._times[-1] < self._edge:
            return False
        # The process was found after its first events. Of a longer run nothing is dropped.
        if self._times[0] >= self._edge:
            self._edge = 0.0
            return False
        return self._cut(self._edge)

    def _cut(self, edge: float) -> bool:
        """Return True unless nothing came before `edge`, or a headless session was taken up."""
        before = [time for time in self._times if time < edge]
        self._edge = 0.0
        if not before:
            return False
        gap = edge + CLOCK_TOLERANCE_S - before[-1]
        return not (self._headless and gap <= MAX_RESTART_GAP_S)
