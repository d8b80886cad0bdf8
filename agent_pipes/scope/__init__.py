"""What a tool call reaches: the files, commands and hosts in its arguments, whatever agent made it.

Which tool it is, its name says, and of one that is not known the words in its name (`mcp__disk__move_file`); which
argument is a path, the argument's name.
"""

import re
from typing import Any

import orjson

from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.scope import file_programs
from agent_pipes.scope.access import ALL, FILES, KINDS, About, Access, Extent, Reach, Unjudged, Use
from agent_pipes.scope.network_programs import host_of
from agent_pipes.scope.tools import Tool, doing, letters, tool
from agent_pipes.shell import Word, command_line, parse, patched_files

__all__ = ["KINDS", "About", "Reach", "Unjudged", "Use", "reach_of"]

_COMMAND_KEYS = ("command", "cmd", "commands", "script", "commandline", "input")
_DIRECTORY_KEYS = ("workdir", "dirpath", "cwd", "workingdirectory", "workingdir", "directory")

_URL_KEYS = frozenset(["url", "urls", "uri", "href", "link"])
_ADDRESS = pattern(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")
_VERB = pattern(r"[a-z_]{1,20}")
_URL_IN_TEXT = pattern(r"https?://[^\s\"'<>)\]]+")


def reach_of(event: Event) -> Reach:
    """What the call `event` (a `tool_call`, or the store's `file_read` and `file_write`) reaches."""
    found = Reach()
    called = tool(event.text("tool_name"))
    name, short = called.name, called.short
    arguments = _arguments(event)
    runs = called.shell or (
        called.runs and isinstance(arguments.get("command") or arguments.get("cmd"), (str, list))
    )
    where = event.data.get("cwd")
    found.directory = (
        _directory(*map(arguments.get, _DIRECTORY_KEYS), where) if runs else _directory(where)
    )
    if event.type in ("file_read", "file_write"):
        access: Access = "read" if event.type == "file_read" else "write"
        _path(event.data.get("path") or event.data.get("uri"), access, "", found)
        return found
    if short in ("writestdin", "writebash", "writepowershell"):
        typed = arguments.get("chars") or arguments.get("input")
        if isinstance(typed, str) and typed.strip():
            found.unknown("input", name, *ALL)
    elif short in (
        "powershell",
        "pwsh",
        "executecode",
        "runcode",
        "python",
        "javascript",
        "browserevaluate",
    ):
        found.unknown("script", name, *ALL)
    elif runs:
        _shell(arguments, found)
    elif short in ("applypatch", "patch", "applydiff") and (patch := _patch_text(arguments)):
        paths = patched_files(patch)
        for path in paths:
            _path(path, "write", "", found)
        if not paths and not _file(called, arguments, found):
            found.unknown("tool", name, "write")
    elif short in ("websearch", "googlewebsearch"):
        found.unknown("search", name, "network")
    else:
        _file(called, arguments, found)
        _urls(called, arguments, found)
    return found


def _directory(*values: object) -> str:
    """The first of `values` that is one, as a path."""
    return next((_local(value) for value in values if isinstance(value, str) and value), "")


def _arguments(event: Event) -> Fields:
    """The call's arguments by the letters of their names. Some came as text: JSON, a patch, a command."""
    given = event.data.get("arguments")
    if isinstance(given, str):
        try:
            given = orjson.loads(given) if given.lstrip().startswith("{") else {"input": given}
        except ValueError:
            given = {"input": given}
    return {letters(key): value for key, value in given.items()} if isinstance(given, dict) else {}


def _shell(arguments: Fields, found: Reach) -> None:
    for key in _COMMAND_KEYS:
        command = command_line(arguments.get(key))
        if command:
            for simple in parse(command):
                file_programs.reach(simple, found)
            return


def _patch_text(arguments: Fields) -> str:
    return next(
        (
            value
            for key in ("input", "patch", "diff", "patchtext", "content")
            if isinstance(value := arguments.get(key), str) and value
        ),
        "",
    )


def _file(called: Tool, arguments: Fields, found: Reach) -> bool:
    """Note the paths in the arguments of a file tool; whether there were any."""
    if "repo" in arguments and "owner" in arguments:
        return False  # A file in a repository on a server, not one on this machine.
    done = called.doing
    command = arguments.get("command")
    if isinstance(command, str) and _VERB.fullmatch(command):
        done = doing(command)  # str_replace_editor and its like say in an argument what they do.
    before = len(found.paths)
    for key, value in arguments.items():
        for access, extent in done.uses(key):
            for path in value if isinstance(value, list) else [value]:
                _path(path.get("path") if isinstance(path, dict) else path, access, extent, found)
    if len(found.paths) > before and not done.writes and not done.reads:
        found.unknown("tool", called.name, *FILES)
    if len(found.paths) == before and not done.writes and done.words & {"grep", "rg"}:
        _path(".", "read", "all", found)
    return len(found.paths) > before


def _path(value: object, access: Access, extent: Extent, found: Reach) -> None:
    if not isinstance(value, str) or not value or "\n" in value:
        return
    if "://" in value and _ADDRESS.match(value):
        return
    path = _local(value)
    found.use(access, Word(path, path, tilde=path.startswith("~")), "", extent)


def _local(value: str) -> str:
    """A path, or the path in a `file:` URL."""
    if not value[:7].lower().startswith("file://"):
        return value
    rest = value[7:]
    return re.sub(
        r"%([0-9A-Fa-f]{2})",
        lambda code: chr(int(code[1], 16)),
        rest[rest.find("/") :] if "/" in rest else rest,
    )


def _urls(called: Tool, arguments: Fields, found: Reach) -> None:
    for key, value in arguments.items():
        if key in _URL_KEYS:
            for address in value if isinstance(value, list) else [value]:
                if key in ("url", "urls", "href") or "://" in str(address):
                    _url(address, found)
        elif key == "prompt" and called.fetches and isinstance(value, str):
            for text in _URL_IN_TEXT.findall(value):
                _url(text, found)


def _url(value: Any, found: Reach) -> None:
    if (
        isinstance(value, str)
        and value
        and not value.lower().startswith(("file:", "data:", "about:"))
    ):
        host = host_of(value if "://" in value else f"https://{value}")
        if host:
            found.hosts.append(host)
        else:
            found.unknown("network", value, "network")
