"""Order and grouping of alerts before delivery.

No function here reads a clock: the caller passes the time.
"""

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from agent_pipes.core.display import format_duration, truncate
from agent_pipes.core.event import Event

MAX_QUEUED = 100
"""Alerts that wait for delivery one by one; beyond it warnings are dropped first, and counted."""

MAX_BATCH_LINES = 5
"""Alerts whose line is in a message of several; the others are counted."""

MAX_LINE_CHARS = 1000
MAX_BATCH_LINE_CHARS = 200
"""Characters of a line, of a single alert and in a message of several."""

MAX_COUNTED_NAMES = 20
MAX_NAME_CHARS = 40
OTHERS = "others"

HARMLESS_OUTCOMES = frozenset({"terminated", "killed", "interrupted", "not_running"})
"""Outcomes of a `kill` after which the agent does no more harm."""


class AlertRank(IntEnum):
    """Severity: a warning or a wait, a limit passed, a kill that succeeded, a kill that failed."""

    WARNING = 0
    CRITICAL = 1
    KILLED = 2
    NOT_KILLED = 3


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A `violation`, `kill` or `waiting`, and its escaped line.

    agent, cwd: the session's, "" if unknown.
    cause:      watcher and message of the violation that a kill follows.
    """

    event: Event
    text: str
    agent: str = ""
    cwd: str = ""
    cause: tuple[str, str] = ("", "")

    @property
    def rank(self) -> AlertRank:
        """Severity of the event."""
        if self.event.type == "kill":
            done = self.event.text("outcome") in HARMLESS_OUTCOMES | {"dry_run"}
            return AlertRank.KILLED if done else AlertRank.NOT_KILLED
        warning = self.event.type == "waiting" or self.event.data.get("level") == "warning"
        return AlertRank.WARNING if warning else AlertRank.CRITICAL

    @property
    def name(self) -> str:
        """Name that the alert is counted under: the watcher's, or `kill`."""
        if self.event.type in ("kill", "waiting"):
            return self.event.type
        return self.event.text("watcher")[:MAX_NAME_CHARS] or "unknown"


@dataclass(slots=True)
class Batch:
    """The alerts of one message: one, or several that came within an interval.

    alerts:   the first of them, MAX_BATCH_LINES at most.
    counts:   number of alerts by name.
    within_s: length of the interval in seconds; 0 for a single alert.
    worst:    highest rank.
    """

    alerts: list[AlertMessage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    within_s: float = 0.0
    worst: AlertRank = AlertRank.WARNING

    def add(self, alert: AlertMessage) -> None:
        """Add an alert; only the first ones' lines are kept."""
        if len(self.alerts) < MAX_BATCH_LINES:
            self.alerts.append(alert)
        counted = alert.name in self.counts or len(self.counts) < MAX_COUNTED_NAMES
        self.counts[alert.name if counted else OTHERS] += 1
        self.worst = max(self.worst, alert.rank)

    @property
    def count(self) -> int:
        """Number of alerts."""
        return sum(self.counts.values())

    @property
    def lines(self) -> list[str]:
        """Lines of the message; of several alerts the counts by name and the first ones' lines."""
        if self.count == 1:
            return [truncate(self.alerts[0].text, MAX_LINE_CHARS)]
        each = ", ".join(f"{name} {number}" for name, number in self.counts.most_common())
        rest = self.count - len(self.alerts)
        return [
            f"{self.count} more in {format_duration(self.within_s)}: {each}",
            *(truncate(alert.text, MAX_BATCH_LINE_CHARS) for alert in self.alerts),
            *([f"… and {rest} more"] if rest else []),
        ]


def single(alert: AlertMessage) -> Batch:
    """Return a batch of one alert."""
    batch = Batch()
    batch.add(alert)
    return batch


class Batching(Protocol):
    """Alerts that wait for delivery. `now` is seconds of a monotonic clock.

    dropped: number of alerts dropped for want of room.
    """

    dropped: int

    def put(self, alert: AlertMessage, now: float) -> None:
        """Queue an alert. The number of queued alerts is bounded."""

    def take(self, now: float, closing: bool) -> Batch | None:
        """Return the next message that is due, None if there is none; all are due if `closing`."""

    def due(self, now: float) -> float | None:
        """Return the seconds until a message is due, None if nothing is queued."""

    def __len__(self) -> int:
        """Return the number of queued alerts."""


class Immediate:
    """Batching of one message per alert, due at once."""

    def __init__(self) -> None:
        self.queue: deque[AlertMessage] = deque()
        self.dropped = 0

    def put(self, alert: AlertMessage, now: float) -> None:
        """Queue an alert; of a full queue a warning is dropped, else the new alert.

        The first alerts of a burst tell most, so later ones are dropped before earlier ones.
        """
        if len(self.queue) >= MAX_QUEUED:
            self.dropped += 1
            warning = next((one for one in self.queue if one.rank == AlertRank.WARNING), None)
            if alert.rank == AlertRank.WARNING or warning is None:
                return
            self.queue.remove(warning)
        self.queue.append(alert)

    def take(self, now: float, closing: bool) -> Batch | None:
        """Return the oldest alert."""
        return single(self.queue.popleft()) if self.queue else None

    def due(self, now: float) -> float | None:
        """Return 0 if an alert is queued."""
        return 0.0 if self.queue else None

    def __len__(self) -> int:
        return len(self.queue)


class Coalesced:
    """Batching of bursts: the first alert is due at once, those of an interval after it together.

    An alert of a higher rank than any in the interval is due at once. There are four ranks, so at
    most five messages are sent in `every_s` seconds. No alert is dropped; those without room for
    their line are counted.
    """

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self.ready: deque[Batch] = deque()
        self.gathered = Batch(within_s=every_s)
        self.until = -math.inf
        self.worst = AlertRank.WARNING
        self.dropped = 0

    def put(self, alert: AlertMessage, now: float) -> None:
        """Queue an alert, alone or with the others of this interval."""
        first = now >= self.until and not self.gathered.count
        if len(self.ready) < MAX_QUEUED and (first or alert.rank > self.worst):
            self.ready.append(single(alert))
            self.worst = alert.rank
            if first:
                self.until = now + self.every_s
        else:
            self.gathered.add(alert)

    def take(self, now: float, closing: bool) -> Batch | None:
        """Return a single alert that is due, or those gathered once the interval has ended."""
        if self.ready:
            return self.ready.popleft()
        if not self.gathered.count or not (closing or now >= self.until):
            return None
        batch, self.gathered = self.gathered, Batch(within_s=self.every_s)
        self.until = now + self.every_s
        self.worst = batch.worst
        return batch

    def due(self, now: float) -> float | None:
        """Return the seconds until the interval ends, 0 if an alert is due now."""
        if self.ready:
            return 0.0
        return max(0.0, self.until - now) if self.gathered.count else None

    def __len__(self) -> int:
        return len(self.ready) + self.gathered.count
