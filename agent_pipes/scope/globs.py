"""Path patterns, gitignore-like: one compiled expression each, linear in the path.

The parts between two `**` are matched at the first place where they fit, and so are the pieces
between two `*` of one
part: no later place could leave more for the rest. The groups that do so are atomic, so nothing is
tried twice.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from os.path import lexists
from posixpath import expanduser, join, normpath
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern as regex

_WILDCARD = regex(r"[*?\[\\]")
_PART_END = r"(?=/|\Z)"

ANY_NAME = "\0" * 32
"""A part of a path that `*` matches, and no name in a pattern: anything in a directory."""

MAX_CACHED_ROOTS = 64
"""Session directories for which the patterns that begin with `../` are kept."""


class Place(NamedTuple):
    """An absolute path in the forms that are compared with patterns, without outer slashes.

    path:   from the root of the file system.
    inside: from the session's directory, None if it is not in there.
    beside: without what it shares with the session's directory.
    above:  it is the session's directory or contains it.
    """

    path: str
    inside: str | None
    beside: str
    above: bool = False

    def content(self) -> "Place":
        """Return the place of anything in it, if it is a directory."""
        inside = None if self.inside is None else _joined(self.inside, ANY_NAME)
        return Place(_joined(self.path, ANY_NAME), inside, _joined(self.beside, ANY_NAME))


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def place(path: str, roots: Iterable[str]) -> Place:
    """Return the place of an absolute path; `roots` are names of the session's directory.

    All of them are normalized.
    """
    path = path.strip("/")
    inside, beside, above = None, path, not path
    for root in {*roots}:
        root = root.strip("/")
        above = above or path == root or root.startswith(path + "/")
        if path == root or not root or path.startswith(root + "/"):
            beside = inside = path[len(root) :].lstrip("/")
        elif inside is None:
            beside = min(beside, path[_shared_chars(path, root) :], key=len)
    return Place(path, inside, beside, above)


def _shared_chars(path: str, root: str) -> int:
    """Return the length of the directory that contains both paths."""
    shared = 0
    for one, other in zip(path.split("/"), root.split("/"), strict=False):
        if one != other:
            break
        shared += len(one) + 1
    return shared


def _part(part: str) -> str:
    """Return the expression of one part of a pattern, to its end."""
    pieces = [""]
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        end = part.find("]", at + 1 + part.startswith("!", at)) if char == "[" else -1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[" and end > 0:
            pieces[-1] += _character_class(part[at:end])
            at = end + 1
        else:
            if char == "\\" and at < len(part):
                char = part[at]
                at += 1
            pieces[-1] += re.escape(char)
    head, *middle = pieces
    if not middle:
        return head + _PART_END
    *middle, tail = middle
    searched = "".join(f"(?>[^/]*?{piece})" for piece in middle if piece)
    # The last piece is at the end: all before it is free, so it needs no search.
    return f"{head}{searched}[^/]*{tail}{_PART_END}"


def _character_class(content: str) -> str:
    negated = content[:1] in ("!", "^")
    content = content[1:] if negated else content
    items, at = "", 0
    while at < len(content):
        if content[at + 1 : at + 2] == "-" and at + 2 < len(content):
            if content[at] > content[at + 2]:
                raise ValueError(f"the range {content[at : at + 3]} runs backwards")
            items += f"{re.escape(content[at])}-{re.escape(content[at + 2])}"
            at += 3
        else:
            items += re.escape(content[at])
            at += 1
    return f"(?!/)[{'^' if negated else ''}{items}]"


def _expression(parts: Sequence[str], *, below: bool) -> str:
    """Return the expression of a pattern's parts; `below`: a directory covers its content."""
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_part(part))
    head, *rest = ["/".join(run) for run in runs]
    if not rest:
        return head + (r"(?:/.*)?\Z" if below else r"\Z")
    *middle, tail = rest
    text = f"{head}/" if head else ""
    text += "".join(f"(?>(?:[^/]+/)*?{run}/)" for run in middle if run)
    if not tail:
        return text + r".+\Z"
    if below:
        return rf"{text}(?>(?:[^/]+/)*?{tail})(?:/.*)?\Z"
    # The last parts are at the end: their number says where they begin.
    return rf"{text}(?:.*/)?{tail}\Z"


def _prefix_expression(parts: Sequence[str]) -> str:
    """Return the expression of the directories in which something that matches may be."""
    text = r"\Z"
    for part in reversed(list(parts[:-1])):
        text = rf"(?:\Z|{'' if part == '**' else _part(part)}(?:/{text}|\Z))"
        if part == "**":
            text = ""
    return text


