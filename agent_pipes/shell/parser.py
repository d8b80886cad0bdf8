"""The simple commands in a shell command, and the directory in which each one runs.

    parse("cd deploy && bash -c 'rm -rf x' > log")   →   cd deploy · bash -c … (> log) · rm -rf x
    (in deploy)

No shell is run, nothing is expanded, and no text makes this raise. It takes time linear in the
text.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent_pipes.shell.commands import ASSIGNMENT, Command, Unresolved, changed_directory
from agent_pipes.shell.lexer import COMMAND_MAY_FOLLOW, Lexer
from agent_pipes.shell.words import Redirect, Token, Word
from agent_pipes.shell.wrappers import MAX_NESTING, WrapperReader

MAX_COMMAND_CHARS = 1 << 20
"""Characters of a command that are read; the rest is reported as unresolved."""


def parse(command: str) -> list[Command]:
    """Return every simple command in the order of the text; a substitution precedes its command."""
    found: list[Command] = []
    _Reader(found).read(command[:MAX_COMMAND_CHARS], "", None, 0)
    if len(command) > MAX_COMMAND_CHARS:
        rest = Unresolved("long", f"what is beyond {MAX_COMMAND_CHARS} characters")
        found.append(Command((), unresolved=(rest,)))
    return found


RESERVED_WORDS = COMMAND_MAY_FOLLOW - {"time"}
"""Words before a command that are no part of it."""

_OPENING = frozenset(["{", "if", "while", "until"])
_CLOSING = frozenset(["}", "fi", "done", "esac"])
_PIPES = ("|", "|&")
_CONTINUING = (*_PIPES, "&&", "||")
"""Operators after which a newline ends nothing."""


class _Block(NamedTuple):
    """An open compound command: its directory, if it is in a pipeline, if it is sure to run."""

    directory: str | None
    piped: bool
    sure: bool


class _Script:
    """The state of reading one script.

    words, redirects: the command that is being read.
    directory:        where it will run.
    before:           the operator before it.
    reserved_before:  a reserved word precedes it.
    subshells:        the directories where the open subshells began.
    blocks:           the open compound commands; `closed`: the one that ended last, until a command
                      follows.
    cases:            for each open `case`, whether a pattern is next, and no command.
    """

    def __init__(
        self, reader: "_Reader", directory: str | None, outer: Command | None, depth: int
    ) -> None:
        self.reader = reader
        self.directory = directory
        self.outer = outer
        self.depth = depth
        self.words: list[Word] = []
        self.redirects: list[Redirect] = []
        self.before = ""
        self.reserved_before = False
        self.subshells: list[str | None] = []
        self.blocks: list[_Block] = []
        self.closed: _Block | None = None
        self.cases: list[bool] = []

    def word(self, word: Word) -> None:
        words, raw = self.words, word.raw
        if words:
            words.append(word)
            if len(words) == 3 and raw == "{" and words[0].raw == "function":
                self._define(words[1])
                self._open(sure=True)
                self.words = []
            elif len(words) == 3 and raw == "in" and words[0].raw == "case":
                self._begin_case()
        elif raw.startswith("(("):
            self._substitutions([word])
        elif raw in RESERVED_WORDS:
            self._reserved(raw)
        else:
            words.append(word)

    def _reserved(self, raw: str) -> None:
        self.reserved_before = True
        if raw in _OPENING:
            self._open(sure=raw == "{")
        elif raw in _CLOSING:
            self._close()
            if raw == "esac" and self.cases:
                self.cases.pop()

    def operator(self, sign: str) -> None:
        if self.cases and self.cases[-1] and sign in ("(", ")", "|", "\n"):
            self.cases[-1] = sign != ")"
            self.words = []
            return
        self._finish_command(sign)
        self.words, self.redirects, self.closed = [], [], None
        if sign == "(":
            self.subshells.append(self.directory)
        elif sign == ")" and self.subshells:
            self.directory = self.subshells.pop()
        elif self.cases and sign in (";;", ";&", ";;&"):
            self.cases[-1] = True
        if sign != "\n" or self.before not in _CONTINUING:
            self.before, self.reserved_before = sign, False

    def _finish_command(self, sign: str) -> None:
        words = self.words
        if sign == "(" and (len(words) == 1 or (len(words) == 2 and words[0].raw == "function")):
            self._define(words[-1])
            self.words = words = []
        if words and words[0].raw in ("for", "select", "case"):
            self._open(sure=False)
            self._substitutions(words)
        elif words or self.redirects:
            self._command(sign)
        elif self.closed and sign in (*_PIPES, "&"):
            self.directory = self.closed.directory

    def _substitutions(self, words: Iterable[Word]) -> None:
        self.reader.substitutions(words, self.directory, self.depth)

    def _open(self, *, sure: bool) -> None:
        self.blocks.append(_Block(self.directory, self.before in _PIPES, sure))

    def _close(self) -> None:
        """End a block: if it may not have been run, the directory after it is not known."""
        if not self.blocks:
            return
        self.closed = block = self.blocks.pop()
        if block.piped:
            self.directory = block.directory
        elif not block.sure and self.directory != block.directory:
            self.directory = None

    def _begin_case(self) -> None:
        self._open(sure=False)
        self.cases.append(True)
        self._substitutions(self.words)
        self.words = []

    def _define(self, name: Word) -> None:
        """Define a function: its body is read as if it ran here, and its name is no program's."""
        if not self.blocks and not self.subshells and self.before not in ("&&", "||", *_PIPES):
            self.reader.functions.add(name.text)

    def _command(self, after: str) -> None:
        """Read one simple command, between the operators `before` and `after`."""
        words = self.words
        self._substitutions(words)
        self._substitutions([redirect.target for redirect in self.redirects])
        start = 0
        while start < len(words) and "=" in words[start].raw and ASSIGNMENT.match(words[start].raw):
            start += 1
        command = Command(
            tuple(words[start:]),
            tuple(self.redirects),
            self.directory,
            self.outer,
            piped=self.before in _PIPES,
        )
        if not command.words:
            self.reader.found += [command] if self.redirects else []
        elif command.name in self.reader.functions:
            self.reader.add(command, is_wrapper=True)
        else:
            self.reader.run(command, self.depth)
            self._change_directory(command, after)

    def _change_directory(self, command: Command, after: str) -> None:
        before = "" if self.reserved_before else self.before
        in_subshell = after in (*_PIPES, "&") or before in _PIPES
        if command.name in ("cd", "pushd", "popd") and not in_subshell:
            self.directory = None if before == "||" else changed_directory(command)


