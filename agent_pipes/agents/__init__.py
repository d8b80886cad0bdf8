"""The agents whose sessions can be read here: one module each. What a source must have stands in `Source`."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    # Hooks read results by what stands here, and an agent waits for them.
    from pathlib import Path

    from agent_pipes.process.table import Identity


class Session(NamedTuple):
    """A session that lies on this machine.

    agent:    the source's NAME.
    id:       as the agent has it.
    cwd:      the directory it works in, "" where the source cannot tell.
    path:     its main file.
    started:  seconds since the epoch, 0.0 where unknown.
    modified: when its main file last changed, seconds since the epoch.
    """

    agent: str
    id: str
    cwd: str
    path: "Path"
    started: float
    modified: float


class Translator(Protocol):
    """Turns the lines of one session, from all of its files, into events. State, but no I/O."""

    session: str

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """The events that `record` comes to; `arrival` (seconds since the epoch) stands in for a time it lacks."""

    def end(self) -> Iterator[Fields]:
        """What is still held back when the input is over."""


class Source(Protocol):
    """What a module in this package has, so that its agent's sessions are found, read and ended."""

    NAME: str

    def recognises(self, record: Fields) -> bool: ...
    def Translator(self, max_result: int = 4096, recorded: bool = False) -> Translator: ...  # noqa: N802
    def sessions(self) -> Iterator[Session]: ...
    def files(self, session: Session) -> "list[Path]": ...
    def process(self, session: Session) -> "Identity | None": ...


_FILES = frozenset({"Read", "read_file", "view"})
"""Tools whose results are files, the longest by far. In a file nothing changes by itself."""


def result(
    text: str, limit: int, key: str = "result", *, tool: str = "", same: str | None = None
) -> dict[str, Any]:
    """A result as its event says it: its head under `key` (`error` for a failure), and of the whole its size and its digest.

    The head is `limit` bytes at most, cut on a whole character. Two results are the same when their digests are.
    Where it was cut, `result_like` is the digest of the whole without what changes by itself, such as times and ids.

    tool: whose result it is; that of one that reads a file needs none.
    same: what of the text is compared, where lines of it differ from run to run.
    """
    content = text.encode(errors="surrogatepass")
    compared = content if same is None else same.encode(errors="surrogatepass")
    head = text if len(content) <= limit else content[:limit].decode(errors="ignore")
    said = {key: head, "result_bytes": len(content), "result_digest": digest(compared)}
    if len(content) > limit and (key == "error" or tool not in _FILES):
        from agent_pipes.core.text import typed

        said["result_like"] = digest(
            typed(text if same is None else same, failed=key == "error").encode(
                errors="surrogatepass"
            )
        )
    return said


def stored_as(session: str) -> str:
    """The name that a session of an agent, whose id is `session`, has in the store that its hooks write."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", session[:16])
