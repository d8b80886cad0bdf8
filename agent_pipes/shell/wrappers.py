"""The commands that a command runs: those of `sudo`, `env`, `xargs`, `find -exec`, `bash -c`, `eval` and their like."""

from abc import ABC, abstractmethod
from posixpath import join
from typing import NamedTuple

from agent_pipes.shell.commands import ASSIGNMENT, SHELLS, Command, Unknown, joined
from agent_pipes.shell.words import Word

WITHIN = 12
"""Commands in commands (`sudo env bash -c '…'`, `eval`, backticks) that are looked into."""


class _Wrapper(NamedTuple):
    """A program that runs the command in its arguments: its options that take a value, the operands before the command."""

    values: str = ""
    long: frozenset[str] = frozenset()
    operands: int = 0
    carrier: bool = True


_WRAPPERS = {
    "env": _Wrapper("uC", frozenset(["--unset", "--chdir"])),
    "sudo": _Wrapper(
        "ugphCTDRrtU",
        frozenset(["--user", "--group", "--prompt", "--host", "--chdir", "--role", "--type"]),
        carrier=False,
    ),
    "doas": _Wrapper("uC", carrier=False),
    "time": _Wrapper("fo", frozenset(["--format", "--output"])),
    "nohup": _Wrapper(),
    "setsid": _Wrapper(),
    "stdbuf": _Wrapper("ioe", frozenset(["--input", "--output", "--error"])),
    "nice": _Wrapper("n", frozenset(["--adjustment"])),
    "ionice": _Wrapper("cn", frozenset(["--class", "--classdata"])),
    "timeout": _Wrapper("ks", frozenset(["--kill-after", "--signal"]), operands=1),
    "gtimeout": _Wrapper("ks", frozenset(["--kill-after", "--signal"]), operands=1),
    "flock": _Wrapper("wE", frozenset(["--timeout", "--wait"]), operands=1),
    "xargs": _Wrapper(
        "IiJLnPdaEs",
        frozenset(
            [
                "--replace",
                "--max-lines",
                "--max-args",
                "--max-procs",
                "--delimiter",
                "--arg-file",
                "--max-chars",
            ]
        ),
    ),
    "command": _Wrapper(),
    "builtin": _Wrapper(),
    "exec": _Wrapper("a"),
    "caffeinate": _Wrapper("tw"),
}
_RUNNING = frozenset([*_WRAPPERS, *SHELLS, "eval", "trap", "source", ".", "find"])
"""Programs that run what their arguments say."""


