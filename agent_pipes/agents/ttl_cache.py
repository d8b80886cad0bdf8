"""TTL cache of a scan of the machine, which one request for a thousand sessions makes once."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Seen = TypeVar("Seen")

MOMENT, SHARE = 0.05, 10
"""Seconds for which a look holds, and how many times as long as it took it holds at least."""

LATELY = 60.0
"""Seconds since its last change in which a session is scanned by itself: it is likely live."""


class Look(Generic[Seen]):
    """Return the result of `take`, until its time is over or another `key` is asked for."""

    def __init__(self, take: Callable[[], Seen]) -> None:
        self._take = take
        self._held: tuple[Hashable, float, Seen] | None = None

    def __call__(self, key: Hashable) -> Seen:
        began = time.monotonic()
        if self._held is None or self._held[0] != key or began >= self._held[1]:
            seen = self._take()
            now = time.monotonic()
            self._held = key, now + max(MOMENT, SHARE * (now - began)), seen
        return self._held[2]


def lately(modified: float) -> bool:
    """Return True if `modified` (seconds since the epoch) is recent."""
    return modified > time.time() - LATELY
