"""Options and operands of a command: one splitter, for the tables of all who ask.

data/options.json has the options that take a value; so do the rows of data/programs.json and
data/hosts.json, for those whose value is a file or a host.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from agent_pipes.core.tables import names, read_table
from agent_pipes.shell.words import Word

MIN_ABBREVIATION_CHARS = 4
"""Characters of the shortest abbreviation of a long option that is taken for it: `--re`."""

NONE = Word("", "")


class ProgramOptions(NamedTuple):
    """A program's options.

    values:   the options that take a value, before or after a subcommand.
    flags:    by subcommand: those of `values` that take none there.
    harmless: leading options that a list of allowed commands leaves out of account.
    help:     options with which it prints its help and exits.
    same:     by subcommand ("" for all): each name of an option, and its main name.
    single:   it has long options with one dash, and no joined short ones.
    attached: their values are attached with `=`.
    optional: letters of short options that take a value only without a space before it.
    pairs:    those of `values` that take two, of which the second is kept.
    last:     those of `values` that end the options.
    """

    values: frozenset[str] = frozenset()
    flags: dict[str, frozenset[str]] = {}  # noqa: RUF012
    harmless: frozenset[str] = frozenset()
    help: frozenset[str] = frozenset()
    same: dict[str, dict[str, str]] = {}  # noqa: RUF012
    single: bool = False
    attached: bool = False
    optional: str = ""
    pairs: frozenset[str] = frozenset()
    last: frozenset[str] = frozenset()


PROGRAMS: dict[str, Any] = read_table("programs")
HOSTS: dict[str, Any] = read_table("hosts")
WITH_VALUE = ("values", "read", "write", "into", "include", "pairs")
"""Keys of a row whose options take a value."""

_ROWS: dict[str, Any] = read_table("options")
_HOST_KEYS = ("values", "url", "host", "map", "config", "write", "read", "at", "into")
_FILE_ROWS = {name: row for programs, row in PROGRAMS["files"].items() for name in programs.split()}
_HOST_OPTIONS = {
    name: names(text) for programs, text in HOSTS["options"].items() for name in programs.split()
}
_UNKNOWN = ProgramOptions()


def values_of(row: dict[str, Any], keys: Sequence[str] = WITH_VALUE) -> frozenset[str]:
    """Return the options of a row of a table that take a value."""
    return names(" ".join(row.get(key, "") for key in keys))


@lru_cache(maxsize=512)
def options_of(program: str) -> ProgramOptions:
    """Return the options of a program, no known ones if no table has it."""
    own = _ROWS.get(program, {})
    row = _ROWS[own["like"]] if "like" in own else own
    file_row = _FILE_ROWS.get(program, {})
    host_row = HOSTS["programs"].get(program, {})
    host_options = _HOST_OPTIONS.get(program, frozenset())
    if not row and not file_row and not host_row and not host_options:
        return _UNKNOWN
    return ProgramOptions(
        values_of(own).union(
            values_of(row), values_of(file_row), values_of(host_row, _HOST_KEYS), host_options
        ),
        {verb: names(text) for verb, text in row.get("flags", {}).items()},
        names(row.get("harmless", "")),
        names(row.get("help", "")),
        {verb: _main_names(text) for verb, text in row.get("same", {}).items()},
        row.get("single", False) or file_row.get("single", False),
        row.get("attached", False),
        row.get("optional", ""),
        names(file_row.get("pairs", "")),
    )


def _main_names(text: str) -> dict[str, str]:
    """Return the main name of each option in `-f=--force -r=-R=--recursive`: the last one."""
    groups = [group.split("=") for group in text.split()]
    return {name: group[-1] for group in groups for name in group}


class Arguments:
    """The options of a command with their values (an empty word for none), and its operands.

    operands: all words from the first operand, if only the leading options were read.
    literal:  the number of operands after `--`, at their end.
    maybe:    the indexes of operands that may be the value of the option before them.
    """

    __slots__ = ("literal", "maybe", "operands", "options")

    def __init__(self) -> None:
        self.options: list[tuple[str, Word]] = []
        self.operands: list[Word] = []
        self.literal = 0
        self.maybe: list[int] = []

    def has(self, wanted: Collection[str]) -> bool:
        """Return True if one of the options was given."""
        if wanted:
            for name, _ in self.options:
                if name in wanted:
                    return True
        return False

    def values(self, wanted: Collection[str]) -> list[Word]:
        """Return the values of the options `wanted`."""
        if not wanted or not self.options:
            return []
        return [value for name, value in self.options if name in wanted]

    def value(self, *wanted: str) -> Word | None:
        """Return the value of the last of the options `wanted`, None if none was given."""
        return next((value for name, value in reversed(self.options) if name in wanted), None)

    def after_dashes(self) -> list[Word]:
        """Return the operands after `--`."""
        return self.operands[len(self.operands) - self.literal :]


def split(
    words: Sequence[Word], table: ProgramOptions = _UNKNOWN, *, leading: bool = False
) -> Arguments:
    """Split the words after a program's name into options and operands.

    leading: read only the options before the first operand.
    """
    found, values = Arguments(), table.values
    at, is_open, count = 0, False, len(words)
    while at < count:
        word = words[at]
        text = word.text
        if text[:1] != "-" or text == "-" or (text[1] == "$" and word.unresolved):
            if leading:
                break
            if is_open:
                found.maybe.append(len(found.operands))
                is_open = False
            if not found.operands and table.flags:
                values = values - table.flags.get(text, frozenset())
            found.operands.append(word)
            at += 1
            continue
        at += 1
        if text == "--":
            found.literal = 0 if leading else len(words) - at
            break
        name, value = _option(word, values, table, found.options)
        is_open = value is NONE and not table.attached
        if value is None and at < len(words):
            at += name in table.pairs and at + 1 < len(words)
            value = words[at]
            at += 1
        if name:
            found.options.append((name, value or NONE))
        if name in table.last:
            break
    if at < len(words):
        found.operands += words[at:]
    return found


def _option(
    word: Word, values: frozenset[str], table: ProgramOptions, options: list[tuple[str, Word]]
) -> tuple[str, Word | None]:
    """Return the option in a word and its value: NONE, or None if that is the next word.

    Other options that are joined with it are added to `options`.
    """
    text = word.text
    if text[1] == "-" or table.single or text in values:
        name, equals, value = text.partition("=")
        if table.single and text[1] == "-":
            name = name[1:]
        if equals:
            return name, _joined(value, word)
        return name, None if name in values and not table.attached else NONE
    for place, letter in enumerate(text[1:], 2):
        name = f"-{letter}"
        if letter in table.optional:
            return name, _joined(text[place:], word)
        if name in values:
            rest = text[place:]
            return name, _joined(rest.removeprefix("=") or rest, word) if rest else None
        if not letter.isalnum():
            break
        options.append((name, NONE))
    return "", NONE


def _joined(value: str, word: Word) -> Word:
    """Return the value in a word of an option."""
    return Word(value, word.raw, word.unresolved if value else "", value[:1] == "~")


def program_name(path: str) -> str:
    """Return the name of a program without directory, version and `.exe`."""
    name = path.rpartition("/")[2].removesuffix(".exe")
    return (name.partition("@")[0] or name) if "@" in name else name


def main_name(name: str, table: ProgramOptions, verb: str) -> str:
    """Return the main name of an option; an abbreviation of a long one is that one."""
    for same in (table.same.get(verb, {}), table.same.get("", {})):
        if name in same:
            return same[name]
        if name.startswith("--") and len(name) >= MIN_ABBREVIATION_CHARS:
            full = {main for main in same.values() if main.startswith(name)}
            if len(full) == 1:
                return full.pop()
    return name
