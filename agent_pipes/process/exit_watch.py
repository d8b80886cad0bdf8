"""Watch for the exit of a process that we never signal."""

from agent_pipes.process.handle import NotPermitted, ProcessHandle
from agent_pipes.process.table import Identity, alive


class ExitWatch:
    """Watch for the exit of a followed session's process, also if it is another user's."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        try:
            self.handle: ProcessHandle | None = ProcessHandle(identity, allowed=identity)
        except NotPermitted:
            # A process of another user, or one that has exited, can still be looked up.
            self.handle = None

    def fileno(self) -> int:
        return self.handle.fileno() if self.handle else -1

    def has_exited(self) -> bool:
        return self.handle.has_exited() if self.handle else not alive(self.identity)

    def close(self) -> None:
        if self.handle:
            self.handle.close()
