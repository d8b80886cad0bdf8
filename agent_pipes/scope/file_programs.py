"""Paths in the arguments of the usual programs, as data: data/programs.json.

A program that is in no table may read and write anything: that is reported as not judged.
"""

import re
from posixpath import join
from typing import Any, NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names, read_table
from agent_pipes.scope import network_programs
from agent_pipes.scope.access import ALL, MAX_COMMANDS, Access, AccessSet, Extent
from agent_pipes.scope.arguments import Arguments, arguments
from agent_pipes.scope.git_program import add_git
from agent_pipes.scope.special_programs import SPECIAL
from agent_pipes.shell import Command, Redirect, Word

_DEVICE = pattern(r"/dev/(?:null|zero|full|u?random|tty|std(?:in|out|err)|fd/\d+)")
_SOCKET = pattern(r"/dev/(?:tcp|udp)/([^/]+)/.*")
_PROXY = pattern(r"(?:https?|all|ftp|socks)_proxy=", re.I)


class FileProgram(NamedTuple):
    """A program and the files in its arguments.

    operands:     what happens to its operands: "read", "write", "delete" or "none".
    also:         what else happens to them.
    values:       options that take a value which is no file.
    read, write:  options whose value is a file that is read or written.
    into:         options whose value is a directory into which something is written.
    joined_into:  the same, for an option whose value is joined with it.
    include:      options whose value is a pattern of the files in a directory that are read.
    skip:         operands before the files: a pattern, a mode.
    instead:      options that take the place of those operands.
    first, last:  the use of the first or last of several operands, if it differs.
    operands_max: the number of operands that are files.
    recursive:    options with which directories are entered ("*": always).
    names_only:   options with which only names are read.
    extent:       how much of a directory is concerned without them.
    in_place:     options with which the operands are written too.
    stdout:       options with which the operands are only read.
    here:         without these options and `into`, the working directory is written to.
    single:       long options have one dash.
    also_unknown: the program does more than that, which is not known.
    """

    operands: str = "none"
    also: str = ""
    values: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    write: frozenset[str] = frozenset()
    into: frozenset[str] = frozenset()
    joined_into: str = ""
    include: frozenset[str] = frozenset()
    skip: int = 0
    instead: frozenset[str] = frozenset()
    first: str = ""
    last: str = ""
    operands_max: int = 0
    recursive: frozenset[str] = frozenset()
    names_only: frozenset[str] = frozenset()
    extent: Extent = ""
    in_place: frozenset[str] = frozenset()
    stdout: frozenset[str] = frozenset()
    here: frozenset[str] = frozenset()
    single: bool = False
    also_unknown: bool = False

    @property
    def with_value(self) -> frozenset[str]:
        """The options that take a value."""
        return self.values | self.read | self.write | self.into | self.include


_TABLE: dict[str, Any] = read_table("programs")
_SETS = names("values read write into include instead recursive names_only in_place stdout here")
_FILES: dict[str, FileProgram] = {}


def _load() -> None:
    for programs, row in _TABLE["files"].items():
        fields: dict[str, Any] = {
            key: names(value) if key in _SETS else value for key, value in row.items()
        }
        for name in programs.split():
            _FILES[name] = FileProgram(**fields)


_load()
_HARMLESS = names(_TABLE["harmless"])
_RUNNERS = names(_TABLE["runners"])
_INTERPRETERS = re.compile(rf"(?:{'|'.join(_TABLE['interpreters'].split())})[\d.]*")
_PRINTS_VERSION = {option: names(text) for option, text in _TABLE["prints_version"].items()}


def add_accesses(command: Command, found: AccessSet) -> None:
    """Add what one simple command reads, writes, runs and connects to."""
    if len(found.commands) >= MAX_COMMANDS:
        found.add_unjudged("long", f"more than {MAX_COMMANDS} commands", *ALL)
        return
    if command.words:
        found.commands.append(command)
    exported = command.words[1:] if command.name in ("export", "declare") else ()
    for word in (*command.assignments, *exported):
        if _PROXY.match(word.raw):
            network_programs.add_address(word, word.text.partition("=")[2], found)
    for redirect in command.redirects:
        _add_redirect(redirect, command, found)
    for gap in command.unresolved:
        found.add_unjudged(gap.kind, gap.what, *ALL)
        _add_script(command, found)
    name = command.name
    if command.elsewhere or not name:
        return
    if name in network_programs.PACKAGES:
        found.add_unjudged("network", str(command), "network")
    if name in _FILES:
        _add_listed(command, _FILES[name], found)
    if command.is_wrapper:
        return
    if name == "git":
        add_git(command, found)
    elif name in SPECIAL:
        SPECIAL[name](command, found)
    elif name in network_programs.NAMES:
        network_programs.add_accesses(command, found)
    elif name not in _HARMLESS and not name.startswith("((") and not _is_known(name):
        _add_other(command, found)


