"""Tables of facts kept as JSON in the package's data/."""

from functools import cache
from os.path import dirname, join
from typing import Any

import orjson

DATA = join(dirname(dirname(__file__)), "data")


def read_table(name: str) -> Any:
    """Return the content of data/`name`.json."""
    with open(join(DATA, f"{name}.json"), "rb") as file:
        return orjson.loads(file.read())


@cache
def names(text: str) -> frozenset[str]:
    """Return the names in `text`, which are separated by white space."""
    return frozenset(text.split())
