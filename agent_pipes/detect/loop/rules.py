"""The turns of one agent, and whether they repeat. For what counts as a loop, see trace-detect-loop(1)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agent_pipes.core.event import Event, Level
from agent_pipes.core.text import progress
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding
from agent_pipes.detect.loop.history import MAX_TURNS, CallHistory
from agent_pipes.detect.loop.repeat_finder import RepeatFinder
from agent_pipes.detect.loop.turn import CallOutcome, Turn
from agent_pipes.detect.outcomes import Outcome, result_text
from agent_pipes.detect.results import FailureModes

WAITING_PACE_S = 5.0
"""Seconds per round from which polling is waiting: a warning, never more."""

WAITING_FACTOR = 4
"""Limit for waiting, as a multiple of the limit for a loop."""

EPISODE_TURNS = 3
"""Turns after which what is found again is another loop."""

MAX_HISTORY_CALLS = 1000
"""Calls of one agent that are compared, whatever the limits."""

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
    """A rule's finding: it happened `times` times, and `option` allows `limit`; 0 is no limit.

    size: 1 for a warning, 2 at the limit, one more at every power of two from twice the limit on
          (at 3: 8, 16, 32, …).
    """

    level: Level
    size: int
    message: str
    times: int
    limit: int
    option: str
    ids: list[str]
    steps: list[str]


Runs = tuple[int, dict[int, int], int, dict[int, int]]
"""Symbols of a turn, exact and stuck, each followed by the runs that it brings."""


class Loop:
    """The turns of one agent since its user's last prompt.

    failing: targets whose last call has failed.
    mended:  number of targets that succeeded after a failure.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.number = 0
        self.latest = -EPISODE_TURNS
        self.episode: str | int = 0
        self.clock = self.then = 0.0
        self._reset()

    def _reset(self) -> None:
        limits = self.limits
        self.exact = RepeatFinder(MAX_TURNS)
        self.stuck = RepeatFinder(MAX_TURNS)
        size = max(64, 3 * limits.repeat, 3 * limits.ceiling, 2 * limits.max * limits.length)
        most = max(limits.repeat, limits.ceiling, 8)
        self.history = CallHistory(min(MAX_HISTORY_CALLS, size), most)
        self.since_failure = _NEVER
        self.modes = FailureModes()
        self.failing: set[int] = set()
        self.mended = 0
        self.standing: tuple[Finding, ...] = ()
        self._begin("")

    def _begin(self, name: str) -> None:
        self.turn = Turn(name, alone=self.limits.key != "result")
        self.runs: Runs | None = None
        self.over: Found | None = None

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the loop that `event` continues, if any."""
        if event.type == "user_prompt":
            self._reset()
        if call is None:
            return ()
        self._advance(now)
        if event.type != "tool_call":
            return self._answered(call)
        found = self._called(call)
        return self._answered(call) if call.answer else found

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the loop that the latest turn was part of."""
        return self.standing

    def _advance(self, now: float) -> None:
        """Advance the session's clock.

        It counts the time that passes, and the time that tools take by their own account:
        copied events bring times of the past with them.
        """
        self.clock += now - self.then if self.then else 0.0
        self.then = now

    def _called(self, call: Call) -> Iterable[Finding]:
        if not self.turn.takes(call):
            self._commit()
            self._begin(call.step)
        turn = self.turn
        made = turn.open[call] = CallOutcome(call, self.history.before(call), self.clock)
        if self.limits.key == "result":
            if made.before:
                self.over = self._ceiling(made) or self.over
            return self._worst([self.over]) if self.over else ()
        made.exact = self._symbol(call)
        turn.done.append(made)
        return self._judge()

    def _symbol(self, call: Call) -> int:
        key = self.limits.key
        return hash(call.tool) if key == "tool" else call.target if key == "target" else call.key

    def _answered(self, call: Call) -> Iterable[Finding]:
        turn = self.turn
        made = turn.answer(call)
        if made is None or call.answer is None:
            return ()
        self.clock = max(self.clock, made.began + call.answer.time - call.time)
        if call.outcome is Outcome.VOID:
            turn.done = [each for each in turn.done if each is not made]
        else:
            self._compare(made, call.answer)
            if self.limits.key == "result":
                made.exact = hash((call.key, call.result.symbol))
                turn.done.append(made)
        self.runs = None
        return self._judge() if turn.done and not turn.open else ()

    def _compare(self, made: CallOutcome, answer: Event) -> None:
        """Set what a call's result is compared by."""
        call = made.call
        made.failed = call.failed
        self.turn.failed = self.turn.failed or call.failed
        made.result = call.result
        if made.before:
            self.history.recognise(made, call.result)
            made.progress = progress(result_text(answer))
        if call.outcome is Outcome.RUNNING:
            # Whether an earlier failure is mended is not known yet.
            made.stuck = hash((call.target, Outcome.RUNNING.value))
        elif call.failed:
            made.stuck = hash((call.target, self.modes.mode(call.target, call.result)))
            if call.command and len(self.failing) < MAX_TURNS:
                self.failing.add(call.target)
        elif call.target in self.failing:
            # Fix, test, fix, test is work: no two successes after a failure are alike.
            self.failing.discard(call.target)
            self.mended += 1
            made.stuck = hash((call.target, 0, self.mended))
        else:
            made.stuck = hash((call.target, 0))

    def _commit(self) -> None:
        """The turn is over: later turns are compared with it."""
        turn = self.turn
        if turn.done:
            exact, exact_runs, stuck, stuck_runs = self.runs or self._look()
            self.history.add(turn, self.clock, repeats=bool(exact_runs or stuck_runs))
            self.since_failure = 0 if turn.failed else self.since_failure + 1
            self.exact.push(exact, exact_runs)
            self.stuck.push(stuck, stuck_runs)
            self.number += 1

    def _look(self) -> Runs:
        exact, stuck = self.turn.symbols()
        return exact, self.exact.runs(exact), stuck, self.stuck.runs(stuck)

    def _judge(self) -> Iterable[Finding]:
        """Return what the turn completes, now that all its calls are answered."""
        self.runs = runs = self._look()
        _, exact_runs, _, stuck_runs = runs
        if exact_runs or stuck_runs or self.over:
            return self._worst([found for found in self._rules(exact_runs, stuck_runs) if found])
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
            critical = worst.level == "critical"
            advice = f"; raise the limit with {worst.option}" if critical else ""
            seen = {
                "count": worst.times,
                **({"limit": worst.limit} if worst.limit else {}),
                "steps": worst.steps,
            }
            self.standing = (
                Finding(
                    self.episode,
                    worst.message + advice,
                    worst.size,
                    worst.level,
                    tuple(worst.ids),
                    seen,
                ),
            )
        return self.standing

    def _rules(self, exact: dict[int, int], stuck: dict[int, int]) -> Iterator[Found | None]:
        since_failure = 0 if self.turn.failed else self.since_failure + 1
        running = exact.get(1, 0) + 1
        exact = _primitive(exact)
        stuck = {period: run for period, run in _primitive(stuck).items() if since_failure < period}
        yield self._turning(exact)
        yield self._turning(stuck, ", failing the same way each time")
        yield self.over
        calls = self.turn.distinct
        if len(calls) > 1 and self.history.news_in(calls)[0]:
            return
        # While a sequence turns, what is in it counts by its rounds, unless it is made of no more than two.
        if not any(period > 1 for period in (*exact, *stuck)):
            yield from (self._again(made, running) for made in calls)
        if all(len({*self.exact.block(period)}) <= 2 for period in exact):
            yield from (self._two(made) for made in calls)

    def _turning(self, runs: dict[int, int], how: str = "") -> Found | None:
        """A sequence of steps that has come round too often. One shorter than `length` must fill as many calls as one of
        that length would, so that a pair is no loop before a longer sequence is one."""
        limits = self.limits
        warning = None
        for period, run in runs.items():
            total = run + period
            rounds, back = total // period, min(total - 1, MAX_TURNS)
            filled = (
                _NEVER
                if period >= limits.length
                else self.history.calls_in(back) + len(self.turn.done)
            )
            count = min(rounds, filled // limits.length)
            level = _level(count, limits.max, limits.warn)
            if level and self._waits(period):
                if limits.key != "result":
                    # What is waited for cannot be seen where results are not looked at.
                    continue
                if (
                    self.history.pace(self.history.calls_in(back), self.clock, back / period)
                    >= WAITING_PACE_S
                ):
                    level = _level(count, 0, limits.max * WAITING_FACTOR)
            if level == "critical" or (level and warning is None):
                steps = [
                    *(turn.verb for turn in self.history.last_turns(period - 1)),
                    self.turn.verb,
                ]
                first = -total % period
                steps = steps[first:] + steps[:first]
                ids = self.history.ids(self.history.calls_in(back)) + self.turn.ids
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

    def _again(self, made: CallOutcome, running: int) -> Found | None:
        """One call with one result again and again, `running` times without another in between."""
        limits, call = self.limits, made.call
        if not limits.repeat or (limits.key != "result" and call.polls):
            return None
        before = self.history.same(made)
        count = max(len(before) + 1, running)
        # The warning comes as much before this limit as before the other.
        level = _level(
            count, limits.repeat, -(-limits.repeat * limits.warn // limits.max) if limits.max else 0
        )
        if (
            level
            and call.polls
            and before
            and self.history.pace(before[-1], self.clock, len(before)) >= WAITING_PACE_S
        ):
            level = _level(count, 0, limits.repeat * WAITING_FACTOR)
        if level is None:
            return None
        message = f"detected loop ({call.verb}) × {count}, the same {'result' if limits.key == 'result' else limits.key} each time"
        size, ids = _size(level, count, limits.repeat), [*self.history.ids_at(before), call.id]
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

    def _two(self, made: CallOutcome) -> Found | None:
        """Two calls that give nothing new are all the agent does, in whatever order, but for one in ten."""
        limit = self.limits.max * self.limits.length
        last = limit + -(-limit // 10)
        count = self.history.two_of(last, made) if limit else 0
        if (
            not limit
            or count < limit
            or (
                self._waits(4)
                and self.history.pace(last - 1, self.clock, last / 2) >= WAITING_PACE_S
            )
        ):
            return None
        message = f"detected loop ({made.call.verb}) in {count} of the last {last} calls: two calls with the same results"
        return Found(
            "critical",
            2,
            message,
            count,
            limit,
            "--max-repeats",
            [*self.history.ids(last - 1), made.call.id],
            [made.call.verb],
        )

    def _ceiling(self, made: CallOutcome) -> Found | None:
        """The same call made very often, whatever it gives, with nothing else changed in between and nothing rising."""
        limit, call = self.limits.ceiling, made.call
        before = self.history.made(made) if 0 < limit <= len(made.before) + 1 else []
        count = len(before) + 1
        if (
            not before
            or count < limit
            or (
                call.polls
                and self.history.pace(before[-1], self.clock, len(before)) >= WAITING_PACE_S
            )
        ):
            return None
        message = f"detected loop ({call.verb}) × {count}, the same call whatever it gives"
        ids = [*self.history.ids_at(before), call.id]
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

    def _waits(self, turns: int) -> bool:
        """Whether at least half of the last steps, this one included, only waited for something."""
        return (
            2 * (sum(turn.polls for turn in self.history.last_turns(turns - 1)) + self.turn.polls)
            >= turns
        )


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
