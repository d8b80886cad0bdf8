"""Command patterns: the words that a command begins with."""

import re
from collections.abc import Sequence


class CommandPatterns:
    """A list of command patterns: leading words, in which `*` and `?` are wildcards.

    A pattern matches whole words from the beginning; ` *` at its end is whatever follows, also
    nothing.
    Raises ValueError for a pattern without a word.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._named: dict[str, list[tuple[re.Pattern[str], str]]] = {}
        self._other: list[tuple[re.Pattern[str], str]] = []
        for pattern in patterns:
            words = pattern.split()
            if not words:
                raise ValueError("an empty pattern matches nothing")
            entry = (re.compile(_expression(" ".join(words)), re.S), pattern)
            if re.search(r"[*?]", words[0]):
                self._other.append(entry)
            else:
                self._named.setdefault(words[0], []).append(entry)

    def begins(self, line: str) -> bool:
        """Return True if a pattern may match what begins with the first word of `line`."""
        return bool(self._other) or line.partition(" ")[0] in self._named

    def match(self, line: str) -> str:
        """Return the pattern that matches `line`, words separated by single spaces; "" if none."""
        for expression, pattern in [*self._named.get(line.partition(" ")[0], []), *self._other]:
            if expression.match(line):
                return pattern
        return ""


def _expression(text: str) -> str:
    text = text.removesuffix(" *")
    head, *pieces = [
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in text.split("*")
    ]
    end = r"(?= |\Z)"
    if not pieces:
        return head + end
    *middle, tail = pieces
    # The end of the last piece is part of its group, which would not give back a place where no
    # word ends.
    return (
        head
        + "".join(f"(?>.*?{piece})" for piece in middle if piece)
        + (f"(?>.*?{tail}{end})" if tail else "")
    )
