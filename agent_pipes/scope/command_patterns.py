"""Command patterns: words that a command contains, options aside.

git push       covers  git -C x push -u origin
rm -rf *       covers  rm x --force -R
curl | sh      covers  curl -s x | sudo sh, not curl x | sh -c 'wc -l', which reads data
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from agent_pipes.shell.commands import Command
from agent_pipes.shell.interpreters import has_own_script
from agent_pipes.shell.options import Arguments, main_name, options_of, program_name, split
from agent_pipes.shell.words import Word

MAX_LINE_CHARS = 1 << 16
"""Characters of a simple command that are compared with a pattern as one text."""

MAX_GAP_CHARS = 60
"""Characters between two words of a denied phrase in a text that is no command."""

MAX_SOURCES = 64
"""Commands that are looked at to find what feeds another."""

_WILD = re.compile(r"[*?]")


def text_expression(text: str) -> re.Pattern[str]:
    """Return the expression of a pattern for a line: leading words, wildcards for any text."""
    text = text.removesuffix(" *")
    head, *pieces = [
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in text.split("*")
    ]
    end = r"(?= |\Z)"
    if not pieces:
        return re.compile(head + end, re.S)
    *middle, tail = pieces
    # The end of the last piece is part of its group, which would not give back a place where no
    # word ends.
    searched = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(head + searched + (f"(?>.*?{tail}{end})" if tail else ""), re.S)


class Line:
    """A simple command in the forms that are compared with patterns.

    path:     its name as written.
    program:  its name without directory, version and `.exe`.
    options:  its options by their main names, with their values ("" for none).
    operands: its operands; `maybe` and `literal` as in Arguments.
    """

    __slots__ = ("literal", "maybe", "operands", "options", "path", "program", "words")

    def __init__(self, words: Sequence[Word], given: Arguments | None = None) -> None:
        self.words = words
        self.path = words[0].text
        self.program = program_name(self.path)
        rest = words[1:]
        if self.program.startswith("git-"):
            rest = (Word(self.program[4:], self.program), *rest)
            self.program, given = "git", None
        table = options_of(self.program)
        given = given or split(rest, table)
        verb = given.operands[0].text if given.operands else ""
        self.options = {main_name(name, table, verb): value.text for name, value in given.options}
        self.operands = given.operands
        self.maybe = given.maybe
        self.literal = given.literal

    @property
    def texts(self) -> list[str]:
        """The line under the name of its program, and under its path."""
        rest = [word.text for word in self.words[1:]]
        names = dict.fromkeys((self.program, self.path))
        return [" ".join([name, *rest])[:MAX_LINE_CHARS] for name in names]


class _Stage(NamedTuple):
    """One command of a pattern.

    program:  the name or path of the program, an expression if it has a wildcard.
    options:  the options that it asks for, with their values ("" for any).
    operands: expressions of the operands that the command begins with.
    literal:  expressions of the operands after `--`.
    text:     the expression of the whole line, if a word has a wildcard.
    phrase:   the expression of its words in a text that is no command.
    """

    program: re.Pattern[str]
    by_path: bool
    options: dict[str, str]
    operands: tuple[re.Pattern[str], ...]
    literal: tuple[re.Pattern[str], ...] | None
    text: re.Pattern[str] | None
    phrase: re.Pattern[str]

    def matches(self, line: Line, *, maybe: bool = False) -> bool:
        """Return True if the stage covers the command; `maybe`: if an unknown word may be any."""
        if self.text and any(map(self.text.match, line.texts)):
            return True
        unknown = maybe and bool(line.words[0].unresolved) and bool(self.operands)
        if not unknown and not self.program.fullmatch(line.path if self.by_path else line.program):
            return False
        open_options = maybe and any(map(_may_be_option, line.operands))
        if not (open_options or self._has_options(line.options)):
            return False
        operands, maybes = line.operands, line.maybe
        if self.literal is None or not line.literal:
            return _begins(self.operands + (self.literal or ()), operands, maybes, maybe)
        before, after = operands[: -line.literal], operands[-line.literal :]
        return _begins(self.operands, before, maybes, maybe) and _begins(
            self.literal, after, (), maybe
        )

    @property
    def is_program(self) -> bool:
        """True for a lone name of a program."""
        return not self.options and not self.operands and self.text is None

    def _has_options(self, given: dict[str, str]) -> bool:
        for name, value in self.options.items():
            if name not in given or (value and given[name] != value):
                return False
        return True


def _is_open(word: Word) -> bool:
    return word.unresolved not in ("", "glob")


def _may_be_option(word: Word) -> bool:
    """Return True if the value of a word is not known and may be one or more options."""
    return _is_open(word) and (word.text[:1] == "-" or word.raw[:1] == "$")


def _begins(
    wanted: Sequence[re.Pattern[str]],
    operands: Sequence[Word],
    maybes: Collection[int],
    maybe: bool,
) -> bool:
    """Return True if the operands begin with the wanted ones.

    An operand that may be the value of an option is looked at both ways.
    """
    states = {0}
    for at, operand in enumerate(operands):
        if len(wanted) in states:
            return True
        following = set()
        for state in states:
            if (maybe and _is_open(operand)) or wanted[state].fullmatch(operand.text):
                following.add(state + 1)
            if at in maybes or (maybe and _may_be_option(operand)):
                following.add(state)
        states = following
    return len(wanted) in states


def _stage(words: list[str]) -> _Stage:
    tokens = tuple(Word(word, word) for word in words if word != "*" or word is words[0])
    line = Line(tokens)
    operands = tuple(_glob(each.text) for each in line.operands)
    before, after = (
        operands[: len(operands) - line.literal],
        operands[len(operands) - line.literal :],
    )
    joined = " ".join(words)
    return _Stage(
        _glob(line.path if "/" in words[0] else line.program),
        "/" in words[0],
        line.options,
        before,
        after if "--" in words else None,
        text_expression(joined) if _WILD.search(joined.removesuffix(" *")) else None,
        _phrase(words[0], line),
    )


def _glob(text: str) -> re.Pattern[str]:
    """Return the expression of a word with wildcards; nothing is tried twice."""
    head, *pieces = [
        "".join("." if char == "?" else re.escape(char) for char in piece)
        for piece in text.split("*")
    ]
    if not pieces:
        return re.compile(head, re.S)
    *middle, tail = pieces
    searched = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(f"{head}{searched}.*{tail}", re.S)


def _phrase(program: str, line: Line) -> re.Pattern[str]:
    """Return the expression of a pattern's words in a script, a string, a list of arguments."""
    name = re.escape(program)
    gap = rf"(?=[^\w-])[^\n;&]{{1,{MAX_GAP_CHARS}}}?(?<!\w)"
    asked = [_option_expression(line.program, option) for option in line.options]
    if not asked and not line.operands:
        # A lone word may be any name: it counts only where a command could begin.
        return re.compile(rf"(?:^|[;&|(\"'`\n]\s*){name}(?=\s|[\"'`;|&)]|\Z)")
    looked = "".join(rf"(?=[^\n;&]{{1,{MAX_GAP_CHARS}}}?(?<!\w){each}(?!\w))" for each in asked)
    operands = "".join(rf"{gap}{re.escape(each.text)}(?!\w)" for each in line.operands)
    return re.compile(rf"(?<![\w.-]){name}{looked}{operands}")


