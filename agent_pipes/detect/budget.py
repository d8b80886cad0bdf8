"""Budgets over sessions: what a directory, a user, a host or all spend within a sliding window."""

import math
from heapq import nlargest

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn

BUCKETS = 144
"""Buckets of event time that a window is divided into: ten minutes each of a day."""

MAX_GROUPS = 10_000
"""Groups, and sessions of one group, whose dollars are kept."""

MAX_RESPONSES = 1_000_000
"""Responses that are remembered as counted, over all groups."""

MAX_SPENDERS = 10
"""Sessions that a violation names: those that have spent most."""

MAX_AHEAD_S = 300.0
"""Seconds by which an event's time may exceed its arrival: a wrong clock must not end a window."""

NAMED_BY_OPTION = ("user", "host")
"""Groups whose names only trace-tail --add-host adds to events."""


class Window:
    """Picodollars by bucket of event time, and their sum."""

    __slots__ = ("buckets", "first", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.first = self.total = 0

    def add(self, bucket: int, amount: int) -> None:
        """Add picodollars to a bucket."""
        self.buckets[bucket] = self.buckets.get(bucket, 0) + amount
        self.total += amount

    def slide(self, first: int) -> int:
        """Drop the buckets before `first`; return the sum of the others."""
        if first > self.first:
            self.first = first
            for bucket in [each for each in self.buckets if each < first]:
                self.total -= self.buckets.pop(bucket)
        return self.total


class Group(Window):
    """Sessions that share a budget.

    times_passed: how often the sum has passed the limit.
    is_over:      the sum is above the limit.
    spenders:     the sessions that had spent most when it was passed, the largest first.
    warned:       the session that got the warning of the sum, "" if none was.
    """

    __slots__ = ("is_over", "name", "sessions", "spenders", "times_passed", "warned")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.sessions: BoundedDict[str, Window] = BoundedDict(MAX_GROUPS)
        self.times_passed = 0
        self.is_over = False
        self.spenders: tuple[str, ...] = ()
        self.warned = ""

    def compare(self, most: int, first: int) -> None:
        """Note if the sum of the buckets from `first` on is above `most`, 0 for no limit."""
        total, was_over = self.slide(first), self.is_over
        self.is_over = 0 < most < total
        if self.is_over and not was_over:
            self.times_passed += 1
            spent = {
                name: usd for name, window in self.sessions.items() if (usd := window.slide(first))
            }
            self.spenders = tuple(nlargest(MAX_SPENDERS, spent, key=lambda name: spent[name]))

    def warns(self, session: str, amount: float) -> bool:
        """Return True if the sum has reached `amount`, 0 for none, for the first that spent it."""
        if not 0 < amount <= self.total:
            self.warned = ""
            return False
        self.warned = self.warned or session
        return self.warned == session


class Budget:
    """Dollars of all groups, shared by the detectors of all sessions.

    per:      what forms a group: "session", "cwd", "user", "host" or "all".
    window_s: seconds of event time over which is summed, 0 for all that was seen.
    most:     limit of each group in picodollars, 0 for none.
    now:      latest time of a response, seconds since the epoch.
    """

    def __init__(self, per: str, window_s: float, most: int) -> None:
        self.per, self.window_s, self.most = per, window_s, most
        self.now = 0.0
        self.late_reported = False
        self._bucket_s = window_s / BUCKETS or math.inf
        self._groups: BoundedDict[str, Group] = BoundedDict(MAX_GROUPS)
        self._counted: BoundedDict[int, int] = BoundedDict(MAX_RESPONSES)
        self._reported: set[str] = set()

    def group(self, event: Event, cwd: str) -> Group:
        """Return the group of the session that `event` belongs to, and that works in `cwd`."""
        names = {"session": event.session, "cwd": cwd, "user": event.user, "host": event.host}
        name = names.get(self.per, "")
        if not name and self.per in NAMED_BY_OPTION:
            self._report(
                f"events name no {self.per}: they share one budget; see trace-tail --add-host"
            )
        group = self._groups.get(name) or Group(name)
        if name not in self._groups and len(self._groups) >= MAX_GROUPS:
            self._report(
                f"more than {MAX_GROUPS} groups: the cost of the oldest is no longer counted"
            )
        self._groups.renew(name, group)
        return group

    def count(self, group: Group, event: Event, amount: int) -> bool:
        """Count picodollars of a response, once however often it comes; False if it is too late.

        amount: all that it costs so far; a later line of the same response may add to it.
        """
        time = min(event.time, event.arrival + MAX_AHEAD_S) if event.arrival else event.time
        time = time or self.now
        self.now = max(self.now, time)
        bucket, first = int(time // self._bucket_s), self.first
        key = hash((event.session, event.text("response_id") or event.id))
        added = amount - self._counted.get(key, 0)
        if added > 0 and bucket >= first:
            self._counted.renew(key, amount)
            group.add(bucket, added)
            group.sessions.setdefault(event.session, Window()).add(bucket, added)
        group.compare(self.most, first)
        return bucket >= first

    @property
    def first(self) -> int:
        """The oldest bucket of the window."""
        return int(self.now // self._bucket_s) - BUCKETS + 1

    def _report(self, message: str) -> None:
        if message not in self._reported:
            self._reported.add(message)
            warn(message)
