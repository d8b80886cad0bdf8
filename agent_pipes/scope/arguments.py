"""Options and operands of a command, as words."""

from collections.abc import Collection

from agent_pipes.shell import Command, Word

NONE = Word("", "")


class Arguments:
    """The options of a command with their values (an empty word for none), and its operands.

    literal: the operands after `--`; they are operands too.
    """

    __slots__ = ("literal", "operands", "options")

    def __init__(self) -> None:
        self.options: list[tuple[str, Word]] = []
        self.operands: list[Word] = []
        self.literal: list[Word] = []

    def has(self, wanted: Collection[str]) -> bool:
        """Return True if one of the options was given."""
        if not wanted or not self.options:
            return False
        return any(name in wanted for name, _ in self.options)

    def values(self, wanted: frozenset[str]) -> list[Word]:
        """Return the values of the options `wanted`."""
        if not wanted or not self.options:
            return []
        return [value for name, value in self.options if name in wanted]

    def value(self, *wanted: str) -> Word | None:
        """Return the value of the last of the options `wanted`, None if none was given."""
        return next((value for name, value in reversed(self.options) if name in wanted), None)


def arguments(
    command: Command,
    values: frozenset[str] = frozenset(),
    *,
    optional: str = "",
    single: bool = False,
    pairs: frozenset[str] = frozenset(),
) -> Arguments:
    """Split the arguments of a command.

    values:   options that take a value: `-o`, `--output`.
    optional: letters of short options that take one only without a space before it.
    single:   long options have one dash, and short ones are not joined.
    pairs:    those of `values` that take two, of which the second is kept.
    """
    found = Arguments()
    words = command.words[1:]
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        text = word.text
        if text == "--":
            found.literal = list(words[at:])
            found.operands += words[at:]
            break
        if len(text) < 2 or text[0] != "-":
            found.operands.append(word)
            continue
        name, value = _option(word, values, optional, single, found.options)
        if value is None and at < len(words):
            at += name in pairs and at + 1 < len(words)
            value = words[at]
            at += 1
        if name:
            found.options.append((name, value or NONE))
    return found


def _option(
    word: Word,
    values: frozenset[str],
    optional: str,
    single: bool,
    options: list[tuple[str, Word]],
) -> tuple[str, Word | None]:
    """Return the option in a word and its value, None if that is the next word.

    Other options that are joined with it are added to `options`.
    """
    text = word.text
    if text.startswith("--") or single:
        name, equals, value = text.partition("=")
        if name in values and not equals:
            return name, None
        return name, Word(value, word.raw, word.unresolved if value else "", value[:1] == "~")
    for place, letter in enumerate(text[1:], 2):
        rest = text[place:] if text[place:] == "=" else text[place:].removeprefix("=")
        name = f"-{letter}"
        if letter in optional or (name in values and rest):
            return name, Word(rest, word.raw, word.unresolved if rest else "", rest[:1] == "~")
        if name in values:
            return name, None
        options.append((name, NONE))
    return "", NONE
