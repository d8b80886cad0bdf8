"""Kill the process of each session that has passed a limit."""

import math
import os
import signal as signals
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import click

from agent_pipes.core.display import unbroken
from agent_pipes.core.event import Event, is_person, make
from agent_pipes.core.exit_status import ExitStatus, worst
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Waiter
from agent_pipes.process.comebacks import RETURN_WINDOW_S, Comebacks
from agent_pipes.process.handle import NotPermitted, ProcessHandle, reap_adopted
from agent_pipes.process.kill_target import KillTarget
from agent_pipes.process.outcome import Outcome
from agent_pipes.process.pauser import PAUSE_SIGNALS, Pauser
from agent_pipes.process.table import Identity, identify
from agent_pipes.process.terminator import Terminator

UNARMED_TIMEOUT_S = 5.0
"""Seconds of a live session until its missing process is reported; clients register in two."""

STEP_INTERVAL_S = 0.05
"""Seconds between two steps of a termination."""

MAX_TARGETS = 10_000
"""Sessions that are kept at once; those without a process are dropped first."""

SUCCESSES = frozenset(
    {"terminated", "killed", "paused", "continued", "interrupted", "dry_run", "not_running"}
)
"""Outcomes that do not count as a kill that failed."""

Interrupt = Callable[[str, str], str]
"""(control socket, session ID) -> what was interrupted. Raises InterruptError."""


