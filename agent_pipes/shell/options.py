"""Options of a command as the programs read them, as data: data/options.json."""

from functools import lru_cache
from typing import Any, NamedTuple

from agent_pipes.core.tables import names, read_table
from agent_pipes.shell.words import Word

MIN_ABBREVIATION_CHARS = 5
"""Characters of the shortest abbreviation of a long option that is taken for it: `--rec`."""


class ProgramOptions(NamedTuple):
    """A program's options.

    values:   the options that take a value, before or after a subcommand.
    flags:    by subcommand: those of `values` that take none there.
    harmless: leading options that a list of allowed commands leaves out of account.
    help:     options with which it prints its help and exits.
    same:     by subcommand ("" for all): each name of an option, and its main name.
    single:   it has long options with one dash, and no joined short ones.
    attached: their values are attached with `=`.
    known:    the program is in the table.
    """

    values: frozenset[str] = frozenset()
    flags: dict[str, frozenset[str]] = {}  # noqa: RUF012
    harmless: frozenset[str] = frozenset()
    help: frozenset[str] = frozenset()
    same: dict[str, dict[str, str]] = {}  # noqa: RUF012
    single: bool = False
    attached: bool = False
    known: bool = False


_ROWS: dict[str, Any] = read_table("options")
_UNKNOWN = ProgramOptions()


@lru_cache(maxsize=256)
def options_of(program: str) -> ProgramOptions:
    """Return the row of a program, an empty one if the table has none."""
    row = _ROWS.get(program)
    if row is None:
        return _UNKNOWN
    if "like" in row:
        row = _ROWS[row["like"]]
    return ProgramOptions(
        names(row.get("values", "")),
        {verb: names(text) for verb, text in row.get("flags", {}).items()},
        names(row.get("harmless", "")),
        names(row.get("help", "")),
        {verb: _main_names(text) for verb, text in row.get("same", {}).items()},
        row.get("single", False),
        row.get("attached", False),
        True,
    )


def _main_names(text: str) -> dict[str, str]:
    """Return the main name of each option in `-f=--force -r=-R=--recursive`: the last one."""
    groups = [group.split("=") for group in text.split()]
    return {name: group[-1] for group in groups for name in group}


class Operand(NamedTuple):
    """An operand of a command.

    text:       its value.
    unresolved: its value is not known.
    maybe:      it may be the value of the option before it.
    literal:    it follows `--`.
    """

    text: str
    unresolved: bool
    maybe: bool
    literal: bool


class Line(NamedTuple):
    """A simple command, split.

    program:  its name without directory, version and `.exe`.
    path:     its name as written.
    options:  its options by their main names, with their values ("" for none).
    operands: its operands.
    leading:  the number of words before the first operand.
    """

    program: str
    path: str
    options: dict[str, str]
    operands: tuple[Operand, ...]
    leading: int


def split_line(words: tuple[Word, ...]) -> Line:
    """Split the words of a simple command into options and operands."""
    path = words[0].text
    program = program_name(path)
    extra: list[Operand] = []
    if program.startswith("git-") and len(program) > 4:
        extra = [Operand(program[4:], False, False, False)]
        program = "git"
    table = options_of(program)
    options: dict[str, str] = {}
    operands = extra
    verb = extra[0].text if extra else ""
    leading, at, maybe = 0, 1, False
    while at < len(words):
        word = words[at]
        at += 1
        if word.text == "--" and not word.unresolved:
            operands += [Operand(each.text, _is_open(each), False, True) for each in words[at:]]
            break
        if len(word.text) < 2 or word.text[0] != "-" or (word.unresolved and "$" in word.text[:2]):
            if not operands:
                leading, verb = at - 1, word.text
            operands.append(Operand(word.text, _is_open(word), maybe, False))
            maybe = False
            continue
        name, value, takes_next, maybe = _option(word.text, table, verb, options)
        if takes_next and at < len(words):
            value = words[at].text
            at += 1
        if name:
            options[main_name(name, table, verb)] = value
    return Line(program, path, options, tuple(operands), leading or len(words))


def program_name(path: str) -> str:
    """Return the name of a program without directory, version and `.exe`."""
    name = path.rpartition("/")[2].removesuffix(".exe")
    return name.partition("@")[0] or name


def _is_open(word: Word) -> bool:
    return word.unresolved not in ("", "glob")


def _option(
    text: str, table: ProgramOptions, verb: str, options: dict[str, str]
) -> tuple[str, str, bool, bool]:
    """Read one option word.

    Return its name, its value, True if its value is the next word, and True if it may be. Other
    options that are joined with it are added to `options`.
    """
    values = table.values - table.flags.get(verb, frozenset())
    name, equals, value = text.partition("=")
    if text.startswith("--") or table.single:
        if table.single and text.startswith("--"):
            name = name[1:]
        takes_next = name in values and not equals and not table.attached
        return name, value, takes_next, not equals and name not in values and not table.attached
    for place in range(1, len(text)):
        letter = f"-{text[place]}"
        if letter in values:
            rest = text[place + 1 :]
            return letter, rest, not rest, False
        if not text[place].isalnum():
            break
        options[main_name(letter, table, verb)] = ""
    return "", "", False, True


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
