"""The simple commands in a shell command, and the directory in which each one runs.

    parse("cd deploy && bash -c 'rm -rf x' > log")   →   cd deploy · bash -c … (> log) · rm -rf x
    (in deploy)

No shell is run, nothing is expanded, and no text makes this raise. It takes time linear in the
text.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from agent_pipes.core.tables import names
from agent_pipes.shell.braces import has_braces, with_braces
from agent_pipes.shell.commands import ASSIGNMENT, Command, Unresolved, changed_directory
from agent_pipes.shell.lexer import COMMAND_MAY_FOLLOW, Lexer
from agent_pipes.shell.reader import MAX_NESTING, WrapperReader
from agent_pipes.shell.texts import is_substitution, output_of, printed_words
from agent_pipes.shell.variables import Variables, assigned_by, old_directory
from agent_pipes.shell.words import ExpandedWord, Redirect, Token, Word

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


MAX_SEPARATE_COMMANDS = 500
"""Commands of one text beyond which a loop's body is read once for all values of its variable."""

_SETTING = names("read unset mapfile shift set")
_ASSIGNING = names("export declare typeset local readonly")

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

    words, redirects: the command that is being read; it `expands` some of them.
    directory:        where it will run.
    stdin:            the command whose standard input the script reads, None for its own.
    before:           the operator before it.
    reserved_before:  a reserved word precedes it.
    subshells:        the directories where the open subshells began.
    blocks:           the open compound commands; `closed`: the one that ended last, until a command
                      follows.
    cases:            for each open `case`, whether a pattern is next, and no command.
    previous:         the directory to which `cd -` returns, None if it is not known.
    pushed:           the directories that `pushd` has left.
    bodies:           the functions whose body is open: name, first token, number of open blocks.
    position:         the index of the token that is read.
    """

    def __init__(
        self,
        reader: "_Reader",
        directory: str | None,
        outer: Command | None,
        depth: int,
        stdin: Command | None,
    ) -> None:
        self.reader = reader
        self.stdin = stdin
        self.directory = directory
        self.outer = outer
        self.depth = depth
        self.words: list[Word] = []
        self.expands = False
        self.redirects: list[Redirect] = []
        self.before = ""
        self.reserved_before = False
        self.subshells: list[str | None] = []
        self.blocks: list[_Block] = []
        self.closed: _Block | None = None
        self.cases: list[bool] = []
        self.previous: str | None = None
        self.pushed: list[str | None] = []
        self.function = ""
        self.bodies: list[tuple[str, int, int]] = []
        self.tokens: Sequence[Token] = ()
        self.position = 0

    def word(self, word: Word) -> None:
        words, raw = self.words, word.raw
        if word.unresolved and (word.variables or word.scripts or has_braces(word)):
            self.expands = True
        if words:
            words.append(word)
            if len(words) == 3 and raw == "{" and words[0].raw == "function":
                self._define(words[1])
                self._open(sure=True)
                self._begin_body()
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
            if raw == "{":
                self._begin_body()
        elif raw in _CLOSING:
            self._end_body()
            self._close()
            if raw == "esac" and self.cases:
                self.cases.pop()

    def operator(self, sign: str) -> None:
        if self.cases and self.cases[-1] and sign in ("(", ")", "|", "\n"):
            self.cases[-1] = sign != ")"
            self.words = []
            return
        self._finish_command(sign)
        self.words, self.redirects, self.closed, self.expands = [], [], None, False
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
            if len(words) > 3 and words[2].raw == "in":
                self._assign_loop(words)
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
        """Define a function: its name is no program's from now on."""
        if not self.blocks and not self.subshells and self.before not in ("&&", "||", *_PIPES):
            self.reader.functions.setdefault(name.text, ())
            self.function = name.text

    def _begin_body(self) -> None:
        if self.function:
            self.bodies.append((self.function, self.position + 1, len(self.blocks)))
            self.function = ""

    def _end_body(self) -> None:
        """Keep the body of a function, which is read again when it is called."""
        if self.bodies and self.bodies[-1][2] == len(self.blocks):
            name, start, _ = self.bodies.pop()
            self.reader.functions[name] = self.tokens[start : self.position]

    def _assign_loop(self, words: list[Word]) -> None:
        values: list[str] = []
        for word in self._resolved(words[3:]):
            if word.unresolved not in ("", "glob"):
                self.reader.variables.assign(words[1].text, None)
                return
            values.append(word.path if word.tilde else word.text)
        self.reader.variables.assign(words[1].text, tuple(values))

    def _resolved(self, words: Sequence[Word]) -> list[Word]:
        """Return the words with the variables replaced whose values are known."""
        if not self.expands:
            return list(words)
        variables, previous = self.reader.variables, self._old_directory()
        return [each for word in with_braces(words) for each in variables.resolve(word, previous)]

    def _alternatives(self, words: Sequence[Word]) -> list[list[Word]]:
        """Return the words for each value of a loop's variable, for all at once beyond a limit."""
        if not self.expands:
            return [list(words)]
        expanded = list(with_braces(words))
        found = self.reader.variables.alternatives(expanded, self._old_directory())
        if len(found) > 1 and len(self.reader.found) > MAX_SEPARATE_COMMANDS:
            return [self._resolved(words)]
        return found

    def _old_directory(self) -> str | None:
        return old_directory(self.previous, self.directory)

    def _command(self, after: str) -> None:
        """Read one simple command, between the operators `before` and `after`."""
        words, found = self.words, self.reader.found
        sources = tuple(found[-1:]) if self.before in _PIPES else ()
        if self.expands:
            first = len(found)
            self._substitutions(words)
            self._substitutions([redirect.target for redirect in self.redirects])
            sources += tuple(found[first:])
            for redirect in self.redirects:
                redirect.target = self._resolved([redirect.target])[0]
        start = 0
        while start < len(words) and "=" in words[start].raw and ASSIGNMENT.match(words[start].raw):
            start += 1
        if start == len(words):
            self._assign(words)
            if self.redirects or words:
                assigned = tuple(self._resolved(words))
                found.append(self._simple((), assigned, sources))
            return
        if words[start].raw in _ASSIGNING:
            self._assign(assigned_by(words[start:]))
        assigned = tuple(self._resolved(words[:start])) if start else ()
        for expanded in self._alternatives(words[start:]):
            if not expanded:
                continue
            command = self._simple(tuple(expanded), assigned, sources)
            if command.name in _SETTING:
                self._set(command, expanded)
            self.reader.run(command, self.depth)
            if command.name in ("cd", "pushd", "popd"):
                self._change_directory(command, after)

    def _set(self, command: Command, words: list[Word]) -> None:
        """Set the variables that a builtin sets."""
        variables = self.reader.variables
        if command.name == "shift":
            variables.shift()
        elif command.name != "set":
            for word in words[1:]:
                variables.assign(word.text, None)
        elif "--" in command.argv:
            variables.assign_arguments(words[command.argv.index("--") + 1 :])

    def _simple(
        self, words: tuple[Word, ...], assignments: tuple[Word, ...], sources: tuple[Command, ...]
    ) -> Command:
        """Return a simple command; one that begins a pipeline reads the input of its script."""
        piped = self.before in _PIPES
        redirects = tuple(self.redirects)
        if self.stdin and not piped:
            redirects += tuple(each for each in self.stdin.redirects if each.op.startswith("<<"))
            sources, piped = sources + self.stdin.sources, self.stdin.piped
        return Command(
            words,
            redirects,
            self.directory,
            self.outer,
            piped=piped,
            assignments=assignments,
            sources=sources,
        )

    def _assign(self, words: Iterable[Word]) -> None:
        sure = all(block.sure for block in self.blocks)
        for word in words:
            self.reader.variables.assign_word(word, self._old_directory(), sure=sure)

    def _change_directory(self, command: Command, after: str) -> None:
        before = "" if self.reserved_before else self.before
        if after in (*_PIPES, "&") or before in _PIPES:
            return  # It is in a subshell.
        left = self.directory
        if before == "||":
            self.directory = None
        elif command.name == "popd":
            self.directory = self.pushed.pop() if self.pushed else None
        else:
            self.directory = changed_directory(command, self.previous)
            if command.name == "pushd":
                self.pushed.append(left)
        self.previous = left


