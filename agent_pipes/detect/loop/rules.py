"""The rules of trace-detect-loop: each returns what it finds in an agent's latest turn, or None."""

from collections.abc import Iterator

from agent_pipes.core.event import Level
from agent_pipes.detect.loop.history import MAX_TURNS
from agent_pipes.detect.loop.state import NEVER, AgentState, Found
from agent_pipes.detect.loop.turn import CallOutcome

WAITING_PACE_S = 5.0
"""Seconds per round from which polling is waiting: a warning, never more."""

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
    yield sequence(agent, stuck, ", failing the same way each time")
    yield over
    calls = agent.turn.distinct
    if len(calls) > 1 and agent.history.news_in(calls)[0]:
        return
    # While a sequence repeats, its calls count by its rounds, unless they are no more than two.
    if not any(period > 1 for period in (*exact, *stuck)):
        yield from (same_result(agent, made, running) for made in calls)
    if all(len({*agent.exact.block(period)}) <= 2 for period in exact):
        yield from (two_calls(agent, made) for made in calls)


def sequence(agent: AgentState, runs: Runs, how: str = "") -> Found | None:
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
        if level and agent.waits(period):
            if limits.key != "result":
                # Without results, waiting for something to change cannot be told from a loop.
                continue
            if history.pace(past_calls, agent.clock, back / period) >= WAITING_PACE_S:
                level = level_of(count, 0, limits.max * WAITING_FACTOR)
        if level == "critical" or (level and warning is None):
            steps = agent.verbs(period)
            first = -total % period
            steps = steps[first:] + steps[:first]
            warning = Found(
                level,
                size_of(level, count, limits.max),
                f"detected loop ({arrows(steps)}) × {rounds}{how}",
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
    if not limits.repeat or (limits.key != "result" and call.polls):
        return None
    before = agent.history.same(made)
    count = max(len(before) + 1, running)
    # The warning comes at the same share of this limit as of that for sequences.
    warn = -(-limits.repeat * limits.warn // limits.max) if limits.max else 0
    level = level_of(count, limits.repeat, warn)
    if level and call.polls and paced(agent, before):
        level = level_of(count, 0, limits.repeat * WAITING_FACTOR)
    if level is None:
        return None
    what = "result" if limits.key == "result" else limits.key
    return Found(
        level,
        size_of(level, count, limits.repeat),
        f"detected loop ({call.verb}) × {count}, the same {what} each time",
        count,
        limits.repeat,
        "--repeat, or loop.repeat in the config file",
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
    pace = agent.history.pace(last - 1, agent.clock, last / 2)
    if agent.waits(4) and pace >= WAITING_PACE_S:
        return None
    verb = made.call.verb
    return Found(
        "critical",
        2,
        f"detected loop ({verb}) in {count} of the last {last} calls: "
        "two calls with the same results",
        count,
        limit,
        "--max-repeats",
        [*agent.history.ids(last - 1), made.call.id],
        [verb],
    )


def same_call(agent: AgentState, made: CallOutcome) -> Found | None:
    """Find one call made very often, whatever its results, without change or progress between."""
    limit, call = agent.limits.ceiling, made.call
    before = agent.history.made(made) if 0 < limit <= len(made.before) + 1 else []
    count = len(before) + 1
    if not before or count < limit or (call.polls and paced(agent, before)):
        return None
    return Found(
        "critical",
        size_of("critical", count, limit),
        f"detected loop ({call.verb}) × {count}, the same call whatever it gives",
        count,
        limit,
        "--ceiling, or loop.ceiling in the config file",
        [*agent.history.ids_at(before), call.id],
        [call.verb],
    )


def paced(agent: AgentState, before: list[int]) -> bool:
    """Return True if the calls at these distances were made at the pace of waiting."""
    return bool(before) and (
        agent.history.pace(before[-1], agent.clock, len(before)) >= WAITING_PACE_S
    )


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
