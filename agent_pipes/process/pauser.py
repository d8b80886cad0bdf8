"""Stop or continue an agent and everything it has started."""

import signal as signals
import time
from collections.abc import Callable

from agent_pipes.process.handle import NotPermitted, ProcessHandle
from agent_pipes.process.outcome import Outcome, Result, describe
from agent_pipes.process.table import Identity
from agent_pipes.process.tree import ProcessTree

RESULTS: dict[int, Result] = {
    signals.SIGSTOP: "paused",
    signals.SIGCONT: "continued",
    signals.SIGTSTP: "interrupted",
}

PAUSE_SIGNALS = frozenset(RESULTS)
"""Signals that end nothing: they are sent to the agent and its whole tree, and nothing follows."""

STOP_TIMEOUT_S = 5.0
"""Seconds that all processes have to be stopped."""

POLL_INTERVAL_S = 0.02
"""Seconds between two scans in `finish`."""


class Pauser:
    """Sends one of PAUSE_SIGNALS to one agent's tree, once; `step` never waits.

    Like `Terminator`, it does not close `agent`, which belongs to the caller.
    """

    def __init__(
        self,
        agent: ProcessHandle,
        *,
        signal: int = signals.SIGSTOP,
        marker: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the parameters of `Terminator`."""
        self.agent = agent
        self.signal = signals.Signals(signal)
        self.outcome: Outcome | None = None
        self._tree = ProcessTree(agent, marker=marker)
        self._clock = clock
        self._started_at: float | None = None
        self._refusal = ""

    def start(self) -> None:
        """Signal the agent and its children."""
        self._started_at = self._clock()
        self._tree.scan()
        if self.agent.has_exited():
            self._end("not_running", f"process {self.agent.identity.pid} had already exited")
            return
        for handle in (self.agent, *self._tree.live.values()):
            self._send(handle)

    def step(self) -> Outcome | None:
        """Scan once; return the outcome as soon as there is one."""
        if self.outcome is None and (self.signal != signals.SIGSTOP or self._all_stopped()):
            result = RESULTS[self.signal]
            self._end(
                "failed" if self._refusal else result,
                self._refusal or f"{result} {describe(self.agent, len(self._tree.live))}",
            )
        return self.outcome

    def fds(self) -> list[int]:
        """Return no descriptors: a stopped process has none that becomes readable."""
        return []

    def finish(self, *, hurry: bool = False) -> Outcome:
        """Start if necessary, and wait for the outcome. `hurry` has no grace to cut short."""
        if self._started_at is None:
            self.start()
        while (outcome := self.step()) is None:
            time.sleep(POLL_INTERVAL_S)
        return outcome

    def _all_stopped(self) -> bool:
        """Stop what is new; return True if everything is stopped. Ends in failure when too late."""
        new = self._tree.scan(self._send)
        running = [
            identity
            for identity in (self.agent.identity, *self._tree.live)
            if not self._tree.is_stopped(identity)
        ]
        if (new or running) and self._clock() < (self._started_at or 0.0) + STOP_TIMEOUT_S:
            return False
        if running:
            why = f" ({self._refusal})" if self._refusal else ""
            self._end("failed", f"process {running[0].pid} does not stop{why}", running)
            return False
        return True

    def _send(self, handle: ProcessHandle) -> None:
        try:
            handle.send(self.signal)
        except NotPermitted as refusal:
            self._refusal = str(refusal)

    def _end(self, outcome: Result, reason: str, survivors: list[Identity] | None = None) -> None:
        waited_ms = (self._clock() - (self._started_at or 0.0)) * 1000
        self.outcome = Outcome(outcome, reason, waited_ms, survivors or [])
        self._tree.close()