class InterruptError(Exception):
    """A session could not be interrupted; the message gives the reason."""


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
        shows_cause: bool = True,
    ) -> None:
        self.waiter = waiter
        self.interval = waiter.interval
        self.signal = signal
        self.kill_after = kill_after
        self.dry_run = dry_run
        self.interrupt = interrupt
        self.shows_cause = shows_cause
        self.sessions: dict[str, KillTarget] = {}
        self.given: KillTarget | None = None
        self.tripped: list[KillTarget] = []
        self.status: int = ExitStatus.OK
        self.comebacks = Comebacks()
        self._evicted = False
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
            if len(self.sessions) >= MAX_TARGETS:
                self._evict()
            self.sessions[session] = KillTarget(session)
        return self.sessions[session]

    def _evict(self) -> None:
        """Drop the oldest sessions without a process, else the oldest that is not being killed.

        Many are dropped at a time, because a search from the start skips each one dropped before.
        """
        idle = (each for each in self.sessions.values() if not each.handle and not each.trigger)
        dropped = list(islice(idle, MAX_TARGETS // 64))
        if not dropped:
            dropped = [each for each in self.sessions.values() if not each.is_running][:1]
            if dropped and not self._evicted:
                self._evicted = True
                warn(
                    f"more than {MAX_TARGETS} sessions with a process at once: "
                    "the oldest are dropped, and can no longer be killed"
                )
        for target in dropped:
            target.disarm()
            del self.sessions[target.session]

    def targets(self) -> list[KillTarget]:
        return [self.given] if self.given else list(self.sessions.values())

    def see(self, event: Event) -> Iterator[Event]:
        """Note what an event of the stream means for its session; act on a `tick`.

        Yields kill events.
        """
        self.now = max(self.now, event.time)
        if event.type == "process":
            if not self.given:
                yield from self._arm(event)
        elif event.type == "session_start":
            target = self.target(event.session)
            target.describe(event)
            self.comebacks.started(target, event.session, event.time)
        elif is_person(event):
            self.comebacks.forget(event.session)
        elif event.type == "history_start":
            self.target(event.session).in_history = True
        elif event.type in ("history_end", "session_end"):
            target = self.target(event.session)
            target.live_since = event.time if event.type == "history_end" else 0.0
            target.in_history = False
        elif event.type == "resume":
            self._resumed(self.target(event.session), "resumed")
        elif event.type == "tick":
            for target in self._ticked(event.session):
                self._warn_unarmed(target)
                self._find_continued(target)
        yield from self.step()

    def _arm(self, event: Event) -> Iterator[Event]:
        """Open a handle of the session's process; kill a session again that has come back."""
        killed = self.comebacks.returned(event, max(event.time, self.now))
        target = self.target(event.session)
        if target.is_running:
            # A supervisor may be faster than we are sure of the end.
            target.later = event
            return
        if target.finished and target.pid not in (0, event.data.get("pid")):
            described = target
            self.forget(event.session)
            target = self.target(event.session)
            target.is_attended, target.place = described.is_attended, described.place
        target.arm(event)
        if killed and target.handle and not target.trigger:
            warn(f"session {event.session} was restarted as process {target.pid}: killing it again")
            yield from self.trip(killed.trigger)

    def trip(self, event: Event) -> Iterator[Event]:
        """Act on a violation now. Yields the kill event if there is an outcome at once."""
        target = self.target(event.session)
        self.now = max(self.now, event.time)
        if target.trigger:
            return
        target.trigger, target.signal = event, self._signal_for(event)
        if target.signal == signals.SIGTERM and target.restart_signal:
            target.signal = target.restart_signal
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
        later = [each.later for each in self.tripped if each.later and each.finished]
        self.tripped = [each for each in self.tripped if each.is_waiting or each.is_running]
        for event in later:
            yield from self._arm(event)

    def forget(self, session: str) -> None:
        """Drop a session that has ended, unless its termination is still running."""
        target = self.sessions.get(session)
        if target and not target.is_running:
            target.disarm()
            del self.sessions[session]

    def finish(self) -> Iterator[Event]:
        """At the end of the stream, wait for the running terminations."""
        self._end_history()
        for target in self.targets():
            self._find_continued(target)
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
            yield self._report(target, target.pid, "not_running", self._exited(target))
        elif target.control:
            yield self._interrupt(target)
        else:
            # An agent that has exited meanwhile may have left tools running.
            target.job = self._job(target, handle)
            target.job.start()
            self.waiter.interval = STEP_INTERVAL_S

    def _act_without_process(self, target: KillTarget) -> Iterator[Event]:
        if target.exited:
            yield self._report(target, target.exited.pid, "not_running", self._exited(target))
        elif target.refusal:
            yield self._report(target, 0, "refused", target.refusal)
        elif not (
            target.in_history
            or (target.live_since and self.now - target.live_since < UNARMED_TIMEOUT_S)
        ):
            # Before that, the process may still become known: it is named after the history.
            reason = "no process was found for it; pass --pid"
            yield self._report(target, 0, "failed", reason)

    @staticmethod
    def _exited(target: KillTarget) -> str:
        pid = target.exited.pid if target.exited else target.pid
        return f"process {pid} had already exited before it could be killed"

    def _job(self, target: KillTarget, handle: ProcessHandle) -> Terminator | Pauser:
        if target.signal in PAUSE_SIGNALS:
            return Pauser(handle, signal=target.signal, marker=target.marker)
        # The orphans of a command that we have started become our children.
        ourselves = identify(os.getpid()) if target.whole_tree else None
        return Terminator(
            handle,
            signal=target.signal,
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
        target.rearm()
        return event

    def _close(self, target: KillTarget, outcome: Outcome) -> Event:
        event = self._report(target, target.pid, outcome.outcome, outcome.reason, outcome.waited_ms)
        if not any(each.is_running for each in self.targets()):
            self.waiter.interval = self.interval
        if outcome.outcome == "paused":
            self._paused(target)
        elif outcome.outcome in ("terminated", "killed") and self.comebacks.add(target, self.now):
            # Whoever follows sessions waits for this one to come back.
            self.waiter.linger_s = RETURN_WINDOW_S
        return event

    def _paused(self, target: KillTarget) -> None:
        """Record a pause for `agent-strace resume`."""
        from agent_pipes.process.pause_record import record

        assert target.handle and target.trigger
        target.is_paused = True
        handle, marker = target.handle, target.marker
        self.waiter.on_pause(lambda: Pauser(handle, signal=signals.SIGCONT, marker=marker).finish())
        session = target.trigger.session
        target.record = record(session, target.handle.identity, target.marker, target.trigger.data)
        try:
            target.record.write()
        except OSError as error:
            warn(f"the pause cannot be recorded ({error}); to continue: kill -CONT {target.pid}")
        else:
            warn(f"to continue: {unbroken(f'agent-strace resume {session}')}")

    def _resumed(self, target: KillTarget, how: str) -> None:
        """Count violations again: the agent runs again."""
        if target.is_paused:
            self.waiter.on_pause(None)
            warn(f"process {target.pid} was {how}, and is watched again")
            if target.record:
                target.record.remove()
            target.rearm()

    def _find_continued(self, target: KillTarget) -> None:
        """Notice that a paused agent was continued by its user, or killed."""
        if not target.is_paused or target.is_stopped:
            return
        if target.handle and not target.handle.has_exited():
            if not (target.record and target.record.is_being_killed()):
                self._resumed(target, "continued by something else")
        else:
            target.is_paused = False
            self.status = worst((self.status, ExitStatus.KILLED))
            if target.record:
                target.record.remove()

    def _signal_for(self, violation: Event) -> int:
        """Return the signal that the violation's actions call for, by default that of --signal."""
        actions = violation.data.get("actions")
        if isinstance(actions, list) and "kill" in actions:
            return signals.SIGTERM if self.signal in PAUSE_SIGNALS else self.signal
        if isinstance(actions, list) and "pause" in actions:
            return signals.SIGSTOP
        return self.signal

    def _report(
        self, target: KillTarget, pid: int, outcome: str, reason: str, waited_ms: float = 0.0
    ) -> Event:
        """Print the outcome, set the exit status, and return the kill event."""
        target.finished = True
        trigger = target.trigger
        assert trigger is not None
        if outcome not in ("dry_run", "paused", "continued"):
            status = ExitStatus.KILLED if outcome in SUCCESSES else ExitStatus.NOT_KILLED
            self.status = worst((self.status, status))
        why = f"{trigger.text('watcher')}: {trigger.text('message')}"[:300]
        process = f"process {pid}" if pid else f"session {trigger.session}"
        if outcome == "dry_run":
            warn(f"would kill {process}: {why}")
        else:
            head = "" if outcome in SUCCESSES else f"could NOT kill {process}: "
            because = f" ({why})" if self.shows_cause else ""
            warn(f"{target.named(head + reason)}{because}")
        data: dict[str, Any] = {
            "pid": pid,
            "signal": signals.Signals(target.signal).name.removeprefix("SIG"),
            "outcome": outcome,
            "reason": reason,
            "waited_ms": round(waited_ms, 1),
        }
        return make("kill", max(self.now, trigger.time), trigger.session, data, parent=trigger.id)

    def _warn_unarmed(self, target: KillTarget) -> None:
        """Report a live session without a process while there is still time to name it."""
        if (
            target.live_since
            and not target.handle
            and not target.warned
            and not target.trigger
            and self.now - target.live_since >= UNARMED_TIMEOUT_S
        ):
            target.warned = True
            warn(
                f"no process found for session {target.session}: violations will be reported, "
                "but nothing can be killed; pass --pid"
            )

    def _ticked(self, session: str) -> list[KillTarget]:
        """Return the targets that a tick concerns: that of its session, else all."""
        if self.given or not session:
            return self.targets()
        return [self.sessions[session]] if session in self.sessions else []
