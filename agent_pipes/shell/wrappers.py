"""Commands that run other commands, as data: data/wrappers.json.

Each row describes where the inner command begins; the fields are those of Wrapper.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names, read_table
from agent_pipes.shell.commands import ASSIGNMENT
from agent_pipes.shell.options import Arguments, ProgramOptions, options_of
from agent_pipes.shell.texts import script_text
from agent_pipes.shell.words import Word


class Wrapper(NamedTuple):
    """A program, or a subcommand of one, that runs the command in its arguments.

    options:      its leading options: `values`, or those of the program in data/options.json.
    operands:     the number of operands before the command.
    pure:         it does nothing else.
    elsewhere:    the command runs on another machine, in a container or under another root.
    assignments:  `NAME=value` words may precede the command.
    directory:    options that name the directory of the command.
    script:       options whose value is a command line.
    needs_script: without such an option it runs no command of its arguments.
    append:       the other arguments are added to that command line.
    late_script:  options after the operands whose value is a command line.
    join:         the arguments are words of one command line.
    each:         each argument is a command line.
    arguments:    the word after which each word is an argument, with which the command runs.
    keys:         some arguments are names of keys.
    shell:        without a command it runs its standard input.
    input:        options whose value marks the place of what is read from standard input;
                  without them, the end.
    lookup:       options with which nothing is run.
    module:       options whose value is the program, and the rest its arguments.
    needs_module: without such an option it runs no command of its arguments.
    package:      the program's name may have a version (`prisma@5`).
    after:        words of which the first is followed by the command, if there is one.
    needs_after:  without one it runs no command of its arguments.
    subcommands:  the subcommands that run commands.
    fallthrough:  a first operand that is none of its `own` subcommands is a command.
    entry:        options whose value begins the command.
    program:      the program that runs, if it is not in the arguments.
    image:        the last operand before the command is an image, which may be named after the
                  program that it runs.
    """

    options: ProgramOptions = ProgramOptions()
    operands: int = 0
    pure: bool = True
    elsewhere: bool = False
    assignments: bool = False
    directory: frozenset[str] = frozenset()
    script: frozenset[str] = frozenset()
    needs_script: bool = False
    append: bool = False
    late_script: frozenset[str] = frozenset()
    join: bool = False
    each: bool = False
    arguments: str = ""
    keys: bool = False
    shell: bool = False
    input: frozenset[str] = frozenset()
    lookup: frozenset[str] = frozenset()
    module: frozenset[str] = frozenset()
    needs_module: bool = False
    package: bool = False
    after: frozenset[str] = frozenset()
    needs_after: bool = False
    subcommands: tuple[str, ...] = ()
    fallthrough: bool = False
    own: frozenset[str] = frozenset()
    entry: frozenset[str] = frozenset()
    program: str = ""
    image: bool = False


_INPUT = Word("$INPUT", "$INPUT", "input")
"""A word of the standard input that is not known."""

_KEYS = names("Enter Space Tab C-m C-j")
_KEY_ENDS = pattern(r"(?:\^M|\\[nr])+\Z")
_VERSION = pattern(r"(?<=.)@[\w.^~*-]+\Z")
_SETS = names("values directory script late_script input lookup module own after entry")
_ROWS: dict[str, Any] = read_table("wrappers")


def wrapper_name(name: str) -> str:
    """Return the name under which the table has the program (`python` for `python3.12`), or ""."""
    if name in _ROWS:
        return name
    plain = name.rstrip("0123456789.")
    return plain if plain != name and plain in _ROWS else ""


@lru_cache(maxsize=512)
def wrapper_of(*path: str) -> Wrapper:
    """Return the row of a program and the subcommands after it."""
    name, row = _same(path[0], _ROWS[path[0]])
    for verb in path[1:]:
        name, row = _same("", row["subcommands"][verb])
    fields: dict[str, Any] = {
        key: names(value) if key in _SETS else value
        for key, value in row.items()
        if key != "unseen"
    }
    fields["subcommands"] = tuple(row.get("subcommands", ()))
    values = fields.pop("values", options_of(name).values)
    values = values.union(*(fields.get(key, ()) for key in ("script", "entry", "module")))
    options = ProgramOptions(values, last=fields.get("module", frozenset()))
    return Wrapper(options=options, **fields)


def _same(name: str, row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the row that stands for a row, and its name in the table."""
    while "like" in row:
        name, row = row["like"], _ROWS[row["like"]]
    return name, row


def _after(words: Sequence[Word], wanted: frozenset[str]) -> list[Word] | None:
    """Return the words after the first of those `wanted`, None if there is none."""
    at = next((at for at, word in enumerate(words) if word.text in wanted), None)
    return None if at is None else list(words[at + 1 :])