def _option_expression(program: str, name: str) -> str:
    letters = name[1] if len(name) == 2 else _short_names(program, name)
    joined = rf"-\w*[{letters}]\w*" if letters else ""
    return joined if len(name) == 2 else rf"(?:{re.escape(name)}{'|' + joined if joined else ''})"


def _short_names(program: str, name: str) -> str:
    same = options_of(program).same.values()
    return "".join(
        short[1]
        for table in same
        for short, main in table.items()
        if main == name and len(short) == 2
    )


class CommandPattern:
    """One pattern of a list of denied commands. Raises ValueError for one without a word."""

    def __init__(self, text: str) -> None:
        stages = [stage.split() for stage in text.split("|")]
        if not all(stages):
            raise ValueError("an empty pattern matches nothing")
        self.text = text
        self.word = _WILD.split(stages[0][0])[0]
        self.stages = [_stage(words) for words in stages]

    def matches(self, command: Command, line: Line, *, maybe: bool = False) -> bool:
        """Return True if the pattern covers the command, and what feeds it.

        `maybe`: return True if it would for some value of the words that are not known.
        """
        *before, last = self.stages
        if not last.matches(line, maybe=maybe):
            return False
        reads_data = bool(before) and last.is_program and has_own_script(command)
        return _fed(command, before, reads_data=reads_data)

    def is_in(self, text: str) -> bool:
        """Return True if the words of the pattern are in a text that is no command."""
        if self.word not in text:
            return False
        at = 0
        for stage in self.stages:
            match = stage.phrase.search(text, at)
            if match is None:
                return False
            at = match.end()
        return True


