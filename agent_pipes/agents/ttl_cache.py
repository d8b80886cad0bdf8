"""A look at the machine that serves for all sessions: asked of a thousand, one after the other, it is taken once."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Seen = TypeVar("Seen")

MOMENT, SHARE = 0.05, 10
"""Seconds for which a look holds, and how many times as long as it took it holds at least."""

LATELY = 60.0
"""Seconds after its last change for which a session is looked at by itself: it is one that somebody is likely to begin."""


class Look(Generic[Seen]):
    """What `take` has seen, until its moment is over or it is asked for under another `key`."""

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
    """Whether a session that changed at `modified` (seconds since the epoch) did so lately."""
    return modified > time.time() - LATELY
