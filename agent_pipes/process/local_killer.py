"""Kill this machine's own sessions on violations that come from elsewhere."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.process.kill_target import KillTarget
from agent_pipes.process.killer import Killer

Lookup = Callable[[str], Event | None]
"""Session ID -> a `process` event of the session if it is live on this machine, else None."""


class LocalKiller(Killer):
    """A killer that believes the stream's violations, but no process that it names.

    The process is looked up among this machine's live sessions, so that a forged message can at
    worst end an agent of this user by its session's ID. Violations in other sessions are passed
    over.
    """

    def __init__(
        self,
        *arguments: Any,
        lookup: Lookup,
        stale_s: float,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        """Take the arguments of `Killer`.

        stale_s: age in seconds beyond which violations are reported only, 0 for no limit.
        clock:   seconds since the epoch.
        """
        super().__init__(*arguments, **options)
        self._lookup = lookup
        self._stale_s = stale_s
        self._clock = clock

    def see(self, event: Event) -> Iterator[Event]:
        """Act on a tick only: other `process` events are not of this machine."""
        if event.type == "tick":
            yield from super().see(event)
        else:
            yield from self.step()

    def trip(self, event: Event) -> Iterator[Event]:
        """Act on a violation in a live session of this machine, unless it is too old."""
        process = self._lookup(event.session)
        if process is None:
            return
        age = self._clock() - event.time
        if 0 < self._stale_s < age:
            warn(
                f"session {event.session}: a violation that is {format_duration(round(age))} old "
                f"is not acted on ({event.text('watcher')}: {event.text('message')[:200]}); "
                "see --stale"
            )
            return
        target = self.target(event.session)
        if target.finished and not target.is_paused and not _is_process(target, process):
            # The session was resumed by another process since it was killed.
            self.forget(event.session)
            target = self.target(event.session)
        target.arm(process)
        yield from super().trip(event)


def _is_process(target: KillTarget, process: Event) -> bool:
    identity = target.handle.identity if target.handle else None
    return identity is not None and tuple(identity) == (
        process.data.get("pid"),
        process.data.get("started"),
    )
