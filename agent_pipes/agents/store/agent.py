"""The `.agent-traces` store that hooks of agent-strace write."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from agent_pipes.agents.base import Agent, ProcessFoundBy, Session, SessionFolder
from agent_pipes.agents.native.translate import NativeTranslator
from agent_pipes.agents.store import sessions
from agent_pipes.core.jsonl import Fields

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity


class Store(Agent):
    """The store: its lines are events already."""

    name = "store"
    title = ".agent-traces"
    is_native = True
    process_found_by: ClassVar[ProcessFoundBy] = "hook"
    needs_process = False

    def homes(self) -> list[Path]:
        """Return the folders that hold sessions."""
        return sessions.stores()

    def sessions(self) -> Iterator[Session]:
        """Yield every session of the store."""
        return sessions.sessions()

    def is_active(self, session: Session) -> bool:
        """Return True if the store marks the session as active."""
        return sessions.is_active(session)

    def session_folders(self) -> list[SessionFolder]:
        """Return the folders in which sessions appear."""
        return sessions.session_folders()

    def recognises(self, record: Fields) -> bool:
        """Return True for an event with an id of the store's form."""
        return sessions.recognises(record)

    def translator(self, max_result: int = 4096, recorded: bool = False) -> NativeTranslator:
        """Return a translator that passes events on unchanged."""
        return NativeTranslator()

    def process(self, session: Session) -> "Identity | None":
        """Return the process that the agent's registry or a hook names."""
        return sessions.process(session)


AGENT = Store()