class Inner(ABC):
    """Notes simple commands in `found`, each behind the one that runs it."""

    def __init__(self, found: list[Command]) -> None:
        self.found = found

    @abstractmethod
    def read(self, text: str, where: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in the directory `where`, with the functions that are defined here."""

    @abstractmethod
    def apart(self) -> "Inner":
        """One that reads for a shell of its own, which knows none of our functions."""

    def run(self, command: Command, depth: int) -> None:
        """Note `command`, and whatever it runs in its turn."""
        name = command.name
        if command.words[0].doubt:
            self.note(
                command,
                unknown=Unknown(command.words[0].doubt, f"{command.words[0].raw}, as a command"),
            )
        elif name not in _RUNNING:
            self.note(command)
        elif depth >= WITHIN and (
            name in _WRAPPERS or name in SHELLS or name in ("eval", "trap", "find")
        ):
            self.note(command, unknown=Unknown("deep", f"what {name} runs"))
        elif name in SHELLS:
            self._shell(command, depth)
        elif name == "eval":
            outer = self.note(command, carrier=True)
            self.read(
                " ".join(word.text for word in command.words[1:]),
                command.directory,
                outer,
                depth + 1,
            )
        elif name == "trap" and len(command.words) > 2 and not command.argv[1].startswith("-"):
            self.read(command.argv[1], command.directory, self.note(command), depth + 1)
        elif name in ("source", "."):
            self.note(command, unknown=Unknown("script", " ".join(command.argv[:2])))
        elif name == "find":
            self._find(command, depth)
        elif name in _WRAPPERS:
            self._wrapped(command, _WRAPPERS[name], depth)
        else:  # A trap that sets nothing.
            self.note(command)

    def note(
        self, command: Command, *, carrier: bool = False, unknown: Unknown | None = None
    ) -> Command:
        if carrier or unknown:
            command = Command(
                command.words,
                command.redirects,
                command.directory,
                command.outer,
                carrier,
                command.piped,
                (unknown,) if unknown else (),
            )
        self.found.append(command)
        return command

    def _wrapped(self, command: Command, wrapper: _Wrapper, depth: int) -> None:
        words, name, where = command.words, command.name, command.directory
        at, replaced, piece = 1, "", ""
        while at < len(words) and words[at].text.startswith("-") and words[at].text != "-":
            text = words[at].text
            at += 1
            if text == "--":
                break
            value = words[at].text if at < len(words) else ""
            separate = (
                text in wrapper.long if text.startswith("--") else _takes_next(text, wrapper.values)
            )
            if name == "command" and text in ("-v", "-V"):
                at = len(words)
                break
            if name == "env" and (text.startswith(("-S", "--split-string"))):
                piece = text.partition("=")[2] if text.startswith("--") else text[2:] or value
                separate = text in ("-S", "--split-string")
                piece = piece or value
            if (name == "env" and text in ("-C", "--chdir")) or (
                name == "sudo" and text in ("-D", "--chdir")
            ):
                where = joined(where, words[at]) if at < len(words) else None
            if name == "xargs" and text[:2] in ("-I", "-J"):
                replaced = text[2:] or value
            at += separate
        while (
            name in ("env", "sudo", "time") and at < len(words) and ASSIGNMENT.match(words[at].raw)
        ):
            at += 1
        inner = words[at + wrapper.operands :]
        if name == "flock" and len(inner) >= 2 and inner[0].text in ("-c", "--command"):
            piece, inner = inner[1].text, ()
        if not inner and not piece:
            self.note(command, carrier=True)
            return
        outer = self.note(command, carrier=wrapper.carrier)
        if piece:
            self.read(" ".join((piece, *(word.raw for word in inner))), where, outer, depth + 1)
            return
        if name == "xargs":
            inner = _given(inner, replaced)
        documents = tuple(
            redirect for redirect in command.redirects if redirect.op.startswith("<<")
        )
        fed = command.piped or any(redirect.op == "<" for redirect in command.redirects)
        self.run(Command(inner, documents, where, outer, piped=fed and name != "xargs"), depth + 1)

    def _find(self, command: Command, depth: int) -> None:
        """`find`, and what `-exec` and its like run, on names below the one directory it starts in, if it is one."""
        words = command.words
        outer = self.note(command)
        starts = [word for word in words[1:] if not word.text.startswith(("-", "(", "!"))][:1]
        below = (
            Word(join(starts[0].text, "*"), "{}", starts[0].doubt or "glob", starts[0].tilde)
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
        documents = [redirect for redirect in command.redirects if redirect.op.startswith("<<")]
        if script and at < len(words):
            outer = self.note(command, carrier=True)
            self.apart().read(words[at].text, command.directory, outer, depth + 1)
        elif at < len(words):
            self.note(command, unknown=Unknown("script", " ".join(command.argv[: at + 1])))
        elif documents:
            outer = self.note(command, carrier=True)
            last = documents[-1]
            self.apart().read(
                last.target.text if last.op == "<<<" else last.body,
                command.directory,
                outer,
                depth + 1,
            )
        else:
            files = [redirect.target.raw for redirect in command.redirects if redirect.op == "<"]
            source = (
                files[-1]
                if files
                else "what is piped into it"
                if command.piped
                else "its standard input"
            )
            reads = command.piped or files or script
            self.note(
                command,
                carrier=not reads,
                unknown=Unknown("script", f"{command}: {source}") if reads else None,
            )


def _takes_next(text: str, values: str) -> bool:
    """Whether a cluster of short options ends in one whose value is the next word."""
    for at, letter in enumerate(text[1:], 1):
        if letter in values:
            return at == len(text) - 1
    return False


def _given(inner: tuple[Word, ...], replaced: str) -> tuple[Word, ...]:
    """The command that xargs runs, with what it reads marked: in the place of `replaced`, or at the end."""
    if not replaced:
        return (*inner, Word("…", "…", "input"))
    return tuple(
        Word(word.text, word.raw, "input", word.tilde) if replaced in word.text else word
        for word in inner
    )
