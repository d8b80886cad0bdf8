"""Events of this suite's own vocabulary, written by any other producer."""

from typing import ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy
from agent_pipes.agents.native.translate import NativeTranslator, is_event
from agent_pipes.core.jsonl import Fields


class Native(Agent):
    """A producer of events. Nothing is known of its sessions but what is in the stream."""

    name = "native"
    title = "events"
    is_native = True
    process_found_by: ClassVar[ProcessFoundBy] = "given"

    def recognises(self, record: Fields) -> bool:
        """Return True for an event: it has a type and a time."""
        return is_event(record)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> NativeTranslator:
        """Return a translator that passes events on unchanged."""
        return NativeTranslator()


AGENT = Native()
