"""What a call reaches: the paths, commands and hosts in it, and what could not be told."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from agent_pipes.shell import Command, Word

Access = Literal["read", "write"]
About = Literal["read", "write", "command", "network"]
Extent = Literal["", "in", "all"]

FILES: tuple[About, ...] = ("read", "write")
ALL: tuple[About, ...] = ("read", "write", "command", "network")

KINDS = {
    "variable": "the value of a variable",
    "substitution": "what a command prints",
    "glob": "the names behind a pattern",
    "input": "what comes on standard input",
    "script": "what a script does",
    "program": "what other programs do by themselves",
    "network": "hosts that are not named",
    "search": "the hosts of a web search",
    "directory": "a directory that is not known",
    "tree": "all that lies in a directory",
    "tool": "what a tool does",
    "deep": "what is nested too deep",
    "long": "what is too long",
}
"""What can be left untold of a call, for people."""

PATHS = 1000
"""Paths of one call that are judged; that there are more is said."""

COMMANDS = 2000
"""Simple commands of one call that are judged."""


class Use(NamedTuple):
    """A path that is read or written.

    path:      as it was given; `~` at its beginning is a home directory.
    directory: from where it is meant: "" the directory of the call, a path relative to that, or an absolute one.
    extent:    "" the path itself, "in" something that is put into it where it is a directory, "all" what lies in it too.
    glob:      it is a pattern that the shell replaces by names.
    """

    access: Access
    path: str
    directory: str = ""
    extent: Extent = ""
    glob: bool = False


class Unjudged(NamedTuple):
    """What could not be told: of which of KINDS, `what` it was, and what kinds of rule it could have broken."""

    kind: str
    what: str
    about: tuple[About, ...]


class Reach:
    """What one call reaches, noted as it is read. `directory` is the one that it says it is made in, "" where it says none."""

    __slots__ = ("commands", "directory", "hosts", "paths", "unjudged")

    def __init__(self) -> None:
        self.directory = ""
        self.paths: list[Use] = []
        self.commands: list[Command] = []
        self.hosts: list[str] = []
        self.unjudged: list[Unjudged] = []

    def use(self, access: Access, word: Word, directory: str | None, extent: Extent = "") -> None:
        """Note that the path in `word` is read or written, or that its name is not known."""
        if not word.text or word.text == "-":
            return
        path = word.path
        if word.unresolved not in ("", "glob"):
            self.unknown(word.unresolved, word.raw, access)
        elif directory is None and not path.startswith(("/", "~")):
            self.unknown("directory", f"{word.raw}, in a directory that is not known", access)
        elif word.unresolved and (spelled := _spelled_out(path)) != [path]:
            if not spelled:
                self.unknown("glob", word.raw, access)
            for text in spelled:
                self.use(
                    access,
                    Word(text, word.raw, "glob" if re.search(r"[*?\[]", text) else "", word.tilde),
                    directory,
                    extent,
                )
        elif len(self.paths) < PATHS:
            self.paths.append(Use(access, path, directory or "", extent, word.unresolved == "glob"))
        else:
            self.unknown("long", f"more than {PATHS} paths", access)

    def uses(
        self, access: Access, words: Sequence[Word], directory: str | None, extent: Extent = ""
    ) -> None:
        for word in words:
            self.use(access, word, directory, extent)

    def unknown(self, kind: str, what: str, *about: About) -> None:
        if len(self.unjudged) >= PATHS:
            return
        self.unjudged.append(Unjudged(kind, what if len(what) <= 80 else what[:79] + "…", about))


def _spelled_out(text: str, limit: int = 64) -> list[str]:
    """The words that `{a,b}` in `text` stands for; none where they are too many, or not a plain list."""
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
            rest := _spelled_out(
                text[:start] + text[begin + 1 : end] + text[at + 1 :], limit - len(found)
            )
        )
        if not rest or len(found) > limit:
            return []
    return found


def names(text: str) -> frozenset[str]:
    """The words in `text`."""
    return frozenset(text.split())


def arguments(
    command: Command, values: str = "", long: frozenset[str] = frozenset(), optional: str = ""
) -> tuple[list[tuple[str, Word]], list[Word]]:
    """The options of a command with their values (an empty word where they have none), and its operands.

    `values` are the letters of the short options that take a value, `optional` of those that take one only without a
    space before it; `long` are the long options whose value may be the next word.
    """
    options: list[tuple[str, Word]] = []
    operands: list[Word] = []
    words = command.words[1:]
    at = 0
    while at < len(words):
        word = words[at]
        text = word.text
        at += 1
        if text == "--":
            operands += words[at:]
            break
        if len(text) < 2 or text[0] != "-":
            operands.append(word)
        elif text.startswith("--"):
            name, equals, value = text.partition("=")
            if not equals and name in long and at < len(words):
                options.append((name, words[at]))
                at += 1
            else:
                options.append((name, Word(value, word.raw, word.unresolved)))
        else:
            for place, letter in enumerate(text[1:], 2):
                rest = text[place:]
                if letter in optional or (letter in values and rest):
                    options.append((f"-{letter}", Word(rest, word.raw, word.unresolved)))
                    break
                if letter in values and at < len(words):
                    options.append((f"-{letter}", words[at]))
                    at += 1
                    break
                options.append((f"-{letter}", Word("", "")))
    return options, operands
