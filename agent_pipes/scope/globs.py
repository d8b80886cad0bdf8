"""Patterns of paths, commands and hosts, and matching them in time linear in what is matched.

Paths are matched part by part against a tree of all the patterns of a list, with the set of places in it that are still
possible (Thompson's simulation): `**` costs one more place in that set and never a second try. A wildcard within a part
is a sequence of atomic groups, each of which takes the first place where it fits and never gives it back.
"""

import re
from collections.abc import Iterable, Sequence
from posixpath import expanduser, normpath
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern as regex

_WILD = regex(r"[*?\[\\]")

ANY = "\0" * 32
"""A part of a path that `*` matches and no name, and nothing else that a pattern holds: whatever lies in a directory."""


class Place(NamedTuple):
    """An absolute path as patterns see it.

    parts:  its parts from the root of the file system.
    inside: its parts from the session's directory, None where it is not in there.
    beside: its parts without those it shares with the session's directory.
    above:  it holds the session's directory.
    """

    parts: tuple[str, ...]
    inside: tuple[str, ...] | None
    beside: tuple[str, ...]
    above: bool = False

    def within(self) -> "Place":
        """Whatever lies in it, if it is a directory."""
        return Place(
            (*self.parts, ANY),
            None if self.inside is None else (*self.inside, ANY),
            (*self.beside, ANY),
        )


def place(path: str, roots: Iterable[str]) -> Place:
    """The place of the normalised absolute `path`; `roots` are the names of the session's directory."""
    parts = tuple(filter(None, path.split("/")))
    inside, shared, above = None, 0, False
    for root in dict.fromkeys(roots):
        home = tuple(filter(None, root.split("/")))
        equal = len(home)
        if parts[:equal] == home:
            inside = parts[equal:]
        else:
            equal = next(
                (
                    at
                    for at, pair in enumerate(zip(home, parts, strict=False))
                    if pair[0] != pair[1]
                ),
                len(parts),
            )
        above = above or equal == len(parts)
        shared = max(shared, equal)
    return Place(parts, inside, parts[shared:], above)


class _Node:
    """A place in the tree of patterns: what may come next, the pattern that ends here, and the one that matches all below."""

    __slots__ = ("below", "deep", "ends", "lengths", "names", "repeats", "tails", "wild")

    def __init__(self, repeats: bool = False) -> None:
        self.names: dict[str, _Node] = {}
        self.tails: dict[str, _Node] = {}
        self.lengths: set[int] = set()
        self.wild: list[tuple[re.Pattern[str], _Node]] = []
        self.deep: _Node | None = None
        self.repeats = repeats
        self.ends: tuple[int, str] | None = None
        self.below: tuple[int, str] | None = None

    def child(self, part: str) -> "_Node":
        if part == "**":
            self.deep = self.deep or _Node(repeats=True)
            return self.deep
        if not _WILD.search(part):
            return self.names.setdefault(part, _Node())
        if part[0] == "*" and not _WILD.search(part, 1):
            self.lengths.add(len(part) - 1)
            return self.tails.setdefault(part[1:], _Node())
        node = _Node()
        self.wild.append((re.compile(_expression(part), re.S), node))
        return node

    def after(self, name: str) -> "list[_Node]":
        """The places that are possible behind the part `name`."""
        found = [self] if self.repeats else []
        if name in self.names:
            found.append(self.names[name])
        for length in self.lengths:
            # A name as long as the tail is matched too: `*` stands for nothing as well.
            if length <= len(name) and (node := self.tails.get(name[len(name) - length :])):
                found.append(node)
        if self.wild:
            found += [node for expression, node in self.wild if expression.fullmatch(name)]
        return found


def _expression(part: str) -> str:
    """One part of a pattern as a regular expression whose groups never give back what they took."""
    pieces = [""]
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        end = part.find("]", at + 1 + part.startswith("!", at)) if char == "[" else -1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "."
        elif char == "[" and end > 0:
            pieces[-1] += _class(part[at:end])
            at = end + 1
        else:
            if char == "\\" and at < len(part):
                char = part[at]
                at += 1
            pieces[-1] += re.escape(char)
    head, *middle = pieces
    if not middle:
        return head
    *middle, tail = middle
    # The last piece stands at the end: all before it is free, so it needs no search.
    return head + "".join(f"(?>.*?{piece})" for piece in middle if piece) + ".*" + tail


def _class(content: str) -> str:
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
    return f"[{'^' if negated else ''}{items}]"


