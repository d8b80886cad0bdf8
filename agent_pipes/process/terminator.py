"""Terminate an agent and everything it has started, and nothing else.

    agent = ProcessHandle(identity)                     # as soon as the process is known
    terminator = Terminator(agent, kill_after=10.0)     # when it is to exit
    terminator.start()
    while not (outcome := terminator.step()): ...       # or, without other work: .finish()

The agent is signalled first and its tools once it is gone, because an agent whose tool is killed
asks its model what to do next. The tree is scanned before the first signal, because orphans are
reparented. Neither a signal that was sent nor an exit status proves anything: the processes must
be gone.
"""

import math
import select
import signal as signals
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

from agent_pipes.process.handle import NotPermitted, ProcessHandle, user_name
from agent_pipes.process.outcome import Outcome, Result, describe
from agent_pipes.process.table import Identity, process_at
from agent_pipes.process.tree import ProcessTree

TOOL_GRACE_S = 2.0
"""Seconds that the agent's tools have to exit on SIGTERM, once the agent is gone."""

KILL_TIMEOUT_S = 5.0
"""Seconds that a process has to be gone after SIGKILL; one that waits for a device may stay."""

QUIET_SCANS = 5
"""Scans in a row that must find nothing before the whole tree counts as gone."""

FREEZE_SCANS, FREEZE_INTERVAL_S = 20, 0.002
"""Scans, and seconds between them, until what is to be killed has stopped forking."""

POLL_INTERVAL_MS = 20
"""Milliseconds between two steps in `finish`, if nothing exits meanwhile."""


class Phase(NamedTuple):
    """One phase of a termination: what is signalled, and which phase follows.

    kills: SIGKILL is sent, not a signal that asks to exit; such a phase is never cut short.
    tools: the whole tree is concerned, not only the agent and what is signalled with it.
    done:  the next phase once all are gone.
    late:  the next phase after the time allowed.
    """

    kills: bool
    tools: bool
    done: str
    late: str


PHASES = {
    "ask agent": Phase(kills=False, tools=False, done="ask tools", late="kill agent"),
    "kill agent": Phase(kills=True, tools=False, done="ask tools", late="ask tools"),
    "ask tools": Phase(kills=False, tools=True, done="over", late="kill tools"),
    "kill tools": Phase(kills=True, tools=True, done="over", late="over"),
}