def _fed(command: Command, stages: Sequence[_Stage], *, reads_data: bool) -> bool:
    """Return True if the command's input comes from commands that match the stages, in order.

    reads_data: only what is substituted in its arguments counts, not what is piped into it.
    """
    budget = MAX_SOURCES
    waiting: list[tuple[Command, int]] = [(command, len(stages))]
    while waiting and budget:
        reader, left = waiting.pop()
        if not left:
            return True
        runner: Command | None = reader
        while runner and budget:
            is_data = reads_data and reader is command and runner.piped
            for source in runner.sources[is_data:budget]:
                budget -= 1
                if source.words:
                    matches = stages[left - 1].matches(Line(source.words, source.arguments))
                    waiting.append((source, left - matches))
            runner = runner.outer
    return any(not left for _, left in waiting)


def _first_operand(words: Sequence[str]) -> str:
    """Return the first operand of a pattern, "" if it has none before its options or a wildcard."""
    plain = words and words[0][0] != "-" and not _WILD.search(words[0])
    return words[0] if plain else ""


def _with_operand(named: dict[str, list[CommandPattern]], given: Arguments) -> list[CommandPattern]:
    """Return the patterns of a program that ask for the first operand, or for none."""
    found = list(named.get("", ()))
    for at, word in enumerate(given.operands):
        if _is_open(word):
            return [pattern for patterns in named.values() for pattern in patterns]
        found += named.get(word.text, ())
        if at not in given.maybe:
            break
    return found


class DeniedCommands:
    """The list of denied commands, by the name of the program and its first operand.

    The first operand is "" for a pattern that asks for none, or has a wildcard.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = [CommandPattern(text) for text in patterns]
        self._named: dict[str, dict[str, list[CommandPattern]]] = {}
        self._other: list[tuple[CommandPattern, str]] = []
        words = sorted({re.escape(pattern.word) for pattern in self.patterns})
        self._any_word = re.compile("|".join(words))
        for pattern in self.patterns:
            program, *rest = pattern.text.rpartition("|")[2].split()
            if _WILD.search(program) or "/" in program:
                self._other.append((pattern, _WILD.split(program)[0]))
            else:
                named = self._named.setdefault(program, {})
                named.setdefault(_first_operand(rest), []).append(pattern)
        self._starts = tuple(start for _, start in self._other)

    def match(self, command: Command) -> tuple[str, bool]:
        """Return the pattern that covers the command, or "", and True if it surely does.

        Otherwise it does for some value of the words that are not known.
        """
        patterns = self._candidates(command)
        if not patterns:
            return "", False
        line = Line(command.words, command.arguments)
        if line.options.keys() & options_of(line.program).help:
            return "", False
        for pattern in patterns:
            if pattern.matches(command, line):
                return pattern.text, True
        if any(map(_is_open, command.words)):
            for pattern in patterns:
                if pattern.matches(command, line, maybe=True):
                    return pattern.text, False
        return "", False

    def _candidates(self, command: Command) -> list[CommandPattern]:
        """Return the patterns whose program and first operand may be those of the command."""
        if _is_open(command.words[0]):
            return self.patterns
        path = command.words[0].text
        program = command.program
        found: list[CommandPattern] = []
        if named := self._named.get(program):
            found += _with_operand(named, command.arguments)
        elif program.startswith("git-") and (named := self._named.get("git")):
            found += named.get(program[4:], ())
        if program.startswith(self._starts) or path.startswith(self._starts):
            found += [
                pattern
                for pattern, start in self._other
                if program.startswith(start) or path.startswith(start)
            ]
        return found

    def phrase_in(self, text: str) -> str:
        """Return a pattern whose words are in a text that is no command, or ""."""
        if not self._any_word.search(text):
            return ""
        return next((pattern.text for pattern in self.patterns if pattern.is_in(text)), "")


class AllowedCommands:
    """The list of allowed commands: leading words, in which `*` and `?` are wildcards."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._expressions: list[re.Pattern[str]] = []
        for pattern in patterns:
            if not pattern.split():
                raise ValueError("an empty pattern matches nothing")
            self._expressions.append(text_expression(" ".join(pattern.split())))

    def match(self, line: str) -> bool:
        """Return True if a pattern matches the line, whose words are separated by single spaces."""
        return any(expression.match(line) for expression in self._expressions)


def without_harmless(command: Command) -> list[str]:
    """Return the words of a command without the leading options that the table calls harmless."""
    argv = command.argv
    table = options_of(argv[0].rpartition("/")[2])
    at = 1
    while at < len(argv) and argv[at].partition("=")[0] in table.harmless:
        takes_next = argv[at] in table.values and not table.attached
        at += 2 if takes_next else 1
    return [argv[0], *argv[at:]]
