"""trace-detect-loop: an agent repeats itself, or only talks."""

import click

from agent_pipes.core.options import COUNT, Option, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules


@detector("loop", per_agent=True, guards=True, exceptions=True, thresholds=(2, 3, 4, 5))
@limit(
    "--max",
    type=COUNT,
    flag="--max-repeats",
    key="loop.max_repeats",
    default=3,
    help="Limit on rounds of one sequence of calls.",
)
@limit(
    "--length",
    type=COUNT,
    flag="--loop-length",
    key="loop.sequence_length",
    default=3,
    help="Length of the shortest sequence that counts, in calls.",
)
@limit(
    "--max-same-result",
    type=COUNT,
    flag="--max-same-result",
    key="loop.max_same_result",
    old=("--repeat",),
    old_key="loop.repeat",
    default=5,
    help="Limit on identical calls with identical results.",
)
@limit(
    "--max-same-call",
    type=COUNT,
    flag="--max-same-call",
    key="loop.max_same_call",
    old=("--ceiling",),
    old_key="loop.ceiling",
    default=20,
    help="Limit on identical calls regardless of result.",
)
@limit(
    "--max-unfinished",
    type=COUNT,
    flag="--max-unfinished",
    key="loop.max_unfinished",
    default=5,
    help="Limit on commands in a row that do not return.",
)
@limit(
    "--max-talk",
    type=COUNT,
    flag="--max-talk",
    key="loop.max_talk",
    default=8,
    help="Limit on messages in a row without a tool call.",
)
@limit(
    "--max-compactions",
    type=COUNT,
    flag="--max-compactions",
    key="loop.max_compactions",
    default=5,
    help="Limit on compactions of the context without new work in between.",
)
@limit(
    "--max-stagnant",
    type=COUNT,
    flag="--max-stagnant",
    key="loop.max_stagnant",
    default=20,
    help="Limit on calls of one tool with the same answer; raises only a warning.",
)
@limit(
    "--max-same-message",
    type=COUNT,
    flag="--max-same-message",
    key="loop.max_same_message",
    default=6,
    help="Limit on identical messages in a row.",
)
@limit(
    "--max-chant",
    type=COUNT,
    flag="--max-chant",
    key="loop.max_chant",
    default=10,
    help="Limit on repetitions of a text within one message.",
)
@limit(
    "--warn",
    type=COUNT,
    key="loop.warn",
    default=2,
    help="Warn at this round of a sequence.",
)
@click.option(
    "--key",
    cls=Option,
    key="loop.key",
    type=click.Choice(["tool", "target", "call", "result"]),
    default="result",
    show_default=True,
    help="What must be equal in two calls to count them as the same.",
)
@click.option("--text", is_flag=True, hidden=True, expose_value=False)
def detect_loop(
    max: int,
    length: int,
    max_same_result: int,
    max_same_call: int,
    max_unfinished: int,
    max_talk: int,
    max_compactions: int,
    max_stagnant: int,
    max_same_message: int,
    max_chant: int,
    warn: int,
    key: str,
) -> Rules:
    """Raise a violation when an agent repeats itself, or only talks.

    A repeated sequence of calls is a loop if each call gives the same result as in the round
    before, or if the sequence fails in the same way each time, whatever was edited in between. The
    same call with a new result is progress. Slow calls that change nothing are taken for waiting,
    and raise only a warning.
    """
    from agent_pipes.detect.loop.compactions import Compactions
    from agent_pipes.detect.loop.repeats import RepeatedCalls
    from agent_pipes.detect.loop.stagnation import Stagnation
    from agent_pipes.detect.loop.state import Limits
    from agent_pipes.detect.loop.talk import OnlyTalk
    from agent_pipes.detect.loop.text_loop import TextLoop
    from agent_pipes.detect.loop.unfinished import UnfinishedCalls

    for name, value in (("--max", max), ("--max-same-result", max_same_result)):
        if value == 1:
            raise click.UsageError(f"{name} 1: expected 2 or more, or 'off'")
    limits = Limits(max, length or 1, max_same_result, max_same_call, warn, key)
    return [
        lambda _: RepeatedCalls(limits),
        lambda _: TextLoop(max_same_message, max_chant),
        lambda _: UnfinishedCalls(max_unfinished),
        lambda _: OnlyTalk(max_talk),
        lambda _: Compactions(max_compactions),
        lambda _: Stagnation(max_stagnant),
    ]


main = detect_loop.main