class Terminator:
    """Terminates one agent, once. Only `finish` waits; `agent` is closed by the caller."""

    def __init__(
        self,
        agent: ProcessHandle,
        *,
        signal: int = signals.SIGTERM,
        kill_after: float = 10.0,
        marker: tuple[str, str] | None = None,
        whole_tree: bool = False,
        extra_roots: Collection[Identity] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare the termination of `agent`.

        signal:      the signal that asks the agent to exit.
        kill_after:  seconds until SIGKILL; `math.inf` means never.
        marker:      environment variable and value that mark what the agent starts.
        whole_tree:  `agent` may be a wrapper of the agent (a command that we were given). Its
                     descendants in its own session are signalled with it, children first, so that
                     a wrapper that ignores the signal exits when its child does.
        extra_roots: processes whose descendants count too: the subreaper of the agent's orphans,
                     who has to call `reap_adopted` between steps.
        clock:       monotonic clock, in seconds.
        """
        self.agent = agent
        self.signal = signals.Signals(signal)
        self.kill_after = kill_after
        self.whole_tree = whole_tree
        self.outcome: Outcome | None = None
        self._tree = ProcessTree(agent, marker=marker, extra_roots=extra_roots)
        self._clock = clock
        self._started_at = 0.0
        self._phase = ""
        self._deadline = math.inf
        self._in_hurry = False
        self._first: dict[Identity, ProcessHandle] = {}
        self._result: Result = "terminated"
        self._refusal = ""

    def start(self) -> None:
        """Scan the tree and send the first signal. Must be called once."""
        self._started_at = self._clock()
        if not self._tree.scan_children():
            self._scan()
        if not self.agent.has_exited():
            self._first[self.agent.identity] = self.agent
        self._first.update(self._with_agent(self._tree.live.values()))
        if not self._first:
            self._result = "not_running"
        self._enter("ask agent")

    def step(self) -> Outcome | None:
        """Continue without waiting. To be called every 100 ms, and when one of `fds()` is readable.

        Returns the outcome once there is one.
        """
        while self.outcome is None:
            phase = PHASES[self._phase]
            # What exits during a scan, which takes long on a busy machine, is noticed by the next.
            now = self._clock()
            if all(self._find_nothing(phase) for _ in range(QUIET_SCANS if phase.tools else 1)):
                self._enter(phase.done)
            elif now >= self._deadline:
                self._enter(phase.late)
            else:
                break
        return self.outcome

    def finish(self, *, hurry: bool = False) -> Outcome:
        """Start if necessary, and wait for the outcome. With `hurry` nothing has any grace left."""
        self._in_hurry = self._in_hurry or hurry
        if not self._phase:
            self.start()
        elif hurry and not self.outcome and not PHASES[self._phase].kills:
            self._deadline = -math.inf
        while (outcome := self.step()) is None:
            poll = select.poll()
            for fd in self.fds():
                poll.register(fd, select.POLLIN)
            poll.poll(POLL_INTERVAL_MS)
        return outcome

    def fds(self) -> list[int]:
        """Return descriptors that become readable when a process exits; others after each step."""
        handles = {**self._tree.live, **self._first}.values()
        return [handle.fd for handle in handles if handle.fd >= 0]

    def _enter(self, name: str) -> None:
        """Begin a phase: signal those that are there, and set the deadline."""
        if name == "over":
            self._settle()
            return
        phase = PHASES[name]
        if not phase.kills and (self._in_hurry or self.signal == signals.SIGKILL):
            self._enter(phase.late)
            return
        victims = list((self._tree.live if phase.tools else self._first).values())
        if name == "kill agent" and victims:
            self._result = "killed"
        self._phase = name
        self._act(phase, victims)
        # The time allowed begins with the signal, because a scan takes long on a busy machine.
        self._deadline = self._clock() + self._timeout(phase)

    def _timeout(self, phase: Phase) -> float:
        if phase.kills:
            return KILL_TIMEOUT_S
        if not phase.tools or math.isinf(self.kill_after):
            return self.kill_after
        return min(self.kill_after, TOOL_GRACE_S)

    def _find_nothing(self, phase: Phase) -> bool:
        """Scan once and signal what is new; return True if nothing is left for this phase."""
        new = self._scan(self._freeze_one if phase.kills and phase.tools else None)
        if not phase.tools:
            beside = self._with_agent(new)
            self._first.update(beside)
            self._act(phase, list(beside.values()))
            return not self._first
        self._act(phase, new)
        tree = self._tree
        return not (self._first or tree.live or tree.changed or tree.unreadable)

    def _scan(self, on_found: Callable[[ProcessHandle], None] | None = None) -> list[ProcessHandle]:
        for identity in [each for each, handle in self._first.items() if handle.has_exited()]:
            del self._first[identity]
        return self._tree.scan(on_found)

    def _with_agent(self, handles: Iterable[ProcessHandle]) -> dict[Identity, ProcessHandle]:
        """Return those that are signalled with the agent, as one of them may be the real one."""
        return {
            each.identity: each
            for each in handles
            if self.whole_tree and each.session == self.agent.session
        }

    def _act(self, phase: Phase, victims: list[ProcessHandle]) -> None:
        """Signal `victims`, children before their parents."""
        if phase.kills:
            self._freeze(victims)
        number = signals.SIGKILL if phase.kills else signals.SIGTERM if phase.tools else self.signal
        for handle in reversed(victims):
            self._send(handle, number)
            if not phase.kills:
                # A stopped process receives the signal only once it is continued.
                self._send(handle, signals.SIGCONT)

    def _freeze(self, victims: list[ProcessHandle]) -> None:
        """Stop `victims`, and add what they fork until all are stopped.

        A stopped process forks no more, and what it has forked still has it as its parent.
        """
        for handle in victims:
            self._freeze_one(handle)
        for _ in range(FREEZE_SCANS if victims else 0):
            new = self._scan(self._freeze_one)
            victims += new
            if not new and all(self._tree.is_stopped(each.identity) for each in victims):
                return
            time.sleep(FREEZE_INTERVAL_S)

    def _freeze_one(self, handle: ProcessHandle) -> None:
        self._send(handle, signals.SIGSTOP)

    def _send(self, handle: ProcessHandle, number: int) -> None:
        try:
            handle.send(number)
        except NotPermitted as refusal:
            self._refusal = str(refusal)

    def _settle(self) -> None:
        """Set the outcome."""
        alive = [
            identity
            for identity, handle in {**self._first, **self._tree.live}.items()
            if not handle.has_exited()
        ]
        foreign = self._tree.live_foreign()
        if troubles := self._troubles(alive, foreign):
            more = f"; and {len(troubles) - 3} more" if len(troubles) > 3 else ""
            self._end("failed", "; ".join(troubles[:3]) + more, alive + foreign)
        else:
            self._end(self._result, self._reason())

    def _troubles(self, alive: list[Identity], foreign: list[Identity]) -> list[str]:
        troubles = [
            f"process {identity.pid} is still alive after SIGKILL{_device_wait(identity)}"
            for identity in alive
        ]
        troubles += [
            f"its child process {identity.pid} belongs to {self._owner(identity)} "
            "and is still alive"
            for identity in foreign
        ]
        if self._tree.unreadable:
            troubles.append(self._tree.unreadable)
        if self._tree.changed and not alive:
            troubles.append("its child processes keep starting new ones")
        if self._refusal and alive:
            troubles.append(self._refusal)
        return troubles

    def _reason(self) -> str:
        exited, first = self._tree.exited, self.signal.name
        whom = describe(self.agent, exited)
        if self._result == "not_running":
            left = f"; killed {exited} that it had left running" if exited else ""
            pid = self.agent.identity.pid
            return f"process {pid} had already exited before it could be killed{left}"
        if self._result == "terminated":
            return f"killed {whom} ({first})"
        if self.signal == signals.SIGKILL or self._in_hurry:
            return f"killed {whom} (SIGKILL)"
        return f"killed {whom} (SIGKILL; {first} had no effect in {self.kill_after:g} s)"

    def _end(self, result: Result, reason: str, survivors: list[Identity] | None = None) -> None:
        waited_ms = (self._clock() - self._started_at) * 1000
        self.outcome = Outcome(result, reason, waited_ms, survivors or [])
        self._first.clear()
        self._tree.close()

    def _owner(self, identity: Identity) -> str:
        owner = self._tree.foreign[identity]
        return user_name(owner) if owner is not None else "another user"


def _device_wait(identity: Identity) -> str:
    with suppress(OSError):
        row = process_at(identity.pid)
        if row is not None and row.identity == identity and row.state == "D":
            return " (it waits for a device)"
    return ""
