"""Lines that are events already, from any other producer: they pass as they are, byte for byte."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent_pipes.agents import Session
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

NAME = "native"

PASSES = True
"""Its lines are events, and flow on as they came."""


def recognises(record: Fields) -> bool:
    """Whether this is an event: it has a type and a time."""
    return type(record.get("event_type")) is str and type(record.get("timestamp")) in (int, float)


class Translator:
    """Gives each event back as it is."""

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        self.session = ""

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        session = record.get("session_id")
        if not self.session and type(session) is str:
            self.session = session
        yield record

    def end(self) -> Iterator[Fields]:
        return iter(())


def sessions() -> Iterator[Session]:
    """None: where another producer keeps its events, it does not say."""
    return iter(())


def files(session: Session) -> list[Path]:
    return [session.path]


def process(session: Session) -> "Identity | None":
    """None: nothing but the stream itself tells of its process; that is what --pid is for."""
    return None
