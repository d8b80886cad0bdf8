"""Host patterns: `example.org`, `*.example.org`, `*`."""

from collections.abc import Sequence

from agent_pipes.core.lazy_regex import pattern as regex

MAX_LABELS = 128
"""Labels of a host name that are compared; DNS allows no more."""


class HostPatterns:
    """A list of hosts: `example.org`, `*.example.org` for all below it, `*` for all.

    Raises ValueError, with what is expected, for a text that is no host.
    """

    _HOST = regex(r"\*|(?:\*\.)?\w(?:[\w.-]*\w)?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns: dict[str, str] = {}
        for pattern in patterns:
            name = pattern.strip().rstrip(".").lower().removeprefix("[").removesuffix("]")
            if not self._HOST.fullmatch(name):
                raise ValueError(
                    'expected a host such as "github.com" or "*.github.com",'
                    " without scheme, port and path"
                )
            self.patterns[name] = pattern

    def match(self, host: str) -> str:
        """Return the pattern that matches `host`, or ""."""
        name = host.rstrip(".").lower()
        names = ["localhost", name] if name in ("127.0.0.1", "::1") else [name]
        labels = name.split(".")
        names += ["*." + ".".join(labels[at:]) for at in range(1, min(len(labels), MAX_LABELS))]
        return next((self.patterns[key] for key in (*names, "*") if key in self.patterns), "")
