"""A shell command cut into words, operators and redirections, as a shell does it.

The rules are those of the POSIX shell's token recognition and quoting, with bash's additions
(`$'…'`, `[[`, `((`, `&>`, `<<<`, arrays, process substitution). A text that is no shell command is
read as far as possible: nothing is raised. Each character is looked at a bounded number of times.
"""

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.core.tables import names
from agent_pipes.shell.word_lexer import SIMPLE_WORD, WordLexer
from agent_pipes.shell.words import ExpandedWord, Operator, Redirect, Token, Word

_BLANK = pattern(r"(?:[ \t]|\\\n)+")
_REDIRECT = pattern(
    r"(\d{0,9}|\{[A-Za-z_]\w*\})(<<<|<<-|<<|<>|<&|<(?!\()|>>|>\||>&|>(?!\())|()(&>>|&>)"
)
_OPERATOR = r"&&|\|\||;;&|;;|;&|\|&|&(?!>)|[;|)\n]"
_NEXT = pattern(rf"(?:[ \t]|\\\n)*+(?:((?:{SIMPLE_WORD}[ \t]*+)++)|({_OPERATOR}))")
"""Simple words, or an operator that ends a command."""

COMMAND_MAY_FOLLOW = names("if then elif else while until do { } ! fi done esac time coproc")
"""Reserved words after which a command begins."""


class _TokenList:
    """The tokens of one script while it is read: the open parentheses and `case`s in them."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.parentheses = 0
        self.cases = 0
        self.command_begins = True

    def add_word(self, word: Word) -> None:
        self.tokens.append(word)
        if self.command_begins:
            self._begin(word.raw)

    def _begin(self, raw: str) -> None:
        """Look for the reserved words, which count only where a command begins."""
        if raw in ("case", "esac"):
            self.cases = max(0, self.cases + (1 if raw == "case" else -1))
        self.command_begins = raw in COMMAND_MAY_FOLLOW

    def add_plain(self, text: str) -> None:
        """Append words without quotes and expansions, which are separated by blanks."""
        for raw in text.split():
            self.tokens.append(Word(raw, raw))
            if self.command_begins:
                self._begin(raw)

    def add_operator(self, sign: str, nested: bool) -> bool:
        """Append the operator; False if it is the parenthesis that closes a nested script."""
        if sign == "(":
            self.parentheses += 1
        elif sign == ")" and self.parentheses:
            self.parentheses -= 1
        elif sign == ")" and nested and not self.cases:
            return False
        self.tokens.append(Operator(sign))
        self.command_begins = True
        return True

    def follows_for(self) -> bool:
        last = self.tokens[-1] if self.tokens else None
        return isinstance(last, Word) and last.raw == "for"


class Lexer(WordLexer):
    """Cuts one text into tokens."""

    def __init__(self, text: str, depth: int = 0) -> None:
        super().__init__(text, depth)
        self._documents: list[tuple[Redirect, str, bool]] = []

    def inner(self, text: str) -> "Lexer":
        """Return a lexer for `text`, nested one deeper."""
        return Lexer(text, self.depth + 1)

    def tokens(self, *, nested: bool = False) -> list[Token]:
        """Return the tokens to the end of the text or, `nested`, to the closing parenthesis."""
        text, found = self.text, _TokenList()
        while self.at < len(text):
            if following := _NEXT.match(text, self.at):
                self.at = following.end()
                if following.lastindex == 1:
                    found.add_plain(following[1])
                elif not found.add_operator(following[2], nested):
                    return found.tokens
                elif following[2] == "\n":
                    self._read_documents()
                continue
            if blank := _BLANK.match(text, self.at):
                self.at = blank.end()
                if self.at == len(text):
                    break
            char = text[self.at]
            if char in "\"'$":
                self._read_word(found)
            elif char == "#":
                self.at = self._find("\n", self.at)
            elif char == "(" and self._read_arithmetic(found):
                pass
            elif redirect := self._redirect(char):
                found.tokens.append(redirect)
            elif char == "(":
                self.at += 1
                found.add_operator(char, nested)
            else:
                self._read_word(found)
        self._read_documents()
        return found.tokens

    def _read_word(self, found: _TokenList) -> None:
        word = self.word()
        if not word.raw:
            self.at += 1  # A character that begins nothing, such as an incomplete `<(`.
            return
        is_condition = found.command_begins and word.raw == "[["
        found.add_word(word)
        if is_condition:
            self._read_condition(found.tokens)

    def _read_arithmetic(self, found: _TokenList) -> bool:
        """Read a `((…))` command or the head of an arithmetic `for`, if one begins here."""
        if not self.text.startswith("((", self.at):
            return False
        if not (found.command_begins or found.follows_for()):
            return False
        if self._arithmetic_end(self.at + 2) <= 0:
            return False
        found.tokens.append(self._arithmetic())
        found.command_begins = False
        return True

    def _read_condition(self, tokens: list[Token]) -> None:
        """Read the words of `[[ … ]]`, in which `<`, `>`, `&&`, `(` and `)` are no operators."""
        text = self.text
        while self.at < len(text):
            char = text[self.at]
            if char in " \t\n":
                self.at += 1
            elif char in "<>&|();":
                self.at += 1
                tokens.append(Word(char, char))
            else:
                word = self.word()
                tokens.append(word)
                if word.raw == "]]":
                    return

    def _redirect(self, char: str) -> Redirect | None:
        if char not in "<>&{" and not char.isdecimal():
            return None
        match = _REDIRECT.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        op = match[2] or match[4]
        if blank := _BLANK.match(self.text, self.at):
            self.at = blank.end()
        redirect = Redirect(op, match[1] or "", self.word())
        if op in ("<<", "<<-"):
            self._documents.append((redirect, redirect.target.text, op == "<<-"))
        return redirect

    def _read_documents(self) -> None:
        """Read the here-documents that were announced on the line that ends here."""
        if not self._documents:
            return
        documents, self._documents = self._documents, []
        for redirect, delimiter, tabs in documents:
            lines: list[str] = []
            while self.at < len(self.text):
                end = self._find("\n", self.at)
                line = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                line = line.lstrip("\t") if tabs else line
                if line == delimiter:
                    break
                lines.append(line + "\n")
            redirect.body = "".join(lines)
            if redirect.target.raw == delimiter and (scripts := self._scripts_in(redirect.body)):
                redirect.target = ExpandedWord(delimiter, delimiter)
                redirect.target.scripts = scripts