def runs_nothing(wrapper: Wrapper, given: Arguments, words: Sequence[Word]) -> bool:
    """Return True if the program runs no command of its arguments, the `words`."""
    if given.has(wrapper.lookup):
        return True
    if wrapper.needs_after:
        return _after(words, wrapper.after) is None
    if wrapper.needs_script:
        return not given.has(wrapper.script)
    if wrapper.needs_module:
        return not given.has(wrapper.module)
    if wrapper.module and given.has(wrapper.module):
        return False
    if wrapper.subcommands and not wrapper.fallthrough:
        return True
    return bool(given.operands) and given.operands[0].text in wrapper.own


def find_script(wrapper: Wrapper, given: Arguments) -> None:
    """Look for the option with the script after the operands: `su - dev -c SCRIPT`."""
    for at, word in enumerate(given.operands):
        if word.text in wrapper.script and at + 1 < len(given.operands):
            given.options.append((word.text, given.operands[at + 1]))
            return
        name, equals, value = word.text.partition("=")
        if equals and name in wrapper.script:
            given.options.append((name, Word(value, word.raw, word.unresolved)))
            return


def inner_words(
    wrapper: Wrapper, given: Arguments, words: Sequence[Word]
) -> tuple[tuple[Word, ...], list[Word]]:
    """Return the words of the inner command, and the scripts among the options.

    words: all words after the wrapper's name.
    """
    inner = given.operands
    if module := given.value(*wrapper.module):
        return (module, *inner), []
    scripts = given.values(wrapper.script)
    if scripts and not wrapper.append:
        return (), scripts
    while wrapper.assignments and inner and ASSIGNMENT.match(inner[0].raw):
        inner = inner[1:]
    after = _after(words, wrapper.after) if wrapper.after else None
    inner = inner[wrapper.operands :] if after is None else after
    if len(inner) >= 2 and inner[0].text in wrapper.late_script:
        return (), inner[1:2]
    if inner and inner[0].text == "--":
        inner = inner[1:]
    if entry := given.value(*wrapper.entry):
        inner = [*(Word(text, text) for text in entry.text.split()), *inner]
    if wrapper.program:
        inner = [Word(wrapper.program, wrapper.program), *inner]
    return tuple(inner), scripts


def command_lines(
    wrapper: Wrapper, inner: tuple[Word, ...], scripts: Sequence[Word], given: tuple[Word, ...]
) -> list[str]:
    """Return the command lines that a wrapper runs.

    given: the words of its standard input, none if they are not known.
    """
    texts = [script_text(script) for script in scripts]
    if wrapper.each:
        return texts or [word.text for word in inner]
    if not wrapper.join and not wrapper.append:
        return texts
    if wrapper.keys:
        inner = tuple(word for word in inner if word.text not in _KEYS)
    values: tuple[Word, ...] = ()
    if wrapper.arguments:
        at = next((at for at, word in enumerate(inner) if word.text == wrapper.arguments), None)
        inner, values = (inner, given or (_INPUT,)) if at is None else (inner[:at], inner[at + 1 :])
    # A command line is read once more: ssh and the like remove one level of quotes.
    words = (word.raw if wrapper.append or word.unresolved else word.text for word in inner)
    line = " ".join((*texts, *words))
    if not values:
        return [_KEY_ENDS.sub("", line) if wrapper.keys else line]
    if not line:
        return [word.text for word in values]
    return [
        line.replace("{}", word.raw) if "{}" in line else f"{line} {word.raw}" for word in values
    ]


def image_program(wrapper: Wrapper, given: Arguments) -> tuple[Word, ...]:
    """Return the program that an image is named after (`alpine/git`), if a table has it."""
    if not wrapper.image or given.has(wrapper.entry):
        return ()
    name = re.split("[:@]", given.operands[0].text.rpartition("/")[2])[0].removesuffix("-cli")
    return (Word(name, name),) if options_of(name) != ProgramOptions() else ()


def without_version(word: Word) -> Word:
    text = _VERSION.sub("", word.text)
    return Word(text, word.raw, word.unresolved) if text != word.text else word


def with_input(inner: tuple[Word, ...], marker: str, given: tuple[Word, ...]) -> tuple[Word, ...]:
    """Return the command that xargs runs, with its input in the place of `marker` or at the end.

    given: the words of its input, none if they are not known.
    """
    if not marker:
        return (*inner, *(given or (Word("…", "…", "input"),)))
    found: list[Word] = []
    for word in inner:
        if marker not in word.text:
            found.append(word)
        elif not given:
            found.append(Word(word.text, word.raw, "input", word.tilde))
        else:
            found += (
                Word(word.text.replace(marker, each.text), word.raw, each.unresolved, word.tilde)
                for each in given
            )
    return tuple(found)