class _Compiled(NamedTuple):
    """One pattern, bound to the root of the paths with which it is compared.

    plain: its parts without `**`, none if one has a wildcard.
    """

    matches: re.Pattern[str]
    may_contain: re.Pattern[str]
    names: tuple[str, ...]
    parts: tuple[str, ...]
    covers: bool
    plain: tuple[str, ...]

    @classmethod
    def of(cls, text: str, *, below: bool, anywhere: bool = False) -> "_Compiled":
        parts = [*(["**"] if anywhere else []), *filter(None, text.split("/"))] or ["**"]
        names = tuple(parts[: next((at for at, part in enumerate(parts) if _is_wild(part)), None)])
        plain = tuple(part for part in parts if part != "**")
        return cls(
            re.compile(_expression(parts, below=below), re.S),
            re.compile(_prefix_expression(parts), re.S),
            names,
            tuple(parts),
            below or parts[-1] == "**",
            () if any(map(_is_wild, plain)) else plain,
        )

    @property
    def is_name(self) -> bool:
        """True if it matches a name at any depth."""
        return len(self.parts) == 2 and self.parts[0] == "**" != self.parts[1]

    def is_named_in(self, directory: str) -> bool:
        """Return True if the pattern's leading names are in the directory."""
        parts = tuple(filter(None, directory.split("/")))
        return bool(self.names) and self.names[: len(parts)] == parts


def _is_wild(part: str) -> bool:
    return bool(_WILDCARD.search(part))


class _Pattern(NamedTuple):
    """A pattern of a list.

    text:     as it was written.
    kind:     "absolute", "anchored" at the session's directory, "anywhere" in it, or "upward"
              (`../x`).
    compiled: its expressions, more than one if a symbolic link gives it another name; none if
    "upward".
    """

    text: str
    kind: str
    compiled: list[_Compiled]


class _AnyPattern(NamedTuple):
    """Expressions that match if a pattern of a list does.

    absolute: from the root; inside: in the session's directory; outside: anywhere outside it.
    """

    absolute: re.Pattern[str] | None
    inside: re.Pattern[str] | None
    outside: re.Pattern[str] | None


