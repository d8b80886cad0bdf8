"""A process whose end is waited for: that of a session which is followed."""

from agent_pipes.process.handle import Held, Refused
from agent_pipes.process.table import Identity, alive


class Watched:
    """A process whose end is waited for; nothing is ever sent to it here."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        try:
            self.held: Held | None = Held(identity, allowed=identity)
        except Refused:
            # Another user's, or gone by now: it can still be looked at.
            self.held = None

    def fileno(self) -> int:
        return self.held.fileno() if self.held else -1

    def gone(self) -> bool:
        return self.held.gone() if self.held else not alive(self.identity)

    def close(self) -> None:
        if self.held:
            self.held.close()
