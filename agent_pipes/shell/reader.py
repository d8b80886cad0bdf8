"""Commands that a command runs: of wrappers, shells, `eval`, `find -exec`, aliases, scripts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from posixpath import join

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.commands import SHELLS, Command, Unresolved, subdirectory
from agent_pipes.shell.texts import document_text, output_of, path_of
from agent_pipes.shell.variables import Variables
from agent_pipes.shell.words import Token, Word
from agent_pipes.shell.wrappers import (
    Arguments,
    Wrapper,
    find_script,
    inner_words,
    is_wrapper,
    leading_options,
    runs_nothing,
    with_input,
    without_version,
    wrapper_of,
    written_word,
)

MAX_NESTING = 12
"""Commands within commands (`sudo env bash -c '…'`, `eval`, backticks) that are read."""

MAX_REPEATS = 64
"""Times that functions, aliases and written scripts of one command are read again."""

_WINDOWS_SHELLS = names("powershell powershell.exe pwsh pwsh.exe cmd cmd.exe")
_WINDOWS_SEPARATOR = pattern(r"&&|\|\||[;|&\n]")
_WINDOWS_WORD = pattern(r"\"([^\"]*)\"|'([^']*)'|(\S+)")


class WrapperReader(ABC):
    """Appends simple commands to `found`, each after the one that runs it.

    functions: the bodies of the functions that the command defines, by name.
    aliases:   the values of its aliases.
    files:     the texts that it writes to files, by path.
    repeats:   readings of these so far.
    """

    def __init__(self, found: list[Command]) -> None:
        self.found = found
        self.variables = Variables()
        self.functions: dict[str, Sequence[Token]] = {}
        self.aliases: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.repeats = 0

    @abstractmethod
    def read(self, text: str, directory: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in `directory`, with the functions that are defined here."""

    @abstractmethod
    def fresh(self) -> "WrapperReader":
        """Return a reader for another shell, which does not know the functions defined here."""

    @abstractmethod
    def call(self, command: Command, depth: int) -> None:
        """Read the body of the function that `command` calls."""

    def may_repeat(self, depth: int) -> bool:
        """Return True, and count, if a text may be read once more."""
        self.repeats += 1
        return self.repeats <= MAX_REPEATS and depth < MAX_NESTING

    def run(self, command: Command, depth: int) -> None:
        """Append `command` and the commands that it runs."""
        name = command.name
        self._keep_written(command)
        if unresolved := command.words[0].unresolved:
            self.add(command, Unresolved(unresolved, f"{command.words[0].raw}, as a command"))
        elif name in self.functions:
            self.call(command, depth)
        elif name in self.aliases:
            self._aliased(command, depth)
        elif name not in _HANDLERS and not is_wrapper(name):
            self.add(command)
            if "/" in command.words[0].text:
                self._written_script(command, command.words[0], depth)
        elif depth >= MAX_NESTING and name not in ("source", ".", "alias"):
            self.add(command, Unresolved("deep", f"what {name} runs"))
        elif name in _HANDLERS:
            _HANDLERS[name](self, command, depth)
        else:
            self._wrapped(command, wrapper_of(name), (name,), command.words[1:], depth)

    def add(
        self, command: Command, unresolved: Unresolved | None = None, *, is_wrapper: bool = False
    ) -> Command:
        """Append `command`, with what cannot be known of it."""
        command.is_wrapper = is_wrapper
        command.unresolved = (unresolved,) if unresolved else ()
        self.found.append(command)
        return command

    # Texts that are read again.

    def _keep_written(self, command: Command) -> None:
        """Keep the text that a command writes to a file, which a later one may run."""
        targets = [each.target for each in command.redirects if each.op in (">", ">|", ">>")]
        if command.name == "tee":
            targets += command.words[1:]
        if targets and (text := output_of(command)) is not None:
            for target in targets:
                if path := path_of(target, command.directory):
                    self.files[path] = text

    def _written_script(self, command: Command, word: Word, depth: int) -> bool:
        """Read a script that this very command line has written; False if it has not."""
        text = self.files.get(path_of(word, command.directory))
        if text is None or not self.may_repeat(depth):
            return False
        self.fresh().read(text, command.directory, command, depth + 1)
        return True

    def _alias(self, command: Command, depth: int) -> None:
        self.add(command)
        for word in command.words[1:]:
            name, equals, value = word.text.partition("=")
            if equals and not word.unresolved:
                self.aliases[name] = value

    def _aliased(self, command: Command, depth: int) -> None:
        outer = self.add(command, is_wrapper=True)
        if self.may_repeat(depth):
            text = self.aliases[command.name]
            rest = " ".join(word.raw for word in command.words[1:])
            self.fresh().read(f"{text} {rest}", command.directory, outer, depth + 1)

    # Builtins.

    def _eval(self, command: Command, depth: int) -> None:
        text = " ".join(word.text for word in command.words[1:])
        self.read(text, command.directory, self.add(command, is_wrapper=True), depth + 1)

    def _trap(self, command: Command, depth: int) -> None:
        outer = self.add(command)
        if len(command.words) > 2 and not command.words[1].text.startswith("-"):
            self.read(command.words[1].text, command.directory, outer, depth + 1)

    def _source(self, command: Command, depth: int) -> None:
        if len(command.words) > 1 and path_of(command.words[1], command.directory) in self.files:
            self.add(command)
            self._written_script(command, command.words[1], depth)
        else:
            self.add(command, Unresolved("script", " ".join(command.argv[:2])))

    # Wrappers of the table.

    def _wrapped(
        self,
        command: Command,
        wrapper: Wrapper,
        path: tuple[str, ...],
        words: tuple[Word, ...],
        depth: int,
    ) -> None:
        given = leading_options(words, wrapper.values | wrapper.script, wrapper.module)
        first = given.rest[0].text if given.rest else ""
        if wrapper.needs_script and not given.has(wrapper.script):
            find_script(wrapper, given)
        if first in wrapper.subcommands:
            inner = wrapper_of(*path, first)
            self._wrapped(command, inner, (*path, first), given.rest[1:], depth)
        elif wrapper.then and len(given.rest) > wrapper.operands:
            rest = given.rest[wrapper.operands :]
            self._wrapped(command, wrapper_of(wrapper.then), (wrapper.then,), rest, depth)
        elif runs_nothing(wrapper, given, first):
            self.add(command)
        else:
            self._run_inner(command, wrapper, given, depth)

    def _run_inner(self, command: Command, wrapper: Wrapper, given: Arguments, depth: int) -> None:
        inner, script = inner_words(wrapper, given)
        if not inner and not script:
            self.add(command, is_wrapper=wrapper.pure)
            return
        directory = command.directory
        if moved_to := given.value(wrapper.directory):
            directory = subdirectory(directory, moved_to)
        outer = self.add(command, is_wrapper=wrapper.pure)
        elsewhere, outer.elsewhere = outer.elsewhere, outer.elsewhere or wrapper.elsewhere
        if wrapper.elsewhere:
            directory = None
        if script or wrapper.join or wrapper.each:
            texts = [script.text] if script else []
            if wrapper.join or (script and wrapper.append):
                texts = [" ".join((*texts, *(written_word(word, wrapper) for word in inner)))]
            elif wrapper.each:
                texts = [word.text for word in inner]
            for text in texts:
                self.read(text, directory, outer, depth + 1)
        else:
            self._run_words(command, wrapper, given, inner, directory, depth)
        outer.elsewhere = elsewhere

    def _run_words(
        self,
        command: Command,
        wrapper: Wrapper,
        given: Arguments,
        inner: tuple[Word, ...],
        directory: str | None,
        depth: int,
    ) -> None:
        if wrapper.package:
            inner = (without_version(inner[0]), *inner[1:])
        reads_input = bool(wrapper.input)
        if reads_input:
            marker = given.value(wrapper.input)
            inner = with_input(inner, marker.text if marker else "")
        documents = tuple(
            redirect for redirect in command.redirects if redirect.op.startswith("<<")
        )
        fed = command.piped or any(redirect.op == "<" for redirect in command.redirects)
        run = Command(
            inner,
            documents,
            directory,
            command,
            piped=fed and not reads_input,
            assignments=command.assignments,
            sources=command.sources,
        )
        self.run(run, depth + 1)

    def _find(self, command: Command, depth: int) -> None:
        """Read `find` and what `-exec` and the like run on names below its directories."""
        words = command.words
        outer = self.add(command)
        below = _below(command)
        at = 0
        while at < len(words):
            at += 1
            if words[at - 1].text in _EXECUTING:
                start = at
                while at < len(words) and words[at].text not in (";", "+"):
                    at += 1
                inner: list[Word] = []
                for word in words[start:at]:
                    inner += below if word.text == "{}" else [word]
                if inner:
                    run = Command(tuple(inner), (), command.directory, outer)
                    self.run(run, depth + 1)

    # Shells.

    def _shell(self, command: Command, depth: int) -> None:
        words = command.words
        at, script = _shell_operand(words)
        documents = [redirect for redirect in command.redirects if redirect.op.startswith("<<")]
        if script and at < len(words):
            outer = self.add(command, is_wrapper=True)
            reader = self.fresh()
            for number, word in enumerate(words[at + 2 :], 1):
                reader.variables.assign(str(number), None if word.unresolved else (word.text,))
            reader.read(words[at].text, command.directory, outer, depth + 1)
        elif at < len(words):
            known = path_of(words[at], command.directory) in self.files
            gap = None if known else Unresolved("script", " ".join(command.argv[: at + 1]))
            self._written_script(self.add(command, gap), words[at], depth)
        elif documents:
            self._read_input(command, document_text(documents[-1]), depth)
        else:
            self._shell_on_stdin(command, script, depth)

    def _read_input(self, command: Command, text: str, depth: int) -> None:
        outer = self.add(command, is_wrapper=True)
        self.fresh().read(text, command.directory, outer, depth + 1)

    def _shell_on_stdin(self, command: Command, script: bool, depth: int) -> None:
        files = [redirect.target for redirect in command.redirects if redirect.op == "<"]
        if not (command.piped or files or script):
            self.add(command, is_wrapper=True)
        elif files and path_of(files[-1], command.directory) in self.files:
            self._written_script(self.add(command), files[-1], depth)
        elif command.sources and (text := output_of(command.sources[0])) is not None:
            self._read_input(command, text, depth)
        else:
            piped = "what is piped into it" if command.piped else "its standard input"
            source = files[-1].raw if files else piped
            self.add(command, Unresolved("script", f"{command}: {source}"))

    def _windows_shell(self, command: Command, depth: int) -> None:
        """Split what PowerShell or cmd runs into commands, to be matched by name and no more."""
        words = command.argv[1:]
        is_cmd = command.name.startswith("cmd")
        start = next(
            (
                at + 1
                for at, word in enumerate(words)
                if word.lower() in ("/c", "/k" if is_cmd else "-c", "-command")
            ),
            None,
        )
        outer = self.add(command, is_wrapper=start is not None)
        for part in _WINDOWS_SEPARATOR.split(" ".join(words[start:]) if start else ""):
            texts = ["".join(found) for found in _WINDOWS_WORD.findall(part)]
            if texts:
                inner = Command(tuple(Word(text, text) for text in texts), (), None, outer)
                inner.elsewhere = True
                self.add(inner)


