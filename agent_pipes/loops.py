"""One agent's steps, and whether they go round in circles. What counts as a loop, and why: trace-detect-loop(1)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from agent_pipes.calls import Call, OpenCalls
from agent_pipes.detector import Finding
from agent_pipes.event import Event, Level
from agent_pipes.past import STEPS, Past
from agent_pipes.repeats import Repeats
from agent_pipes.results import FAILED, VOID, Result, outcome, progress, told
from agent_pipes.steps import Deed, Step

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


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule has found: `count` of something where `limit` are allowed by `option`; a limit of 0 is none."""

    level: Level
    message: str
    count: int
    limit: int
    option: str
    ids: list[str]
    seen: dict[str, Any]

    @property
    def size(self) -> int:
        """How big it is: 1 for a warning, 2 at the limit, one more each time that it has doubled."""
        return 1 if self.level == "warning" else 1 + (self.count // self.limit).bit_length()


class Loop:
    """The steps of one agent since its user last spoke."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.open = OpenCalls()
        self.number = 0
        self.episode = self.latest = -CONTIGUOUS
        self.own = object()
        self._start_over()

    def _start_over(self) -> None:
        limits = self.limits
        self.exact = Repeats(STEPS)
        self.stuck = Repeats(STEPS)
        self.past = Past(min(1000, max(64, 3 * limits.repeat, 3 * limits.ceiling, 2 * limits.max * limits.length)))
        self.since_failure = self.since_poll = _NEVER
        self.standing: tuple[Finding, ...] = ()
        self._begin("")

    def _begin(self, step: str) -> None:
        self.step = Step(step, alone=self.limits.key != "result")
        self.runs: tuple[dict[int, int], dict[int, int]] | None = None
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

    def _called(self, event: Event, now: float) -> Iterable[Finding]:
        call = self.open.opened(event)
        if call is None:
            return ()
        if not self.step.takes(call):
            self._commit(now)
            self._begin(call.step)
        self.step.begin(call)
        if self.limits.key == "result":
            self.over = self._ceiling(call) or self.over
            return self._worst([self.over]) if self.over else ()
        self.step.deeds.append(Deed(call, exact=self._symbol(call)))
        return self._judge(now)

    def _symbol(self, call: Call) -> int:
        key = self.limits.key
        return hash(call.tool) if key == "tool" else call.target if key == "target" else call.key

    def _answered(self, event: Event, now: float) -> Iterable[Finding]:
        call = self.open.answered(event)
        if call is None or not self.step.end(call):
            return ()
        deeds = self.step.deeds
        deed = next((deed for deed in deeds if deed.call is call), None)
        came = outcome(event)
        if came == VOID:
            if deed:
                deeds.remove(deed)
        else:
            if deed is None:
                deed = Deed(call)
                deeds.append(deed)
            deed.failed = came == FAILED
            deed.result = result = Result(event, failed=deed.failed)
            if self.past.recognise(call, result):
                deed.risen = progress(told(event))
            if self.limits.key == "result":
                deed.exact = hash((call.key, result.symbol))
            deed.stuck = hash((call.target, result.like if deed.failed else 0))
        self.runs = None
        return self._judge(now) if self.step.whole else ()

    def _commit(self, now: float) -> None:
        """The step is over: what stands in it now is what the steps to come are compared with."""
        step = self.step
        if step.deeds:
            exact, stuck = self.runs or self._look()
            comes_round = bool(exact or stuck)
            self.past.add(step, now, step.name if comes_round else "")
            self.since_failure = 0 if step.failed else self.since_failure + 1
            self.since_poll = 0 if comes_round and step.polls else self.since_poll + 1
            self.exact.push(step.exact, exact)
            self.stuck.push(step.stuck, stuck)
            self.number += 1

    def _look(self) -> tuple[dict[int, int], dict[int, int]]:
        return self.exact.runs(self.step.exact), self.stuck.runs(self.step.stuck)

    def _judge(self, now: float) -> Iterable[Finding]:
        """What the step that is now whole has completed."""
        self.runs = exact, stuck = self._look()
        if exact or stuck or self.over:
            return self._worst([found for found in self._rules(exact, stuck, now) if found])
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
            message = worst.message + (f"; raise the limit with {worst.option}" if worst.level == "critical" else "")
            seen = {"count": worst.count, **({"limit": worst.limit} if worst.limit else {}), **worst.seen}
            self.standing = (Finding((self.own, self.episode), message, worst.size, worst.level, tuple(worst.ids), seen),)
        return self.standing

    def _rules(self, exact: dict[int, int], stuck: dict[int, int], now: float) -> Iterator[Found | None]:
        since_failure = 0 if self.step.failed else self.since_failure + 1
        exact, again = _primitive(exact), exact.get(1, 0) + 1
        stuck = {period: run for period, run in _primitive(stuck).items() if since_failure < period}
        yield self._turning({period: run for period, run in exact.items() if period > 1}, now)
        yield self._turning(stuck, now, ", failing the same way each time")
        yield self.over
        deeds = self.step.distinct
        if len(deeds) > 1 and self.past.brings(deeds)[0]:
            return
        turning = [period for period, run in exact.items() if 2 <= period <= run]
        if not turning and not any(2 <= period <= run for period, run in stuck.items()):
            yield from (self._again(deed, again, now) for deed in deeds)
        if all(len({*self.exact.block(period)}) <= 2 for period in turning):
            yield from map(self._two, deeds)

    def _turning(self, runs: dict[int, int], now: float, how: str = "") -> Found | None:
        """A sequence of steps that has come round too often. A short one counts by the steps that it fills, so that a
        pair is no loop before a sequence of `length` is one."""
        limits = self.limits
        warning = None
        for period, run in runs.items():
            total = run + period
            rounds = total // period
            count, unit = (total, limits.length) if period < limits.length else (rounds, 1)
            limit = limits.max * unit
            level = _level(count, limit, limits.warn * unit)
            if level is None:
                continue
            back = min(total - 1, STEPS)
            if self._polls(period) and self.past.pace(self.past.deeds_in(back), now, back / period) >= PACED:
                level = _level(count, 0, limit * PATIENCE)
            if level == "critical" or (level and warning is None):
                steps = [*self.past.names(period - 1), self.step.name]
                first = -total % period
                steps = steps[first:] + steps[:first]
                ids = self.past.ids(self.past.deeds_in(back)) + self.step.ids()
                found = Found(level, f"detected loop ({_arrows(steps)}) × {rounds}{how}", count, limit, "--max", ids, {"rounds": rounds, "steps": steps})
                if level == "critical":
                    return found
                warning = found
        return warning

    def _again(self, deed: Deed, running: int, now: float) -> Found | None:
        """One call with one result again and again, `running` times without another in between."""
        limits, call = self.limits, deed.call
        if limits.key != "result" and call.polls:
            return None
        before = self.past.same(deed)
        count = max(len(before) + 1, running)
        fills = limits.max * limits.length
        limit, option = (limits.repeat, "--repeat") if limits.repeat else (fills, "--max")
        if limits.repeat and fills and running >= fills:
            limit, option = min((fills, "--max"), (limits.repeat, "--repeat"))
        warn = -(-limits.repeat * limits.warn // limits.max) if limits.repeat and limits.max else 0
        level = _level(count if limits.repeat else running, limit, warn) or _level(running, 0, limits.warn * limits.length)
        if level and call.polls and before and self.past.pace(before[-1], now, len(before)) >= PACED:
            level = _level(count, 0, limit * PATIENCE)
        if level is None:
            return None
        what = "the same result" if limits.key == "result" else f"the same {limits.key}"
        seen = {"rounds": count, "steps": [call.verb]}
        return Found(level, f"detected loop ({call.verb}) × {count}, {what} each time", count, limit, option, [*self.past.ids_at(before), call.id], seen)

    def _two(self, deed: Deed) -> Found | None:
        """Two calls that give nothing new are all the agent does, in whatever order, but for one in ten."""
        limit = self.limits.max * self.limits.length
        last = limit + -(-limit // 10)
        count = self.past.two_of(last, deed) if limit and not deed.call.polls else 0
        if count < limit or not limit:
            return None
        message = f"detected loop ({deed.call.verb}) in {count} of the last {last} calls: two calls with the same results"
        return Found("critical", message, count, limit, "--max", [*self.past.ids(last - 1), deed.call.id], {"steps": [deed.call.verb]})

    def _ceiling(self, call: Call) -> Found | None:
        """The same call made very often, whatever it gives, with nothing else changed in between and nothing rising."""
        limit = self.limits.ceiling
        before = self.past.made(call) if limit else []
        count = len(before) + 1
        if not before or count < limit or (call.polls and self.past.waits(before, PACED)):
            return None
        message = f"detected loop ({call.verb}) × {count}, the same call whatever it gives"
        return Found("critical", message, count, limit, "--ceiling", [*self.past.ids_at(before), call.id], {"rounds": count, "steps": [call.verb]})

    def _polls(self, period: int) -> bool:
        return self.step.polls or self.since_poll + 1 < period


def _primitive(runs: dict[int, int]) -> dict[int, int]:
    """The runs without those whose block is itself a shorter one repeated: AAAA has no period of two."""
    return {
        period: run for period, run in runs.items()
        if not any(period % shorter == 0 and runs[shorter] >= period - shorter for shorter in runs if shorter < period)
    }  # fmt: skip


def _level(count: int, limit: int, warn: int) -> Level | None:
    if limit and count >= limit:
        return "critical"
    return "warning" if warn and count >= warn else None


def _arrows(steps: list[str]) -> str:
    """`read→edit→test`; of a long sequence the beginning and the end."""
    return "→".join(steps if len(steps) <= 8 else [*steps[:4], f"… {len(steps) - 6} more …", *steps[-2:]])
