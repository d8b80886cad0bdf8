"""The simple commands in a shell command: what each one is, in which directory it runs, and what could not be told.

    parse("cd deploy && bash -c 'rm -rf x' > log")   →   cd deploy · bash -c … (> log) · rm -rf x (in deploy)

No shell is run, nothing is expanded, and no text makes this raise. It takes time linear in the text.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent_pipes.shell.commands import ASSIGNMENT, Command, Unknown, moved
from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.words import Redirect, Token, Word
from agent_pipes.shell.wrappers import WITHIN, Inner

LONGEST = 1 << 20
"""Characters of a command that are read; what is beyond is said not to have been."""


def parse(command: str) -> list[Command]:
    """Every simple command in `command`, in the order of the text, what stands in substitutions before its command."""
    found: list[Command] = []
    _Reader(found).read(command[:LONGEST], "", None, 0)
    if len(command) > LONGEST:
        found.append(
            Command((), unknown=(Unknown("long", f"what is beyond {LONGEST} characters"),))
        )
    return found


LEADS = frozenset(
    [
        "if",
        "then",
        "elif",
        "else",
        "while",
        "until",
        "do",
        "{",
        "}",
        "!",
        "fi",
        "done",
        "esac",
        "coproc",
    ]
)
_OPENS = frozenset(["{", "if", "while", "until"])
_CLOSES = frozenset(["}", "fi", "done", "esac"])


_PIPES = ("|", "|&")
_GOES_ON = (*_PIPES, "&&", "||")
"""Operators behind which a newline ends nothing."""


class _Block(NamedTuple):
    """A compound command that is open: where it began, whether in a pipeline, whether it is sure to be run."""

    where: str | None
    piped: bool
    sure: bool


class _Script:
    """One script while it is read: the command that is being put together, and the directory it will run in."""

    def __init__(
        self, reader: "_Reader", where: str | None, outer: Command | None, depth: int
    ) -> None:
        self.reader = reader
        self.where = where
        self.outer = outer
        self.depth = depth
        self.words: list[Word] = []
        self.redirects: list[Redirect] = []
        self.before = ""
        """The operator before the command."""
        self.led = False
        """A reserved word stands before the command."""
        self.places: list[str | None] = []
        """Where the subshells that are open began."""
        self.blocks: list[_Block] = []
        self.closed: _Block | None = None
        """The block that ended last, until something else follows."""
        self.cases: list[bool] = []
        """Of each `case` that is open whether a pattern, and no command, stands next."""

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
            self.reader.substitutions([word], self.where, self.depth)
        elif raw in LEADS:
            self.led = True
            if raw in _OPENS:
                self._open(sure=raw == "{")
            elif raw in _CLOSES:
                self._close()
                if raw == "esac" and self.cases:
                    self.cases.pop()
        else:
            words.append(word)

    def operator(self, sign: str) -> None:
        if self.cases and self.cases[-1] and sign in ("(", ")", "|", "\n"):
            self.cases[-1] = sign != ")"
            self.words = []
            return
        words = self.words
        if sign == "(" and (len(words) == 1 or (len(words) == 2 and words[0].raw == "function")):
            self._define(words[-1])
            self.words = words = []
        if words and words[0].raw in ("for", "select", "case"):
            self._open(sure=False)
            self.reader.substitutions(words, self.where, self.depth)
        elif words or self.redirects:
            self._command(sign)
        elif self.closed and sign in (*_PIPES, "&"):
            self.where = self.closed.where
        self.words, self.redirects, self.closed = [], [], None
        if sign == "(":
            self.places.append(self.where)
        elif sign == ")" and self.places:
            self.where = self.places.pop()
        elif self.cases and sign in (";;", ";&", ";;&"):
            self.cases[-1] = True
        if sign != "\n" or self.before not in _GOES_ON:
            self.before, self.led = sign, False

    def _open(self, *, sure: bool) -> None:
        self.blocks.append(_Block(self.where, self.before in _PIPES, sure))

    def _close(self) -> None:
        """A block ends. Whether it was run at all may not be known, and so not where it has left us."""
        if self.blocks:
            self.closed = block = self.blocks.pop()
            self.where = (
                block.where
                if block.piped
                else self.where
                if block.sure or self.where == block.where
                else None
            )

    def _begin_case(self) -> None:
        self._open(sure=False)
        self.cases.append(True)
        self.reader.substitutions(self.words, self.where, self.depth)
        self.words = []

    def _define(self, name: Word) -> None:
        """A function, whose body is read as if it were run here. Its name is no program's from now on, if it is sure to be defined."""
        if not self.blocks and not self.places and self.before not in ("&&", "||", *_PIPES):
            self.reader.functions.add(name.text)

    def _command(self, after: str) -> None:
        """Read one simple command, between the operators `before` and `after`."""
        words = self.words
        self.reader.substitutions(words, self.where, self.depth)
        self.reader.substitutions(
            [redirect.target for redirect in self.redirects], self.where, self.depth
        )
        start = 0
        while start < len(words) and "=" in words[start].raw and ASSIGNMENT.match(words[start].raw):
            start += 1
        command = Command(
            tuple(words[start:]),
            tuple(self.redirects),
            self.where,
            self.outer,
            piped=self.before in _PIPES,
        )
        if not command.words:
            self.reader.found += [command] if self.redirects else []
        elif command.name in self.reader.functions:
            self.reader.note(command, carrier=True)
        else:
            self.reader.run(command, self.depth)
            before = "" if self.led else self.before
            if (
                command.name in ("cd", "pushd", "popd")
                and after not in (*_PIPES, "&")
                and before not in _PIPES
            ):
                self.where = None if before == "||" else moved(command, self.where)


class _Reader(Inner):
    """Reads one command line and whatever lines stand in it."""

    def __init__(self, found: list[Command]) -> None:
        super().__init__(found)
        self.functions: set[str] = set()

    def read(self, text: str, where: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in the directory `where`."""
        lexer = Lexer(text)
        self.script(lexer.tokens(), where, outer, depth)
        if lexer.deep:
            self.found.append(
                Command((), outer=outer, unknown=(Unknown("deep", "what is nested too deep"),))
            )

    def apart(self) -> "_Reader":
        return _Reader(self.found)

    def script(
        self, tokens: Sequence[Token], where: str | None, outer: Command | None, depth: int
    ) -> None:
        """Read the tokens of one script, which begins in the directory `where`."""
        script = _Script(self, where, outer, depth)
        for token in tokens:
            if isinstance(token, Word):
                script.word(token)
            elif isinstance(token, Redirect):
                script.redirects.append(token)
            else:
                script.operator(token.text)
        script.operator("")

    def substitutions(self, words: Iterable[Word], where: str | None, depth: int) -> None:
        """Read what stands in the substitutions of `words`, and what they do with the directory ends with them."""
        for word in words:
            for script in word.scripts:
                if depth < WITHIN:
                    self.script(script, where, None, depth + 1)
                else:
                    self.found.append(Command((), unknown=(Unknown("deep", word.raw),)))