def _is_known(name: str) -> bool:
    return name in _FILES and not _FILES[name].also_unknown and name not in _RUNNERS


def _add_script(command: Command, found: AccessSet) -> None:
    """Keep the texts that a command runs and that are not read: its arguments, its input."""
    texts = [word.text for word in command.words[1:]]
    texts += [each.body or each.target.text for each in command.redirects]
    for source in command.sources:
        texts += [*(word.text for word in source.words), *(each.body for each in source.redirects)]
    found.scripts += [text for text in texts if " " in text or "\n" in text or '"' in text]


def _add_redirect(redirect: Redirect, command: Command, found: AccessSet) -> None:
    target = redirect.target
    if redirect.copies or redirect.op.startswith("<<") or target.raw.startswith((">(", "<(")):
        return
    if socket := _SOCKET.fullmatch(target.text):
        found.hosts.append(socket[1].lower())
    elif not _DEVICE.fullmatch(target.text) and not command.elsewhere:
        if redirect.writes:
            found.add_path("write", target, command.directory)
        if redirect.op in ("<", "<>"):
            found.add_path("read", target, command.directory)


def _add_listed(command: Command, program: FileProgram, found: AccessSet) -> None:
    """Add the files in the arguments of a program of the table."""
    where = command.directory
    given = arguments(command, program.with_value, single=program.single)
    found.add_paths("read", given.values(program.read), where)
    found.add_paths("write", given.values(program.write), where)
    into = given.values(program.into)
    if program.joined_into:
        into += [
            Word(word.text[2:], word.raw, word.unresolved)
            for word in command.words[1:]
            if word.text.startswith(program.joined_into) and len(word.text) > 2
        ]
    found.add_paths("write", into, where, "in")
    if program.here and not into and not given.has(program.here):
        found.add_path("write", Word(".", "."), where, "in")
    if program.operands != "none" and not given.has(program.names_only):
        _add_operands(command, program, given, found)


def _add_operands(
    command: Command, program: FileProgram, given: Arguments, found: AccessSet
) -> None:
    where = command.directory
    recursive = "*" in program.recursive or given.has(program.recursive)
    files = given.operands if given.has(program.instead) else given.operands[program.skip :]
    if program.operands == "read" and recursive and not files and not command.piped:
        files = [Word(".", ".")]
    if len(files) > 1 and program.first:
        found.add_path(_access(program.first), files[0], where)
        files = files[1:]
    if len(files) > 1 and program.last:
        found.add_path(_access(program.last), files[-1], where, "in")
        files = files[:-1]
    if program.operands_max:
        files = files[: program.operands_max]
    access = "read" if given.has(program.stdout) else program.operands
    included = given.values(program.include)
    if recursive and included and access == "read":
        files = [_included(file, value) for file in files for value in included]
        found.add_paths("read", [file for file in files if file.text], where)
        return
    extent: Extent = "all" if recursive else program.extent
    found.add_paths(_access(access), files, where, extent)
    if program.also:
        found.add_paths(_access(program.also), files, where)
    if given.has(program.in_place):
        found.add_paths("write", files, where)


def _access(name: str) -> Access:
    if name == "read":
        return "read"
    return "delete" if name == "delete" else "write"


def _included(directory: Word, included: Word) -> Word:
    """Return the files below a directory whose names match a pattern; none for an exclusion."""
    if included.text.startswith("!"):
        return Word("", "")
    text = join(directory.text, "**", included.text)
    return Word(text, included.raw, directory.unresolved or "glob", directory.tilde)


def _prints_and_exits(command: Command) -> bool:
    """Return True for `python --version` and the like: the only argument is such an option."""
    if len(command.words) != 2 or "/" in command.words[0].text:
        return False
    programs = _PRINTS_VERSION.get(command.words[1].text, frozenset())
    return command.name in programs or "*" in programs


def _add_other(command: Command, found: AccessSet) -> None:
    """Add a program of no table: a script, a runner, anything."""
    name = command.name
    path = command.words[0].text
    if _prints_and_exits(command):
        return
    is_interpreter = bool(_INTERPRETERS.fullmatch(name))
    if is_interpreter or name in _RUNNERS or "/" in path or name.endswith((".sh", ".py")):
        first = command.words[1] if len(command.words) > 1 else None
        if first and is_interpreter and not first.text.startswith("-"):
            found.add_path("read", first, command.directory)
        found.add_unjudged("script", str(command), *ALL)
        _add_script(command, found)
    else:
        found.add_unjudged("program", name, "read", "write", "delete", "network")