class _Reader(WrapperReader):
    """Reads one command line and the command lines in it."""

    def read(
        self,
        text: str,
        directory: str | None,
        outer: Command | None,
        depth: int,
        stdin: Command | None = None,
    ) -> None:
        """Read `text`, which begins in `directory` and has the standard input of `stdin`."""
        lexer = Lexer(text)
        self.script(lexer.tokens(), directory, outer, depth, stdin)
        if lexer.deep:
            deep = Unresolved("deep", "what is nested too deep")
            self.found.append(Command((), outer=outer, unresolved=(deep,)))

    def fresh(self) -> "_Reader":
        """Return a reader for another shell: it does not know the functions defined here."""
        reader = _Reader(self.found)
        reader.variables = Variables(self.variables)
        reader.files = self.files
        return reader

    def script(
        self,
        tokens: Sequence[Token],
        directory: str | None,
        outer: Command | None,
        depth: int,
        stdin: Command | None = None,
    ) -> None:
        """Read the tokens of one script, which begins in `directory`."""
        script = _Script(self, directory, outer, depth, stdin)
        script.tokens = tokens
        for script.position, token in enumerate(tokens):
            if isinstance(token, Word):
                script.word(token)
            elif isinstance(token, Redirect):
                script.redirects.append(token)
                target = token.target
                if target.variables or target.scripts or has_braces(target):
                    script.expands = True
            else:
                script.operator(token.text)
        script.operator("")

    def call(self, command: Command, depth: int) -> None:
        """Read the body of a function with the arguments of the call."""
        body = self.functions[command.name]
        self.add(command, is_wrapper=True)
        depends = any(isinstance(token, Word) and token.variables for token in body)
        if not depends or not self.may_repeat(depth):
            return
        outside = self.variables
        self.variables = Variables(outside)
        self.variables.assign_arguments(command.words[1:])
        self.script(body, command.directory, command.outer, depth + 1)
        self.variables = outside

    def substitutions(self, words: Iterable[Word], directory: str | None, depth: int) -> None:
        """Read the commands in the substitutions of `words`; a `cd` in them ends with them."""
        for word in words:
            if not isinstance(word, ExpandedWord):
                continue
            for script in word.scripts:
                if depth < MAX_NESTING:
                    first = len(self.found)
                    self.script(script, directory, None, depth + 1)
                    if len(self.found) > first and is_substitution(word):
                        word.output = output_of(self.found[-1])
                        if word.output is None:
                            word.printed = printed_words(self.found[-1])
                else:
                    deep = Unresolved("deep", word.raw)
                    self.found.append(Command((), unresolved=(deep,)))
