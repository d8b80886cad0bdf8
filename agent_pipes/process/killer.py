"""Kill the process of each session that has passed a limit."""

import math
import os
import signal as signals
from collections.abc import Callable, Iterator
from typing import Any

import click

from agent_pipes.core.event import Event, make
from agent_pipes.core.exit_status import ExitStatus, worst
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Waiter
from agent_pipes.process.handle import NotPermitted, ProcessHandle, reap_adopted
from agent_pipes.process.outcome import Outcome
from agent_pipes.process.pauser import PAUSE_SIGNALS, Pauser
from agent_pipes.process.table import Identity, identify, process_at
from agent_pipes.process.terminator import Terminator

UNARMED_TIMEOUT_S = 5.0
"""Seconds of a live session until its missing process is reported; clients register in two."""

STEP_INTERVAL_S = 0.05
"""Seconds between two steps of a termination."""

SUCCESSES = ("terminated", "killed", "interrupted", "dry_run", "not_running")
"""Outcomes that do not count as a kill that failed."""

Interrupt = Callable[[str, str], str]
"""(control socket, session ID) -> what was interrupted. Raises InterruptError."""


class InterruptError(Exception):
    """A session could not be interrupted; the message gives the reason."""


class KillTarget:
    """A session, its process, and how far its termination has come.

    handle:     the process, None while it is unknown.
    refusal:    why the process may not be signalled.
    exited:     a process that had exited before a handle could be opened.
    control:    control socket of a process that serves other sessions too, "" if there is none.
    marker:     environment variable and value of what the agent starts.
    whole_tree: the process is a command that we have started.
    in_history: the stream is still at events from before the start.
    live_since: time at which the session became live, 0 if it is not.
    warned:     the missing process was reported.
    trigger:    the violation that calls for the kill.
    job:        the running termination or pause.
    finished:   the outcome was reported.
    """

    def __init__(self, session: str) -> None:
        self.session = session
        self.handle: ProcessHandle | None = None
        self.refusal = ""
        self.exited: Identity | None = None
        self.control = ""
        self.marker: tuple[str, str] | None = None
        self.whole_tree = False
        self.in_history = False
        self.live_since = 0.0
        self.warned = False
        self.trigger: Event | None = None
        self.job: Terminator | Pauser | None = None
        self.finished = False

    def arm(self, event: Event) -> None:
        """Open a handle of the process that a `process` event names by PID and start time."""
        pid, started = event.data.get("pid"), event.text("started")
        if type(pid) is not int or not started or (self.trigger and not self.is_waiting):
            return
        identity = Identity(pid, started)
        if self.handle and self.handle.identity == identity:
            return
        self.disarm()
        name, _, value = event.text("marker").partition("=")
        self.control = event.text("control")
        self.marker = (name, value) if value else None
        self.whole_tree = event.text("how") == "child"
        self._open(identity)

    def _open(self, identity: Identity) -> None:
        try:
            self.handle, self.refusal = ProcessHandle(identity, allowed=identity), ""
        except NotPermitted as reason:
            self.handle = None
            row = process_at(identity.pid)
            if row and row.dead and row.identity == identity:
                # A command that was over before its session was found needs no warning.
                self.exited = identity
                return
            self.refusal = str(reason)
            warn(f"session {self.session}: process {identity.pid} could not be ended: {reason}")

    def disarm(self) -> None:
        """Close the handle, unless a termination uses it."""
        if self.handle and not self.job:
            self.handle.close()
            self.handle = None

    @property
    def pid(self) -> int:
        """PID of the process, 0 if it is unknown."""
        return self.handle.identity.pid if self.handle else 0

    @property
    def is_waiting(self) -> bool:
        """True if a limit was passed and nothing was done about it yet."""
        return self.trigger is not None and self.job is None and not self.finished

    @property
    def is_running(self) -> bool:
        """True if a termination has been started and has no outcome yet."""
        return self.job is not None and not self.finished

    @property
    def at_risk(self) -> bool:
        """True if an agent is still running that this breaker was armed for."""
        return self.handle is not None and not self.finished and not self.handle.has_exited()


