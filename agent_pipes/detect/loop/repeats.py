"""Sequences of calls that are repeated; for what counts as a loop, see trace-detect-loop(1)."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.core.text import progress
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen
from agent_pipes.detect.loop import rules
from agent_pipes.detect.loop.history import MAX_TURNS
from agent_pipes.detect.loop.rules import Runs
from agent_pipes.detect.loop.state import AgentState, Found, Limits
from agent_pipes.detect.loop.turn import CallOutcome
from agent_pipes.detect.outcomes import Outcome, result_text
from agent_pipes.detect.progress import TestProgress
from agent_pipes.detect.results import FailureModes

EPISODE_TURNS = 3
"""Turns after which a repeated loop is a new one."""

TurnRuns = tuple[int, Runs, int, Runs]
"""Symbols of a turn, exact and stuck, each followed by the runs that it brings."""


class RepeatedCalls:
    """Finds sequences of calls of one agent that are repeated.

    number:  turns that are over.
    episode: key of the loop that was found last, at turn `latest`.
    failing: targets whose last call has failed.
    mended:  number of targets that succeeded after a failure.
    printed: symbols of the results of consecutive sleeps.
    """

    types = CALLS_AND_PROMPTS

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.number = 0
        self.latest = -EPISODE_TURNS
        self.episode: str | int = 0
        self.then = 0.0
        self._reset()

    def _reset(self) -> None:
        self.agent = AgentState(self.limits)
        self.modes = FailureModes()
        self.failing: set[int] = set()
        self.progress = TestProgress()
        self.mended = 0
        self.sleeps, self.slept = 0, False
        self.printed: BoundedDict[int, None] = BoundedDict(MAX_TURNS)
        self.standing: tuple[Finding, ...] = ()
        self.runs: TurnRuns | None = None
        self.over: Found | None = None

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the loop that `event` continues, if any."""
        if is_person(event):
            self._reset()
        if call is None:
            return ()
        if call.only_sleeps and not self._is_look(event, call):
            return ()
        if not call.only_sleeps:
            self.slept = False
            self.printed.clear()
        self._advance(now)
        if event.type != "tool_call":
            return self._answered(call)
        found = self._called(call)
        return self._answered(call) if call.answer else found

    def _is_look(self, event: Event, call: Call) -> bool:
        """Return True for a sleep that no other call separates from the sleep before it.

        Any other sleep is the time between two looks, and no call of its own.
        """
        if event.type == "tool_call":
            self.sleeps = self.sleeps + 1 if self.slept else 1
            self.slept = True
        return self.sleeps > 1

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the loop that the latest turn was part of."""
        return self.standing

    def _advance(self, now: float) -> None:
        """Advance the session's clock.

        It counts the time that passes, and the time that tools take by their own account:
        copied events bring times of the past with them.
        """
        self.agent.clock += now - self.then if self.then else 0.0
        self.then = now

    def _called(self, call: Call) -> Iterable[Finding]:
        agent = self.agent
        if call.step:
            agent.turn.drop(call.step)
        if not agent.turn.takes(call):
            self._commit()
            agent.begin(call.step)
            self.runs = self.over = None
        made = CallOutcome(call, agent.history.before(call), agent.clock)
        agent.turn.open[call] = made
        if self.limits.key == "result":
            if made.before:
                self.over = rules.same_call(agent, made) or self.over
            return self._worst([self.over]) if self.over else ()
        made.exact = self._symbol(call)
        agent.turn.done.append(made)
        return self._judge()

    def _symbol(self, call: Call) -> int:
        key = self.limits.key
        return hash(call.tool) if key == "tool" else call.target if key == "target" else call.key

    def _answered(self, call: Call) -> Iterable[Finding]:
        agent, turn = self.agent, self.agent.turn
        made = turn.answer(call)
        if made is None or call.answer is None:
            return ()
        agent.clock = max(agent.clock, made.began + call.answer.time - call.time)
        if call.outcome is Outcome.VOID:
            turn.done = [each for each in turn.done if each is not made]
        else:
            self._compare(made, call.answer)
            if self.limits.key == "result":
                made.exact = hash((call.key, self._printed(call)))
                turn.done.append(made)
        self.runs = None
        return self._judge() if turn.done and not turn.open else ()

    def _printed(self, call: Call) -> int:
        """Return the symbol of the result: 0 for a sleep, unless it prints something new."""
        symbol = call.result.symbol
        if not call.only_sleeps or call.failed:
            return symbol
        is_new = bool(self.printed) and symbol not in self.printed
        self.printed[symbol] = None
        return symbol if is_new and call.result.length else 0

    def _compare(self, made: CallOutcome, answer: Event) -> None:
        """Set what a call's result is compared by."""
        call = made.call
        made.failed = call.failed
        turn = self.agent.turn
        turn.failed = turn.failed or call.failed
        made.result = call.result
        if made.before:
            self.agent.history.recognise(made, call.result)
            made.progress = progress(result_text(answer))
        if self.progress.made_by(call):
            # Progress anywhere in the round is progress: no two such turns are alike.
            self.mended += 1
            made.stuck = hash((call.target, 1, self.mended))
        elif call.outcome in (Outcome.RUNNING, Outcome.UNKNOWN):
            # Whether an earlier failure is mended is not known.
            made.stuck = hash((call.target, call.outcome.value))
        elif call.failed:
            made.stuck = hash((call.target, self.modes.mode(call.target, call.result)))
            if (call.command or call.polls) and len(self.failing) < MAX_TURNS:
                self.failing.add(call.target)
        elif call.target in self.failing:
            # Fix, test, fix, test is work: no two successes after a failure are alike.
            self.failing.discard(call.target)
            self.mended += 1
            made.stuck = hash((call.target, 0, self.mended))
        else:
            made.stuck = hash((call.target, 0))

    def _commit(self) -> None:
        """End the turn: later turns are compared with it."""
        agent = self.agent
        if agent.turn.done:
            exact, exact_runs, stuck, stuck_runs = self.runs or self._look()
            repeats = bool(exact_runs or stuck_runs)
            agent.history.add(agent.turn, agent.clock, repeats=repeats)
            agent.since_failure = 0 if agent.turn.failed else agent.since_failure + 1
            agent.exact.push(exact, exact_runs)
            agent.stuck.push(stuck, stuck_runs)
            self.number += 1

    def _look(self) -> TurnRuns:
        agent = self.agent
        exact, stuck = agent.turn.symbols()
        return exact, agent.exact.runs(exact), stuck, agent.stuck.runs(stuck)

    def _judge(self) -> Iterable[Finding]:
        """Return what the turn completes, now that all its calls are answered."""
        self.runs = runs = self._look()
        _, exact_runs, _, stuck_runs = runs
        if exact_runs or stuck_runs or self.over:
            found = rules.repeats(self.agent, exact_runs, stuck_runs, self.over)
            return self._worst([each for each in found if each])
        self.standing = ()
        return ()

    def _worst(self, found: list[Found]) -> Iterable[Finding]:
        """Return the worst of what was found. Findings turn after turn are one loop."""
        self.standing = ()
        if found:
            worst = max(found, key=lambda each: each.size)
            if self.latest < self.number - EPISODE_TURNS:
                self.episode = (worst.ids or [""])[-1] or self.number
            self.latest = self.number
            self.standing = (
                Finding(
                    self.episode,
                    worst.message,
                    worst.size,
                    worst.level,
                    tuple(worst.ids),
                    seen(worst.times, worst.limit, worst.option, steps=worst.steps),
                ),
            )
        return self.standing
