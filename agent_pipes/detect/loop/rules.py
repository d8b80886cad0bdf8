"""The rules for repeated calls: each returns what it finds in an agent's latest turn, or None."""

from collections.abc import Iterator

from agent_pipes.core.event import Level
from agent_pipes.detect.loop.history import MAX_TURNS
from agent_pipes.detect.loop.state import NEVER, AgentState, Found
from agent_pipes.detect.loop.turn import CallOutcome

POLLING_PACE_S = 5.0
"""Seconds per round from which calls that are known to poll are waiting."""

LOOKING_PACE_S = 20.0
"""Seconds per call from which any calls that change nothing are waiting."""

WAITING_FACTOR = 4
"""Limit for waiting, as a multiple of the limit for a loop."""

Runs = dict[int, int]
"""By period, shortest first: the number of turns for which each equalled the one a period ago."""


def repeats(
    agent: AgentState, exact: Runs, stuck: Runs, over: Found | None
) -> Iterator[Found | None]:
    """Yield what every rule finds; `over` is what `same_call` has found in this turn."""
    since_failure = 0 if agent.turn.failed else agent.since_failure + 1
    running = exact.get(1, 0) + 1
    exact = primitive(exact)
    stuck = {period: run for period, run in primitive(stuck).items() if since_failure < period}
    yield sequence(agent, exact)
    yield sequence(agent, stuck)
    yield over
    calls = agent.turn.distinct
    if len(calls) > 1 and agent.history.news_in(calls)[0]:
        return
    # While a sequence repeats, its calls count by its rounds, unless they are no more than two.
    if not any(period > 1 for period in (*exact, *stuck)):
        yield from (same_result(agent, made, running) for made in calls)
    if all(len({*agent.exact.block(period)}) <= 2 for period in exact):
        yield from (two_calls(agent, made) for made in calls)


