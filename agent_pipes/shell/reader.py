"""Commands that a command runs: of wrappers, shells, `eval`, `find -exec`, aliases, scripts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.commands import SHELLS, Command, Unresolved, subdirectory
from agent_pipes.shell.interpreters import shell_operand
from agent_pipes.shell.options import PROGRAMS, Arguments, split
from agent_pipes.shell.texts import (
    input_text,
    input_words,
    names_below,
    output_of,
    path_of,
    script_text,
)
from agent_pipes.shell.variables import Variables
from agent_pipes.shell.windows import WINDOWS_SHELLS, windows_commands
from agent_pipes.shell.words import Token, Word
from agent_pipes.shell.wrappers import (
    Wrapper,
    command_lines,
    find_script,
    image_program,
    inner_words,
    runs_nothing,
    with_input,
    without_version,
    wrapper_name,
    wrapper_of,
)

MAX_NESTING = 12
"""Commands within commands (`sudo env bash -c '…'`, `eval`, backticks) that are read."""

MAX_REPEATS = 64
"""Times that functions, aliases and written scripts of one command are read again."""


class WrapperReader(ABC):
    """Appends simple commands to `found`, each after the one that runs it.

    functions: the bodies of the functions that the command defines, by name.
    aliases:   the values of its aliases; `git_aliases`: those of git.
    files:     the texts that it writes to files, by path.
    repeats:   readings of these so far.
    """

    def __init__(self, found: list[Command]) -> None:
        self.found = found
        self.variables = Variables()
        self.functions: dict[str, Sequence[Token]] = {}
        self.aliases: dict[str, str] = {}
        self.git_aliases: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.repeats = 0

    @abstractmethod
    def read(
        self,
        text: str,
        directory: str | None,
        outer: Command | None,
        depth: int,
        stdin: Command | None = None,
    ) -> None:
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
        if command.assignments or name in _EXPORTING:
            self._read_assigned(command, depth)
        if unresolved := command.words[0].unresolved:
            self.add(command, Unresolved(unresolved, f"{command.words[0].raw}, as a command"))
        elif name in self.functions:
            self.call(command, depth)
        elif name in self.aliases:
            self._aliased(command, depth)
        elif name not in _HANDLERS and not (row := wrapper_name(name)):
            self.add(command)
            if "/" in command.words[0].text:
                self._written_script(command, command.words[0], depth)
        elif depth >= MAX_NESTING and name not in ("source", ".", "alias"):
            self.add(command, Unresolved("deep", f"what {name} runs"))
        elif name in _HANDLERS:
            _HANDLERS[name](self, command, depth)
        else:
            self._wrapped(command, wrapper_of(row), (row,), command.words[1:], depth)

    def _read_assigned(self, command: Command, depth: int) -> None:
        """Read the commands in variables that name one: `GIT_PAGER='…' git log`."""
        words = command.assignments
        if command.name in _EXPORTING:
            words += command.words[1:]
        for word in words:
            name, _, value = word.text.partition("=")
            if name in _COMMAND_VARIABLES and depth < MAX_NESTING:
                self.read(value, command.directory, command, depth + 1)

    def add(
        self, command: Command, unresolved: Unresolved | None = None, *, is_wrapper: bool = False
    ) -> Command:
        """Append `command`, with what cannot be known of it."""
        if is_wrapper:
            command.is_wrapper = True
            command.own = ()
        if unresolved:
            command.unresolved = (unresolved,)
        self.found.append(command)
        return command

    # Texts that are read again.

    def _keep_written(self, command: Command) -> None:
        """Keep the text that a command writes to a file, which a later one may run."""
        if not command.redirects and command.name != "tee":
            return
        targets = [each.target for each in command.redirects if each.op in (">", ">|", ">>")]
        if command.name == "tee":
            targets += command.words[1:]
        if targets and (text := output_of(command)) is not None:
            for target in targets:
                if path := path_of(target, command.directory):
                    self.files[path] = text

    def _written_script(self, command: Command, word: Word, depth: int) -> bool:
        """Read a script that this very command line has written; False if it has not."""
        text = word.output or self.files.get(path_of(word, command.directory))
        if text is None or not self.may_repeat(depth):
            return False
        self.fresh().read(text, command.directory, command, depth + 1)
        return True

    def _is_written(self, word: Word, command: Command) -> bool:
        """Return True if this very command line has written the script `word`."""
        return word.output is not None or path_of(word, command.directory) in self.files

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
        text = " ".join(script_text(word) for word in command.words[1:])
        self.read(text, command.directory, self.add(command, is_wrapper=True), depth + 1)

    def _trap(self, command: Command, depth: int) -> None:
        outer = self.add(command)
        if len(command.words) > 2 and not command.words[1].text.startswith("-"):
            self.read(command.words[1].text, command.directory, outer, depth + 1)

    def _source(self, command: Command, depth: int) -> None:
        if len(command.words) > 1 and self._is_written(command.words[1], command):
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
        given = split(words, wrapper.options, leading=True)
        first = given.operands[0].text if given.operands else ""
        if wrapper.needs_script and not given.has(wrapper.script):
            find_script(wrapper, given)
        if first in wrapper.subcommands:
            inner = wrapper_of(*path, first)
            self._wrapped(command, inner, (*path, first), tuple(given.operands[1:]), depth)
        elif runs_nothing(wrapper, given, words):
            self.add(command)
        else:
            self._run_inner(command, wrapper, given, words, depth)

    def _run_inner(
        self,
        command: Command,
        wrapper: Wrapper,
        given: Arguments,
        words: tuple[Word, ...],
        depth: int,
    ) -> None:
        inner, scripts = inner_words(wrapper, given, words)
        if not inner and not scripts and not wrapper.shell:
            self.add(command, is_wrapper=wrapper.pure)
            return
        directory = command.directory
        if moved_to := given.value(*wrapper.directory):
            directory = subdirectory(directory, moved_to)
        outer = self.add(command, is_wrapper=wrapper.pure)
        read = {id(word) for word in (*inner, *scripts)}
        outer.own = tuple(word for word in command.words[1:] if id(word) not in read)
        elsewhere, outer.elsewhere = outer.elsewhere, outer.elsewhere or wrapper.elsewhere
        if wrapper.elsewhere:
            directory = None
        if not inner and not scripts:
            self._read_input(command, directory, depth)
        elif scripts or wrapper.join or wrapper.each:
            for text in command_lines(wrapper, inner, scripts, input_words(command)):
                self.read(text, directory, outer, depth + 1, command)
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
            marker = given.value(*wrapper.input)
            inner = with_input(inner, marker.text if marker else "", input_words(command))
        documents = tuple(
            redirect for redirect in command.redirects if redirect.op.startswith("<<")
        )
        fed = command.piped or any(redirect.op == "<" for redirect in command.redirects)
        program = image_program(wrapper, given)
        for words in (inner, (*program, *inner)) if program else (inner,):
            run = Command(
                words,
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
        below = names_below(command)
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
                if command.name != "find" and not any(word.text == "{}" for word in words[start:]):
                    inner += below
                if inner:
                    run = Command(tuple(inner), (), command.directory, outer)
                    self.run(run, depth + 1)

    # Shells.

    def _shell(self, command: Command, depth: int) -> None:
        words = command.words
        at, script = shell_operand(words)
        if script and at < len(words):
            outer = self.add(command, is_wrapper=True)
            reader = self.fresh()
            if zero := words[at + 1 : at + 2]:
                reader.variables.assign("0", None if zero[0].unresolved else (zero[0].text,))
            reader.variables.assign_arguments(words[at + 2 :])
            reader.read(script_text(words[at]), command.directory, outer, depth + 1, command)
        elif at < len(words) and words[at].text != "-":
            known = self._is_written(words[at], command)
            gap = None if known else Unresolved("script", " ".join(command.argv[: at + 1]))
            self._written_script(self.add(command, gap), words[at], depth)
        else:
            self.add(command, is_wrapper=True)
            self._read_input(command, command.directory, depth)

    def _read_input(self, command: Command, directory: str | None, depth: int) -> None:
        """Read what a shell, added already, is given on its standard input."""
        text = input_text(command)
        files = [redirect.target for redirect in command.redirects if redirect.op == "<"]
        if text is None and files and self._is_written(files[-1], command):
            self._written_script(command, files[-1], depth)
        elif text is not None:
            self.fresh().read(text, directory, command, depth + 1)
        elif command.piped or files:
            source = files[-1].raw if files else "what is piped into it"
            command.is_wrapper = False
            command.unresolved = (Unresolved("script", f"{command}: {source}"),)

    def _windows_shell(self, command: Command, depth: int) -> None:
        commands = windows_commands(command.argv)
        if commands is None:
            self.add(command, Unresolved("script", str(command)))
            return
        outer = self.add(command, is_wrapper=bool(commands))
        for texts in commands:
            inner = Command(tuple(Word(text, text) for text in texts), (), None, outer)
            inner.elsewhere = True
            self.add(inner)

    # Git runs its aliases.

    def _git(self, command: Command, depth: int) -> None:
        lead = command.leading
        verb = lead.operands[0].text if lead.operands else ""
        if lead.options or verb == "config":
            self._git_settings(command, lead, depth)
        value = self.git_aliases.get(verb)
        if value is None or not self.may_repeat(depth):
            row = wrapper_of("git")
            if verb in row.subcommands:
                self._wrapped(command, row, ("git",), command.words[1:], depth)
            else:
                self.add(command)
            return
        leading = command.words[1 : len(command.words) - len(lead.operands)]
        before = " ".join(["git", *(word.raw for word in leading)])
        text = value[1:] if value.startswith("!") else f"{before} {value}"
        rest = " ".join(word.raw for word in lead.operands[1:])
        outer = self.add(command, is_wrapper=True)
        self.read(f"{text} {rest}", command.directory, outer, depth + 1)

    def _git_settings(self, command: Command, lead: Arguments, depth: int) -> None:
        """Keep the aliases in `-c alias.x=…` and `git config alias.x …`; read other commands."""
        settings = [word.text.partition("=") for name, word in lead.options if name == "-c"]
        if lead.operands and lead.operands[0].text == "config":
            at = next(
                (n for n, word in enumerate(lead.operands) if _GIT_COMMAND.match(word.text)), 0
            )
            if at and at + 1 < len(lead.operands):
                settings.append((lead.operands[at].text, "=", lead.operands[at + 1].text))
        for name, _, value in settings:
            if name.startswith("alias."):
                self.git_aliases[name.removeprefix("alias.")] = value
            elif _GIT_COMMAND.match(name) and depth < MAX_NESTING:
                self.read(value.removeprefix("!"), command.directory, command, depth + 1)


_HANDLERS: dict[str, Callable[[WrapperReader, Command, int], None]] = {
    **dict.fromkeys(SHELLS, WrapperReader._shell),
    "git": WrapperReader._git,
    **dict.fromkeys(WINDOWS_SHELLS, WrapperReader._windows_shell),
    **dict.fromkeys(("find", "fd", "fdfind"), WrapperReader._find),
    "eval": WrapperReader._eval,
    "trap": WrapperReader._trap,
    "alias": WrapperReader._alias,
    "source": WrapperReader._source,
    ".": WrapperReader._source,
}
"""Programs that run what their arguments say, besides those of the table."""

_EXPORTING = names("export declare env sudo")
_COMMAND_VARIABLES = names(PROGRAMS["command_variables"])
"""Variables whose value is a command line."""

_GIT_COMMAND = pattern(
    r"(?i)alias\.|pager\.|core\.(?:pager|editor|sshcommand|fsmonitor|askpass|gitproxy)$"
    r"|diff\.external$|interactive\.difffilter$|sequence\.editor$|gpg\.(?:.*\.)?program$"
    r"|(?:filter|diff|merge|difftool|mergetool)\.[^=]*"
    r"\.(?:clean|smudge|process|textconv|command|driver|cmd)$"
)
"""Settings of git whose value is a command."""

_EXECUTING = names("-exec -execdir -ok -okdir -x --exec -X --exec-batch")
