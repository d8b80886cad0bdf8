"""A simple command, and the directory in which it runs."""

from posixpath import join
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.options import Arguments, options_of, program_name, split
from agent_pipes.shell.words import Redirect, Word

MAX_PATH_BYTES = 4096
"""Bytes of the longest path that a system call takes."""

SHELLS = names("bash sh zsh dash ksh ash rbash fish csh tcsh nu")

ASSIGNMENT = pattern(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")


class Unresolved(NamedTuple):
    """A part of a command that reading cannot tell: its `kind`, and `what` it is as written."""

    kind: str
    what: str


class Command:
    """One simple command.

    words:      its name and its arguments, without assignments before them; none if it only
                redirects.
    redirects:  its redirections.
    directory:  where it runs: "" is where the whole command began; a path relative to that, an
                absolute one or one
                that begins with `~`; None if that is not known.
    outer:      the command that runs this one (`sudo`, `xargs`, `bash -c`).
    is_wrapper: it does nothing but run other commands of the list.
    piped:      its standard input is another command's output.
    unresolved: what cannot be known of it.
    assignments: the assignments before it.
    sources:    the commands whose output it reads: the one before a pipe, those of its
                substitutions.
    own:        its arguments, without those of the command that it runs.
    elsewhere:  it runs on another machine or in a container: its files are not those of this one.
    name:       the program's name without its directory, "" if there is none or it is not known.
    program:    the same without version and `.exe`, the name in the tables.
    """

    __slots__ = (
        "_arguments",
        "_leading",
        "assignments",
        "directory",
        "elsewhere",
        "is_wrapper",
        "name",
        "outer",
        "own",
        "piped",
        "program",
        "redirects",
        "sources",
        "unresolved",
        "words",
    )

    def __init__(
        self,
        words: tuple[Word, ...],
        redirects: tuple[Redirect, ...] = (),
        directory: str | None = "",
        outer: "Command | None" = None,
        *,
        piped: bool = False,
        unresolved: tuple[Unresolved, ...] = (),
        assignments: tuple[Word, ...] = (),
        sources: "tuple[Command, ...]" = (),
    ) -> None:
        self.words = words
        self._arguments: Arguments | None = None
        self._leading: Arguments | None = None
        self.redirects = redirects
        self.directory = directory
        self.outer = outer
        self.is_wrapper = False
        self.own = words[1:]
        self.piped = piped
        self.unresolved = unresolved
        self.assignments = assignments
        self.sources = sources
        self.elsewhere: bool = outer is not None and outer.elsewhere
        self.name = words[0].text.rpartition("/")[2] if words and not words[0].unresolved else ""
        self.program = program_name(self.name)

    def with_words(self, words: tuple[Word, ...]) -> "Command":
        """Return the same command with other words."""
        return Command(
            words,
            self.redirects,
            self.directory,
            self.outer,
            piped=self.piped,
            assignments=self.assignments,
            sources=self.sources,
        )

    @property
    def arguments(self) -> Arguments:
        """Its options and operands, as the tables describe them."""
        if self._arguments is None:
            self._arguments = split(self.words[1:], options_of(self.program))
        return self._arguments

    @property
    def leading(self) -> Arguments:
        """Its leading options, and all words from the first operand."""
        if self._leading is None:
            self._leading = split(self.words[1:], options_of(self.program), leading=True)
        return self._leading

    @property
    def argv(self) -> list[str]:
        """The values of its words."""
        return [word.text for word in self.words]

    def __str__(self) -> str:
        return " ".join(self.argv)


def subdirectory(directory: str | None, word: Word) -> str | None:
    """Return the directory that `word` names, from `directory`; None if it is not known."""
    path = word.path
    if word.unresolved:
        return None
    if path.startswith(("/", "~")):
        return path
    if directory is None or len(directory) + len(path) > MAX_PATH_BYTES:
        return None
    return join(directory, path)


def changed_directory(command: Command, previous: str | None) -> str | None:
    """Return the directory after a `cd` or `pushd`; None if it is not known.

    `previous` is the directory to which `cd -` returns.
    """
    operands = [
        word
        for word in command.words[1:]
        if word.text == "-" or not word.text.startswith("-") or word.unresolved
    ]
    if command.name == "pushd" and not operands:
        return previous
    if not operands:
        return "~"
    return previous if operands[0].text == "-" else subdirectory(command.directory, operands[0])
