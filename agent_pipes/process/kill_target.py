"""A session with the process that is killed when it passes a limit."""

import signal as signals
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.process.handle import NotPermitted, ProcessHandle
from agent_pipes.process.machine import machine_id
from agent_pipes.process.pauser import Pauser
from agent_pipes.process.table import Identity, is_stopped, process_at
from agent_pipes.process.terminator import Terminator

if TYPE_CHECKING:
    from agent_pipes.process.pause_record import PauseRecord

RESTART_SIGNALS = ("SIGINT", "SIGHUP", "SIGQUIT")
"""Signals that a `process` event may name as the one that ends a session for good."""


@dataclass(slots=True, eq=False)
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
    signal:     the signal that the agent is sent for it.
    job:        the running termination or pause.
    finished:   the outcome was reported.
    is_paused:  the agent and its tree are stopped, and wait for a user to resume them.
    record:     what was recorded of the pause.
    restart_signal: signal that ends the session for good where SIGTERM makes it come back, else 0.
    is_attended: a person may be at the session, None if that is unknown.
    later:      `process` event that came while the termination ran.
    place:      the agent's name and its directory, None while they are unknown.
    """

    session: str
    handle: ProcessHandle | None = None
    refusal: str = ""
    exited: Identity | None = None
    control: str = ""
    marker: tuple[str, str] | None = None
    whole_tree: bool = False
    in_history: bool = False
    live_since: float = 0.0
    warned: bool = False
    trigger: Event | None = None
    signal: int = 0
    job: Terminator | Pauser | None = None
    finished: bool = False
    is_paused: bool = False
    record: "PauseRecord | None" = None
    restart_signal: int = 0
    is_attended: bool | None = None
    later: Event | None = None
    place: tuple[str, str] | None = None

    def named(self, text: str) -> str:
        """Return a message with the agent's name for its process, if it is known."""
        if self.place is None or not self.pid:
            return text
        process = f"process {self.pid}"
        agent = f"{self.place[0]} (pid {self.pid})"
        text = text.replace(f"{process} (", f"{agent[:-1]}, ")
        return text.replace(f"{process} and its ", f"{agent} and ").replace(process, agent)

    @property
    def is_unattended(self) -> bool:
        """True if the session is known to run without a person: headless, or in the background."""
        return self.restart_signal != 0 or self.is_attended is False

    def describe(self, event: Event) -> None:
        """Record the facts in a `session_start`."""
        interactive = event.data.get("interactive")
        if isinstance(interactive, bool):
            self.is_attended = interactive
        agent, cwd = event.text("agent"), event.text("cwd")
        if agent and cwd:
            self.place = (agent, cwd)

    def rearm(self) -> None:
        """Count violations again: the agent runs on after a pause or an interruption."""
        self.trigger = self.job = None
        self.finished = self.is_paused = False
        self.record = None

    def arm(self, event: Event) -> None:
        """Open a handle of the process that a `process` event names by PID and start time."""
        pid, started = event.data.get("pid"), event.text("started")
        if type(pid) is not int or not started or (self.trigger and not self.is_waiting):
            return
        identity = Identity(pid, started)
        if self.handle and self.handle.identity == identity:
            return
        self.disarm()
        machine = event.text("machine")
        if machine and machine != machine_id():
            self._refuse(
                f"session {self.session}: process {pid} is on another machine: a violation here "
                "cannot stop it; run trace-kill --local there",
                f"process {pid} is on another machine",
            )
            return
        name, _, value = event.text("marker").partition("=")
        self.control = event.text("control")
        self.marker = (name, value) if value else None
        self.whole_tree = event.text("how") == "child"
        name = "SIG" + event.text("restart_signal")
        self.restart_signal = signals.Signals[name] if name in RESTART_SIGNALS else 0
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
            self._refuse(
                f"session {self.session}: process {identity.pid} cannot be killed: {reason}",
                str(reason),
            )

    def _refuse(self, message: str, reason: str) -> None:
        if self.refusal != reason:
            warn(message)
        self.refusal = reason

    @property
    def is_stopped(self) -> bool:
        """True if the agent's process is stopped now."""
        return self.handle is not None and is_stopped(self.pid)

    @property
    def resume_command(self) -> str:
        """The command that continues the paused agent."""
        if self.record:
            return f"agent-strace resume {self.record.session}"
        return f"kill -CONT {self.pid}"

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
        """True if a limit was exceeded and nothing was done about it yet."""
        return self.trigger is not None and self.job is None and not self.finished

    @property
    def is_running(self) -> bool:
        """True if a termination has been started and has no outcome yet."""
        return self.job is not None and not self.finished

    @property
    def at_risk(self) -> bool:
        """True if an agent is still running that this breaker was armed for."""
        return self.handle is not None and not self.finished and not self.handle.has_exited()
