"""Words of a shell command: quotes, escapes and expansions. Nothing is expanded or run."""

import re
from abc import ABC, abstractmethod

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.words import ExpandedWord, Token, Variable, Word, worse

MAX_DEPTH = 24
"""Substitutions within substitutions that are read; deeper ones are marked as unresolved."""

MAX_ARITHMETIC_SCANS = 8
"""Failed searches for the end of `((` in one text, after which it is read as two parentheses."""

_WORD_END = r"(?=[ \t\n|&;)]|\Z)"
SIMPLE_WORD = rf"[\w./:=@%+,^!-][\w./:=@%+,^!~#-]*+{_WORD_END}"
"""A whole word without a character that means anything to the shell, as most words are."""

_PLAIN = pattern(r"[^ \t\n\\'\"$`|&;<>()*?\[{]+")
_SIMPLE_WORD = pattern(rf"({SIMPLE_WORD})|(?:'([^']*+)'|\"([^\"\\$`]*+)\"){_WORD_END}")
_VARIABLE = pattern(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])")
_BRACED = pattern(r"\$\{(\w+(?:\[[@*]\])?|@|\*)(?:(?::?[-=]([^}'\"\\]*)|:?\?[^}]*))?\}")
_BRACES = pattern(r"\{[^{}\s]*+\}")
_ARRAY = pattern(r"[A-Za-z_]\w*\+?=\Z")
_ARITHMETIC = pattern(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*+\"|[()]", re.S)
_QUOTED_RUN = {'"': pattern(r"[^\"\\$`]+"), "": pattern(r"[^\\$`]+"), "}": pattern(r"[^}\"\\$`]+")}
_ESCAPED = pattern(r"\\(.)", re.S)
_ANSI = pattern(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|c(.)|(.))", re.S
)
_ANSI_LETTERS = dict(zip("abeEfnrtv", "\a\b\x1b\x1b\f\n\r\t\v", strict=True))
_ANSI_QUOTED = pattern(r"(?:[^'\\]|\\.)*+", re.S)
_BACKTICKED = pattern(r"(?:[^`\\]|\\.)*+", re.S)
LITERAL = "="
"""First character of the name of a variable whose value is the rest of the name."""

_WORD_ENDS = frozenset(" \t\n|&;<>()")


class _Parts:
    """A word while it is read."""

    __slots__ = ("elements", "known", "scripts", "text", "unresolved", "variables")

    def __init__(self) -> None:
        self.elements: list[Word] = []
        self.text: list[str] = []
        self.unresolved = ""
        self.scripts: list[list[Token]] = []
        self.variables: list[Variable] = []
        self.known = True

    def mark(self, unresolved: str) -> None:
        self.unresolved = worse(self.unresolved, unresolved)
        self.known = self.known and unresolved == "glob"

    def add_variable(self, name: str, written: str, quoted: bool, default: str = "") -> None:
        """Append a variable, whose value may be known to the reader of the command."""
        self.unresolved = worse(self.unresolved, "variable")
        self.variables.append(Variable(len(self.text), name, quoted, default))
        self.text.append(written)