class _Tree:
    """Patterns of one kind, as a tree of their parts."""

    def __init__(self) -> None:
        self.root = _Node()
        self.empty = True
        self._needed: set[str] | None = set()
        """Names of which a path holds one that any pattern matches; None where a pattern has no plain name in it."""

    def add(self, parts: Sequence[str], order: int, pattern: str) -> None:
        node, last = self.root, len(parts) - 1
        for at, part in enumerate(parts):
            if part != "**" or (at < last and parts[at + 1] != "**"):
                node = node.child(part)
        if parts[-1] == "**":
            node.below = node.below or (order, pattern)
        else:
            node.ends = node.ends or (order, pattern)
        self.empty = False
        plain = [part for part in parts if not _WILD.search(part)]
        if not plain:
            self._needed = None
        elif self._needed is not None:
            self._needed.add(plain[-1])

    def match(self, parts: Sequence[str], *, below: bool) -> tuple[int, str] | None:
        """The first pattern that matches `parts` or, `below`, a directory that they lie in."""
        if self.empty or (self._needed is not None and self._needed.isdisjoint(parts)):
            return None
        found: list[tuple[int, str]] = []
        active = _closed([self.root])
        for at, name in enumerate(parts):
            following: list[_Node] = []
            for node in active:
                if node.below:
                    found.append(node.below)
                following += node.after(name)
            if below or at == len(parts) - 1:
                found += [node.ends for node in following if node.ends]
            active = _closed(following)
            if not active:
                break
        return min(found, default=None)

    def possible(self, parts: Sequence[str]) -> bool:
        """Whether a pattern may match something that lies in the directory `parts`."""
        active = _closed([self.root]) if not self.empty else []
        for name in parts:
            if any(node.below for node in active):
                return True
            active = _closed([after for node in active for after in node.after(name)])
        return any(
            node.below or node.repeats or node.names or node.tails or node.wild for node in active
        )

    def named(self, parts: Sequence[str]) -> str:
        """A pattern whose leading names lie in the directory `parts`, or ""."""
        node: _Node | None = self.root if not self.empty else None
        for name in parts:
            node = node.names.get(name) if node else None
        if node is None or (not parts and not node.names):
            return ""
        return _first(node if parts else next(iter(node.names.values())))


def _closed(nodes: list[_Node]) -> list[_Node]:
    """`nodes`, and what `**` reaches from them without taking a part: the one way to come to a node twice."""
    deep = [node.deep for node in nodes if node.deep]
    return list(dict.fromkeys(nodes + deep)) if deep else nodes


def _first(node: _Node) -> str:
    while True:
        if node.ends:
            return node.ends[1]
        following = [*node.names.values(), *node.tails.values(), *(after for _, after in node.wild)]
        if not following and node.below:
            return node.below[1]
        following += [node.deep] if node.deep else []
        if not following:
            return ""
        node = following[0]


class PathPatterns:
    """A list of path patterns, gitignore-like: `*`, `?`, `[…]` within a part, `**` for any number of parts.

    A pattern that begins with `/` or `~` is absolute, any other is relative to the session's directory; one without
    a slash, or that begins with `**/`, matches at any depth in it. `wide` is how a list of what is denied is read:
    a pattern that matches a directory covers all that lies in it, and one that matches at any depth does so outside
    the session's directory too. A list of what is allowed is read narrowly: a directory is covered when its pattern
    ends in a plain name, in `/` or in `/**`.

    Raises ValueError, saying what is expected, for a pattern that cannot be one.
    """

    def __init__(self, patterns: Sequence[str], *, wide: bool) -> None:
        self.patterns = tuple(patterns)
        self.wide = wide
        self._anywhere, self._anchored, self._absolute = _Tree(), _Tree(), _Tree()
        self._upward: list[tuple[int, str]] = []
        self._bound: dict[str, _Tree] = {}
        for order, pattern in enumerate(self.patterns):
            self._add(order, pattern)

    def _add(self, order: int, pattern: str) -> None:
        if not pattern.strip("/ ") and pattern != "/":
            raise ValueError("an empty pattern matches nothing")
        if pattern.startswith("!"):
            raise ValueError(
                'a pattern cannot be negated with "!": put what it excepts into the other list'
            )
        if "\0" in pattern:
            raise ValueError("a path holds no NUL")
        text = expanduser(pattern) if pattern.startswith("~") else pattern
        if text.startswith("/"):
            self._insert(self._absolute, normpath("/" + text.lstrip("/")), order, pattern)
            return
        text = normpath(text)
        if text == ".." or text.startswith("../"):
            self._upward.append((order, pattern))
        elif "/" not in pattern.rstrip("/") and text not in (".", "**"):
            self._insert(self._anywhere, text, order, pattern, lead=("**",))
        else:
            self._insert(
                self._anywhere if text == "**" or text.startswith("**/") else self._anchored,
                "" if text == "." else text,
                order,
                pattern,
            )

    def alias(self, pattern: str, text: str) -> None:
        """Let the absolute path pattern `text` match too where `pattern` of the list does."""
        self._insert(self._absolute, text, self.patterns.index(pattern), pattern)

    def _insert(
        self, tree: _Tree, text: str, order: int, pattern: str, lead: tuple[str, ...] = ()
    ) -> None:
        parts = (*lead, *filter(None, text.split("/")))
        if parts:
            tree.add(parts, order, pattern)
        if not parts or (
            parts[-1] != "**"
            and not self.wide
            and (pattern.endswith("/") or not re.search(r"[*?\[]", parts[-1]))
        ):
            tree.add((*parts, "**"), order, pattern)

    def _trees(self, where: Place, root: str) -> list[tuple[_Tree, tuple[str, ...]]]:
        trees = [(self._absolute, where.parts)]
        if self._upward:
            trees.append((self._upward_of(root), where.parts))
        if where.inside is not None:
            trees += [(self._anchored, where.inside), (self._anywhere, where.inside)]
        elif self.wide:
            trees.append((self._anywhere, where.beside))
        return trees

    def _upward_of(self, root: str) -> _Tree:
        """The patterns that begin with `../`, from the session's directory `root`."""
        tree = self._bound.get(root)
        if tree is None:
            if len(self._bound) >= 64:
                self._bound.clear()
            tree = self._bound[root] = _Tree()
            for order, pattern in self._upward:
                self._insert(tree, normpath(f"{root}/{pattern}"), order, pattern)
        return tree

    def match(self, where: Place, root: str) -> str:
        """The pattern that matches `where`, the first of the list, or ""; `root` is the session's directory."""
        found = [
            hit
            for tree, parts in self._trees(where, root)
            if (hit := tree.match(parts, below=self.wide))
        ]
        return min(found)[1] if found else ""

    def possible(self, where: Place, root: str) -> bool:
        """Whether a pattern may match something in the directory `where`."""
        return any(tree.possible(parts) for tree, parts in self._trees(where, root)) or where.above

    def named(self, where: Place, root: str) -> str:
        """A pattern that names something in the directory `where`, not just anything at any depth; "" if none does."""
        trees = [
            (tree, parts) for tree, parts in self._trees(where, root) if tree is not self._anywhere
        ]
        if where.above and where.inside is None:
            trees.append((self._anchored, ()))
        return next((pattern for tree, parts in trees if (pattern := tree.named(parts))), "")


