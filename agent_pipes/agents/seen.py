"""Set of the latest keys that were seen: what is written a second time is known again."""

from collections.abc import Hashable

from agent_pipes.core.bounded import BoundedDict


class Seen:
    """A set of bounded size, which evicts the oldest keys first."""

    def __init__(self, limit: int) -> None:
        self._values: BoundedDict[int, int] = BoundedDict(limit)

    def new(self, *key: Hashable) -> bool:
        """Return True if `key` is seen for the first time."""
        return self.changed(key, 0)

    def changed(self, key: Hashable, value: int) -> bool:
        """Return True if `value` is not the last one seen under `key`.

        Keys are kept as 64-bit hashes.
        """
        hashed = hash(key)
        if self._values.get(hashed) == value:
            return False
        self._values.renew(hashed, value)
        return True