class WordLexer(ABC):
    """Reads the words of `text` from the offset `at`; `deep` is set if one is nested too deep."""

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.deep = False
        self._scans = 0
        self._folds: list[int] = []

    @abstractmethod
    def tokens(self, *, nested: bool = False) -> list[Token]:
        """Return the tokens to the end of the text or, `nested`, to the closing parenthesis."""

    @abstractmethod
    def inner(self, text: str) -> "WordLexer":
        """Return a lexer for `text`, nested one deeper."""

    def word(self) -> Word:
        """Read the word that begins here; it is empty if none does."""
        if simple := _SIMPLE_WORD.match(self.text, self.at):
            self.at = simple.end()
            return Word(simple[simple.lastindex or 0], simple[0])
        text, start, fold, parts = self.text, self.at, len(self._folds), _Parts()
        tilde = text.startswith("~", start)
        while self.at < len(text):
            if plain := _PLAIN.match(text, self.at):
                parts.text.append(plain[0])
                self.at = plain.end()
            elif text[self.at] in _WORD_ENDS:
                if not self._inner_list(parts, start):
                    break
            else:
                self._special(parts, text[self.at])
        self.at = min(self.at, len(text))
        value = "".join(parts.text), self._raw(start, fold), parts.unresolved, tilde
        if not (parts.scripts or parts.elements or parts.variables):
            return Word(*value)
        word = ExpandedWord(*value)
        word.scripts, word.elements = tuple(parts.scripts), tuple(parts.elements)
        if parts.variables and parts.known:
            word.pieces, word.variables = tuple(parts.text), tuple(parts.variables)
        return word

    def _inner_list(self, parts: _Parts, start: int) -> bool:
        """Read the elements of an array or a process substitution, if one begins here."""
        char = self.text[self.at]
        if char == "(" and parts.text and _ARRAY.match(parts.text[-1]):
            self._substitution(parts, 1)
        elif char in "<>" and self.text.startswith("(", self.at + 1) and self.at == start:
            self._substitution(parts, 2)
        else:
            return False
        return True

    def _special(self, parts: _Parts, char: str) -> None:
        """Read a quote, an escape, an expansion or a wildcard."""
        text = self.text
        if char == "\\":
            parts.text.append(self._escaped(text[self.at + 1 : self.at + 2]))
            self.at += 2
        elif char == "'":
            end = self._find("'", self.at + 1)
            parts.text.append(text[self.at + 1 : end])
            self.at = end + 1
        elif char == '"' or text.startswith('$"', self.at):
            self.at += 1 if char == '"' else 2
            self._quoted(parts, '"')
        elif text.startswith("$'", self.at):
            self._ansi(parts)
        elif char in "$`":
            self._expansion(parts)
        else:
            if self._is_wildcard(char):
                parts.mark("glob")
            parts.text.append(char)
            self.at += 1

    def _escaped(self, char: str) -> str:
        """Return the value of a backslash before `char`; an escaped newline is nothing."""
        if char == "\n":
            self._folds.append(self.at)
            return ""
        return char

    def _raw(self, start: int, fold: int) -> str:
        """Return the text from `start` without its line continuations from number `fold`."""
        if len(self._folds) == fold:
            return self.text[start : self.at]
        pieces = []
        for place in self._folds[fold:]:
            pieces.append(self.text[start:place])
            start = place + 2
        return "".join(pieces) + self.text[start : self.at]

    def _is_wildcard(self, char: str) -> bool:
        """Return True if an unquoted `char` here makes the shell put other words for the word."""
        if char == "{":
            braces = _BRACES.match(self.text, self.at)
            return braces is not None and ("," in braces[0] or ".." in braces[0])
        after = self.text[self.at + 1 : self.at + 2]
        return char != "[" or after not in ("", " ", "\t", "\n", "]", "[")

    def _find(self, what: str, start: int) -> int:
        end = self.text.find(what, start)
        return end if end >= 0 else len(self.text)

    def _quoted(self, parts: _Parts, until: str) -> None:
        """Read the content of double quotes, `${…}` or a here-document, and its end."""
        text, run = self.text, _QUOTED_RUN[until]
        while self.at < len(text):
            if plain := run.match(text, self.at):
                parts.text.append(plain[0])
                self.at = plain.end()
                continue
            char = text[self.at]
            if char == until:
                self.at += 1
                return
            if char == "\\":
                after = text[self.at + 1 : self.at + 2]
                parts.text.append(self._escaped(after) if after in '$`\\"\n' else "\\" + after)
                self.at += 2
            elif char == '"':
                self.at += 1
                self._deeper(parts, '"')
            else:
                self._expansion(parts, quoted=True)

    def _deeper(self, parts: _Parts, until: str) -> None:
        if self._too_deep(parts):
            return
        self.depth += 1
        self._quoted(parts, until)
        self.depth -= 1

    def _too_deep(self, parts: _Parts) -> bool:
        """Give up on the rest of the text if it is nested deeper than MAX_DEPTH."""
        if self.depth < MAX_DEPTH:
            return False
        self.deep = True
        parts.mark("deep")
        parts.text.append(self.text[self.at :])
        self.at = len(self.text)
        return True

    def _expansion(self, parts: _Parts, *, quoted: bool = False) -> None:
        """Read a `$…` or a backtick: its text is left as written, the commands in it are read."""
        text, start = self.text, self.at
        plain = _VARIABLE.match(text, start) or _BRACED.match(text, start)
        if plain and "$" not in plain[0][1:] and "`" not in plain[0]:
            self.at = plain.end()
            if plain[0][1] == "{":
                parts.add_variable(plain[1], plain[0], quoted, plain[2] or "")
            else:
                parts.add_variable(plain[0][1:], plain[0], quoted)
            return
        if text[start] == "`":
            self._backtick(parts, quoted)
            return
        if text.startswith("$((", start) and self._arithmetic_end(start + 3) > 0:
            self.at += 1
            word = self._arithmetic()
            parts.mark("variable")
            parts.scripts += word.scripts
        elif text.startswith("$(", start):
            self._substitution(parts, 2, quoted=quoted)
            return
        elif text.startswith("${", start):
            inner = _Parts()
            self.at += 2
            self._deeper(inner, "}")
            parts.mark(worse("variable", inner.unresolved))
            parts.scripts += inner.scripts
        else:
            self.at += 1
        parts.text.append(text[start : self.at])

    def _substitution(self, parts: _Parts, opening: int, *, quoted: bool = False) -> None:
        """Read `$(…)`, `<(…)`, `>(…)` or the elements of an array, after `opening` characters."""
        start = self.at
        if self._too_deep(parts):
            return
        self.at += opening
        self.depth += 1
        inner = self.tokens(nested=True)
        self.depth -= 1
        written = self.text[start : self.at]
        if written[0] == "$" and (name := _known_output(inner)):
            parts.add_variable(name, written, quoted)
            return
        if opening == 1:
            parts.elements = [token for token in inner if isinstance(token, Word)]
            parts.scripts += [script for word in parts.elements for script in word.scripts]
            parts.mark("variable")
        else:
            parts.scripts.append(inner)
            parts.mark("substitution")
        parts.text.append(written)

    def _backtick(self, parts: _Parts, quoted: bool) -> None:
        if self._too_deep(parts):
            return
        match = _BACKTICKED.match(self.text, self.at + 1)
        content = match[0] if match else ""
        self.at += len(content) + 2
        inner = self.inner(
            _ESCAPED.sub(
                lambda escaped: escaped[1] if escaped[1] in "`$\\" else escaped[0], content
            )
        )
        tokens = inner.tokens()
        self.deep = self.deep or inner.deep
        if name := _known_output(tokens):
            parts.add_variable(name, f"`{content}`", quoted)
            return
        parts.scripts.append(tokens)
        parts.mark("deep" if inner.deep else "substitution")
        parts.text.append(f"`{content}`")

    def _ansi(self, parts: _Parts) -> None:
        match = _ANSI_QUOTED.match(self.text, self.at + 2)
        content = match[0] if match else ""
        parts.text.append(unescape(content))
        self.at += len(content) + 3

    def _arithmetic_end(self, start: int) -> int:
        """Return the offset after the `))` of the `((` before `start`; 0 if it has none."""
        if self._scans >= MAX_ARITHMETIC_SCANS:
            return 0
        depth = 2
        for match in _ARITHMETIC.finditer(self.text, start):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth == 1:
                if self.text.startswith(")", match.end()):
                    return match.end() + 1
                break
        self._scans += 1
        return 0

    def _arithmetic(self) -> Word:
        """Read `((…))`, whose end is known to exist."""
        start = self.at
        self.at = self._arithmetic_end(start + 2)
        raw = self.text[start : self.at]
        word = ExpandedWord(raw, raw)
        word.scripts = self._scripts_in(raw[2:-2])
        return word

    def _scripts_in(self, content: str) -> tuple[list[Token], ...]:
        """Return the command substitutions in a text that is itself no command."""
        if "$(" not in content and "`" not in content:
            return ()
        inner, parts = self.inner(content), _Parts()
        inner._deeper(parts, "")
        self.deep = self.deep or inner.deep
        return tuple(parts.scripts)


def _known_output(tokens: list[Token]) -> str:
    """Return the name under which the output of `pwd` or `echo WORDS` is a variable, or ""."""
    words = [token for token in tokens if isinstance(token, Word)]
    if len(words) != len(tokens) or not words or any(word.unresolved for word in words):
        return ""
    if words[0].raw == "pwd":
        return "PWD"
    if words[0].raw == "echo" and len(words) > 1 and not words[1].text.startswith("-"):
        return LITERAL + " ".join(word.text for word in words[1:])
    return ""


def unescape(text: str) -> str:
    r"""Return `text` with the escapes of `$'…'`, `printf` and `echo -e` (`\n`, `\x41`) replaced."""
    return _ANSI.sub(_ansi_char, text)


def _ansi_char(match: re.Match[str]) -> str:
    octal, byte, four, eight, control, char = match.groups()
    if octal:
        return chr(int(octal, 8) & 0xFF)
    if byte or four or eight:
        code = int(byte or four or eight, 16)
        return chr(code) if code <= 0x10FFFF else "\ufffd"
    if control:
        return chr(ord(control) & 0x1F)
    return _ANSI_LETTERS.get(char, char if char in "\\'\"?" else "\\" + char)