class PathPatterns:
    """A list of path patterns: `*`, `?`, `[…]` within a part, `**` for any number of parts.

    A pattern that begins with `/` or `~` is absolute, any other is relative to the session's
    directory; one without
    a slash, or that begins with `**/`, matches at any depth in it. `wide` is how a list of what is
    denied is read:
    a pattern that matches a directory covers all that is in it, and one that matches at any depth
    does so outside
    the session's directory too. A list of what is allowed is read narrowly: a directory is covered
    if its pattern
    ends in a plain name, in `/` or in `/**`.

    Raises ValueError, with what is expected, for a text that cannot be a pattern.
    """

    def __init__(self, patterns: Sequence[str], *, wide: bool) -> None:
        self.patterns = tuple(patterns)
        self.wide = wide
        self._list = [self._read(pattern) for pattern in self.patterns]
        self._has_upward = any(each.kind == "upward" for each in self._list)
        self._upward: dict[str, dict[str, list[_Compiled]]] = {}
        self._any: _AnyPattern | None = None

    def _read(self, pattern: str) -> _Pattern:
        if not pattern.strip("/ ") and pattern != "/":
            raise ValueError("an empty pattern matches nothing")
        if pattern.startswith("!"):
            raise ValueError(
                'a pattern cannot be negated with "!": put the exception into the other list'
            )
        if "\0" in pattern:
            raise ValueError("a path contains no NUL")
        text = expanduser(pattern) if pattern.startswith("~") else pattern
        if text.startswith("/"):
            absolute = normpath("/" + text.lstrip("/"))
            return _Pattern(pattern, "absolute", [self._compiled(absolute, pattern)])
        text = normpath(text)
        if text == ".." or text.startswith("../"):
            return _Pattern(pattern, "upward", [])
        if "/" not in pattern.rstrip("/") and text not in (".", "**"):
            compiled = self._compiled(text, pattern, anywhere=True)
            return _Pattern(pattern, "anywhere", [compiled])
        kind = "anywhere" if text == "**" or text.startswith("**/") else "anchored"
        return _Pattern(pattern, kind, [self._compiled("" if text == "." else text, pattern)])

    def _compiled(self, text: str, pattern: str, *, anywhere: bool = False) -> _Compiled:
        last = text.rpartition("/")[2]
        below = self.wide or pattern.endswith("/") or not re.search(r"[*?\[]", last)
        return _Compiled.of(text, below=below, anywhere=anywhere)

    def alias(self, pattern: str, text: str) -> None:
        """Let the absolute path pattern `text` match as `pattern` of the list does."""
        for each in self._list:
            if each.text == pattern:
                each.compiled.append(self._compiled(text, pattern))
                self._any = None

    def _forms(self, where: Place, root: str) -> Iterator[tuple[_Pattern, _Compiled, str]]:
        """Yield each pattern with the form of the path with which it is compared."""
        for each in self._list:
            if each.kind in ("absolute", "upward"):
                subject: str | None = where.path
            elif each.kind == "anywhere" and where.inside is None and self.wide:
                subject = where.beside
            else:
                subject = where.inside
            if subject is not None:
                for compiled in each.compiled or self._upward_of(each.text, root):
                    yield each, compiled, subject

    def _upward_of(self, pattern: str, root: str) -> list[_Compiled]:
        """Return a pattern that begins with `../`, from the session's directory `root`."""
        if root not in self._upward:
            if len(self._upward) >= MAX_CACHED_ROOTS:
                self._upward.clear()
            self._upward[root] = {}
        bound = self._upward[root]
        if pattern not in bound:
            bound[pattern] = [self._compiled(normpath(f"{root}/{pattern}"), pattern)]
        return bound[pattern]

    def match(self, where: Place, root: str, *, covering: bool = False) -> str:
        """Return the first pattern that matches, or ""; `root` is the session's directory.

        covering: consider only patterns that match a directory together with its content.
        """
        if not self._any_matches(where):
            return ""
        for each, compiled, subject in self._forms(where, root):
            if compiled.matches.match(subject) and (compiled.covers or not covering):
                return each.text
        return ""

    def _any_matches(self, where: Place) -> bool:
        """Return False if no pattern matches, which is found out with one expression per kind."""
        if self._has_upward:
            return True
        if self._any is None:
            self._any = _AnyPattern(
                self._any_of("absolute"),
                self._any_of("anchored", "anywhere"),
                self._any_of("anywhere"),
            )
        found = self._any
        if found.absolute and found.absolute.match(where.path):
            return True
        if where.inside is not None:
            return bool(found.inside and found.inside.match(where.inside))
        return bool(self.wide and found.outside and found.outside.match(where.beside))

    def _any_of(self, *kinds: str) -> re.Pattern[str] | None:
        """Return an expression that matches if a pattern of these kinds may, None without any."""
        found = [one for each in self._list if each.kind in kinds for one in each.compiled]
        names = [_part(one.parts[1]) for one in found if one.is_name]
        expressions = [f"(?:{one.matches.pattern})" for one in found if not one.is_name]
        if names:
            # One search of all names, which some patterns then match only as the last part.
            expressions.append(rf"(?:[^/]+/)*?(?:{'|'.join(names)})")
        return re.compile("|".join(expressions), re.S) if expressions else None

    def parts(self, where: Place, root: str) -> Iterator[tuple[str, Sequence[str], str]]:
        """Yield each pattern, its parts, and the path with which it is compared."""
        for each, compiled, subject in self._forms(where, root):
            yield each.text, compiled.parts, subject

    def possible(self, where: Place, root: str) -> bool:
        """Return True if a pattern may match something in the directory `where`."""
        return where.above or any(
            compiled.may_contain.match(subject)
            or compiled.matches.match(_joined(subject, ANY_NAME))
            for _, compiled, subject in self._forms(where, root)
        )

    def existing(self, where: Place, root: str) -> str:
        """Return a pattern without a wildcard that names an existing file in the directory."""
        if not lexists(f"/{where.path}"):
            return ""
        for each in self._list:
            for compiled in each.compiled or self._upward_of(each.text, root):
                parts = compiled.plain
                if not parts:
                    continue
                base = {"anchored": root, "anywhere": f"/{where.path}"}.get(each.kind, "/")
                path = join(base, *parts)
                if path.startswith(f"/{where.path}/") and lexists(path):
                    return each.text
        return ""

    def named(self, where: Place, root: str) -> str:
        """Return a pattern that names something in the directory, not at any depth, or ""."""
        for each, compiled, subject in self._forms(where, root):
            if each.kind != "anywhere" and compiled.is_named_in(subject):
                return each.text
        if where.above and where.inside is None:
            for each in self._list:
                if each.kind == "anchored" and each.compiled[0].names:
                    return each.text
        return ""
