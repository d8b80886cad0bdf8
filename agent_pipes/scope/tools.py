"""What the name of a tool says of it: whether it runs commands, and what it does with the files in its arguments."""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from agent_pipes.scope.access import Access, Extent

T = TypeVar("T")

_SHELLS = frozenset(
    [
        "bash",
        "shell",
        "sh",
        "zsh",
        "exec",
        "execute",
        "execcommand",
        "runshellcommand",
        "localshell",
        "localshellcall",
        "executecommand",
        "runcommand",
        "runterminalcmd",
        "runterminalcommand",
        "runinterminal",
        "terminal",
        "containerexec",
        "shellexec",
        "executebash",
        "bashtool",
        "shelltool",
    ]
)
_RUN = frozenset(["shell", "bash", "terminal", "command", "exec", "execute", "run"])

_READS = frozenset(
    [
        "read",
        "view",
        "open",
        "cat",
        "show",
        "load",
        "grep",
        "search",
        "rg",
        "fetch",
        "get",
        "download",
        "codebase",
        "parse",
        "peek",
    ]
)
_NAMES_ONLY = frozenset(
    ["glob", "list", "ls", "find", "tree", "exists", "stat", "info", "directory", "dir"]
)
_WRITES = frozenset(
    [
        "write",
        "edit",
        "multiedit",
        "notebookedit",
        "create",
        "insert",
        "replace",
        "append",
        "update",
        "delete",
        "remove",
        "rename",
        "move",
        "copy",
        "save",
        "patch",
        "apply",
        "mkdir",
        "touch",
        "put",
        "set",
        "upload",
        "modify",
        "overwrite",
        "undo",
        "strreplace",
    ]
)
_DEEP = frozenset(["delete", "remove", "move", "rename", "grep", "search", "rg", "codebase"])

_PATH_KEYS = frozenset(
    [
        "path",
        "paths",
        "file",
        "files",
        "filepath",
        "filepaths",
        "filename",
        "filenames",
        "notebookpath",
        "absolutepath",
        "targetfile",
        "relativepath",
        "relativeworkspacepath",
        "dirpath",
        "directory",
        "directorypath",
        "dir",
        "folder",
        "uri",
        "fileuri",
        "imagepath",
        "outputpath",
    ]
)
_FROM_KEYS = frozenset(
    ["source", "src", "from", "oldpath", "sourcepath", "oldname", "fromuri", "frompath"]
)
_TO_KEYS = frozenset(
    [
        "destination",
        "dest",
        "dst",
        "to",
        "newpath",
        "destinationpath",
        "destpath",
        "newname",
        "touri",
        "topath",
        "outputpath",
    ]
)
_KEYS = _PATH_KEYS | _FROM_KEYS | _TO_KEYS | {"include"}
_MOVES = frozenset(
    ["move", "rename", "copy", "link", "file", "files", "directory", "folder", "path"]
)


def _kept(function: Callable[[str], T]) -> Callable[[str], T]:
    """`function`, which remembers what it made of the last short texts; an agent may write as many and as long ones as it likes."""
    cached = lru_cache(maxsize=512)(function)
    return lambda text: cached(text) if len(text) <= 100 else function(text)


@_kept
def letters(name: str) -> str:
    """The letters of a name, small: `filePath` and `file_path` are both `filepath`."""
    return re.sub(r"[^a-z]", "", name.lower())


class Doing:
    """What the words in a name say is done with the files in the arguments: `move_file` moves one."""

    __slots__ = ("_uses", "reads", "words", "writes")

    def __init__(self, name: str) -> None:
        apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
        self.words = frozenset(re.findall(r"[a-z]+", apart.lower())) | {letters(name)}
        self.writes = bool(self.words & _WRITES)
        self.reads = bool(self.words & _READS)
        self._uses: dict[str, tuple[tuple[Access, Extent], ...]] = {}

    def uses(self, key: str) -> tuple[tuple[Access, Extent], ...]:
        """How the argument `key`, by its letters, is used as a path, and how much of what lies there."""
        if key not in _KEYS:
            return ()
        found = self._uses.get(key)
        if found is None:
            extent: Extent = (
                "all"
                if self.words & _DEEP
                else "in"
                if key in _TO_KEYS or "directory" in self.words
                else ""
            )
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


doing = _kept(Doing)


class Tool:
    """A tool by its `name`, of which what stands behind a server's (`mcp__disk__move_file`) is its own.

    short:   the letters of that.
    doing:   what its words say.
    shell:   it runs commands, whatever its arguments.
    runs:    it may run commands: it does where an argument is one.
    fetches: it reads what stands at addresses.
    """

    __slots__ = ("doing", "fetches", "name", "runs", "shell", "short")

    def __init__(self, name: str) -> None:
        own = name.rpartition("__")[2]
        self.name = name
        self.short = letters(own)
        self.doing = doing(own)
        self.shell = self.short in _SHELLS
        self.runs = bool(self.doing.words & _RUN)
        self.fetches = "fetch" in name.lower()


tool = _kept(Tool)
