"""A dict of bounded size: a stream has no end, and memory has."""

from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedDict(dict[Key, Value]):
    """A dict that evicts its oldest entries when it holds more than `limit`.

    Setting a key that is present keeps its age; `renew` makes it the newest. One entry in
    sixty-four is evicted at a time: one by one, each eviction would skip the slots of all
    entries that were evicted before it.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        if len(self) > self.limit:
            for oldest in list(islice(self, 1 + self.limit // 64)):
                del self[oldest]

    def renew(self, key: Key, value: Value) -> None:
        """Set `key` to `value` as the newest entry."""
        self.pop(key, None)
        self[key] = value

    def setdefault(self, key: Key, default: Value) -> Value:
        """Return the value of `key`, which is set to `default` if it is absent."""
        if key not in self:
            self[key] = default
        return self[key]
