"""Tokens of a shell command: words, operators, redirections."""

from typing import NamedTuple


class Variable(NamedTuple):
    """An expansion in a word.

    piece:   the index of its piece.
    name:    the name of the variable; `name[@]` for all elements of an array.
    quoted:  it is in quotes.
    default: the value in `${name:-value}`.
    """

    piece: int
    name: str
    quoted: bool
    default: str = ""


class Word:
    """One word, as most are: without an expansion.

    text:       its value as far as it is known: without quotes and escapes, an expansion left as
                written.
    raw:        the word as written.
    unresolved: why `text` is not its value: "" (it is), "glob", "variable", "substitution",
                "input", "deep".
    tilde:      it begins with an unquoted `~`, a home directory.
    """

    __slots__ = ("raw", "text", "tilde", "unresolved")

    scripts: "tuple[list[Token], ...]" = ()
    pieces: tuple[str, ...] = ()
    variables: tuple[Variable, ...] = ()
    elements: "tuple[Word, ...]" = ()
    output: str | None = None
    printed: "tuple[Word, ...]" = ()

    def __init__(self, text: str, raw: str, unresolved: str = "", tilde: bool = False) -> None:
        self.text = text
        self.raw = raw
        self.unresolved = unresolved
        self.tilde = tilde

    @property
    def path(self) -> str:
        """The word as a path: only an unquoted `~` at its beginning is a home directory."""
        return "./" + self.text if self.text[:1] == "~" and not self.tilde else self.text


class ExpandedWord(Word):
    """A word that the shell expands, or that assigns an array.

    scripts:   the tokens of the command substitutions in it.
    pieces:    the pieces of `text`, if some of them are the `variables`, and all else is known.
    elements:  the elements of the array that it assigns.
    output:    the text that it is replaced by, if it is one substitution whose output is known.
    printed:   the words that its substitution prints, as far as they are known: names of files.
    """

    __slots__ = ("elements", "output", "pieces", "printed", "scripts", "variables")

    def __init__(self, text: str, raw: str, unresolved: str = "", tilde: bool = False) -> None:
        super().__init__(text, raw, unresolved, tilde)
        self.scripts = ()
        self.pieces = ()
        self.variables = ()
        self.elements = ()
        self.output = None
        self.printed = ()


class Operator:
    """A separator of commands: `;`, `&&`, `||`, `|`, `&`, `(`, `)`, `;;`, a newline."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Redirect:
    """A redirection.

    op:     the operator, such as `>>`.
    fd:     the file descriptor before it, "" if there is none.
    target: the file or descriptor that it names, the delimiter of a here-document.
    body:   the text of a here-document.
    """

    __slots__ = ("body", "fd", "op", "target")

    def __init__(self, op: str, fd: str, target: Word) -> None:
        self.op = op
        self.fd = fd
        self.target = target
        self.body = ""

    @property
    def writes(self) -> bool:
        """Return True if it writes a file."""
        return (self.op[0] == "&" or ">" in self.op) and not self.copies

    @property
    def copies(self) -> bool:
        """Return True if it names an open descriptor (`2>&1`, `<&-`), not a file."""
        return self.op in (">&", "<&") and (
            self.op == "<&" or self.target.text.rstrip("-").isdigit() or self.target.text == "-"
        )

    @property
    def raw(self) -> str:
        """The redirection in one spelling."""
        return f"{self.fd}{self.op}{'' if self.copies else ' '}{self.target.raw}"


Token = Word | Operator | Redirect

_RANKS = {"": 0, "glob": 1, "variable": 2, "input": 3, "substitution": 4, "deep": 5}


def worse(one: str, other: str) -> str:
    """Return that of two reasons why a word is unresolved which leaves less of its value known."""
    return one if _RANKS[one] >= _RANKS[other] else other
