"""A shell command cut into words, operators and redirections, as a shell cuts it. Nothing is expanded and nothing is run.

The rules are those of the POSIX shell's token recognition and quoting, with what bash adds to them (`$'…'`, `[[`, `((`,
`&>`, `<<<`, arrays, process substitution). A text that is no shell command is cut as far as it goes: nothing is raised.
Each character is looked at a bounded number of times.
"""

import re

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.shell.words import Operator, Redirect, Token, Word, worse

DEPTH = 24
"""Substitutions in substitutions that are looked into; what is nested deeper is marked, not read."""

_BLANK = pattern(r"(?:[ \t]|\\\n)+")
_PLAIN = pattern(r"[^ \t\n\\'\"$`|&;<>()*?\[{]+")
_SIMPLE = r"[\w./:=@%+,^!-][\w./:=@%+,^!~#-]*+(?=[ \t\n|&;)]|\Z)"
"""A word, to its end, in which no character means anything to the shell: what most words are."""
_SIMPLE_WORD = pattern(_SIMPLE)
_SIMPLE_WORDS = pattern(rf"(?:[ \t]*+{_SIMPLE})++")
_REDIRECT = pattern(
    r"(\d{0,9}|\{[A-Za-z_]\w*\})(<<<|<<-|<<|<>|<&|<(?!\()|>>|>\||>&|>(?!\())|()(&>>|&>)"
)
_OPERATOR = pattern(r"&&|\|\||;;&|;;|;&|\|&|[;&|()\n]")
_VARIABLE = pattern(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])")
_HOME = pattern(r"\$(?:HOME|\{HOME\})(?=[/\s\"]|$)")
_BRACES = pattern(r"\{[^{}\s]*+\}")
_ARRAY = pattern(r"[A-Za-z_]\w*\+?=\Z")
_ARITHMETIC = pattern(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*+\"|[()]", re.S)
_QUOTED_RUN = {'"': pattern(r"[^\"\\$`]+"), "": pattern(r"[^\\$`]+"), "}": pattern(r"[^}\"\\$`]+")}
_ESCAPED = pattern(r"\\(.)", re.S)
_ANSI = pattern(
    r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|c(.)|(.))", re.S
)
_ANSI_LETTERS = {
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_ANSI_QUOTED = pattern(r"(?:[^'\\]|\\.)*+", re.S)
_BACKTICKED = pattern(r"(?:[^`\\]|\\.)*+", re.S)

_LEAD = frozenset(
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
        "time",
        "coproc",
    ]
)
"""Reserved words behind which a command begins."""

_SCANS = 8
"""Times that `((` may turn out to be two parentheses before it is no longer looked for."""


