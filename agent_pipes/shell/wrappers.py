"""Commands that run other commands: `sudo`, `env`, `xargs`, `find -exec`, `bash -c`, `eval`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from posixpath import join
from typing import Any, NamedTuple

from agent_pipes.core.tables import read_table
from agent_pipes.shell.commands import ASSIGNMENT, SHELLS, Command, Unresolved, subdirectory
from agent_pipes.shell.words import Word

MAX_NESTING = 12
"""Commands within commands (`sudo env bash -c '…'`, `eval`, backticks) that are read."""


class Wrapper(NamedTuple):
    """A program that runs the command in its arguments.

    values, long: its short and long options that take a value.
    operands:     the number of operands before the command.
    pure:         it does nothing else.
    assignments:  `NAME=value` words may precede the command.
    directory:    options that name the directory of the command.
    script:       options whose value is a command line, to which the rest is added.
    late_script:  the same, after the operands.
    input:        options whose value marks the place of what is read from standard input; without
                  them, the end.
    lookup:       options with which nothing is run.
    """

    values: str = ""
    long: frozenset[str] = frozenset()
    operands: int = 0
    pure: bool = True
    assignments: bool = False
    directory: frozenset[str] = frozenset()
    script: frozenset[str] = frozenset()
    late_script: frozenset[str] = frozenset()
    input: frozenset[str] = frozenset()
    lookup: frozenset[str] = frozenset()


def _wrapper(row: dict[str, Any]) -> Wrapper:
    fields: dict[str, Any] = {
        key: frozenset(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return Wrapper(**fields)


WRAPPERS = {name: _wrapper(row) for name, row in read_table("wrappers").items()}


class _Arguments:
    """Leading options of a wrapper with their values, and the words after them."""

    def __init__(self) -> None:
        self.options: list[tuple[str, Word]] = []
        self.rest: tuple[Word, ...] = ()

    def value(self, names: frozenset[str]) -> Word | None:
        """Return the value of the last of the options `names` that was given."""
        return next((word for name, word in reversed(self.options) if name in names), None)

    def has(self, names: frozenset[str]) -> bool:
        return any(name in names for name, _ in self.options)


def _leading_options(words: tuple[Word, ...], wrapper: Wrapper) -> _Arguments:
    """Split leading options from the rest; an option without a value has an empty one."""
    found, at = _Arguments(), 0
    takes_value = wrapper.values + "".join(name[1] for name in wrapper.script if len(name) == 2)
    long = wrapper.long | {name for name in wrapper.script if len(name) > 2}
    while at < len(words) and words[at].text.startswith("-") and words[at].text != "-":
        text = words[at].text
        at += 1
        if text == "--":
            break
        if text.startswith("--"):
            name, equals, value = text.partition("=")
            separate = name in long and not equals
        else:
            letter = next((place for place in range(1, len(text)) if text[place] in takes_value), 0)
            found.options += [(f"-{flag}", Word("", "")) for flag in text[1 : letter or None]]
            name, value = (f"-{text[letter]}", text[letter + 1 :]) if letter else ("", "")
            separate = bool(letter) and not value
        if separate and at < len(words):
            found.options.append((name, words[at]))
            at += 1
        elif name:
            found.options.append((name, Word(value, value, words[at - 1].unresolved)))
    found.rest = words[at:]
    return found


class WrapperReader(ABC):
    """Appends simple commands to `found`, each after the one that runs it."""

    def __init__(self, found: list[Command]) -> None:
        self.found = found
        self._handlers: dict[str, Callable[[Command, int], None]] = {
            **dict.fromkeys(WRAPPERS, self._wrapped),
            **dict.fromkeys(SHELLS, self._shell),
            "eval": self._eval,
            "trap": self._trap,
            "find": self._find,
            "source": self._source,
            ".": self._source,
        }

    @abstractmethod
    def read(self, text: str, directory: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in `directory`, with the functions that are defined here."""

    @abstractmethod
    def fresh(self) -> "WrapperReader":
        """Return a reader for another shell, which does not know the functions defined here."""

    def run(self, command: Command, depth: int) -> None:
        """Append `command` and the commands that it runs."""
        name = command.name
        if unresolved := command.words[0].unresolved:
            self.add(command, Unresolved(unresolved, f"{command.words[0].raw}, as a command"))
        elif name not in self._handlers:
            self.add(command)
        elif depth >= MAX_NESTING and name not in ("source", "."):
            self.add(command, Unresolved("deep", f"what {name} runs"))
        else:
            self._handlers[name](command, depth)

    def add(
        self, command: Command, unresolved: Unresolved | None = None, *, is_wrapper: bool = False
    ) -> Command:
        """Append `command`, with what cannot be known of it."""
        command.is_wrapper = is_wrapper
        command.unresolved = (unresolved,) if unresolved else ()
        self.found.append(command)
        return command

    def _eval(self, command: Command, depth: int) -> None:
        text = " ".join(word.text for word in command.words[1:])
        self.read(text, command.directory, self.add(command, is_wrapper=True), depth + 1)

    def _trap(self, command: Command, depth: int) -> None:
        outer = self.add(command)
        if len(command.words) > 2 and not command.words[1].text.startswith("-"):
            self.read(command.words[1].text, command.directory, outer, depth + 1)

    def _source(self, command: Command, depth: int) -> None:
        self.add(command, Unresolved("script", " ".join(command.argv[:2])))

    def _wrapped(self, command: Command, depth: int) -> None:
        wrapper = WRAPPERS[command.name]
        given = _leading_options(command.words[1:], wrapper)
        inner = given.rest
        if given.has(wrapper.lookup):
            inner = ()
        while wrapper.assignments and inner and ASSIGNMENT.match(inner[0].raw):
            inner = inner[1:]
        inner = inner[wrapper.operands :]
        script = given.value(wrapper.script)
        if len(inner) >= 2 and inner[0].text in wrapper.late_script:
            script, inner = inner[1], ()
        if not inner and not script:
            self.add(command, is_wrapper=True)
            return
        directory = command.directory
        if moved_to := given.value(wrapper.directory):
            directory = subdirectory(directory, moved_to)
        outer = self.add(command, is_wrapper=wrapper.pure)
        if script:
            text = " ".join((script.text, *(word.raw for word in inner)))
            self.read(text, directory, outer, depth + 1)
            return
        reads_input = bool(wrapper.input)
        if reads_input:
            marker = given.value(wrapper.input)
            inner = _with_input(inner, marker.text if marker else "")
        documents = tuple(
            redirect for redirect in command.redirects if redirect.op.startswith("<<")
        )
        fed = command.piped or any(redirect.op == "<" for redirect in command.redirects)
        run = Command(inner, documents, directory, outer, piped=fed and not reads_input)
        self.run(run, depth + 1)

    def _find(self, command: Command, depth: int) -> None:
        """Read `find` and what `-exec` and the like run on names below its first directory."""
        words = command.words
        outer = self.add(command)
        starts = [word for word in words[1:] if not word.text.startswith(("-", "(", "!"))][:1]
        below = (
            Word(join(starts[0].text, "*"), "{}", starts[0].unresolved or "glob", starts[0].tilde)
            if starts
            else Word("*", "{}", "glob")
        )
        at = 0
        while at < len(words):
            at += 1
            if words[at - 1].text in ("-exec", "-execdir", "-ok", "-okdir"):
                start = at
                while at < len(words) and words[at].text not in (";", "+"):
                    at += 1
                inner = tuple(below if word.text == "{}" else word for word in words[start:at])
                if inner:
                    self.run(Command(inner, (), command.directory, outer), depth + 1)

    def _shell(self, command: Command, depth: int) -> None:
        words = command.words
        at, script = _shell_operand(words)
        documents = [redirect for redirect in command.redirects if redirect.op.startswith("<<")]
        if script and at < len(words):
            outer = self.add(command, is_wrapper=True)
            self.fresh().read(words[at].text, command.directory, outer, depth + 1)
        elif at < len(words):
            self.add(command, Unresolved("script", " ".join(command.argv[: at + 1])))
        elif documents:
            last = documents[-1]
            text = last.target.text if last.op == "<<<" else last.body
            outer = self.add(command, is_wrapper=True)
            self.fresh().read(text, command.directory, outer, depth + 1)
        else:
            self._shell_on_stdin(command, script)

    def _shell_on_stdin(self, command: Command, script: bool) -> None:
        files = [redirect.target.raw for redirect in command.redirects if redirect.op == "<"]
        if not (command.piped or files or script):
            self.add(command, is_wrapper=True)
            return
        piped = "what is piped into it" if command.piped else "its standard input"
        source = files[-1] if files else piped
        self.add(command, Unresolved("script", f"{command}: {source}"))


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
        if text in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            at += 1
        script = script or (text[0] == "-" and text[1] != "-" and "c" in text)
        if text == "-s" or (text[1] != "-" and "s" in text[1:] and not script):
            at = len(words)
    return at, script


def _with_input(inner: tuple[Word, ...], marker: str) -> tuple[Word, ...]:
    """Return the command that xargs runs, with its input in the place of `marker` or at the end."""
    if not marker:
        return (*inner, Word("…", "…", "input"))
    return tuple(
        Word(word.text, word.raw, "input", word.tilde) if marker in word.text else word
        for word in inner
    )
