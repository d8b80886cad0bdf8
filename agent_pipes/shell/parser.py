"""The simple commands in a shell command: what each one is, in which directory it runs, and what could not be told.

    parse("cd deploy && bash -c 'rm -rf x' > log")   →   cd deploy · bash -c … (> log) · rm -rf x (in deploy)

No shell is run, nothing is expanded, and no text makes this raise. It takes time linear in the text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import basename, join

from agent_pipes.shell.lexer import Lexer
from agent_pipes.shell.words import Operator, Redirect, Token, Word

LONGEST = 1 << 20
"""Characters of a command that are read; what is beyond is said not to have been."""

WITHIN = 12
"""Commands in commands (`sudo env bash -c '…'`, `eval`, backticks) that are looked into."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be told by reading: of which `kind`, and `what` it was, in the command's own words."""

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command.

    words:     its name and its arguments, without assignments before them; none where it only redirects.
    redirects: its redirections.
    directory: where it runs: "" where the whole began, a path relative to that, an absolute one or one beginning
               with `~`; None where that is not known.
    outer:     the command that runs this one (`sudo`, `xargs`, `bash -c`).
    carrier:   it does nothing but run what other commands here say.
    piped:     its standard input is another's output.
    unknown:   what could not be told.
    """

    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    directory: str | None = ""
    outer: "Command | None" = None
    carrier: bool = False
    piped: bool = False
    unknown: tuple[Unknown, ...] = ()

    @property
    def argv(self) -> list[str]:
        return [word.text for word in self.words]

    @property
    def name(self) -> str:
        """The program's name without its directory, "" where there is none or it is not known."""
        return basename(self.words[0].text) if self.words and not self.words[0].doubt else ""

    def __str__(self) -> str:
        return " ".join(self.argv)


def parse(command: str) -> list[Command]:
    """Every simple command in `command`, in the order of the text, what stands in substitutions before its command."""
    found: list[Command] = []
    _Reader(found).read(command[:LONGEST], "", None, 0)
    if len(command) > LONGEST:
        found.append(Command((), unknown=(Unknown("long", f"what is beyond {LONGEST} characters"),)))
    return found


PATH_MAX = 4096
"""Bytes of the longest path that a system call takes."""

SHELLS = frozenset(["bash", "sh", "zsh", "dash", "ksh", "ash"])

ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=")
LEADS = frozenset(["if", "then", "elif", "else", "while", "until", "do", "{", "}", "!", "fi", "done", "esac", "coproc"])
_OPENS = frozenset(["if", "while", "until", "for", "select", "case"])
_CLOSES = frozenset(["fi", "done", "esac"])


@dataclass(frozen=True, slots=True)
class _Wrapper:
    """A program that runs the command in its arguments: its options that take a value, the operands before the command."""

    values: str = ""
    long: frozenset[str] = frozenset()
    operands: int = 0
    carrier: bool = True


_WRAPPERS = {
    "env": _Wrapper("uC", frozenset(["--unset", "--chdir"])),
    "sudo": _Wrapper("ugphCTDRrtU", frozenset(["--user", "--group", "--prompt", "--host", "--chdir", "--role", "--type"]), carrier=False),
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
        "IiJLnPdaEs", frozenset(["--replace", "--max-lines", "--max-args", "--max-procs", "--delimiter", "--arg-file", "--max-chars"])
    ),
    "command": _Wrapper(),
    "builtin": _Wrapper(),
    "exec": _Wrapper("a"),
    "caffeinate": _Wrapper("tw"),
}