class _Parts:
    """A word in the making."""

    __slots__ = ("doubt", "scripts", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.doubt = ""
        self.scripts: list[list[Token]] = []

    def doubted(self, doubt: str) -> None:
        self.doubt = worse(self.doubt, doubt)


class Lexer:
    """Cuts one text. `deep` is set when something in it was nested too deep to be read."""

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text = text
        self.at = 0
        self.depth = depth
        self.deep = False
        self._documents: list[tuple[Redirect, str, bool]] = []
        self._scans = 0
        self._folds: list[int] = []
        # Where the text gives HOME another value, what `$HOME` says is not known.
        self._home = "HOME=" not in text

    def tokens(self, *, nested: bool = False) -> list[Token]:
        """The tokens to the end of the text or, `nested`, to the parenthesis that closes it, which is passed."""
        text, found = self.text, list[Token]()
        parentheses = cases = 0
        begins = True
        while self.at < len(text):
            if simple := _SIMPLE_WORDS.match(text, self.at):
                self.at = simple.end()
                for raw in simple[0].split():
                    found.append(Word(raw, raw))
                    if begins and raw in ("case", "esac"):
                        cases = max(0, cases + (1 if raw == "case" else -1))
                    begins = begins and raw in _LEAD
                continue
            if blank := _BLANK.match(text, self.at):
                self.at = blank.end()
                if self.at == len(text):
                    break
            char = text[self.at]
            if char == "#":
                end = text.find("\n", self.at)
                self.at = end if end >= 0 else len(text)
                continue
            if text.startswith("((", self.at):
                counts = begins or (
                    found and isinstance(found[-1], Word) and found[-1].raw == "for"
                )
                if counts and self._arithmetic_end(self.at + 2) > 0:
                    found.append(self._arithmetic())
                    begins = False
                    continue
            if (char in "<>&{" or char.isdecimal()) and (
                redirect := _REDIRECT.match(text, self.at)
            ):
                found.append(self._redirect(redirect))
                continue
            if operator := _OPERATOR.match(text, self.at):
                self.at = operator.end()
                sign = operator[0]
                if sign == "(":
                    parentheses += 1
                elif sign == ")":
                    if parentheses:
                        parentheses -= 1
                    elif nested and not cases:
                        return found
                found.append(Operator(sign))
                if sign == "\n":
                    self._read_documents()
                begins = True
                continue
            word = self.word()
            if not word.raw:
                self.at += 1  # A character that begins nothing, such as a lone `<(` cut short.
                continue
            found.append(word)
            if begins and word.raw == "[[":
                self._condition(found)
            if begins and word.raw in ("case", "esac"):
                cases = max(0, cases + (1 if word.raw == "case" else -1))
            begins = begins and word.raw in _LEAD
        self._read_documents()
        return found

    def word(self, *, head: bool = True) -> Word:
        """The word that begins here; an empty one where none does. `head` is False for the rest of one."""
        if simple := _SIMPLE_WORD.match(self.text, self.at):
            self.at = simple.end()
            return Word(simple[0], simple[0])
        text, start, fold, parts = self.text, self.at, len(self._folds), _Parts()
        if head and self._home and (home := _HOME.match(text, start + text.startswith('"', start))):
            return self._in_home(home)
        tilde = text.startswith("~", start)
        while self.at < len(text):
            if plain := _PLAIN.match(text, self.at):
                parts.text.append(plain[0])
                self.at = plain.end()
                continue
            char = text[self.at]
            if char == "(" and parts.text and _ARRAY.match(parts.text[-1]):
                self._substitution(parts, 1)
            elif char in "<>" and text.startswith("(", self.at + 1) and self.at == start:
                self._substitution(parts, 2)
            elif char in " \t\n|&;<>()":
                break
            elif char == "\\":
                parts.text.append(self._escaped(text[self.at + 1 : self.at + 2]))
                self.at += 2
            elif char == "'":
                end = self._find("'", self.at + 1)
                parts.text.append(text[self.at + 1 : end])
                self.at = end + 1
            elif char == '"':
                self.at += 1
                self._quoted(parts, '"')
            elif text.startswith("$'", self.at):
                self._ansi(parts)
            elif text.startswith('$"', self.at):
                self.at += 2
                self._quoted(parts, '"')
            elif char in "$`":
                self._expansion(parts)
            else:
                if self._is_pattern(char):
                    parts.doubted("glob")
                parts.text.append(char)
                self.at += 1
        self.at = min(self.at, len(text))
        return Word(
            "".join(parts.text), self._raw(start, fold), parts.doubt, tilde, tuple(parts.scripts)
        )

    def _escaped(self, char: str) -> str:
        """What a backslash makes of `char`: itself, and nothing of a newline."""
        if char == "\n":
            self._folds.append(self.at)
            return ""
        return char

    def _raw(self, start: int, fold: int) -> str:
        """The text from `start` to here, without its line continuations, of which the first is number `fold`."""
        pieces = []
        for place in self._folds[fold:]:
            pieces.append(self.text[start:place])
            start = place + 2
        return "".join(pieces) + self.text[start : self.at]

    def _is_pattern(self, char: str) -> bool:
        """Whether `char`, here and unquoted, makes a shell put the names of files, or several words, for the word."""
        if char == "{":
            braces = _BRACES.match(self.text, self.at)
            return braces is not None and ("," in braces[0] or ".." in braces[0])
        return char != "[" or self.text[self.at + 1 : self.at + 2] not in (
            "",
            " ",
            "\t",
            "\n",
            "]",
            "[",
        )

    def _in_home(self, home: re.Match[str]) -> Word:
        """A word that begins with $HOME, which is what `~` says."""
        start, fold, quoted = self.at, len(self._folds), self.text[self.at] == '"'
        self.at = home.end()
        if quoted:
            parts = _Parts()
            self._quoted(parts, '"')
            head = Word("".join(parts.text), "", parts.doubt, scripts=tuple(parts.scripts))
        else:
            head = Word("", "")
        rest = self.word(head=False)
        return Word(
            "~" + head.text + rest.text,
            self._raw(start, fold),
            worse(head.doubt, rest.doubt),
            True,
            head.scripts + rest.scripts,
        )

    def _find(self, what: str, start: int) -> int:
        end = self.text.find(what, start)
        return end if end >= 0 else len(self.text)

    def _quoted(self, parts: _Parts, until: str) -> None:
        """What stands in double quotes, in `${…}` or in a here-document, and the sign that ends it."""
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
                self._expansion(parts)

    def _deeper(self, parts: _Parts, until: str) -> None:
        if self._too_deep(parts):
            return
        self.depth += 1
        self._quoted(parts, until)
        self.depth -= 1

    def _too_deep(self, parts: _Parts) -> bool:
        """Give up on the rest of the text where it is nested beyond what is read."""
        if self.depth < DEPTH:
            return False
        self.deep = True
        parts.doubted("deep")
        parts.text.append(self.text[self.at :])
        self.at = len(self.text)
        return True

    def _expansion(self, parts: _Parts) -> None:
        """A `$…` or a backtick, here: left in the text as written, and what it would run is looked into."""
        text, start = self.text, self.at
        if text[start] == "`":
            self._backtick(parts)
        elif text.startswith("$((", start) and self._arithmetic_end(start + 3) > 0:
            self.at += 1
            word = self._arithmetic()
            parts.doubted("variable")
            parts.scripts += word.scripts
        elif text.startswith("$(", start):
            self._substitution(parts, 2)
            return
        elif text.startswith("${", start):
            inner = _Parts()
            self.at += 2
            self._deeper(inner, "}")
            parts.doubted(worse("variable", inner.doubt))
            parts.scripts += inner.scripts
        elif variable := _VARIABLE.match(text, start):
            self.at = variable.end()
            parts.doubted("variable")
        else:
            self.at += 1
        parts.text.append(text[start : self.at])

    def _substitution(self, parts: _Parts, opening: int) -> None:
        """`$(…)`, `<(…)`, `>(…)` or the elements of an array, after `opening` characters."""
        start = self.at
        if self._too_deep(parts):
            return
        self.at += opening
        self.depth += 1
        inner = self.tokens(nested=True)
        self.depth -= 1
        if opening == 1:
            parts.scripts += [
                script for token in inner if isinstance(token, Word) for script in token.scripts
            ]
            parts.doubted("variable")
        else:
            parts.scripts.append(inner)
            parts.doubted("substitution")
        parts.text.append(self.text[start : self.at])

    def _backtick(self, parts: _Parts) -> None:
        if self._too_deep(parts):
            return
        match = _BACKTICKED.match(self.text, self.at + 1)
        content = match[0] if match else ""
        self.at += len(content) + 2
        inner = Lexer(
            _ESCAPED.sub(
                lambda escaped: escaped[1] if escaped[1] in "`$\\" else escaped[0], content
            ),
            self.depth + 1,
        )
        parts.scripts.append(inner.tokens())
        parts.doubted("deep" if inner.deep else "substitution")
        self.deep = self.deep or inner.deep

    def _ansi(self, parts: _Parts) -> None:
        match = _ANSI_QUOTED.match(self.text, self.at + 2)
        content = match[0] if match else ""
        parts.text.append(_ANSI.sub(_ansi_char, content))
        self.at += len(content) + 3

    def _arithmetic_end(self, start: int) -> int:
        """Where the `))` ends whose `((` ended at `start`; 0 where these are parentheses of commands."""
        if self._scans >= _SCANS:
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
        """`((…))`, whose end was found to be there."""
        start = self.at
        self.at = self._arithmetic_end(start + 2)
        raw = self.text[start : self.at]
        return Word(raw, raw, scripts=self._looked_into(raw[2:-2]))

    def _looked_into(self, content: str) -> tuple[list[Token], ...]:
        """The command substitutions in a text that is itself no command."""
        if "$(" not in content and "`" not in content:
            return ()
        inner, parts = Lexer(content, self.depth + 1), _Parts()
        inner._deeper(parts, "")
        self.deep = self.deep or inner.deep
        return tuple(parts.scripts)

    def _condition(self, found: list[Token]) -> None:
        """The words of `[[ … ]]`, in which `<`, `>`, `&&` and parentheses are operators of the condition."""
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char in " \t\n":
                self.at += 1
            elif char in "<>&|();":
                self.at += 1
                found.append(Word(char, char))
            else:
                found.append(self.word())
                if isinstance(found[-1], Word) and found[-1].raw == "]]":
                    return

    def _redirect(self, match: re.Match[str]) -> Redirect:
        self.at = match.end()
        op = match[2] or match[4]
        if blank := _BLANK.match(self.text, self.at):
            self.at = blank.end()
        redirect = Redirect(op, match[1] or "", self.word())
        if op in ("<<", "<<-"):
            self._documents.append((redirect, redirect.target.text, op == "<<-"))
        return redirect

    def _read_documents(self) -> None:
        """The here-documents that were announced on the line that ends here."""
        documents, self._documents = self._documents, []
        for redirect, delimiter, tabs in documents:
            held: list[str] = []
            while self.at < len(self.text):
                end = self._find("\n", self.at)
                line = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                line = line.lstrip("\t") if tabs else line
                if line == delimiter:
                    break
                held.append(line + "\n")
            redirect.body = "".join(held)
            if redirect.target.raw == delimiter:
                redirect.target.scripts = self._looked_into(redirect.body)


def _ansi_char(match: re.Match[str]) -> str:
    octal, byte, four, eight, control, char = match.groups()
    if octal:
        return chr(int(octal, 8) & 0xFF)
    if byte or four or eight:
        code = int(byte or four or eight, 16)
        return chr(code) if code <= 0x10FFFF else "\ufffd"
    return (
        chr(ord(control) & 0x1F)
        if control
        else _ANSI_LETTERS.get(char, char if char in "\\'\"?" else "\\" + char)
    )
