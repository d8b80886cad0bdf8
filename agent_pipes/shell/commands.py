"""What a simple command says, and in which directory."""

from posixpath import join
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.words import Redirect, Word

PATH_MAX = 4096
"""Bytes of the longest path that a system call takes."""

SHELLS = frozenset(["bash", "sh", "zsh", "dash", "ksh", "ash"])


ASSIGNMENT = pattern(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")


class Unknown(NamedTuple):
    """Something that could not be told by reading: of which `kind`, and `what` it was, in the command's own words."""

    kind: str
    what: str


class Command:
    """One simple command.

    words:     its name and its arguments, without assignments before them; none where it only redirects.
    redirects: its redirections.
    directory: where it runs: "" where the whole began, a path relative to that, an absolute one or one beginning
               with `~`; None where that is not known.
    outer:     the command that runs this one (`sudo`, `xargs`, `bash -c`).
    carrier:   it does nothing but run what other commands here say.
    piped:     its standard input is another's output.
    unknown:   what could not be told.
    name:      the program's name without its directory, "" where there is none or it is not known.
    """

    __slots__ = ("carrier", "directory", "name", "outer", "piped", "redirects", "unknown", "words")

    def __init__(
        self,
        words: tuple[Word, ...],
        redirects: tuple[Redirect, ...] = (),
        directory: str | None = "",
        outer: "Command | None" = None,
        carrier: bool = False,
        piped: bool = False,
        unknown: tuple[Unknown, ...] = (),
    ) -> None:
        self.words = words
        self.redirects = redirects
        self.directory = directory
        self.outer = outer
        self.carrier = carrier
        self.piped = piped
        self.unknown = unknown
        self.name = words[0].text.rpartition("/")[2] if words and not words[0].doubt else ""

    @property
    def argv(self) -> list[str]:
        return [word.text for word in self.words]

    def __str__(self) -> str:
        return " ".join(self.argv)


def joined(where: str | None, word: Word) -> str | None:
    """The directory that `word` names from `where`."""
    path = word.path
    if word.doubt:
        return None
    if path.startswith(("/", "~")):
        return path
    return None if where is None or len(where) + len(path) > PATH_MAX else join(where, path)


def moved(command: Command, where: str | None) -> str | None:
    """The directory that `command`, a `cd`, leads to from `where`."""
    operands = [
        word
        for word in command.words[1:]
        if word.text == "-" or not word.text.startswith("-") or word.doubt
    ]
    if command.name == "popd" or (command.name == "pushd" and not operands):
        return None
    if not operands:
        return "~"
    return None if operands[0].text == "-" else joined(where, operands[0])
