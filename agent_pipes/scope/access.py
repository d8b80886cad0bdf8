"""Accesses of one call: paths, commands and hosts, and the parts that cannot be judged."""

import re
from collections.abc import Collection, Sequence
from posixpath import dirname, join, normpath
from typing import Literal, NamedTuple

from agent_pipes.core.display import truncate
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell import Command, Word
from agent_pipes.shell.braces import expand_braces

Access = Literal["read", "write", "delete"]
About = Literal["read", "write", "delete", "command", "network"]
Extent = Literal["", "in", "all", "visible"]

FILES: tuple[About, ...] = ("read", "write", "delete")
ALL: tuple[About, ...] = ("read", "write", "delete", "command", "network")

KINDS = {
    "variable": "the value of a variable",
    "substitution": "the output of a command",
    "glob": "the files that a pattern matches",
    "input": "text from standard input",
    "script": "the inside of scripts",
    "program": "the inside of other programs",
    "network": "hosts that are not named",
    "search": "the hosts of a web search",
    "directory": "an unknown directory",
    "tree": "the content of a directory",
    "tool": "the inside of a tool",
    "archive": "the names in an archive",
    "deep": "a command nested too deeply",
    "long": "a text that is too long",
}
"""Kinds of what cannot be judged, in words for users."""

DEVICE = pattern(r"/dev/(?:null|zero|full|u?random|tty|std(?:in|out|err)|fd/\d+)")
"""Files of the system that hold nothing: an access to them is none."""

_RUNS = pattern(
    r"system|exec|spawn|popen|Popen|subprocess|child_process|Command|\brun|call|check_|qx|open|eval|fork"
    r"|require|import\(|__import__|shell|pty|[`%]|\$\{|\bsh\b"
)
"""Words with which a program in Python, Perl, Ruby or JavaScript runs a command."""

MAX_PATHS = 1000
"""Paths of one call that are judged; the rest is reported."""

MAX_COMMANDS = 2000
"""Simple commands of one call that are judged; the rest is reported."""

MAX_QUOTED_CHARS = 80
"""Characters of a part of a command that are quoted in a message."""


class PathAccess(NamedTuple):
    """A path that is read, written or deleted; a deletion is a write too.

    path:      as it was given; `~` at its beginning is a home directory.
    directory: the base of it: "" the directory of the call, a path relative to that, or an
               absolute one.
    extent:    "" the path itself, "in" something that is put into it if it is a directory, "all"
               its whole content too, "visible" what is not hidden or ignored of that.
    glob:      it is a pattern that the shell replaces by names.
    named:     it may be something else than a path: only a list of what is denied counts.
    """

    access: Access
    path: str
    directory: str = ""
    extent: Extent = ""
    glob: bool = False
    named: bool = False


class Unjudged(NamedTuple):
    """Something that could not be judged.

    kind:  one of KINDS.
    what:  the part of the call.
    about: the kinds of rule that it could break.
    rule:  the rule that it might break, "" if none can be named.
    """

    kind: str
    what: str
    about: tuple[About, ...]
    rule: str = ""


class AccessSet:
    """Accesses of one call, as far as there are rules about them.

    covered:   what there are rules about; writes are kept in any case, for the watch's own files.
    directory: the directory that the call names as its own, "" if it names none.
    scripts:   texts that are run and could not be read as commands.
    links:     symbolic links that the call makes: their paths, and what they point to.
    mentioned: paths in the arguments of programs that are not known.
    remotes:   the hosts of git's remotes, by directory and name, that the session has set.
    """

    __slots__ = (
        "commands",
        "covered",
        "directory",
        "hosts",
        "links",
        "mentioned",
        "paths",
        "remotes",
        "scripts",
        "unjudged",
    )

    def __init__(
        self,
        remotes: dict[tuple[str, str], str] | None = None,
        covered: Collection[About] = frozenset(ALL),
    ) -> None:
        self.covered = covered
        self.directory = ""
        self.mentioned: list[PathAccess] = []
        self.remotes = {} if remotes is None else remotes
        self.paths: list[PathAccess] = []
        self.commands: list[Command] = []
        self.hosts: list[str] = []
        self.scripts: list[str] = []
        self.links: dict[str, tuple[Word, str | None]] = {}
        self.unjudged: list[Unjudged] = []

    def add_path(
        self,
        access: Access,
        word: Word,
        directory: str | None,
        extent: Extent = "",
        *,
        named: bool = False,
    ) -> None:
        """Add the path in `word`, or the reason why it is not known."""
        if not word.text or word.text == "-" or (access == "read" and "read" not in self.covered):
            return
        path = word.path
        about: tuple[About, ...] = ("write", "delete") if access == "delete" else (access,)
        if word.unresolved not in ("", "glob"):
            self.add_unjudged(word.unresolved, word.raw, *about)
        elif directory is None and not path.startswith(("/", "~")):
            what = f"{word.raw}, in a directory that is not known"
            self.add_unjudged("directory", what, *about)
        elif word.unresolved and (words := expand_braces(path)) != [path]:
            if not words:
                self.add_unjudged("glob", word.raw, *about)
            for text in words:
                unresolved = "glob" if re.search(r"[*?\[]", text) else ""
                one = Word(text, word.raw, unresolved, word.tilde)
                self.add_path(access, one, directory, extent, named=named)
        elif len(self.paths) < MAX_PATHS:
            glob = word.unresolved == "glob"
            self.paths.append(PathAccess(access, path, directory or "", extent, glob, named))
            if self.links:
                self._follow_links(access, path, directory, extent)
        else:
            self.add_unjudged("long", f"more than {MAX_PATHS} paths", *about)

    def _follow_links(
        self, access: Access, path: str, directory: str | None, extent: Extent
    ) -> None:
        """Add what a link that this very call has made points to."""
        whole = normpath(join(directory or "", path))
        for link, (target, made_in) in list(self.links.items()):
            if whole == link or whole.startswith(link + "/"):
                rest = whole[len(link) :]
                text = target.path + rest
                for base in dict.fromkeys((made_in or "", dirname(link))):
                    if len(self.paths) < MAX_PATHS:
                        self.paths.append(PathAccess(access, text, base, extent))

    def add_paths(
        self,
        access: Access,
        words: Sequence[Word],
        directory: str | None,
        extent: Extent = "",
        *,
        named: bool = False,
    ) -> None:
        """Add the paths in `words`."""
        for word in words:
            self.add_path(access, word, directory, extent, named=named)

    def mention(self, access: Access, word: Word, directory: str | None) -> None:
        """Add a path in the arguments of a program that is not known."""
        if "read" in self.covered and directory is not None and len(self.mentioned) < MAX_PATHS:
            glob = word.unresolved == "glob"
            path = PathAccess(access, word.path, directory, "", glob, named=True)
            self.mentioned.append(path)

    def add_unjudged(self, kind: str, what: str | Command, *about: About) -> None:
        """Add something that could not be judged, one of KINDS, if there is a rule about it."""
        if len(self.unjudged) < MAX_PATHS and any(each in self.covered for each in about):
            self.unjudged.append(Unjudged(kind, truncate(str(what), MAX_QUOTED_CHARS), about))


def can_run(code: str) -> bool:
    """Return True if a program in Python, Perl or the like has a word that can run a command."""
    return bool(_RUNS.search(code))
