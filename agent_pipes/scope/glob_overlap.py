"""Two patterns of paths compared: a policy's, and one that the shell or find replaces by names."""

import re
from collections.abc import Sequence
from functools import lru_cache

MAX_PARTS = 64
"""Parts of the longest patterns that are compared; a longer one may match anything."""

MIN_NAMED_CHARS = 3
"""Characters with which a shell's pattern names a denied directory: `sec*` names `secrets`."""


def may_match(pattern: Sequence[str], glob: str, *, below: bool) -> bool:
    """Return True if some path matches both; `below`: or is below one that the pattern matches."""
    names = _parts(glob)
    if len(names) > MAX_PARTS or len(pattern) > MAX_PARTS:
        return True
    return _overlap(tuple(pattern), names, exact=not below)


def surely_matches(pattern: Sequence[str], glob: str) -> bool:
    """Return True if the glob names what the pattern denies: `.env*` names `.env`.

    The pattern ends in a plain name, and the glob has a part of that name in its last part.
    """
    names = _parts(glob)
    if names and pattern and pattern[-1] == names[-1] == "**":
        # `secrets/**` and `**/secrets/**`: the directories are compared.
        pattern, names = pattern[:-1], names[:-1]
    last = pattern[-1] if pattern else ""
    if not names or not last or _is_wild(last) or not re.search(r"\w", names[-1]):
        return False
    if len(names) > MAX_PARTS or len(pattern) > MAX_PARTS:
        return False
    return _parts_overlap(last, names[-1]) and _overlap(tuple(pattern[:-1]), names[:-1], exact=True)


def names_directory(pattern: Sequence[str], glob: str) -> bool:
    """Return True if the glob names the directory of a pattern: `sec*/a` that of `secrets/**`.

    Its part for the last directory has MIN_NAMED_CHARS of the name.
    """
    directory, names = tuple(pattern[:-1]), _parts(glob)
    if not directory or pattern[-1] != "**" or not len(directory) < len(names) <= MAX_PARTS:
        return False
    named = re.findall(r"\w", re.sub(r"\[[^\]]*\]", "", names[len(directory) - 1]))
    same = all(map(_parts_overlap, directory, names))
    return same and "**" not in directory and len(named) >= MIN_NAMED_CHARS


@lru_cache(maxsize=256)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _is_wild(part: str) -> bool:
    return bool(re.search(r"[*?\[]", part))


@lru_cache(maxsize=4096)
def _overlap(one: tuple[str, ...], other: tuple[str, ...], *, exact: bool = False) -> bool:
    """Return True if both match one path; `exact` is False if `one` covers what is below it."""
    if not one:
        return not exact or not other or all(part == "**" for part in other)
    if not other:
        return all(part == "**" for part in one) if exact else set(one) == {"**"}
    if one[0] == "**":
        return _overlap(one[1:], other, exact=exact) or _overlap(one, other[1:], exact=exact)
    if other[0] == "**":
        return _overlap(one, other[1:], exact=exact) or _overlap(one[1:], other, exact=exact)
    return _parts_overlap(one[0], other[0]) and _overlap(one[1:], other[1:], exact=exact)


@lru_cache(maxsize=4096)
def _parts_overlap(one: str, other: str) -> bool:
    """Return True if both patterns of a name match one name; a class counts as any character.

    A wildcard at the beginning of `other`, the shell's, matches no leading dot.
    """
    if one[:1] == "." and other[:1] in ("*", "?", "["):
        return False
    left, right = _simple(one), _simple(other)
    states = {0}
    # The classic product of two patterns, one row at a time: states are places in `right`.
    states = _stars(states, right)
    for char in left:
        following: set[int] = set()
        if char == "*":
            following = set(range(min(states, default=0), len(right) + 1)) if states else set()
        else:
            for state in states:
                if state < len(right):
                    if right[state] == "*":
                        following.add(state)
                    elif "?" in (char, right[state]) or char == right[state]:
                        following.add(state + 1)
        states = _stars(following, right)
    return len(right) in states


def _stars(states: set[int], pattern: str) -> set[int]:
    found = set(states)
    for state in states:
        while state < len(pattern) and pattern[state] == "*":
            state += 1
            found.add(state)
    return found


def _simple(part: str) -> str:
    return re.sub(r"\[[^\]]+\]", "?", part)