class Killer:
    """Kills the processes of the sessions that pass a limit.

    given:   target of --pid, which stands for every session.
    tripped: targets that have passed a limit and have no outcome yet.
    status:  exit status so far.
    now:     latest time in the stream.
    """

    def __init__(
        self,
        waiter: Waiter,
        *,
        pid: Identity | None,
        signal: int,
        kill_after: float,
        dry_run: bool,
        interrupt: Interrupt,
    ) -> None:
        self.waiter = waiter
        self.interval = waiter.interval
        self.signal = signal
        self.kill_after = kill_after
        self.dry_run = dry_run
        self.interrupt = interrupt
        self.sessions: dict[str, KillTarget] = {}
        self.given: KillTarget | None = None
        self.tripped: list[KillTarget] = []
        self.status: int = ExitStatus.OK
        self.now = 0.0
        if pid:
            self.given = KillTarget("")
            try:
                self.given.handle = ProcessHandle(pid, allowed=pid)
            except NotPermitted as reason:
                raise click.UsageError(f"--pid {pid.pid}: {reason}") from None

    def target(self, session: str) -> KillTarget:
        """Return the target of a session; a new session gets one."""
        if self.given:
            return self.given
        if session not in self.sessions:
            self.sessions[session] = KillTarget(session)
        return self.sessions[session]

    def targets(self) -> list[KillTarget]:
        return [self.given] if self.given else list(self.sessions.values())

    def see(self, event: Event) -> Iterator[Event]:
        """Note what an event of the stream means for its session; act on a `tick`.

        Yields kill events.
        """
        self.now = max(self.now, event.time)
        if event.type == "process":
            if not self.given:
                self.target(event.session).arm(event)
        elif event.type == "history_start":
            self.target(event.session).in_history = True
        elif event.type == "history_end":
            target = self.target(event.session)
            target.live_since, target.in_history = event.time, False
        elif event.type == "session_end":
            target = self.target(event.session)
            target.live_since, target.in_history = 0.0, False
        elif event.type == "tick":
            self._warn_unarmed()
        yield from self.step()

    def trip(self, event: Event) -> Iterator[Event]:
        """Act on a violation now. Yields the kill event if there is an outcome at once."""
        target = self.target(event.session)
        self.now = max(self.now, event.time)
        if target.trigger:
            return
        target.trigger = event
        self.tripped.append(target)
        yield from self._act(target)
        yield from self.step()

    def step(self) -> Iterator[Event]:
        """Continue all terminations. Yields the kill events of those that have an outcome."""
        if not self.tripped:
            return
        for target in self.tripped:
            if target.is_waiting:
                yield from self._act(target)
            elif target.is_running and target.job:
                if target.whole_tree:
                    reap_adopted({target.pid})
                if outcome := target.job.step():
                    yield self._close(target, outcome)
        self.tripped = [each for each in self.tripped if each.is_waiting or each.is_running]

    def forget(self, session: str) -> None:
        """Drop a session that has ended, unless its termination is still running."""
        target = self.sessions.get(session)
        if target and not target.is_running:
            target.disarm()
            del self.sessions[session]

    def finish(self) -> Iterator[Event]:
        """At the end of the stream, wait for the running terminations."""
        self._end_history()
        yield from self.step()
        while any(each.is_running for each in self.targets()):
            if self.waiter.signal:
                yield from self.hurry()
                return
            self.waiter.wait(timeout=STEP_INTERVAL_S)
            yield from self.step()

    def hurry(self) -> Iterator[Event]:
        """When the breaker itself has to exit, leave no grace to what is being terminated."""
        self._end_history()
        for target in self.targets():
            if target.is_waiting:
                yield from self._act(target)
            elif target.is_running and target.job:
                yield self._close(target, target.job.finish(hurry=True))

    def _end_history(self) -> None:
        # No process is named any more: what still waits for one is reported.
        for target in self.targets():
            target.live_since, target.in_history = 0.0, False

    def _act(self, target: KillTarget) -> Iterator[Event]:
        """Start to terminate the target's process, as soon as it is known."""
        assert target.trigger is not None
        handle = target.handle
        if not handle:
            yield from self._act_without_process(target)
        elif self.dry_run:
            yield self._report(target, target.pid, "dry_run", target.trigger.text("message"))
        elif target.control and handle.has_exited():
            yield self._report(target, target.pid, "not_running", "it had ended before")
        elif target.control:
            yield self._interrupt(target)
        else:
            # An agent that has exited meanwhile may have left tools running.
            target.job = self._job(target, handle)
            target.job.start()
            self.waiter.interval = STEP_INTERVAL_S

    def _act_without_process(self, target: KillTarget) -> Iterator[Event]:
        if target.exited:
            yield self._report(target, target.exited.pid, "not_running", "it had ended before")
        elif target.refusal:
            yield self._report(target, 0, "refused", target.refusal)
        elif not (
            target.in_history
            or (target.live_since and self.now - target.live_since < UNARMED_TIMEOUT_S)
        ):
            # Before that, the process may still become known: it is named after the history.
            reason = "its process is not known; name it with --pid"
            yield self._report(target, 0, "failed", reason)

    def _job(self, target: KillTarget, handle: ProcessHandle) -> Terminator | Pauser:
        if self.signal in PAUSE_SIGNALS:
            return Pauser(handle, signal=self.signal, marker=target.marker)
        # The orphans of a command that we have started become our children.
        ourselves = identify(os.getpid()) if target.whole_tree else None
        return Terminator(
            handle,
            signal=self.signal,
            kill_after=self.kill_after or math.inf,
            marker=target.marker,
            whole_tree=target.whole_tree,
            extra_roots=(ourselves,) if ourselves else (),
        )

    def _interrupt(self, target: KillTarget) -> Event:
        """Interrupt the session's turn in a process that serves other sessions too."""
        try:
            reason = self.interrupt(target.control, target.session)
        except InterruptError as error:
            return self._report(target, target.pid, "failed", str(error))
        event = self._report(target, target.pid, "interrupted", reason)
        # The session is alive, and its user may continue: the next violation counts again.
        target.trigger, target.finished = None, False
        return event

    def _close(self, target: KillTarget, outcome: Outcome) -> Event:
        event = self._report(target, target.pid, outcome.outcome, outcome.reason, outcome.waited_ms)
        if not any(each.is_running for each in self.targets()):
            self.waiter.interval = self.interval
        return event

    def _report(
        self, target: KillTarget, pid: int, outcome: str, reason: str, waited_ms: float = 0.0
    ) -> Event:
        """Print the outcome, set the exit status, and return the kill event."""
        target.finished = True
        trigger = target.trigger
        assert trigger is not None
        if outcome != "dry_run":
            done = outcome in SUCCESSES
            status = ExitStatus.KILLED if done else ExitStatus.NOT_KILLED
            self.status = worst((self.status, status))
        why = f"{trigger.text('watcher')}: {trigger.text('message')}"[:300]
        process = f"process {pid}" if pid else f"session {trigger.session}"
        if outcome == "dry_run":
            warn(f"would end {process}: {why}")
        elif outcome == "not_running":
            warn(f"{process} need not be ended: {reason} ({why})")
        else:
            head = "" if outcome in SUCCESSES else f"could NOT end {process}: "
            warn(f"{head}{reason} ({why})")
        data: dict[str, Any] = {
            "pid": pid,
            "signal": signals.Signals(self.signal).name.removeprefix("SIG"),
            "outcome": outcome,
            "reason": reason,
            "waited_ms": round(waited_ms, 1),
        }
        return make("kill", max(self.now, trigger.time), trigger.session, data, parent=trigger.id)

    def _warn_unarmed(self) -> None:
        """Report live sessions without a process while there is still time to name it."""
        for target in self.targets():
            if (
                target.live_since
                and not target.handle
                and not target.warned
                and not target.trigger
                and self.now - target.live_since >= UNARMED_TIMEOUT_S
            ):
                target.warned = True
                warn(
                    f"session {target.session}: its process is not known: a violation would be "
                    "told, and end NOTHING; name it with --pid"
                )
