"""What is remembered of a bounded number: a stream has no end."""

from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(memory: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Keep `value` under `key`; where there are more than `most`, the eighth that was first kept longest ago is forgotten."""
    memory[key] = value
    if len(memory) > most:
        # Together: one by one, each would be searched for behind the places of all that were forgotten before it.
        for oldest in list(islice(memory, 1 + most // 8)):
            del memory[oldest]
