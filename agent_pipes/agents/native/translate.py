"""Lines that are events already: they pass as they are, byte for byte."""

from collections.abc import Iterator

from agent_pipes.agents.fields import string
from agent_pipes.agents.translator import BaseTranslator
from agent_pipes.core.jsonl import Fields


def is_event(record: Fields) -> bool:
    """Return True if `record` has the type and the time of an event."""
    return type(record.get("event_type")) is str and type(record.get("timestamp")) in (int, float)


class NativeTranslator(BaseTranslator):
    """Yields each event as it is."""

    def translate(self, record: Fields, arrival: float, path: str = "") -> Iterator[Fields]:
        """Yield `record`."""
        self.session = self.session or string(record, "session_id")
        yield record
