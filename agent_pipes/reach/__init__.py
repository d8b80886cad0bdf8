"""What a tool call reaches: the files, commands and hosts in its arguments, whatever agent made it.

Which tool it is, its name says, and of one that is not known the words in its name (`mcp__disk__move_file`); which
argument is a path, the argument's name.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from agent_pipes.event import Event, Fields
from agent_pipes.pattern import pattern
from agent_pipes.reach import programs
from agent_pipes.reach.found import ALL, FILES, KINDS, About, Access, Extent, Reach, Unjudged, Use
from agent_pipes.reach.network import host_of
from agent_pipes.reach.patch import patched
from agent_pipes.shell import Word, line, parse

__all__ = ["KINDS", "About", "Reach", "Unjudged", "Use", "directory_of", "reach_of"]

SHELL_TOOLS = frozenset(
    ["bash", "shell", "sh", "zsh", "exec", "execute", "execcommand", "runshellcommand", "localshell", "localshellcall", "executecommand", "runcommand",
     "runterminalcmd", "runterminalcommand", "runinterminal", "terminal", "containerexec", "shellexec", "executebash", "bashtool", "shelltool"]
)
_COMMAND_KEYS = ("command", "cmd", "commands", "script", "commandline", "input")
_DIRECTORY_KEYS = ("workdir", "dirpath", "cwd", "workingdirectory", "workingdir", "directory")

_READS = frozenset(["read", "view", "open", "cat", "show", "load", "grep", "search", "rg", "fetch", "get", "download", "codebase", "parse", "peek"])
_NAMES_ONLY = frozenset(["glob", "list", "ls", "find", "tree", "exists", "stat", "info", "directory", "dir"])
_WRITES = frozenset(
    ["write", "edit", "multiedit", "notebookedit", "create", "insert", "replace", "append", "update", "delete", "remove", "rename", "move", "copy", "save",
     "patch", "apply", "mkdir", "touch", "put", "set", "upload", "modify", "overwrite", "undo", "strreplace"]
)
_DEEP = frozenset(["delete", "remove", "move", "rename", "grep", "search", "rg", "codebase"])

_PATH_KEYS = frozenset(
    ["path", "paths", "file", "files", "filepath", "filepaths", "filename", "filenames", "notebookpath", "absolutepath", "targetfile", "relativepath",
     "relativeworkspacepath", "dirpath", "directory", "directorypath", "dir", "folder", "uri", "fileuri", "imagepath", "outputpath"]
)
_FROM_KEYS = frozenset(["source", "src", "from", "oldpath", "sourcepath", "oldname", "fromuri", "frompath"])
_TO_KEYS = frozenset(["destination", "dest", "dst", "to", "newpath", "destinationpath", "destpath", "newname", "touri", "topath", "outputpath"])
_MOVES = frozenset(["move", "rename", "copy", "link", "file", "files", "directory", "folder", "path"])
_URL_KEYS = frozenset(["url", "urls", "uri", "href", "link"])
_URL_IN_TEXT = pattern(r"https?://[^\s\"'<>)\]]+")


def reach_of(event: Event) -> Reach:
    """What the call `event` (a `tool_call`, or the store's `file_read` and `file_write`) reaches."""
    found = Reach()
    if event.type in ("file_read", "file_write"):
        access: Access = "read" if event.type == "file_read" else "write"
        _path(event.data.get("path") or event.data.get("uri"), access, "", found)
        return found
    name = event.text("tool_name")
    short = _letters(name.rpartition("__")[2])
    arguments = _arguments(event)
    if short in ("writestdin", "writebash", "writepowershell"):
        typed = arguments.get("chars") or arguments.get("input")
        if isinstance(typed, str) and typed.strip():
            found.unknown("input", name, *ALL)
    elif short in ("powershell", "pwsh", "executecode", "runcode", "python", "javascript", "browserevaluate"):
        found.unknown("script", name, *ALL)
    elif _is_shell(event, arguments):
        _shell(arguments, found)
    elif short in ("applypatch", "patch", "applydiff") and (patch := _patch_text(arguments)):
        paths = patched(patch)
        for path in paths:
            _path(path, "write", "", found)
        if not paths and not _file(name, arguments, found):
            found.unknown("tool", name, "write")
    elif short in ("websearch", "googlewebsearch"):
        found.unknown("search", name, "network")
    else:
        _file(name, arguments, found)
        _urls(name, arguments, found)
    return found


def directory_of(event: Event) -> str:
    """The directory that the call says it is made in, "" where it says none."""
    arguments = _arguments(event)
    values = [arguments.get(key) for key in _DIRECTORY_KEYS] if _is_shell(event, arguments) else []
    return next((_local(value) for value in (*values, event.data.get("cwd")) if isinstance(value, str) and value), "")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _arguments(event: Event) -> Fields:
    """The call's arguments by the letters of their names. Some came as text: JSON, a patch, a command."""
    given = event.data.get("arguments")
    if isinstance(given, str):
        try:
            given = orjson.loads(given) if given.lstrip().startswith("{") else {"input": given}
        except ValueError:
            given = {"input": given}
    return {_letters(key): value for key, value in given.items()} if isinstance(given, dict) else {}


def _is_shell(event: Event, arguments: Fields) -> bool:
    """Whether the call runs a command: by the tool's name, or by a word in it and an argument that is a command."""
    name = event.text("tool_name").rpartition("__")[2]
    if _letters(name) in SHELL_TOOLS:
        return True
    runs = _words(name) & {"shell", "bash", "terminal", "command", "exec", "execute", "run"}
    return bool(runs) and isinstance(arguments.get("command") or arguments.get("cmd"), (str, list))


def _shell(arguments: Fields, found: Reach) -> None:
    for key in _COMMAND_KEYS:
        command = line(arguments.get(key))
        if command:
            for simple in parse(command):
                programs.reach(simple, found)
            return


def _patch_text(arguments: Fields) -> str:
    return next((value for key in ("input", "patch", "diff", "patchtext", "content") if isinstance(value := arguments.get(key), str) and value), "")


def _file(name: str, arguments: Fields, found: Reach) -> bool:
    """Note the paths in the arguments of a file tool; whether there were any."""
    if "repo" in arguments and "owner" in arguments:
        return False  # A file in a repository on a server, not one on this machine.
    words = _words(name.rpartition("__")[2])
    command = arguments.get("command")
    if isinstance(command, str) and re.fullmatch(r"[a-z_]{1,20}", command):
        words = _words(command)  # str_replace_editor and its like say in an argument what they do.
    writes, reads = bool(words & _WRITES), bool(words & _READS)
    before = len(found.paths)
    for key, value in arguments.items():
        for access in _accesses(key, words, writes, reads):
            extent: Extent = "all" if words & _DEEP else "in" if key in _TO_KEYS or "directory" in words else ""
            for path in value if isinstance(value, list) else [value]:
                _path(path.get("path") if isinstance(path, dict) else path, access, extent, found)
    if len(found.paths) > before and not writes and not reads:
        found.unknown("tool", name, *FILES)
    if words & {"grep", "rg"} and not writes and len(found.paths) == before:
        _path(".", "read", "all", found)
    return len(found.paths) > before


def _accesses(key: str, words: frozenset[str], writes: bool, reads: bool) -> Iterator[Access]:
    """How the argument `key` of a tool is used, as the words in the tool's name have it."""
    if key in _FROM_KEYS and words & _MOVES and writes:
        yield "read"
        if words & {"move", "rename"}:
            yield "write"
    elif key in _TO_KEYS and words & _MOVES and writes:
        yield "write"
    elif key == "include" and "many" in words:
        yield "read"
    elif key in _PATH_KEYS:
        if writes:
            yield "write"
        elif reads or not words & _NAMES_ONLY:
            yield "read"


def _words(name: str) -> frozenset[str]:
    """The words in a name: `moveFile`, `move_file` and `move-file` are `move` and `file`."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(re.findall(r"[a-z]+", apart.lower())) | {re.sub(r"[^a-z]", "", name.lower())}


def _path(value: object, access: Access, extent: Extent, found: Reach) -> None:
    if not isinstance(value, str) or not value or "\n" in value:
        return
    if re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://", value):
        return
    path = _local(value)
    found.use(access, Word(path, path, tilde=path.startswith("~")), "", extent)


def _local(value: str) -> str:
    """A path, or the path in a `file:` URL."""
    if not value.lower().startswith("file://"):
        return value
    rest = value[7:]
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), rest[rest.find("/") :] if "/" in rest else rest)


def _urls(name: str, arguments: Fields, found: Reach) -> None:
    for key, value in arguments.items():
        if key in _URL_KEYS:
            for address in value if isinstance(value, list) else [value]:
                if key in ("url", "urls", "href") or "://" in str(address):
                    _url(address, found)
        elif key == "prompt" and "fetch" in name.lower() and isinstance(value, str):
            for text in _URL_IN_TEXT.findall(value):
                _url(text, found)


def _url(value: Any, found: Reach) -> None:
    if isinstance(value, str) and value and not value.lower().startswith(("file:", "data:", "about:")):
        host = host_of(value if "://" in value else f"https://{value}")
        if host:
            found.hosts.append(host)
        else:
            found.unknown("network", value, "network")
