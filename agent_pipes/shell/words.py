"""What a shell command is made of: words, operators, redirections."""


class Word:
    """One word.

    text:    its value as far as it is known: quotes and escapes taken off, an expansion standing there as written.
    raw:     as it was written.
    doubt:   why `text` is not its value: "" (it is), "glob", "variable", "substitution", "input", "deep".
    tilde:   it begins with an unquoted `~`, which stands for a home directory.
    scripts: the tokens of the command substitutions in it.
    """

    __slots__ = ("doubt", "raw", "scripts", "text", "tilde")

    def __init__(
        self,
        text: str,
        raw: str,
        doubt: str = "",
        tilde: bool = False,
        scripts: "tuple[list[Token], ...]" = (),
    ) -> None:
        self.text = text
        self.raw = raw
        self.doubt = doubt
        self.tilde = tilde
        self.scripts = scripts

    @property
    def path(self) -> str:
        """The word as a path: what begins with `~` is in a home directory, and nothing else."""
        return "./" + self.text if self.text.startswith("~") and not self.tilde else self.text


class Operator:
    """What parts commands: `;`, `&&`, `||`, `|`, `&`, `(`, `)`, `;;`, a newline."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Redirect:
    """A redirection: `op` with its file descriptor before it, the file or descriptor it names, a here-document's text."""

    __slots__ = ("body", "fd", "op", "target")

    def __init__(self, op: str, fd: str, target: Word) -> None:
        self.op = op
        self.fd = fd
        self.target = target
        self.body = ""

    @property
    def writes(self) -> bool:
        return (self.op[0] == "&" or ">" in self.op) and not self.copies

    @property
    def copies(self) -> bool:
        """It names an open descriptor (`2>&1`, `<&-`), not a file."""
        return self.op in (">&", "<&") and (
            self.op == "<&" or self.target.text.rstrip("-").isdigit() or self.target.text == "-"
        )

    @property
    def raw(self) -> str:
        return f"{self.fd}{self.op}{'' if self.copies else ' '}{self.target.raw}"


Token = Word | Operator | Redirect

_RANK = {"": 0, "glob": 1, "variable": 2, "input": 3, "substitution": 4, "deep": 5}


def worse(one: str, other: str) -> str:
    """Of two doubts the one that says less of the value."""
    return one if _RANK[one] >= _RANK[other] else other