class _Reader(WrapperReader):
    """Reads one command line and the command lines in it."""

    def __init__(self, found: list[Command]) -> None:
        super().__init__(found)
        self.functions: set[str] = set()

    def read(self, text: str, directory: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in `directory`."""
        lexer = Lexer(text)
        self.script(lexer.tokens(), directory, outer, depth)
        if lexer.deep:
            deep = Unresolved("deep", "what is nested too deep")
            self.found.append(Command((), outer=outer, unresolved=(deep,)))

    def fresh(self) -> "_Reader":
        """Return a reader for another shell, which does not know the functions defined here."""
        return _Reader(self.found)

    def script(
        self, tokens: Sequence[Token], directory: str | None, outer: Command | None, depth: int
    ) -> None:
        """Read the tokens of one script, which begins in `directory`."""
        script = _Script(self, directory, outer, depth)
        for token in tokens:
            if isinstance(token, Word):
                script.word(token)
            elif isinstance(token, Redirect):
                script.redirects.append(token)
            else:
                script.operator(token.text)
        script.operator("")

    def substitutions(self, words: Iterable[Word], directory: str | None, depth: int) -> None:
        """Read the commands in the substitutions of `words`; a `cd` in them ends with them."""
        for word in words:
            for script in word.scripts:
                if depth < MAX_NESTING:
                    self.script(script, directory, None, depth + 1)
                else:
                    deep = Unresolved("deep", word.raw)
                    self.found.append(Command((), unresolved=(deep,)))