def sequence(agent: AgentState, runs: Runs) -> Found | None:
    """Find a sequence of turns that has been repeated too often.

    A sequence shorter than `length` must fill as many calls as one of that length would, so that a
    pair is no loop before a longer sequence is one.
    """
    limits, history = agent.limits, agent.history
    warning = None
    for period, run in runs.items():
        total = run + period
        rounds, back = total // period, min(total - 1, MAX_TURNS)
        past_calls = history.calls_in(back)
        filled = past_calls + len(agent.turn.done) if period < limits.length else NEVER
        count = min(rounds, filled // limits.length)
        level = level_of(count, limits.max, limits.warn)
        if level and agent.polls(period) and limits.key != "result":
            # Without results, waiting for something to change cannot be told from a loop.
            continue
        polls = agent.polls(period)
        if level and waits(agent, past_calls, polls=polls, rounds=back / period):
            level = level_of_waiting(agent, count, limits.max)
        if level == "critical" or (level and warning is None):
            steps = agent.verbs(period)
            first = -total % period
            steps = steps[first:] + steps[:first]
            warning = Found(
                level,
                size_of(level, count, limits.max),
                f"detected loop ({arrows(steps)}) × {rounds}",
                rounds,
                limits.max,
                "--max-repeats",
                history.ids(past_calls) + agent.turn.ids,
                steps,
            )
            if level == "critical":
                break
    return warning


def same_result(agent: AgentState, made: CallOutcome, running: int) -> Found | None:
    """Find one call with one result again and again, `running` times without another between."""
    limits, call = agent.limits, made.call
    limit = limits.same_result
    if not limit or (limits.key != "result" and call.polls):
        return None
    before = agent.history.same(made)
    count = max(len(before) + 1, running)
    # The warning comes at the same share of this limit as of that for sequences.
    warn = -(-limit * limits.warn // limits.max) if limits.max else 0
    level = level_of(count, limit, warn)
    if level and before and waits(agent, before[-1], polls=call.polls, rounds=len(before)):
        level = level_of_waiting(agent, count, limit)
    if level is None:
        return None
    what = "result" if limits.key == "result" else limits.key
    return Found(
        level,
        size_of(level, count, limit),
        f"detected loop: {call.label} × {count}, same {what} each time",
        count,
        limit,
        "--max-same-result",
        [*agent.history.ids_at(before), call.id],
        [call.verb],
    )


def two_calls(agent: AgentState, made: CallOutcome) -> Found | None:
    """Find two calls with old results that are nine tenths of all calls, in whatever order."""
    limit = agent.limits.max * agent.limits.length
    last = limit + -(-limit // 10)
    count = agent.history.two_of(last, made) if limit else 0
    if not limit or count < limit:
        return None
    distance = agent.history.oldest(made, last - 1)
    if waits(agent, distance, polls=agent.polls(4), rounds=distance / 2):
        return None
    return Found(
        "critical",
        2,
        f"detected loop: {made.call.label} and another call, with the same results, "
        f"are {count} of the last {last} calls",
        count,
        limit,
        "--max-repeats",
        [*agent.history.ids(last - 1), made.call.id],
        [made.call.verb],
    )


def same_call(agent: AgentState, made: CallOutcome) -> Found | None:
    """Find one call made very often, whatever its results, without change or progress between.

    While each of its results is new, it may be a reader that pages: a warning.
    """
    limit, call = agent.limits.same_call, made.call
    before = agent.history.made(made) if 0 < limit <= len(made.before) + 1 else []
    count = len(before) + 1
    if not before or count < limit:
        return None
    if waits(agent, before[-1], polls=call.polls, rounds=len(before)):
        return None
    level: Level = "warning" if agent.history.all_new(before) else "critical"
    what = "a new result each time" if level == "warning" else "whatever the result"
    return Found(
        level,
        size_of(level, count, limit),
        f"detected loop: {call.label} × {count}, {what}",
        count,
        limit,
        "--max-same-call",
        [*agent.history.ids_at(before), call.id],
        [call.verb],
    )


def waits(agent: AgentState, distance: int, *, polls: bool, rounds: float) -> bool:
    """Return True if the calls since `distance` calls ago, in `rounds`, wait for something.

    They do if they are known to poll, or if they change nothing, and are made slowly.
    """
    if not distance:
        return False
    pace = agent.history.pace(distance, agent.clock, rounds)
    if polls and pace >= POLLING_PACE_S:
        return True
    per_call = agent.history.pace(distance, agent.clock, distance)
    return per_call >= LOOKING_PACE_S and agent.turn.looks and agent.history.looks(distance)


def level_of_waiting(agent: AgentState, count: int, limit: int) -> Level | None:
    """Return the level of waiting: a warning, which comes early if the answer is an error."""
    complains = any(made.complains for made in agent.turn.done)
    return level_of(count, 0, limit if complains else limit * WAITING_FACTOR)


def primitive(runs: Runs) -> Runs:
    """Return the runs of two rounds and more whose block is not itself a shorter one repeated.

    AAAA has no period of two.
    """
    kept: Runs = {}
    for period, run in runs.items():
        if run < period:
            continue
        for shorter, its_run in kept.items():
            if period % shorter == 0 and its_run >= period - shorter:
                break
        else:
            kept[period] = run
    return kept


def level_of(count: int, limit: int, warn: int) -> Level | None:
    """Return the level of `count`; 0 turns a limit off."""
    if limit and count >= limit:
        return "critical"
    return "warning" if warn and count >= warn else None


def size_of(level: Level, count: int, limit: int) -> int:
    """Return the size of a finding, see Found."""
    if level == "warning":
        return 1
    return 2 + max(0, count.bit_length() - (2 * limit - 1).bit_length())


def arrows(steps: list[str]) -> str:
    """`read→edit→test`; of a long sequence the beginning and the end."""
    if len(steps) > 8:
        steps = [*steps[:4], f"… {len(steps) - 6} more …", *steps[-2:]]
    return "→".join(steps)
