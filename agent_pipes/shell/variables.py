"""Values of variables, as far as a command sets them itself."""

import os
import re
from collections.abc import Sequence
from posixpath import relpath

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.word_lexer import LITERAL
from agent_pipes.shell.words import Variable, Word

MAX_ALTERNATIVES = 64
"""Values of one variable that are kept: a loop may go over any number of words."""

_WILDCARD = pattern(r"[*?\[]")
_BLANKS = re.compile(r"\s+")
_ELEMENTS = pattern(r"(\w+)\[[@*]\]")

Values = tuple[str, ...]


class Variables:
    """The variables of one shell: for each its possible values, or None if they are not known.

    A value that begins with `~` is a path in a home directory. The lists are arrays and "@", the
    arguments of the shell or function.
    """

    def __init__(self, known: "Variables | None" = None) -> None:
        self._values: dict[str, Values | None] = dict(known._values) if known else {}
        self._lists: dict[str, Values | None] = dict(known._lists) if known else {}

    def assign(self, name: str, values: Values | None, *, sure: bool = True) -> None:
        """Set the values of a variable; if that is not `sure`, the old ones stay possible."""
        if not sure and values is not None and (old := self._values.get(name)):
            values = tuple(dict.fromkeys((*old, *values)))
        if values is not None and len(values) > MAX_ALTERNATIVES:
            values = None
        self._values[name] = values
        self._lists.pop(name, None)

    def assign_word(self, word: Word, previous: str | None, *, sure: bool = True) -> None:
        """Set the variable of an assignment `NAME=value`."""
        name, _, _ = word.raw.partition("=")
        if not name.isidentifier():
            self.assign(name.rstrip("+").partition("[")[0], None)
        elif word.elements:
            self.assign_list(name, _known(word.elements))
        elif word.output is not None:
            self.assign(name, (word.output,), sure=sure)
        elif word.printed:
            self.assign(name, tuple(each.text for each in word.printed), sure=sure)
        else:
            values = [
                each.text.partition("=")[2]
                for each in self.resolve(word, previous, split=False)
                if not each.unresolved
            ]
            self.assign(name, tuple(values) or None, sure=sure)

    def assign_list(self, name: str, values: Values | None) -> None:
        """Set the elements of an array."""
        self._values[name] = values[:1] if values else None
        self._lists[name] = values

    def assign_arguments(self, words: Sequence[Word]) -> None:
        """Set `$1`, `$2`, … and `$@` to the arguments of a shell or function."""
        values = _known(words)
        for at, word in enumerate(words, 1):
            self.assign(str(at), None if word.unresolved else (word.text,))
        self._lists["@"] = self._lists["*"] = values

    def shift(self) -> None:
        """Drop the first argument."""
        values = self._lists.get("@")
        if values:
            self.assign(str(len(values)), None)
            self.assign_arguments([Word(text, text) for text in values[1:]])

    def alternatives(self, words: Sequence[Word], previous: str | None) -> list[list[Word]]:
        """Return the words that `words` are expanded to, for each of the values of a variable."""
        count = 1
        for word in words:
            for variable in word.variables:
                count = max(count, len(self._value(variable, previous) or ()))
        return [
            [each for word in words for each in self._expanded(word, number, previous)]
            for number in range(count)
        ]

    def resolve(self, word: Word, previous: str | None, *, split: bool = True) -> list[Word]:
        """Return the words that `word` is expanded to, for all the values of its variables.

        previous: the value of OLDPWD, None if it is not known.
        split:    values out of quotes are split at white space.
        """
        count = max((len(self._value(each, previous) or ()) for each in word.variables), default=0)
        if not count:
            return self._expanded(word, 0, previous, split=split)
        found: list[Word] = []
        for number in range(count):
            found += self._expanded(word, number, previous, split=split)
            if found[-1:] == [word]:
                break
        return found

    def _expanded(
        self, word: Word, number: int, previous: str | None, *, split: bool = True
    ) -> list[Word]:
        """Return `word` with the value `number` of its variables: itself if one is not known."""
        if word.output is not None and not word.raw.startswith("<"):
            texts = [word.output]
            if not word.raw.startswith('"'):
                texts = list(filter(None, self._separators().split(word.output)))
            return [Word(text, word.raw) for text in texts]
        if word.printed:
            return list(word.printed)
        if not word.variables:
            return [word]
        chosen: list[Values] = []
        for variable in word.variables:
            values = self._value(variable, previous)
            listed = self._list_of(variable)
            if listed is not None:
                chosen.append(listed if variable.name != "*" else (" ".join(listed),))
            elif values:
                chosen.append((values[min(number, len(values) - 1)],))
            else:
                return [word]
        return _with_values(word, chosen, self._separators() if split else None)

    def _separators(self) -> re.Pattern[str]:
        """Return the expression of what separates words: the value of IFS."""
        values = self._values.get("IFS")
        if values is None:
            return _BLANKS
        return re.compile(f"[{re.escape(values[-1])}]+" if values[-1] else r"(?!)")

    def _list_of(self, variable: Variable) -> Values | None:
        elements = _ELEMENTS.fullmatch(variable.name)
        return self._lists.get(elements[1] if elements else variable.name)

    def _value(self, variable: Variable, previous: str | None) -> Values | None:
        name = variable.name
        if name.startswith(LITERAL):
            return (name[len(LITERAL) :],)
        if name in self._values:
            return self._values[name]
        if name == "PWD":
            return (".",)
        if name == "IFS":
            return (" ",)
        if name == "HOME":
            return ("~",)
        if name == "OLDPWD":
            return None if previous is None else (previous,)
        if name == "TMPDIR":
            return (os.environ.get("TMPDIR", "/tmp"),)  # noqa: S108
        return (variable.default,) if variable.default else None


def _known(words: Sequence[Word]) -> Values | None:
    """Return the texts of the words, None if one is not known."""
    if any(word.unresolved not in ("", "glob") for word in words):
        return None
    return tuple(word.text for word in words)


def _with_values(
    word: Word, chosen: list[Values], separators: re.Pattern[str] | None
) -> list[Word]:
    """Return `word` with its variables replaced: the elements of a list are separate words.

    separators: the expression that separates words in values out of quotes.
    """
    fragments = [""]
    by_piece = {variable.piece: at for at, variable in enumerate(word.variables)}
    for piece, text in enumerate(word.pieces):
        at = by_piece.get(piece)
        if at is None:
            fragments[-1] += text
            continue
        values: Sequence[str] = chosen[at]
        if not word.variables[at].quoted and separators:
            values = [each for value in values for each in separators.split(value)]
        first, *rest = values or [""]
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
