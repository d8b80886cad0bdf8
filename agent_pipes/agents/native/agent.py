"""Events of this suite's own vocabulary, written by any other producer."""

from typing import ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy
from agent_pipes.agents.native.translate import NativeTranslator, is_event


class Native(Agent):
    """A producer of events. Nothing is known of its sessions but what is in the stream."""

    name = "native"
    title = "events"
    is_native = True
    process_found_by: ClassVar[ProcessFoundBy] = "given"
    recognises = staticmethod(is_event)
    translator = NativeTranslator


AGENT = Native()
