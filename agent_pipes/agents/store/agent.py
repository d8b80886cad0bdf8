"""The `.agent-traces` store that hooks of agent-strace write."""

from typing import ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy
from agent_pipes.agents.native.translate import NativeTranslator
from agent_pipes.agents.store import sessions as stored


class Store(Agent):
    """The store: its lines are events already."""

    name = "store"
    title = ".agent-traces"
    is_native = True
    process_found_by: ClassVar[ProcessFoundBy] = "hook"
    needs_process = False

    homes = staticmethod(stored.stores)
    sessions = staticmethod(stored.sessions)
    session_folders = staticmethod(stored.session_folders)
    is_active = staticmethod(stored.is_active)
    process = staticmethod(stored.process)
    recognises = staticmethod(stored.recognises)
    translator = NativeTranslator


AGENT = Store()
