"""The use that a tool makes of the files in its arguments, by the words in its name."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from agent_pipes.agents.tools import MAX_CACHED_NAME, kind_of, own_name
from agent_pipes.agents.tools import letters as letters_of
from agent_pipes.core.tables import names
from agent_pipes.scope.access import Access, Extent

T = TypeVar("T")

_RUN = names("shell bash terminal command exec execute run")
_READS = names("read view open cat show load grep search rg fetch get download codebase parse peek")
_NAMES_ONLY = names("glob list ls find tree exists stat info directory dir")
_WRITES = names(
    "write edit multiedit notebookedit create insert replace append update delete remove rename"
    " move copy save patch apply mkdir touch put set upload modify overwrite undo strreplace"
)
_DEEP = names("delete remove move rename")
_SEARCHES = names("grep search rg codebase")
"""Words of tools that search as ripgrep does, which leaves out hidden and ignored files."""
_MOVES = names("move rename copy link file files directory folder path")

_PATH_KEYS = names(
    "path paths file files filepath filepaths filename filenames notebookpath absolutepath"
    " targetfile relativepath relativeworkspacepath dirpath directory directorypath dir folder uri"
    " fileuri imagepath outputpath"
)
_FROM_KEYS = names("source src from oldpath sourcepath oldname fromuri frompath")
_TO_KEYS = names(
    "destination dest dst to newpath destinationpath destpath newname touri topath outputpath"
)
_KEYS = _PATH_KEYS | _FROM_KEYS | _TO_KEYS | {"include"}
_PATH_WORDS = names("path file dir directory folder filename output save dest destination source")
_WRITTEN_WORDS = names("output save dest destination")
_HOST_WORDS = names("uri url host hostname address endpoint")


def _cached(function: Callable[[str], T]) -> Callable[[str], T]:
    """Cache the results for short names; an agent may write names of any length."""
    cached = lru_cache(maxsize=512)(function)
    return lambda text: cached(text) if len(text) <= MAX_CACHED_NAME else function(text)


letters = _cached(letters_of)


class NameWords:
    """Words in the name of a tool or of its operation: `move_file` moves a file.

    words:  the words in lower case.
    reads:  one of them reads.
    writes: one of them writes.
    """

    __slots__ = ("_uses", "reads", "words", "writes")

    def __init__(self, name: str) -> None:
        apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
        self.words = frozenset(re.findall(r"[a-z]+", apart.lower())) | {letters(name)}
        self.writes = bool(self.words & _WRITES)
        self.reads = bool(self.words & _READS)
        self._uses: dict[str, tuple[tuple[Access, Extent], ...]] = {}

    def uses(self, key: str) -> tuple[tuple[Access, Extent], ...]:
        """Return the accesses to the path in the argument `key`, and their extent."""
        if key not in _KEYS:
            return ()
        found = self._uses.get(key)
        if found is None:
            extent: Extent = ""
            if self.words & _SEARCHES:
                extent = "visible"
            elif self.words & _DEEP:
                extent = "all"
            elif key in _TO_KEYS or "directory" in self.words:
                extent = "in"
            found = self._uses[key] = tuple((access, extent) for access in self._accesses(key))
        return found

    def _accesses(self, key: str) -> Iterator[Access]:
        words, moves = self.words, self.writes and self.words & _MOVES
        if key in _FROM_KEYS and moves:
            yield "read"
            if words & {"move", "rename"}:
                yield "write"
        elif key in _TO_KEYS and moves:
            yield "write"
        elif key == "include" and "many" in words:
            yield "read"
        elif key in _PATH_KEYS:
            if self.writes:
                yield "write"
            elif self.reads or not words & _NAMES_ONLY:
                yield "read"


name_words = _cached(NameWords)


def argument_use(key: str) -> str:
    """Return "path", "write" or "host" for the name of an argument of any tool, "" for others."""
    words = name_words(key).words
    if words & _HOST_WORDS:
        return "host"
    if words & _WRITTEN_WORDS:
        return "write"
    ends = any(key.lower().endswith(word) for word in ("path", "file", "dir", "folder"))
    return "path" if words & _PATH_WORDS or ends else ""


class Tool:
    """A tool by its name.

    kind:         its kind in the table of all agents' tools, None if it is in none.
    short:        the letters of its own name, without an MCP server's.
    words:        the words of that name.
    may_run:      it runs a command if one of its arguments is one.
    reads_pages:  it reads web addresses.
    """

    __slots__ = ("kind", "may_run", "name", "reads_pages", "short", "words")

    def __init__(self, name: str) -> None:
        own = own_name(name)
        self.name = name
        self.kind = kind_of(name)
        self.short = letters(own)
        self.words = name_words(own)
        self.may_run = bool(self.words.words & _RUN)
        self.reads_pages = "fetch" in name.lower()


tool_of = _cached(Tool)
