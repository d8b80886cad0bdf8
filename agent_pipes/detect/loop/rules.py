"""One agent's steps, and whether they go round in circles. What counts as a loop, and why: trace-detect-loop(1)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent_pipes.core.event import Event, Level
from agent_pipes.core.text import progress
from agent_pipes.detect.calls import Call, OpenCalls
from agent_pipes.detect.detector import Finding
from agent_pipes.detect.loop.history import STEPS, Past
from agent_pipes.detect.loop.repeat_finder import Repeats
from agent_pipes.detect.loop.steps import Deed, Step
from agent_pipes.detect.results import (
    FAILED,
    RUNNING,
    VOID,
    Failures,
    Result,
    failure_of,
    outcome,
    told,
)

PACED = 5.0
"""Seconds a round from which on polling is waiting: it is warned of, and never a reason to end anything."""

PATIENCE = 4
"""How many times the limit it may go on before it is warned of."""

CONTIGUOUS = 3
"""Steps after which what is found again is another loop."""

_NEVER = 1 << 60


class Limits(NamedTuple):
    """The options of trace-detect-loop."""

    max: int = 3
    length: int = 3
    repeat: int = 5
    ceiling: int = 20
    warn: int = 2
    key: str = "result"


class Found(NamedTuple):
    """What a rule has found: it happened `times` times where `limit` are allowed by `option`; a limit of 0 is none.

    size: 1 for a warning, 2 at the limit, one more at every power of two from twice the limit on (at 3: 8, 16, 32, …).
    """

    level: Level
    size: int
    message: str
    times: int
    limit: int
    option: str
    ids: list[str]
    steps: list[str]


Seen = tuple[int, dict[int, int], int, dict[int, int]]
"""The symbols of a step, exact and stuck, and the runs that each brings."""


class Loop:
    """The steps of one agent since its user last spoke."""

    __slots__ = (
        "clock",
        "episode",
        "exact",
        "failing",
        "failures",
        "latest",
        "limits",
        "mended",
        "number",
        "open",
        "over",
        "own",
        "past",
        "seen",
        "since_failure",
        "standing",
        "step",
        "stuck",
        "then",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = OpenCalls()
        self.number = 0
        self.episode = self.latest = -CONTIGUOUS
        self.own = object()
        self.clock = self.then = 0.0
        self._start_over()

    def _start_over(self) -> None:
        limits = self.limits
        self.exact = Repeats(STEPS)
        self.stuck = Repeats(STEPS)
        most = max(limits.repeat, limits.ceiling, 8)
        self.past = Past(
            min(
                1000, max(64, 3 * limits.repeat, 3 * limits.ceiling, 2 * limits.max * limits.length)
            ),
            most,
        )
        self.since_failure = _NEVER
        self.failures = Failures()
        self.failing: set[int] = set()
        self.mended = 0
        self.standing: tuple[Finding, ...] = ()
        self._begin("")

    def _begin(self, name: str) -> None:
        self.step = Step(name, alone=self.limits.key != "result")
        self.seen: Seen | None = None
        self.over: Found | None = None

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        kind = event.type
        if kind == "tool_call":
            return self._called(event, now)
        if kind == "tool_result" or kind == "error":
            return self._answered(event, now)
        if kind == "user_prompt":
            self._start_over()
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        return self.standing

    def _goes_on(self, now: float) -> None:
        """The session's clock: the time that has passed, and the time that its tools have taken, by their own account,
        where copied events bring times of the past with them."""
        self.clock += now - self.then if self.then else 0.0
        self.then = now

    def _called(self, event: Event, now: float) -> Iterable[Finding]:
        call = self.open.opened(event)
        if call is None:
            return ()
        self._goes_on(now)
        step = self.step
        if not step.takes(call):
            self._commit()
            self._begin(call.step)
            step = self.step
        deed = step.open[call.id] = Deed(call, self.past.before(call), self.clock)
        if self.limits.key == "result":
            if deed.before:
                self.over = self._ceiling(deed) or self.over
            return self._worst([self.over]) if self.over else ()
        deed.exact = self._symbol(call)
        step.done.append(deed)
        return self._judge()

    def _symbol(self, call: Call) -> int:
        key = self.limits.key
        return hash(call.tool) if key == "tool" else call.target if key == "target" else call.key

    def _answered(self, event: Event, now: float) -> Iterable[Finding]:
        call = self.open.answered(event)
        deed = self.step.end(call) if call is not None else None
        if deed is None:
            return ()
        self._goes_on(now)
        taken = deed.began + event.time - deed.call.time
        if taken > self.clock:
            self.clock = taken
        came = outcome(event)
        if came == VOID:
            self.step.done = [each for each in self.step.done if each is not deed]
        else:
            deed.failed = failed = came == FAILED
            if failed:
                self.step.failed = True
            deed.result = result = failure_of(event) if failed else Result(event, failed=False)
            if deed.before:
                self.past.recognise(deed, result)
                deed.risen = progress(told(event))
            if came == RUNNING:
                # Neither well nor badly: whether what failed before is mended will be seen.
                deed.stuck = hash((deed.call.target, RUNNING))
            else:
                deed.stuck = self._went(
                    deed.call, self.failures.way(deed.call.target, result) if failed else 0
                )
            if self.limits.key == "result":
                deed.exact = hash((deed.call.key, result.symbol))
                self.step.done.append(deed)
        self.seen = None
        return self._judge() if self.step.done and not self.step.open else ()

    def _went(self, call: Call, way: int) -> int:
        """The target and the way it went: `way` of failing, 0 for well. A command that has failed and now ends well is
        being mended: fix, test, fix, test is work, and no two such steps are alike."""
        target = call.target
        if way:
            if call.command and len(self.failing) < STEPS:
                self.failing.add(target)
        elif target in self.failing:
            self.failing.discard(target)
            self.mended += 1
            return hash((target, way, self.mended))
        return hash((target, way))

    def _commit(self) -> None:
        """The step is over: what stands in it now is what the steps to come are compared with."""
        step = self.step
        if step.done:
            exact, exact_runs, stuck, stuck_runs = self.seen or self._look()
            self.past.add(step, self.clock, comes_round=bool(exact_runs or stuck_runs))
            self.since_failure = 0 if step.failed else self.since_failure + 1
            self.exact.push(exact, exact_runs)
            self.stuck.push(stuck, stuck_runs)
            self.number += 1

    def _look(self) -> Seen:
        exact, stuck = self.step.symbols()
        # Where nothing has failed for longer than any period, the next failure will be the first of its kind, and end
        # every run: until then nothing can be stuck.
        well = self.since_failure >= STEPS and not self.step.failed
        return exact, self.exact.runs(exact), stuck, {} if well else self.stuck.runs(stuck)

    def _judge(self) -> Iterable[Finding]:
        """What the step that is now whole has completed."""
        self.seen = seen = self._look()
        _, exact_runs, _, stuck_runs = seen
        if exact_runs or stuck_runs or self.over:
            return self._worst([found for found in self._rules(exact_runs, stuck_runs) if found])
        self.standing = ()
        return ()

    def _worst(self, found: list[Found]) -> Iterable[Finding]:
        """The worst of what was found. What is found step after step is one loop, whichever rule says so."""
        self.standing = ()
        if found:
            worst = max(found, key=lambda each: each.size)
            if self.latest < self.number - CONTIGUOUS:
                self.episode = self.number
            self.latest = self.number
            message = worst.message + (
                f"; raise the limit with {worst.option}" if worst.level == "critical" else ""
            )
            seen = {
                "count": worst.times,
                **({"limit": worst.limit} if worst.limit else {}),
                "steps": worst.steps,
            }
            self.standing = (
                Finding(
                    (self.own, self.episode),
                    message,
                    worst.size,
                    worst.level,
                    tuple(worst.ids),
                    seen,
                ),
            )
        return self.standing

    def _rules(self, exact: dict[int, int], stuck: dict[int, int]) -> Iterator[Found | None]:
        since_failure = 0 if self.step.failed else self.since_failure + 1
        running = exact.get(1, 0) + 1
        exact = _primitive(exact)
        stuck = {period: run for period, run in _primitive(stuck).items() if since_failure < period}
        yield self._turning(exact)
        yield self._turning(stuck, ", failing the same way each time")
        yield self.over
        deeds = self.step.distinct
        if len(deeds) > 1 and self.past.brings(deeds)[0]:
            return
        # While a sequence turns, what is in it counts by its rounds, unless it is made of no more than two.
        if not any(period > 1 for period in (*exact, *stuck)):
            yield from (self._again(deed, running) for deed in deeds)
        if all(len({*self.exact.block(period)}) <= 2 for period in exact):
            yield from (self._two(deed) for deed in deeds)

    def _turning(self, runs: dict[int, int], how: str = "") -> Found | None:
        """A sequence of steps that has come round too often. One shorter than `length` must fill as many calls as one of
        that length would, so that a pair is no loop before a longer sequence is one."""
        limits = self.limits
        warning = None
        for period, run in runs.items():
            total = run + period
            rounds, back = total // period, min(total - 1, STEPS)
            filled = (
                _NEVER
                if period >= limits.length
                else self.past.deeds_in(back) + len(self.step.done)
            )
            count = min(rounds, filled // limits.length)
            level = _level(count, limits.max, limits.warn)
            if level and self._waits(period):
                if limits.key != "result":
                    # What is waited for cannot be seen where results are not looked at.
                    continue
                if self.past.pace(self.past.deeds_in(back), self.clock, back / period) >= PACED:
                    level = _level(count, 0, limits.max * PATIENCE)
            if level == "critical" or (level and warning is None):
                steps = [*self.past.verbs(period - 1), self.step.verb]
                first = -total % period
                steps = steps[first:] + steps[:first]
                ids = self.past.ids(self.past.deeds_in(back)) + self.step.ids
                message = f"detected loop ({_arrows(steps)}) × {rounds}{how}"
                warning = Found(
                    level,
                    _size(level, count, limits.max),
                    message,
                    rounds,
                    limits.max,
                    "--max-repeats",
                    ids,
                    steps,
                )
                if level == "critical":
                    break
        return warning

    def _again(self, deed: Deed, running: int) -> Found | None:
        """One call with one result again and again, `running` times without another in between."""
        limits, call = self.limits, deed.call
        if not limits.repeat or (limits.key != "result" and call.polls):
            return None
        before = self.past.same(deed)
        count = max(len(before) + 1, running)
        # The warning comes as much before this limit as before the other.
        level = _level(
            count, limits.repeat, -(-limits.repeat * limits.warn // limits.max) if limits.max else 0
        )
        if (
            level
            and call.polls
            and before
            and self.past.pace(before[-1], self.clock, len(before)) >= PACED
        ):
            level = _level(count, 0, limits.repeat * PATIENCE)
        if level is None:
            return None
        message = f"detected loop ({call.verb}) × {count}, the same {'result' if limits.key == 'result' else limits.key} each time"
        size, ids = _size(level, count, limits.repeat), [*self.past.ids_at(before), call.id]
        return Found(
            level,
            size,
            message,
            count,
            limits.repeat,
            "--repeat, or loop.repeat in the config file",
            ids,
            [call.verb],
        )

    def _two(self, deed: Deed) -> Found | None:
        """Two calls that give nothing new are all the agent does, in whatever order, but for one in ten."""
        limit = self.limits.max * self.limits.length
        last = limit + -(-limit // 10)
        count = self.past.two_of(last, deed) if limit else 0
        if (
            not limit
            or count < limit
            or (self._waits(4) and self.past.pace(last - 1, self.clock, last / 2) >= PACED)
        ):
            return None
        message = f"detected loop ({deed.call.verb}) in {count} of the last {last} calls: two calls with the same results"
        return Found(
            "critical",
            2,
            message,
            count,
            limit,
            "--max-repeats",
            [*self.past.ids(last - 1), deed.call.id],
            [deed.call.verb],
        )

    def _ceiling(self, deed: Deed) -> Found | None:
        """The same call made very often, whatever it gives, with nothing else changed in between and nothing rising."""
        limit, call = self.limits.ceiling, deed.call
        before = self.past.made(deed) if 0 < limit <= len(deed.before) + 1 else []
        count = len(before) + 1
        if (
            not before
            or count < limit
            or (call.polls and self.past.pace(before[-1], self.clock, len(before)) >= PACED)
        ):
            return None
        message = f"detected loop ({call.verb}) × {count}, the same call whatever it gives"
        ids = [*self.past.ids_at(before), call.id]
        return Found(
            "critical",
            _size("critical", count, limit),
            message,
            count,
            limit,
            "--ceiling, or loop.ceiling in the config file",
            ids,
            [call.verb],
        )

    def _waits(self, steps: int) -> bool:
        """Whether at least half of the last steps, this one included, only waited for something."""
        return 2 * (self.past.polls(steps - 1) + self.step.polls) >= steps


def _primitive(runs: dict[int, int]) -> dict[int, int]:
    """The runs of two rounds and more, without those whose block is itself a shorter one repeated: AAAA has no period
    of two."""
    kept: dict[int, int] = {}
    for period, run in runs.items():
        if run < period:
            continue
        for shorter, its_run in kept.items():
            if period % shorter == 0 and its_run >= period - shorter:
                break
        else:
            kept[period] = run
    return kept


def _level(count: int, limit: int, warn: int) -> Level | None:
    if limit and count >= limit:
        return "critical"
    return "warning" if warn and count >= warn else None


def _size(level: Level, count: int, limit: int) -> int:
    return (
        1 if level == "warning" else 2 + max(0, count.bit_length() - (2 * limit - 1).bit_length())
    )


def _arrows(steps: list[str]) -> str:
    """`read→edit→test`; of a long sequence the beginning and the end."""
    return "→".join(
        steps if len(steps) <= 8 else [*steps[:4], f"… {len(steps) - 6} more …", *steps[-2:]]
    )
