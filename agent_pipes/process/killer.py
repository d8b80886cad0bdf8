"""What trace-kill knows of each session: its process, whether a limit was passed, and how far its ending has come."""

import math
import os
import signal as signals
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.event import Event, make
from agent_pipes.core.exit_status import ExitStatus, worst
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import Waiter
from agent_pipes.process.handle import Held, Refused, reap_adopted
from agent_pipes.process.table import Identity, identify, process_at
from agent_pipes.process.terminator import Ending, Outcome

UNARMED = 5.0
"""Seconds of a live session after which it is said that its process is not known: a client needs one or two to register."""

STEP = 0.05
"""Seconds between two looks at a process that is being ended."""

ENDED_IT = ("terminated", "killed", "interrupted", "dry_run", "not_running")


class Guarded:
    """A session, and the process that is to end when the session passes a limit."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.held: Held | None = None
        self.refused = ""
        self.ended: Identity | None = None
        self.control: Path | None = None
        self.marker: tuple[str, str] | None = None
        self.whole_tree = False
        self.history = False
        self.live_since = 0.0
        self.told = False
        self.ending: Ending | None = None
        self.trigger: Event | None = None
        self.finished = False

    def arm(self, event: Event) -> None:
        """Know the process from now on, by more than its number: a later one of the same number is not it."""
        pid, started = event.data.get("pid"), event.text("started")
        if type(pid) is not int or not started or (self.trigger and not self.unmet):
            return
        identity = Identity(pid, started)
        if self.held and self.held.identity == identity:
            return
        self.disarm()
        control = event.text("control")
        name, _, value = event.text("marker").partition("=")
        self.control = Path(control) if control else None
        self.marker = (name, value) if value else None
        self.whole_tree = event.text("how") == "child"
        self.hold(identity)

    def hold(self, identity: Identity) -> None:
        try:
            self.held, self.refused = Held(identity, allowed=identity), ""
        except Refused as reason:
            self.held = None
            row = process_at(identity.pid)
            if row and row.dead and row.identity == identity:
                # A command that was over before its session was found: there is nothing to end, nor to warn of.
                self.ended = identity
                return
            self.refused = str(reason)
            warn(f"session {self.session}: process {identity.pid} could not be ended: {reason}")

    def disarm(self) -> None:
        if self.held and not self.ending:
            self.held.close()
            self.held = None

    @property
    def unmet(self) -> bool:
        """Whether a limit was passed, and nothing was done about it yet."""
        return self.trigger is not None and self.ending is None and not self.finished

    @property
    def at_risk(self) -> bool:
        """Whether an agent is still running that this breaker was armed for."""
        return self.held is not None and not self.finished and not self.held.gone()


class Killer:
    """Ends what has passed a limit.

    given:   the one process that --pid has named, for whatever session.
    tripped: the sessions that have passed a limit, until what is to be done about that is done.
    status:  the exit status that it has come to.
    now:     the latest time in the stream.
    """

    def __init__(
        self, waiter: Waiter, *, pid: Identity | None, signal: int, kill_after: float, dry_run: bool
    ) -> None:
        self.waiter = waiter
        self.interval = waiter.interval
        self.signal = signal
        self.kill_after = kill_after
        self.dry_run = dry_run
        self.sessions: dict[str, Guarded] = {}
        self.given: Guarded | None = None
        self.tripped: list[Guarded] = []
        self.status: int = ExitStatus.OK
        self.now = 0.0
        if pid:
            self.given = Guarded("")
            try:
                self.given.held = Held(pid, allowed=pid)
            except Refused as reason:
                raise click.UsageError(f"--pid {pid.pid}: {reason}") from None

    def of(self, session: str) -> Guarded:
        if self.given:
            return self.given
        if session not in self.sessions:
            self.sessions[session] = Guarded(session)
        return self.sessions[session]

    def trip(self, event: Event) -> Iterator[Event]:
        """A limit was passed: act now. What is to be said of it at once is the result."""
        guarded = self.of(event.session)
        if guarded.trigger:
            return
        guarded.trigger = event
        self.tripped.append(guarded)
        yield from self.act(guarded)

    def act(self, guarded: Guarded) -> Iterator[Event]:
        """End the session's process, as soon as it is known."""
        assert guarded.trigger is not None
        if guarded.ended and not guarded.held:
            yield self.told(guarded, guarded.ended.pid, "not_running", "it had ended before")
        elif not guarded.held:
            if not guarded.refused and (
                guarded.history or (guarded.live_since and self.now - guarded.live_since < UNARMED)
            ):
                # An agent may pass a limit before it has registered, and its process is told when its history has been.
                return
            reason = guarded.refused or "its process is not known; name it with --pid"
            yield self.told(guarded, 0, "refused" if guarded.refused else "failed", reason)
        elif self.dry_run:
            yield self.told(
                guarded, guarded.held.identity.pid, "dry_run", guarded.trigger.text("message")
            )
        elif guarded.control and guarded.held.gone():
            yield self.told(
                guarded, guarded.held.identity.pid, "not_running", "it had ended before"
            )
        elif guarded.control:
            yield self.interrupt(guarded, guarded.held, guarded.control)
        else:
            # Also where it has ended meanwhile: what it has left running is to end. A command of ours may be a wrapper of
            # the agent, and the orphans of both come to us.
            ourselves = identify(os.getpid()) if guarded.whole_tree else None
            guarded.ending = Ending(
                guarded.held,
                signal=self.signal,
                kill_after=self.kill_after or math.inf,
                marker=guarded.marker,
                whole_tree=guarded.whole_tree,
                extra_roots=(ourselves,) if ourselves else (),
            )
            guarded.ending.begin()
            self.waiter.interval = STEP

    def interrupt(self, guarded: Guarded, held: Held, control: Path) -> Event:
        """End the turn in a process that serves other sessions too, which a signal would end with it."""
        from agent_pipes.agents.codex.control_socket import ControlError, interrupt

        try:
            said = (
                "its turn was interrupted"
                if interrupt(control, guarded.session) == "interrupted"
                else "nothing ran in it any more"
            )
            event = self.told(guarded, held.identity.pid, "interrupted", said)
        except ControlError as error:
            return self.told(guarded, held.identity.pid, "failed", str(error))
        # The session lives on, and its user may go on with it: the next violation is to end that turn, too.
        guarded.trigger, guarded.finished = None, False
        return event

    def step(self) -> Iterator[Event]:
        """Go on with what is being ended."""
        for guarded in self.tripped:
            if guarded.unmet:
                yield from self.act(guarded)
            elif guarded.ending and not guarded.finished:
                if guarded.whole_tree and guarded.held:
                    reap_adopted({guarded.held.identity.pid})
                if outcome := guarded.ending.step():
                    yield self.over(guarded, outcome)
        if self.tripped:
            self.tripped = [
                each for each in self.tripped if each.unmet or (each.ending and not each.finished)
            ]

    def over(self, guarded: Guarded, outcome: Outcome) -> Event:
        pid = guarded.held.identity.pid if guarded.held else 0
        said = self.told(guarded, pid, outcome.outcome, outcome.reason, outcome.waited_ms)
        if not any(each.ending and not each.finished for each in self.guarded()):
            self.waiter.interval = self.interval
        return said

    def told(
        self, guarded: Guarded, pid: int, outcome: str, reason: str, waited_ms: float = 0.0
    ) -> Event:
        """The kill event, for the stream; the same in a line for people; and what it means for the exit status."""
        guarded.finished = True
        trigger = guarded.trigger
        assert trigger is not None
        done = outcome in ENDED_IT
        if outcome != "dry_run":
            self.status = worst((self.status, ExitStatus.KILLED if done else ExitStatus.NOT_KILLED))
        signal = signals.Signals(self.signal).name.removeprefix("SIG")
        why = f"{trigger.text('watcher')}: {trigger.text('message')}"[:300]
        process = f"process {pid}" if pid else f"session {trigger.session}"
        head = {
            "terminated": "",
            "killed": "",
            "interrupted": "",
            "not_running": f"{process} need not be ended: ",
            "dry_run": f"would end {process}: ",
        }.get(outcome, f"could NOT end {process}: ")
        warn(f"{head}{reason} ({why})" if outcome != "dry_run" else f"{head}{why}")
        data: dict[str, Any] = {
            "pid": pid,
            "signal": signal,
            "outcome": outcome,
            "reason": reason,
            "waited_ms": round(waited_ms, 1),
        }
        return make("kill", max(self.now, trigger.time), trigger.session, data, parent=trigger.id)

    def forget(self, session: str) -> None:
        """The session is over; its process is ours to end no more, unless that has begun."""
        guarded = self.sessions.get(session)
        if guarded and not (guarded.ending and not guarded.finished):
            guarded.disarm()
            del self.sessions[session]

    def guarded(self) -> list[Guarded]:
        return [self.given] if self.given else list(self.sessions.values())

    def say_unarmed(self) -> None:
        """A session without a process is one that nothing here can end: to be said while there is time."""
        for guarded in self.guarded():
            if (
                guarded.live_since
                and not guarded.held
                and not guarded.told
                and not guarded.trigger
                and self.now - guarded.live_since >= UNARMED
            ):
                guarded.told = True
                warn(
                    f"session {guarded.session}: its process is not known: a violation would be told, and end NOTHING; name it with --pid"
                )

    def finish(self) -> Iterator[Event]:
        """The stream is over: see through what has begun."""
        for guarded in self.guarded():
            guarded.live_since, guarded.history = 0.0, False
        yield from self.step()
        while any(each.ending and not each.finished for each in self.guarded()):
            if self.waiter.signal:
                yield from self.hurry()
                return
            self.waiter.wait(timeout=STEP)
            yield from self.step()

    def hurry(self) -> Iterator[Event]:
        """We are to end ourselves: no grace is left for those that are being ended."""
        for guarded in self.guarded():
            guarded.live_since, guarded.history = 0.0, False
            if guarded.unmet:
                yield from self.act(guarded)
            elif guarded.ending and not guarded.finished:
                yield self.over(guarded, guarded.ending.finish(hurry=True))