class _Reader:
    """Reads one command line and whatever lines stand in it into `found`."""

    def __init__(self, found: list[Command]) -> None:
        self.found = found
        self.functions: set[str] = set()

    def read(self, text: str, where: str | None, outer: Command | None, depth: int) -> None:
        """Read `text`, which begins in the directory `where`."""
        lexer = Lexer(text)
        self._script(lexer.tokens(), where, outer, depth)
        if lexer.deep:
            self.found.append(Command((), outer=outer, unknown=(Unknown("deep", "what is nested too deep"),)))

    def _script(self, tokens: Sequence[Token], where: str | None, outer: Command | None, depth: int) -> None:
        words: list[Word] = []
        redirects: list[Redirect] = []
        places: list[str | None] = []
        blocks: list[str | None] = []
        cases: list[bool] = []  # Of each `case` whether a pattern, and no command, stands next.
        before = ""
        for token in (*tokens, Operator("")):
            if isinstance(token, Redirect):
                redirects.append(token)
                continue
            if isinstance(token, Word):
                if not words and token.raw.startswith("(("):
                    self._substitutions([token], where, depth)
                    continue
                if len(words) == 2 and words[0].raw == "function" and token.raw == "{":
                    self._define(words[1], blocks, places, before)
                    words = []
                    continue
                if not words and token.raw in LEADS:
                    if token.raw in _OPENS:
                        blocks.append(where)
                    elif token.raw in _CLOSES and blocks:
                        # Whether a block was run at all is not known, and so not where it has left us.
                        where = where if blocks.pop() == where else None
                        if token.raw == "esac" and cases:
                            cases.pop()
                    continue
                words.append(token)
                if words[0].raw == "case" and token.raw == "in" and len(words) == 3:
                    blocks.append(where)
                    cases.append(True)
                    self._substitutions(words, where, depth)
                    words = []
                continue
            sign = token.text
            if cases and cases[-1] and sign in ("(", ")", "|", "\n"):
                if sign == ")":
                    cases[-1] = False
                words = []
                continue
            if sign == "(" and (len(words) == 1 or (len(words) == 2 and words[0].raw == "function")):
                self._define(words[-1], blocks, places, before)
                words = []
            if words and words[0].raw in _OPENS:
                blocks.append(where)
                self._substitutions(words, where, depth)
                words, redirects = [], []
            if words or redirects:
                where = self._command(words, redirects, where, outer, depth, before, sign)
                words, redirects = [], []
            if sign == "(":
                places.append(where)
            elif sign == ")" and places:
                where = places.pop()
            elif cases and sign in (";;", ";&", ";;&"):
                cases[-1] = True
            if sign != "\n" or before not in ("|", "|&", "&&", "||"):
                before = sign

    def _define(self, name: Word, blocks: list[str | None], places: list[str | None], before: str) -> None:
        """A function, whose body is read as if it were run here. Its name is no program's from now on, if it is sure to be defined."""
        if not blocks and not places and before not in ("&&", "||", "|", "|&"):
            self.functions.add(name.text)

    def _substitutions(self, words: Iterable[Word], where: str | None, depth: int) -> None:
        for word in words:
            for script in word.scripts:
                if depth < WITHIN:
                    self._script(script, where, None, depth + 1)
                else:
                    self.found.append(Command((), unknown=(Unknown("deep", word.raw),)))

    def _command(
        self, words: list[Word], redirects: list[Redirect], where: str | None, outer: Command | None, depth: int, before: str, after: str
    ) -> str | None:
        """Read one simple command between two operators; the directory of the next is returned."""
        self._substitutions((*words, *(redirect.target for redirect in redirects)), where, depth)
        start = 0
        while start < len(words) and ASSIGNMENT.match(words[start].raw):
            start += 1
        command = Command(tuple(words[start:]), tuple(redirects), where, outer, piped=before in ("|", "|&"))
        if not command.words:
            if redirects:
                self.found.append(command)
            return where
        if command.name in self.functions:
            self._note(command, carrier=True)
            return where
        self._run(command, depth)
        if command.name in ("cd", "pushd", "popd") and after not in ("|", "|&", "&") and before not in ("|", "|&"):
            return None if before == "||" else _moved(command, where)
        return where

    def _run(self, command: Command, depth: int) -> None:
        """Note `command`, and whatever it runs in its turn."""
        name = command.name
        if command.words[0].doubt:
            self._note(command, unknown=Unknown(command.words[0].doubt, f"{command.words[0].raw}, as a command"))
        elif depth >= WITHIN and (name in _WRAPPERS or name in SHELLS or name in ("eval", "trap", "find")):
            self._note(command, unknown=Unknown("deep", f"what {name} runs"))
        elif name in SHELLS:
            self._shell(command, depth)
        elif name == "eval":
            outer = self._note(command, carrier=True)
            self.read(" ".join(word.text for word in command.words[1:]), command.directory, outer, depth + 1)
        elif name == "trap" and len(command.words) > 2 and not command.argv[1].startswith("-"):
            self.read(command.argv[1], command.directory, self._note(command), depth + 1)
        elif name in ("source", "."):
            self._note(command, unknown=Unknown("script", " ".join(command.argv[:2])))
        elif name == "find":
            self._find(command, depth)
        elif name in _WRAPPERS:
            self._wrapped(command, _WRAPPERS[name], depth)
        else:
            self._note(command)

    def _note(self, command: Command, *, carrier: bool = False, unknown: Unknown | None = None) -> Command:
        if carrier or unknown:
            command = Command(
                command.words, command.redirects, command.directory, command.outer, carrier, command.piped, (unknown,) if unknown else ()
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
            separate = text in wrapper.long if text.startswith("--") else _takes_next(text, wrapper.values)
            if name == "command" and text in ("-v", "-V"):
                at = len(words)
                break
            if name == "env" and (text.startswith(("-S", "--split-string"))):
                piece = text.partition("=")[2] if text.startswith("--") else text[2:] or value
                separate = text in ("-S", "--split-string")
                piece = piece or value
            if (name == "env" and text in ("-C", "--chdir")) or (name == "sudo" and text in ("-D", "--chdir")):
                where = _joined(where, words[at]) if at < len(words) else None
            if name == "xargs" and text[:2] in ("-I", "-J"):
                replaced = text[2:] or value
            at += separate
        while name in ("env", "sudo", "time") and at < len(words) and ASSIGNMENT.match(words[at].raw):
            at += 1
        inner = words[at + wrapper.operands :]
        if name == "flock" and len(inner) >= 2 and inner[0].text in ("-c", "--command"):
            piece, inner = inner[1].text, ()
        if not inner and not piece:
            self._note(command, carrier=True)
            return
        outer = self._note(command, carrier=wrapper.carrier)
        if piece:
            self.read(" ".join((piece, *(word.raw for word in inner))), where, outer, depth + 1)
            return
        if name == "xargs":
            inner = _given(inner, replaced)
        documents = tuple(redirect for redirect in command.redirects if redirect.op.startswith("<<"))
        fed = command.piped or any(redirect.op == "<" for redirect in command.redirects)
        self._run(Command(inner, documents, where, outer, piped=fed and name != "xargs"), depth + 1)

    def _find(self, command: Command, depth: int) -> None:
        """`find`, and what `-exec` and its like run, on names below the one directory it starts in, if it is one."""
        words = command.words
        outer = self._note(command)
        starts = [word for word in words[1:] if not word.text.startswith(("-", "(", "!"))][:1]
        below = Word(join(starts[0].text, "*"), "{}", starts[0].doubt or "glob", starts[0].tilde) if starts else Word("*", "{}", "glob")
        at = 0
        while at < len(words):
            at += 1
            if words[at - 1].text in ("-exec", "-execdir", "-ok", "-okdir"):
                start = at
                while at < len(words) and words[at].text not in (";", "+"):
                    at += 1
                inner = tuple(below if word.text == "{}" else word for word in words[start:at])
                if inner:
                    self._run(Command(inner, (), command.directory, outer), depth + 1)

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
            outer = self._note(command, carrier=True)
            _Reader(self.found).read(words[at].text, command.directory, outer, depth + 1)
        elif at < len(words):
            self._note(command, unknown=Unknown("script", " ".join(command.argv[: at + 1])))
        elif documents:
            outer = self._note(command, carrier=True)
            last = documents[-1]
            _Reader(self.found).read(last.target.text if last.op == "<<<" else last.body, command.directory, outer, depth + 1)
        else:
            files = [redirect.target.raw for redirect in command.redirects if redirect.op == "<"]
            source = files[-1] if files else "what is piped into it" if command.piped else "its standard input"
            reads = command.piped or files or script
            self._note(command, carrier=not reads, unknown=Unknown("script", f"{command}: {source}") if reads else None)


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
    return tuple(Word(word.text, word.raw, "input", word.tilde) if replaced in word.text else word for word in inner)


def _joined(where: str | None, word: Word) -> str | None:
    """The directory that `word` names from `where`."""
    path = word.path
    if word.doubt:
        return None
    if path.startswith(("/", "~")):
        return path
    return None if where is None or len(where) + len(path) > PATH_MAX else join(where, path)


def _moved(command: Command, where: str | None) -> str | None:
    operands = [word for word in command.words[1:] if word.text == "-" or not word.text.startswith("-") or word.doubt]
    if command.name == "popd" or (command.name == "pushd" and not operands):
        return None
    if not operands:
        return "~"
    return None if operands[0].text == "-" else _joined(where, operands[0])
