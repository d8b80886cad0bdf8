"""Texts that commands pass on to each other within one command line: output, files."""

import re
from base64 import b64decode
from collections.abc import Sequence
from itertools import takewhile
from posixpath import join, normpath

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.commands import ASSIGNMENT, Command
from agent_pipes.shell.word_lexer import unescape
from agent_pipes.shell.words import Redirect, Word

_DIRECTIVE = pattern(r"%[-+ #0]*\d*(?:\.\d+)?[a-zA-Z%]")
MAX_OUTPUT_CHARS = 1 << 20
"""Characters that a printf is taken to print at most."""

MAX_OUTPUT_STAGES = 8
"""Commands of a pipeline that are followed to find what a shell is fed."""


def path_of(word: Word, directory: str | None) -> str:
    """Return the path in `word` for comparison within one command, "" if it is not known."""
    if word.unresolved or not word.text:
        return ""
    path = word.path
    if path.startswith(("/", "~")):
        return normpath(path)
    return "" if directory is None else normpath(join(directory, path))


def document_text(redirect: Redirect) -> str:
    return redirect.target.text if redirect.op == "<<<" else redirect.body


def output_of(command: Command, stages: int = MAX_OUTPUT_STAGES) -> str | None:
    """Return what `echo`, `printf` or a here-document for `cat` prints; None for other commands."""
    words = command.words[1:]
    if any(word.unresolved not in ("", "glob") for word in words):
        return None
    texts = [word.text for word in words]
    if command.name == "echo":
        escapes = False
        while texts and re.fullmatch(r"-[neE]+", texts[0]):
            escapes = "e" in texts.pop(0)
        return unescape(" ".join(texts)) if escapes else " ".join(texts)
    if command.name == "printf" and texts:
        return _formatted(*texts)
    if command.name == "which" or (command.name == "command" and texts[:1] == ["-v"]):
        return join("/usr/bin", texts[-1]) if texts else None
    documents = [each for each in command.redirects if each.op.startswith("<<")]
    text = document_text(documents[-1]) if documents else None
    if text is None and command.sources and stages:
        text = output_of(command.sources[0], stages - 1)
    if command.name in ("cat", "tee"):
        return text if documents or not texts else None
    if command.name == "base64" and text and texts[:1] in (["-d"], ["-D"], ["--decode"]):
        return _decoded(text)
    return None


def _value(directive: str, left: list[str]) -> str:
    """Return what a directive of printf prints of the next value, the last one of `left`."""
    if directive == "%%":
        return "%"
    value = left.pop() if left else ""
    return unescape(value) if directive[-1] == "b" else value


def _formatted(form: str, *values: str) -> str:
    """Return what printf prints: its format is used again until no value is left."""
    form, left, found = unescape(form), list(reversed(values)), ""
    while True:
        before = len(left)
        found += _DIRECTIVE.sub(lambda match: _value(match[0], left), form)
        if not left or len(left) == before or len(found) > MAX_OUTPUT_CHARS:
            return found.replace("\0", "\n")


_FILTERS = names("sort uniq head tail tac shuf grep egrep")
"""Programs that print some of the lines that they read."""


def printed_words(command: Command, stages: int = MAX_OUTPUT_STAGES) -> tuple[Word, ...]:
    """Return the words that a command prints, with patterns for names of files; none if unknown."""
    if (text := output_of(command)) is not None:
        return tuple(Word(word, word) for word in text.split())
    words = command.words[1:]
    if command.name in ("find", "fd", "fdfind"):
        return names_below(command)
    if command.name == "ls":
        named = [word for word in words if not word.text.startswith("-")]
        if all(word.unresolved == "glob" for word in named):
            return tuple(named) or (Word("*", "*", "glob"),)
    elif command.name in _FILTERS and command.sources and stages:
        return printed_words(command.sources[0], stages - 1)
    return ()


def input_text(command: Command) -> str | None:
    """Return the text on a command's standard input, None if it is not known."""
    documents = [each for each in command.redirects if each.op.startswith("<<")]
    if documents:
        return document_text(documents[-1])
    return output_of(command.sources[0]) if command.piped and command.sources else None


def input_words(command: Command) -> tuple[Word, ...]:
    """Return the words on a command's standard input, none if they are not known."""
    if (text := input_text(command)) is not None:
        return tuple(Word(word, word) for word in text.split())
    return printed_words(command.sources[0]) if command.piped and command.sources else ()


def script_text(word: Word) -> str:
    """Return the text of a script in a word, which may be what a command prints."""
    return word.text if word.output is None else word.output


def names_below(command: Command) -> tuple[Word, ...]:
    """Return the names that `find` or `fd` finds, as patterns: those of its tests."""
    words = command.words[1:]
    if command.name == "find":
        starts = list(takewhile(lambda word: not word.text.startswith(("-", "(", "!")), words))
        found = _tested(words) or ["**"]
    else:
        operands = [word for word in words if not word.text.startswith("-")]
        starts = operands[1:]
        named = operands[0].text.strip("^$") if operands else "."
        found = ["**" if named == "." else f"**/{'' if named[:1] == '.' else '*'}{named}*"]
    return tuple(
        Word(
            name if name.startswith(f"{start.text}/") else join(start.text, name),
            "{}",
            start.unresolved or "glob",
            start.tilde,
        )
        for start in starts or [Word(".", ".")]
        for name in found
    )


def _tested(words: Sequence[Word]) -> list[str]:
    """Return the patterns of the tests -name and -path of `find` that are not negated."""
    found = []
    for at, word in enumerate(words[:-1]):
        test, value = word.text, words[at + 1].text
        negated = words[at - 1].text in ("!", "-not") if at else False
        pruned = at + 2 < len(words) and words[at + 2].text == "-prune"
        if negated or pruned:
            continue
        if test in ("-name", "-iname"):
            found.append(f"**/{value if test == '-name' else value.lower()}")
        elif test in ("-path", "-ipath", "-wholename"):
            # A wildcard of -path matches slashes, too.
            text = re.sub(r"(?<![^/])\*(?![^/])", "**", value)
            found.append(text)
    return found


def _decoded(text: str) -> str | None:
    try:
        return b64decode(text.strip(), validate=True).decode()
    except ValueError:
        return None


def is_substitution(word: Word) -> bool:
    """Return True if the word, or the value that it assigns, is one substitution of a command."""
    raw = word.raw
    if match := ASSIGNMENT.match(raw):
        raw = raw[match.end() :]
    raw = raw.strip('"')
    return len(word.scripts) == 1 and raw.startswith(("$(", "<(", "`")) and raw[-1] in ")`"
