"""Lines that are events already: they pass as they are, byte for byte."""

from collections.abc import Iterator

from agent_pipes.core.jsonl import Fields


def is_event(record: Fields) -> bool:
    """Return True if `record` has the type and the time of an event."""
    return type(record.get("event_type")) is str and type(record.get("timestamp")) in (int, float)


class NativeTranslator:
    """Yields each event as it is."""

    def __init__(self) -> None:
        self.session = ""

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield `record`."""
        session = record.get("session_id")
        if not self.session and type(session) is str:
            self.session = session
        yield record

    def end(self) -> Iterator[Fields]:
        """Yield nothing: no event is held back."""
        return iter(())
