"""The agents whose sessions can be read here: one module each. What a source must have stands in `Source`."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent_pipes.event import Fields, digest

if TYPE_CHECKING:
    # Hooks read results by what stands here, and an agent waits for them.
    from pathlib import Path

    from agent_pipes.process import Identity


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


def result(text: str, limit: int, key: str = "result") -> dict[str, Any]:
    """A result as its event says it: its head under `key`, and of the whole its size in bytes and its digest.

    The head is `limit` bytes at most, cut on a whole character. Two results are the same when their digests are.
    """
    content = text.encode(errors="surrogatepass")
    head = text if len(content) <= limit else content[:limit].decode(errors="ignore")
    return {key: head, "result_bytes": len(content), "result_digest": digest(content)}


def stored_as(session: str) -> str:
    """The name that a session of an agent, whose id is `session`, has in the store that its hooks write."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", session[:16])
