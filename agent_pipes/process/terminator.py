"""Ending an agent and everything it has started, and nothing else.

    agent = Held(identity)                      # as soon as the process is known
    ending = Ending(agent, kill_after=10.0)     # when it is to end
    ending.begin()
    while not (outcome := ending.step()): ...   # or, where nothing else has to be done: outcome = ending.finish()

The agent is signalled first, and what it had started once it is gone: an agent whose tool is killed asks its model what
to do next. What it had started is noted before the first signal: an orphan does not say whose it was. A signal that
was sent proves nothing, nor does an exit status: what is confirmed is that the processes are gone.
"""

import math
import select
import signal as signals
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from agent_pipes.process.handle import Held, Refused, user_name
from agent_pipes.process.table import Identity, process_at
from agent_pipes.process.tree import Offspring

TOOL_GRACE = 2.0
"""Seconds that the agent's tools have to end on SIGTERM, once the agent is gone."""

CONFIRM = 5.0
"""Seconds that a process has to be gone after SIGKILL. What is not waits for a device that does not answer, and is left."""

PASSES = 5
"""Looks at the process table that must find nothing more, one after the other, before all of it is gone."""

PAUSING = frozenset({signals.SIGSTOP, signals.SIGTSTP, signals.SIGCONT})
"""Signals that end nothing: they go to the agent and all that it has started, and nothing follows."""

Result = Literal["terminated", "killed", "interrupted", "not_running", "failed"]


class Outcome(NamedTuple):
    """What came of it.

    outcome:   `terminated`, the agent ended in its grace; `killed`, it took SIGKILL; `interrupted`, it was stopped or
               sent on and lives; `not_running`, it had ended before; `failed`, something lives that should not.
    reason:    what happened, in a sentence for people.
    waited_ms: milliseconds from the beginning to now.
    left:      what lives on, of the agent and of what it had started; empty unless `failed`.
    """

    outcome: Result
    reason: str
    waited_ms: float
    left: Sequence[Identity] = ()


