"""Values of variables, as far as a command sets them itself."""

import os
import re
from posixpath import relpath

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.word_lexer import LITERAL
from agent_pipes.shell.words import Word

MAX_ALTERNATIVES = 64
"""Values of one variable that are kept: a loop may go over any number of words."""

_WILDCARD = pattern(r"[*?\[]")

Values = tuple[str, ...]


class Variables:
    """The variables of one shell: for each its possible values, or None if they are not known.

    A value that begins with `~` is a path in a home directory.
    """

    def __init__(self, known: "Variables | None" = None) -> None:
        self._values: dict[str, Values | None] = dict(known._values) if known else {}

    def assign(self, name: str, values: Values | None, *, sure: bool = True) -> None:
        """Set the values of a variable; if that is not `sure`, the old ones stay possible."""
        if not sure and values is not None and (old := self._values.get(name)):
            values = tuple(dict.fromkeys((*old, *values)))
        if values is not None and len(values) > MAX_ALTERNATIVES:
            values = None
        self._values[name] = values

    def assign_word(self, word: Word, previous: str | None, *, sure: bool = True) -> None:
        """Set the variable of an assignment `NAME=value`."""
        name, _, _ = word.raw.partition("=")
        if not name.isidentifier():
            self.assign(name.rstrip("+").partition("[")[0], None)
            return
        values = [
            each.text.partition("=")[2]
            for each in self.resolve(word, previous, split=False)
            if not each.unresolved
        ]
        self.assign(name, tuple(values) or None, sure=sure)

    def resolve(self, word: Word, previous: str | None, *, split: bool = True) -> list[Word]:
        """Return the words that `word` is expanded to: itself if a value is not known.

        previous: the value of OLDPWD, None if it is not known.
        split:    values out of quotes are split at white space.
        """
        if not word.variables:
            return [word]
        alternatives: list[list[str]] = []
        for variable in word.variables:
            values = self._value(variable.name, previous)
            if values is None:
                return [word]
            alternatives.append(list(values))
        found: list[Word] = []
        for number in range(max(map(len, alternatives))):
            chosen = [values[min(number, len(values) - 1)] for values in alternatives]
            found += _expanded(word, chosen, split=split)
        return found

    def _value(self, name: str, previous: str | None) -> Values | None:
        if name.startswith(LITERAL):
            return (name[len(LITERAL) :],)
        if name in self._values:
            return self._values[name]
        if name == "PWD":
            return (".",)
        if name == "HOME":
            return ("~",)
        if name == "OLDPWD":
            return None if previous is None else (previous,)
        if name == "TMPDIR":
            return (os.environ.get("TMPDIR", "/tmp"),)  # noqa: S108
        return None


def _expanded(word: Word, values: list[str], *, split: bool) -> list[Word]:
    """Return `word` with its variables replaced by `values`."""
    fragments = [""]
    by_piece = {variable.piece: at for at, variable in enumerate(word.variables)}
    for piece, text in enumerate(word.pieces):
        at = by_piece.get(piece)
        if at is None:
            fragments[-1] += text
        elif word.variables[at].quoted or not split:
            fragments[-1] += values[at]
        else:
            first, *rest = values[at].split() or [""]
            fragments[-1] += first
            fragments += rest
    tilde = word.tilde or (not "".join(word.pieces[: word.variables[0].piece]))
    found = []
    for at, text in enumerate(fragments):
        if text or word.raw.startswith('"'):
            unresolved = "glob" if _WILDCARD.search(text) else ""
            found.append(
                Word(text, word.raw, unresolved, tilde and at == 0 and text.startswith("~"))
            )
    return found


def old_directory(previous: str | None, directory: str | None) -> str | None:
    """Return the path of the directory `previous` from `directory`, None if it is not known."""
    if previous is None or previous.startswith(("/", "~")):
        return previous
    if directory is None or directory.startswith(("/", "~")):
        return None
    return relpath(previous or ".", directory or ".")


_OPTION = re.compile(r"-\w+")


def assigned_by(words: list[Word]) -> list[Word]:
    """Return the assignments in the arguments of `export`, `declare` and the like."""
    return [word for word in words[1:] if "=" in word.raw and not _OPTION.match(word.raw)]