class CommandPatterns:
    """A list of command patterns: words a command begins with (`git push`), in which `*` and `?` are wildcards (`git push *-f*`).

    A pattern matches whole words from the beginning; ` *` at its end is whatever follows, also nothing.
    Raises ValueError for a pattern without a word.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._named: dict[str, list[tuple[re.Pattern[str], str]]] = {}
        self._other: list[tuple[re.Pattern[str], str]] = []
        for pattern in patterns:
            words = pattern.split()
            if not words:
                raise ValueError("an empty pattern matches nothing")
            entry = (re.compile(_command(" ".join(words)), re.S), pattern)
            (
                self._other
                if re.search(r"[*?]", words[0])
                else self._named.setdefault(words[0], [])
            ).append(entry)

    def begins(self, line: str) -> bool:
        """Whether a pattern may match what begins with the first word of `line`."""
        return bool(self._other) or line.partition(" ")[0] in self._named

    def match(self, line: str) -> str:
        """The pattern that matches the simple command `line`, whose words are parted by single spaces; "" if none."""
        for expression, pattern in [*self._named.get(line.partition(" ")[0], []), *self._other]:
            if expression.match(line):
                return pattern
        return ""


def _command(text: str) -> str:
    rest = text.endswith(" *")
    text = text[:-2] if rest else text
    head, *pieces = [
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in text.split("*")
    ]
    bound = r"(?= |\Z)"
    if not pieces:
        return head + bound
    *middle, tail = pieces
    # The end of the last piece is part of its group, which would not give back a place where no word ends.
    return (
        head
        + "".join(f"(?>.*?{piece})" for piece in middle if piece)
        + (f"(?>.*?{tail}{bound})" if tail else "")
    )


class HostPatterns:
    """A list of hosts: `example.org` is that host, `*.example.org` every host below it, `*` every host.

    Raises ValueError, saying what is expected, for what is no host.
    """

    _HOST = regex(r"\*|(?:\*\.)?\w(?:[\w.-]*\w)?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns: dict[str, str] = {}
        for pattern in patterns:
            name = pattern.strip().rstrip(".").lower().removeprefix("[").removesuffix("]")
            if not self._HOST.fullmatch(name):
                raise ValueError(
                    'expected a host such as "github.com" or "*.github.com", without scheme, port and path'
                )
            self.patterns[name] = pattern

    def match(self, host: str) -> str:
        """The pattern that matches `host`, or ""."""
        name = host.rstrip(".").lower()
        names = ["localhost", name] if name in ("127.0.0.1", "::1") else [name]
        labels = name.split(".")
        names += ["*." + ".".join(labels[at:]) for at in range(1, min(len(labels), 128))]
        return next((self.patterns[key] for key in (*names, "*") if key in self.patterns), "")