class Ending:
    """Ends one agent, once. It never waits but in `finish`, and does not close `agent`, which is the caller's."""

    def __init__(
        self,
        agent: Held,
        *,
        signal: int = signals.SIGTERM,
        kill_after: float = 10.0,
        marker: tuple[str, str] | None = None,
        whole_tree: bool = False,
        extra_roots: Collection[Identity] = (),
        spared: Collection[Identity] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        signal:      the first signal; one that pauses is all that is sent.
        kill_after:  seconds of grace before SIGKILL; `math.inf` waits for ever.
        marker:      an environment variable and its value, by which the agent marks what it starts.
        whole_tree:  `agent` may be a wrapper of the real one (a command that we were given to run): what it has started
                     in its own session is signalled with it, children first. A wrapper that swallows the signal then
                     ends with its child, and is never killed from above a child that would go on without it.
        extra_roots: processes whose descendants count too: the subreaper of the agent's orphans, which is its parent where
                     a command was given. Whoever that is calls `reap_adopted`, at each step say: nothing is waited for here.
        spared:      children of an extra root with other work, which are not signalled.
        clock:       seconds on a clock that only goes forward.
        """
        self.agent = agent
        self.signal = signal
        self.kill_after = kill_after
        self.whole_tree = whole_tree
        self._offspring = Offspring(agent, marker=marker, extra_roots=extra_roots, spared=spared)
        self._clock = clock
        self._phase: Literal["new", "pausing", "grace", "killing", "tools", "over"] = "new"
        self._since = self._deadline = 0.0
        self._give_up = math.inf
        self._how: Result = "terminated"
        self._hurried = False
        self._killing = False
        self._first: dict[Identity, Held] = {}
        self._killed: set[Identity] = set()
        self._paused: list[Held] = []
        self._refused = ""
        self._empty = 0
        self._outcome: Outcome | None = None

    def begin(self) -> None:
        """Note what the agent has started, and send the first signal. Not to be called again."""
        self._since = self._clock()
        # What an orphan's parent was nobody can tell afterwards; whatever else says whose it is still does.
        if self.signal in PAUSING or not self._offspring.glance():
            self._look()
        if not self.agent.gone():
            self._first[self.agent.identity] = self.agent
        if self.signal in PAUSING:
            self._begin_pause()
            return
        self._first.update(self._beside_agent(self._offspring.living.values()))
        self._phase = "grace"
        self._how = (
            "not_running"
            if not self._first
            else "killed"
            if self.signal == signals.SIGKILL
            else "terminated"
        )
        self._signal(self._first.values(), self.signal)
        # The grace begins with the signal: looking for what it had started may have taken a while on a busy machine.
        self._deadline = -math.inf if self._hurried else self._clock() + self.kill_after

    def step(self) -> Outcome | None:
        """Go on, without waiting for anything to end. To be called each 100 ms at least, and when one of `fds()` can be read."""
        if self._outcome is None:
            self._advance(self._clock())
        return self._outcome

    def fds(self) -> list[int]:
        """What can be read when a process that is waited for has ended; another set after each step."""
        return [
            held.fd for held in {**self._offspring.living, **self._first}.values() if held.fd >= 0
        ]

    def finish(self, hurry: bool = False) -> Outcome:
        """Go on to the end, waiting, and begin if that is still to be done. With `hurry` nothing has any grace left."""
        if hurry and self.signal not in PAUSING:
            self._hurried = True
            self._deadline = -math.inf
        if self._phase == "new":
            self.signal = signals.SIGKILL if self._hurried else self.signal
            self.begin()
        while (outcome := self.step()) is None:
            poll = select.poll()
            for fd in self.fds():
                poll.register(fd, select.POLLIN)
            poll.poll(20)
        return outcome

    # The phases: the agent has its grace, is killed if it must be, then its tools.

    def _advance(self, now: float) -> None:
        if self._phase == "pausing":
            self._pause(now)
            return
        newcomers = self._look(stop=self._killing)
        if self._phase in ("grace", "killing"):
            beside = self._beside_agent(newcomers)
            self._first.update(beside)
            if self._first and self._phase == "grace":
                if now >= self._deadline:
                    self._kill(list(self._first.values()))
                    self._how, self._phase, self._deadline = "killed", "killing", now + CONFIRM
                else:
                    self._signal(beside.values(), self.signal)
                return
            if self._first and now < self._deadline:
                self._kill(list(beside.values()))
                return
            self._begin_tools(now)
        elif not self._killing:
            self._signal(newcomers, signals.SIGTERM)
        self._sweep(now)

    def _begin_tools(self, now: float) -> None:
        self._phase = "tools"
        if self._hurried or self.signal == signals.SIGKILL:
            self._deadline = -math.inf
            return
        self._deadline = now + (
            self.kill_after if math.isinf(self.kill_after) else min(self.kill_after, TOOL_GRACE)
        )
        self._signal(self._offspring.living.values(), signals.SIGTERM)

    def _sweep(self, now: float) -> None:
        if now >= self._deadline:
            self._killing = True
            self._give_up = min(self._give_up, now + CONFIRM)
        while self._empty < PASSES:
            if self._killing:
                self._kill(
                    [
                        held
                        for identity, held in self._offspring.living.items()
                        if identity not in self._killed
                    ]
                )
            newcomers = self._look(stop=self._killing)
            if not self._killing:
                self._signal(newcomers, signals.SIGTERM)
            if (
                self._first
                or self._offspring.living
                or self._offspring.stirring
                or self._offspring.unreadable
            ):
                self._empty = 0
                break
            self._empty += 1
        if self._empty >= PASSES or now >= self._give_up:
            self._settle()

    def _begin_pause(self) -> None:
        if not self._first:
            self._end("not_running", f"process {self.agent.identity.pid} had ended before")
            return
        self._phase = "pausing"
        self._deadline = self._since + CONFIRM
        self._paused = [self.agent, *self._offspring.living.values()]
        for held in self._paused:
            self._send(held, self.signal)

    def _pause(self, now: float) -> None:
        if self.signal == signals.SIGSTOP:
            self._paused += (newcomers := self._look(stop=True))
            moving = [
                held.identity for held in self._paused if not self._offspring.still(held.identity)
            ]
            if (newcomers or moving) and now < self._deadline:
                return
            if moving:
                self._end(
                    "failed",
                    f"process {moving[0].pid} does not stand still"
                    + (f" ({self._refused})" if self._refused else ""),
                    moving,
                )
                return
        then = {signals.SIGSTOP: "stand still until SIGCONT", signals.SIGCONT: "were told to go on"}
        what = then.get(
            signals.Signals(self.signal), f"were sent {signals.Signals(self.signal).name}"
        )
        self._end(
            "failed" if self._refused else "interrupted",
            self._refused or f"{self._whom(len(self._paused) - 1)} {what}",
        )

    # Looking and signalling.

    def _look(self, stop: bool = False) -> list[Held]:
        """Look for what is new of what the agent has started; with `stop` it starts nothing more once it is seen."""
        for identity in [identity for identity, held in self._first.items() if held.gone()]:
            del self._first[identity]
        return self._offspring.look(
            (lambda held: self._send(held, signals.SIGSTOP)) if stop else None
        )

    def _beside_agent(self, held: Iterable[Held]) -> dict[Identity, Held]:
        """Those that are signalled with the agent, as one of them may be the real one."""
        return {
            one.identity: one
            for one in held
            if self.whole_tree and one.session == self.agent.session
        }

    def _send(self, held: Held, number: int) -> None:
        try:
            held.send(number)
        except Refused as refusal:
            self._refused = str(refusal)

    def _signal(self, victims: Iterable[Held], number: int) -> None:
        """Send a signal, to children before their parents, and have those that stand still receive it."""
        for held in reversed(list(victims)):
            self._send(held, number)
            if number != signals.SIGKILL:
                self._send(held, signals.SIGCONT)

    def _kill(self, victims: list[Held]) -> None:
        """Kill `victims`, with what they start meanwhile."""
        self._freeze(victims)
        for held in reversed(victims):
            self._send(held, signals.SIGKILL)
            self._killed.add(held.identity)

    def _freeze(self, victims: list[Held]) -> None:
        """Stop `victims`, and add to them what they start until all of them stand still.

        A process that stands still starts nothing more, and what it had started still says so.
        """
        for held in victims:
            self._send(held, signals.SIGSTOP)
        for _ in range(4 * PASSES if victims else 0):
            newcomers = self._look(stop=True)
            victims += newcomers
            if not newcomers and all(self._offspring.still(held.identity) for held in victims):
                return
            # On a busy machine they need a moment of it to stop: 20 of these at most, as one may wait for a device.
            time.sleep(0.002)

    # What came of it.

    def _settle(self) -> None:
        left = [
            identity
            for identity, held in {**self._first, **self._offspring.living}.items()
            if not held.gone()
        ]
        others = self._offspring.left()
        troubles = [
            f"process {identity.pid} lives on after SIGKILL{_waits(identity)}" for identity in left
        ]
        troubles += [
            f"process {identity.pid}, which it had started, is {self._owner(identity)}'s and lives on"
            for identity in others
        ]
        troubles += [self._offspring.unreadable] if self._offspring.unreadable else []
        troubles += (
            ["what it had started keeps starting itself anew"]
            if self._offspring.stirring and not left
            else []
        )
        troubles += [self._refused] if self._refused and left else []
        if troubles:
            more = f"; and {len(troubles) - 3} more" if len(troubles) > 3 else ""
            self._end("failed", "; ".join(troubles[:3]) + more, left + others)
            return
        ended = self._offspring.ended
        first = signals.Signals(self.signal).name
        if self._how == "not_running":
            self._end(
                "not_running",
                f"process {self.agent.identity.pid} had ended before"
                + (f"; {ended} that it had started ended now" if ended else ""),
            )
        elif self._how == "terminated":
            self._end("terminated", f"{self._whom(ended)} ended on {first}")
        elif self.signal == signals.SIGKILL or self._hurried:
            self._end("killed", f"{self._whom(ended)} ended on SIGKILL")
        else:
            self._end(
                "killed",
                f"{self._whom(ended)} ended on SIGKILL: {first} had not ended it in {self.kill_after:g} s",
            )

    def _end(self, outcome: Result, reason: str, left: list[Identity] | None = None) -> None:
        self._outcome = Outcome(outcome, reason, (self._clock() - self._since) * 1000, left or [])
        self._phase = "over"
        self._first.clear()
        self._offspring.close()

    def _whom(self, others: int) -> str:
        return f"process {self.agent.identity.pid}" + (
            f" and {others} that it had started" if others else ""
        )

    def _owner(self, identity: Identity) -> str:
        owner = self._offspring.others[identity]
        return user_name(owner) if owner is not None else "another user"


def _waits(identity: Identity) -> str:
    with suppress(OSError):
        row = process_at(identity.pid)
        if row is not None and row.identity == identity and row.state == "D":
            return " (it waits for a device)"
    return ""
