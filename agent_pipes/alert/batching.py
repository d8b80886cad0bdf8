"""What waits to be told, and what of it goes out now. Nothing here looks at a clock: the time is the caller's."""

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from agent_pipes.core.event import Event
from agent_pipes.core.options import written

QUEUE = 100
"""Alerts that wait for delivery one by one; of more, the oldest warnings go first, and how many is said."""

LINES = 5
"""Alerts of which a joined message shows the line; of all the others it says how many there were, and whose."""

LONGEST, LONGEST_OF_MANY = 1000, 200
"""Characters of a line that are told, of one alert and in a joined message."""

NAMED = 20
"""Watchers that a joined message counts by name."""

OTHERS = "others"

WARNING, CRITICAL, ENDED, NOT_ENDED = range(4)
"""How bad it is: a warning; a limit that was passed; what became of the agent then; that it could not be ended."""

DONE = frozenset({"terminated", "killed", "interrupted", "not_running"})
"""The outcomes of a `kill` after which the agent does no more harm."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One `violation` or `kill`, and the line that people read of it, with nothing in it that would be obeyed."""

    event: Event
    text: str

    @property
    def rank(self) -> int:
        if self.event.type == "kill":
            return ENDED if self.event.text("outcome") in DONE | {"dry_run"} else NOT_ENDED
        return WARNING if self.event.data.get("level") == "warning" else CRITICAL

    @property
    def name(self) -> str:
        """What it is counted under: the watcher, or `kill`."""
        return (
            self.event.type
            if self.event.type == "kill"
            else self.event.text("watcher")[:40] or "unknown"
        )


@dataclass(slots=True)
class Batch:
    """What goes out as one message: a single alert, or a burst.

    alerts: the first of them, LINES at most.
    counts: how many there are of each watcher.
    within: the seconds that the burst was gathered for; 0 for a single alert.
    """

    alerts: list[Alert] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    within: float = 0.0
    worst: int = WARNING

    def add(self, alert: Alert) -> None:
        if len(self.alerts) < LINES:
            self.alerts.append(alert)
        self.counts[
            alert.name if alert.name in self.counts or len(self.counts) < NAMED else OTHERS
        ] += 1
        self.worst = max(self.worst, alert.rank)

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def lines(self) -> list[str]:
        """What people read: the alert's line; of a burst how many of what, and the first ones' lines."""
        if self.count == 1:
            return [cut(self.alerts[0].text, LONGEST)]
        each = ", ".join(f"{name} {number}" for name, number in self.counts.most_common())
        rest = self.count - len(self.alerts)
        head = f"{self.count} more in {written(self.within)}: {each}"
        return [
            head,
            *(cut(alert.text, LONGEST_OF_MANY) for alert in self.alerts),
            *([f"… and {rest} more"] if rest else []),
        ]


def cut(text: str, limit: int) -> str:
    """The text, with its end left out where it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def alone(alert: Alert) -> Batch:
    batch = Batch()
    batch.add(alert)
    return batch


class Waiting(Protocol):
    """Alerts on their way out. `now` is seconds on any clock that only goes forward."""

    dropped: int
    """How many went without being told: there was no room for them."""

    def put(self, alert: Alert, now: float) -> None:
        """Have it wait. Never more than a bounded number of alerts are held."""

    def take(self, now: float, closing: bool) -> Batch | None:
        """What goes out now, None where nothing does; when `closing`, everything that waits does."""

    def due(self, now: float) -> float | None:
        """Seconds until something goes out by itself, None where nothing waits."""

    def __len__(self) -> int:
        """The alerts that wait."""


class OneByOne:
    """Each alert is a message of its own, and goes out as soon as it can."""

    def __init__(self) -> None:
        self.waiting: deque[Alert] = deque()
        self.dropped = 0

    def put(self, alert: Alert, now: float) -> None:
        if len(self.waiting) >= QUEUE:
            self.dropped += 1
            if not self._make_room(alert):
                return
        self.waiting.append(alert)

    def _make_room(self, alert: Alert) -> bool:
        """The first alert of a burst says most: warnings go before it, and what comes last before what came first."""
        warning = next((one for one in self.waiting if one.rank == WARNING), None)
        if alert.rank == WARNING or warning is None:
            return False
        self.waiting.remove(warning)
        return True

    def take(self, now: float, closing: bool) -> Batch | None:
        return alone(self.waiting.popleft()) if self.waiting else None

    def due(self, now: float) -> float | None:
        return 0.0 if self.waiting else None

    def __len__(self) -> int:
        return len(self.waiting)


class Joined:
    """Bursts become one message: the first alert goes out at once, and what follows within `every` seconds goes together.

    What is worse than anything told in that time does not wait: a violation after warnings, what became of the agent
    after that, and that it could not be ended after anything. So there are five messages in `every` seconds at most,
    and none is dropped: of what there is no room for, the number is told.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self.ready: deque[Batch] = deque()
        self.gathered = Batch(within=every)
        self.until = -math.inf
        self.worst = WARNING
        self.dropped = 0

    def put(self, alert: Alert, now: float) -> None:
        first = now >= self.until and not self.gathered.count
        if len(self.ready) < QUEUE and (first or alert.rank > self.worst):
            self.ready.append(alone(alert))
            self.worst = alert.rank
            if first:
                self.until = now + self.every
        else:
            self.gathered.add(alert)

    def take(self, now: float, closing: bool) -> Batch | None:
        if self.ready:
            return self.ready.popleft()
        if not self.gathered.count or not (closing or now >= self.until):
            return None
        batch, self.gathered = self.gathered, Batch(within=self.every)
        self.until = now + self.every
        self.worst = batch.worst
        return batch

    def due(self, now: float) -> float | None:
        if self.ready:
            return 0.0
        return max(0.0, self.until - now) if self.gathered.count else None

    def __len__(self) -> int:
        return len(self.ready) + self.gathered.count