_HANDLERS: dict[str, Callable[[WrapperReader, Command, int], None]] = {
    **dict.fromkeys(SHELLS, WrapperReader._shell),
    **dict.fromkeys(_WINDOWS_SHELLS, WrapperReader._windows_shell),
    **dict.fromkeys(("find", "fd", "fdfind"), WrapperReader._find),
    "eval": WrapperReader._eval,
    "trap": WrapperReader._trap,
    "alias": WrapperReader._alias,
    "source": WrapperReader._source,
    ".": WrapperReader._source,
}
"""Programs that run what their arguments say, besides those of the table."""

_EXECUTING = names("-exec -execdir -ok -okdir -x --exec -X --exec-batch")


def _below(command: Command) -> list[Word]:
    """Return the names that `find` passes on: those of `-name` below its first directory."""
    words = command.words
    starts = [word for word in words[1:] if not word.text.startswith(("-", "(", "!"))][:1]
    if command.name != "find":
        starts = []
    top = starts[0] if starts else Word(".", ".")
    patterns = [
        words[at + 1].text
        for at, word in enumerate(words[:-1])
        if word.text in ("-name", "-iname") and words[at - 1].text not in ("!", "-not")
    ]
    return [
        Word(join(top.text, name), "{}", top.unresolved or "glob", top.tilde)
        for name in [f"**/{pattern}" for pattern in patterns] or ["*"]
    ]


def _shell_operand(words: tuple[Word, ...]) -> tuple[int, bool]:
    """Return the index of a shell's first operand and True if it is a script.

    The index is `len(words)` if the shell reads its input.
    """
    at, script = 1, False
    while at < len(words) and words[at].text[:1] in ("-", "+") and len(words[at].text) > 1:
        text = words[at].text
        at += 1
        if text == "--":
            break
        joined = text[1:] if text[1] != "-" else ""
        if set("oO") & set(joined) or text in ("--rcfile", "--init-file"):
            at += 1
        script = script or (text[0] == "-" and "c" in joined)
        if "s" in joined and not script:
            at = len(words)
    return at, script
