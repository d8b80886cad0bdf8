"""Braces of the shell: `{a,b}c` stands for the words `ac` and `bc`."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from agent_pipes.shell.words import Word

MAX_BRACE_WORDS = 64
"""Words that the braces of one word are expanded to."""


def with_braces(words: Iterable[Word]) -> Iterator[Word]:
    """Yield the words, each with unquoted braces as the words that it stands for."""
    for word in words:
        texts = expand_braces(word.text) if has_braces(word) else []
        for text in texts:
            yield Word(text, text, "glob" if re.search(r"[*?\[]", text) else "", word.tilde)
        if not texts:
            yield word


def has_braces(word: Word) -> bool:
    return word.unresolved == "glob" and "{" in word.raw


def expand_braces(text: str, limit: int = MAX_BRACE_WORDS) -> list[str]:
    """Return the words of `{a,b}` in `text`; none if they are too many or not a plain list."""
    start, depth, commas = text.find("{"), 0, list[int]()
    if start < 0:
        return [text]
    for at in range(start, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "," and depth == 1:
            commas.append(at)
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                break
    if depth or not commas or limit <= 0:
        return []
    found: list[str] = []
    for begin, end in pairwise([start, *commas, at]):
        found += (
            rest := expand_braces(
                text[:start] + text[begin + 1 : end] + text[at + 1 :], limit - len(found)
            )
        )
        if not rest or len(found) > limit:
            return []
    return found
