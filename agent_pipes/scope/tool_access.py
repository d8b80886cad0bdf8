"""Accesses of a tool call, of any agent: files, commands and hosts in its arguments.

A tool is known by its name, an unknown one by the words in its name (`mcp__disk__move_file`); the
argument that is a path is known by the argument's name.
"""

import re
from collections.abc import Collection
from posixpath import join
from typing import Any

import orjson

from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope import file_programs
from agent_pipes.scope.access import ALL, FILES, About, Access, AccessSet, Extent
from agent_pipes.scope.hosts import host_of
from agent_pipes.scope.tools import Tool, argument_use, letters, name_words, tool_of
from agent_pipes.shell import Word, command_line, parse, patched_files
from agent_pipes.shell.commands import MAX_PATH_BYTES

_COMMAND_KEYS = ("command", "cmd", "commands", "script", "commandline", "input")
_DIRECTORY_KEYS = ("workdir", "dirpath", "cwd", "workingdirectory", "workingdir", "directory")
_PATCH_KEYS = ("input", "patch", "diff", "patchtext", "content")
_PATCHING = names("applypatch patch applydiff")
_URL_KEYS = names("url urls uri href link")
_BARE_URL_KEYS = names("url urls href")
"""Arguments that are an address even without a scheme."""

_ADDRESS = pattern(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")
_OPERATION = pattern(r"[a-z_]{1,20}")
_PATH_VALUE = pattern(r"/|^[.~]|\.\w{1,10}$")
_PATH_NAMES = names("path file dir directory folder filename")
_HOST = pattern(r"[\w.-]+\.[A-Za-z][\w-]*(?::\d+)?(?:/\S*)?|localhost(?::\d+)?(?:/\S*)?|[\d.]+")
MAX_ARGUMENT_DEPTH = 8
"""Objects and lists within each other in a tool's arguments that are looked into."""

MAX_ARGUMENT_ITEMS = 1000
"""Items of one list in a tool's arguments that are looked into."""

_URL_IN_TEXT = pattern(r"https?://[^\s\"'<>)\]]+")


_CONTENTS = frozenset(
    {"content", "edits", "file_text", "new_str", "new_string", "old_str", "old_string"}
)
"""Arguments that are written to a file: what trace-tail --max-argument cut there is no access."""


def accesses_of(
    event: Event,
    remotes: dict[tuple[str, str], str] | None = None,
    covered: Collection[About] = frozenset(ALL),
) -> AccessSet:
    """Return what `event` accesses: a `tool_call`, or the store's `file_read` and `file_write`.

    remotes: the hosts of git's remotes that the session has set; the event's are added.
    covered: what there are rules about.
    """
    found = AccessSet(remotes, covered)
    if event.type in ("file_read", "file_write"):
        access: Access = "read" if event.type == "file_read" else "write"
        found.directory = _directory(event.data.get("cwd"))
        _add_path(event.data.get("path") or event.data.get("uri"), access, "", found)
        return found
    tool = tool_of(event.text("tool_name"))
    arguments = _arguments(event)
    is_opaque = tool.kind in ("stdin", "script")
    if tool.kind == "shell" or (tool.may_run and not is_opaque and _command(arguments)):
        given = [arguments[key] for key in _DIRECTORY_KEYS if key in arguments]
        found.directory = _directory(*given, event.data.get("cwd"))
        _add_commands(arguments, found)
    else:
        found.directory = _directory(event.data.get("cwd"))
        _add_call(tool, arguments, event, found)
    cut = event.data.get("arguments_cut")
    for name in map(str, cut) if isinstance(cut, list) else ():
        if name not in _CONTENTS:
            found.add_unjudged("long", f"{tool.name}: {name}", *ALL)
    return found


def _command(arguments: Fields) -> bool:
    return isinstance(arguments.get("command") or arguments.get("cmd"), (str, list))


def _add_call(tool: Tool, arguments: Fields, event: Event, found: AccessSet) -> None:
    if tool.kind == "stdin":
        typed = arguments.get("chars") or arguments.get("input")
        if isinstance(typed, str) and typed.strip():
            found.add_unjudged("input", tool.name, *ALL)
    elif tool.kind == "script":
        found.add_unjudged("script", tool.name, *ALL)
    elif tool.short in _PATCHING and (patch := _patch_text(arguments)):
        paths = patched_files(patch)
        for path in paths:
            _add_path(path, "write", "", found)
        if not paths and not _add_files(tool, arguments, found):
            found.add_unjudged("tool", tool.name, "write")
    elif tool.kind == "web_search":
        found.add_unjudged("search", tool.name, "network")
    else:
        _add_files(tool, arguments, found)
        _add_urls(tool, arguments, found)
        if tool.kind is None:
            _add_named(tool, _given(event), found)


def _directory(*values: object) -> str:
    """Return the first of `values` that is a directory, as a path."""
    for value in values:
        if isinstance(value, str) and value:
            return _local_path(value)
    return ""


def _arguments(event: Event) -> Fields:
    """Return the call's arguments by the letters of their names."""
    return {letters(key): value for key, value in _given(event).items()}


def _given(event: Event) -> Fields:
    """Return the call's arguments. Some agents record them as a text: JSON, a patch, a command."""
    given = event.data.get("arguments")
    if isinstance(given, str):
        try:
            given = orjson.loads(given) if given.lstrip().startswith("{") else {"input": given}
        except ValueError:
            given = {"input": given}
    return given if isinstance(given, dict) else {}


def _add_commands(arguments: Fields, found: AccessSet) -> None:
    for key in _COMMAND_KEYS:
        command = command_line(arguments.get(key))
        if command:
            for simple in parse(command):
                file_programs.add_accesses(simple, found)
            return


def _patch_text(arguments: Fields) -> str:
    texts = (arguments.get(key) for key in _PATCH_KEYS)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _add_files(tool: Tool, arguments: Fields, found: AccessSet) -> bool:
    """Add the paths in the arguments of a file tool; False if there are none."""
    if "repo" in arguments and "owner" in arguments:
        return False  # A file in a repository on a server, not one on this machine.
    words = tool.words
    operation = arguments.get("command")
    if isinstance(operation, str) and _OPERATION.fullmatch(operation):
        words = name_words(operation)  # str_replace_editor names its operation in an argument.
    before = len(found.paths)
    for key, value in arguments.items():
        for access, extent in words.uses(key):
            for path in value if isinstance(value, list) else [value]:
                named = path.get("path") if isinstance(path, dict) else path
                _add_path(named, access, extent, found)
    if tool.kind == "search" and (included := arguments.get("glob") or arguments.get("include")):
        _add_search(arguments, included, found)
        return True
    has_paths = len(found.paths) > before
    if has_paths and not words.writes and not words.reads:
        found.add_unjudged("tool", tool.name, *FILES)
    if not has_paths and not words.writes and words.words & {"grep", "rg"}:
        _add_path(".", "read", "visible", found)
    return len(found.paths) > before


def _add_search(arguments: Fields, included: object, found: AccessSet) -> None:
    """Replace the directory of a search by the files in it that its pattern includes."""
    directory = arguments.get("path") or arguments.get("dirpath") or "."
    if not isinstance(directory, str):
        return
    searched = _local_path(directory)
    globs = [
        each
        for each in (included if isinstance(included, list) else [included])
        if isinstance(each, str) and not each.startswith("!")
    ]
    if globs:
        found.paths = [each for each in found.paths if each.path != searched]
    for each in globs:
        text = join(searched, "**", each)
        found.add_path("read", Word(text, text, "glob", text.startswith("~")), "")


def _add_named(
    tool: Tool, arguments: object, found: AccessSet, key: str = "", depth: int = 0
) -> None:
    """Add the paths and hosts in arguments whose names mean one, nested ones too."""
    if depth > MAX_ARGUMENT_DEPTH:
        return
    if isinstance(arguments, dict):
        for name, value in arguments.items():
            if depth or not (tool.words.uses(letters(name)) or letters(name) in _URL_KEYS):
                inner = name if isinstance(name, str) else ""
                # The inner name is the path of a write if the outer name says so.
                inner = f"{key}_{inner}" if argument_use(key) == "write" else inner
                _add_named(tool, value, found, inner, depth + 1)
    elif isinstance(arguments, list):
        for value in arguments[:MAX_ARGUMENT_ITEMS]:
            _add_named(tool, value, found, key, depth + 1)
    elif isinstance(arguments, str) and arguments and (use := argument_use(key)):
        if "://" in arguments and not arguments.lower().startswith("file:"):
            _add_url(arguments, found)
        elif use == "host":
            if _HOST.fullmatch(arguments):
                _add_url(arguments, found)
        elif _looks_like_path(arguments, key):
            writes = use == "write" or (tool.words.writes and not tool.words.reads)
            _add_path(arguments, "write" if writes else "read", "", found)


def _looks_like_path(text: str, key: str) -> bool:
    """Return True for a path by its value, or by the name of the argument."""
    if len(text) > MAX_PATH_BYTES or "\n" in text or text.startswith(("{", "<")):
        return False
    return bool(_PATH_VALUE.search(text)) or bool(name_words(key).words & _PATH_NAMES)


def _add_path(value: object, access: Access, extent: Extent, found: AccessSet) -> None:
    if not isinstance(value, str) or not value or "\n" in value:
        return
    if "://" in value and _ADDRESS.match(value):
        return
    path = _local_path(value)
    found.add_path(access, Word(path, path, tilde=path.startswith("~")), "", extent)


def _local_path(value: str) -> str:
    """Return a path, or the path in a `file:` URL."""
    if not value[:7].lower().startswith("file://"):
        return value
    rest = value[7:]
    return re.sub(
        r"%([0-9A-Fa-f]{2})",
        lambda code: chr(int(code[1], 16)),
        rest[rest.find("/") :] if "/" in rest else rest,
    )


def _add_urls(tool: Tool, arguments: Fields, found: AccessSet) -> None:
    for key, value in arguments.items():
        if key in _URL_KEYS:
            for address in value if isinstance(value, list) else [value]:
                if key in _BARE_URL_KEYS or "://" in str(address):
                    _add_url(address, found)
        elif key == "prompt" and tool.reads_pages and isinstance(value, str):
            for text in _URL_IN_TEXT.findall(value):
                _add_url(text, found)


def _add_url(value: Any, found: AccessSet) -> None:
    if not isinstance(value, str) or not value:
        return
    if value.lower().startswith(("file:", "data:", "about:")):
        return
    host = host_of(value if "://" in value else f"https://{value}")
    if host:
        found.hosts.append(host)
    else:
        found.add_unjudged("network", value, "network")
