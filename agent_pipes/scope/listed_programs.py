"""Files in the arguments of the programs that data/programs.json describes."""

from functools import lru_cache
from posixpath import join
from typing import Any, NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.scope.access import Access, AccessSet, Extent
from agent_pipes.shell import Command, Word
from agent_pipes.shell.options import (
    PROGRAMS,
    WITH_VALUE,
    Arguments,
    ProgramOptions,
    split,
    values_of,
)


class FileProgram(NamedTuple):
    """A program and the files in its arguments.

    operands:     what happens to its operands: "read", "write", "delete" or "none".
    also:         what else happens to them.
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
    unless:       options with which the operands are not touched.
    only_with:    options without which they are not.
    archive:      names that it contains are written, which are not known.
    visible:      a directory is read without its hidden and ignored files.
    unrestricted: options with which it is read with them.
    remote:       an operand with a colon is elsewhere.
    named:        an operand may be something else: only a list of what is denied counts.
    options:      its options, if it is a subcommand; None: as data/options.json has them.
    also_unknown: the program does more than that, which is not known.
    """

    operands: str = "none"
    also: str = ""
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
    unless: frozenset[str] = frozenset()
    only_with: frozenset[str] = frozenset()
    archive: bool = False
    visible: bool = False
    unrestricted: frozenset[str] = frozenset()
    remote: bool = False
    named: bool = False
    also_unknown: bool = False
    options: ProgramOptions | None = None


_SETS = names(
    "read write into include instead recursive names_only in_place stdout here unless"
    " only_with unrestricted"
)
_REVISION = pattern(r"^(?:HEAD|@)|[~^]|\.\.\w|\w\.\.")
"""Names of commits that no file has."""

MAX_VERBS = 2
"""Words after a program's name that choose its row: `aws s3 cp`."""


def _rows(section: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a section by the name of one program, or program and verbs."""
    found = {}
    for programs, row in PROGRAMS[section].items():
        for name in programs.split(", ") if section == "verbs" else programs.split():
            found[name] = row
    return found


_ROWS = {section: _rows(section) for section in ("files", "verbs", "git")}
_WITH_VERBS = frozenset(name.split()[0] for name in _ROWS["verbs"])


@lru_cache(maxsize=256)
def listed_program(section: str, name: str) -> FileProgram | None:
    """Return the row of a program in one section of the table."""
    row = _ROWS[section].get(name)
    if row is None:
        return None
    row = dict(row)
    if section == "verbs":
        base = _ROWS["files"].get(name.split()[0], {})
        row |= {key: f"{row.get(key, '')} {base[key]}" for key in WITH_VALUE if key in base}
    fields: dict[str, Any] = {
        key: names(value) if key in _SETS else value for key, value in row.items()
    }
    pairs, single = names(fields.pop("pairs", "")), fields.pop("single", False)
    for key in ("values", "unseen"):
        fields.pop(key, None)
    options = ProgramOptions(values_of(row), single=single, pairs=pairs)
    return FileProgram(options=None if section == "files" else options, **fields)


def find_listed(command: Command) -> tuple[FileProgram | None, Command]:
    """Return the row of a command, and the command without the verbs that choose the row."""
    name = command.name
    if name not in _WITH_VERBS:
        return listed_program("files", name), command
    words = command.words[1:]
    operands = command.leading.operands
    for count in range(MAX_VERBS, 0, -1):
        verbs = operands[:count]
        path = " ".join([name, *(word.text for word in verbs)])
        if len(verbs) == count and (row := listed_program("verbs", path)):
            before = words[: len(words) - len(operands)]
            return row, command.with_words((command.words[0], *before, *operands[count:]))
    return listed_program("files", name), command


def add_listed(
    command: Command, program: FileProgram, found: AccessSet, given: Arguments | None = None
) -> None:
    """Add the files in the arguments of a program of the table; `given`: if they are split."""
    where = command.directory
    if given is None:
        given = (
            split(command.words[1:], options) if (options := program.options) else command.arguments
        )
    if given.options:
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
    if given.has(program.unless) or (program.only_with and not given.has(program.only_with)):
        return
    if program.here and not into and not given.has(program.here):
        found.add_path("write", Word(".", "."), where, "in")
    if program.archive and not given.has(program.here) and len(given.operands) == 1:
        found.add_unjudged("archive", command, "write")
    if program.operands != "none" and not given.has(program.names_only):
        _add_operands(command, program, given, found)


def _add_operands(
    command: Command, program: FileProgram, given: Arguments, found: AccessSet
) -> None:
    where = command.directory
    recursive = "*" in program.recursive or given.has(program.recursive)
    files = given.operands if given.has(program.instead) else given.operands[program.skip :]
    if program.named:
        files = [word for word in files if not _REVISION.search(word.text)]
    if program.remote:
        files = [word for word in files if ":" not in word.text]
    if program.operands == "read" and recursive and not files and not command.piped:
        files = [Word(".", ".")]
    if files and program.first:
        found.add_path(_access(program.first), files[0], where)
        files = files[1:]
    is_last = files and files[-1] is given.operands[-1]
    if program.last and is_last and len(given.operands) > program.skip + 1:
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
    if extent == "all" and program.visible and not given.has(program.unrestricted):
        extent = "visible"
    found.add_paths(_access(access), files, where, extent, named=program.named)
    if program.also:
        found.add_paths(_access(program.also), files, where)
    if given.has(program.in_place):
        found.add_paths("write", files, where, program.extent)


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
