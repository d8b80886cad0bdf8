"""trace-detect-loop: the same sequence of calls again and again."""

import click

from agent_pipes.core.options import COUNT, Option, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules
from agent_pipes.detect.loop.repeats import RepeatedCalls
from agent_pipes.detect.loop.state import Limits
from agent_pipes.detect.loop.text_loop import TextLoop


@detector("loop", per_agent=True, guards=True, thresholds=(2, 3, 4, 5))
@limit(
    "--max",
    type=COUNT,
    flag="--max-repeats",
    key="loop.max_repeats",
    default=3,
    help="Times a sequence of calls may come in a row.",
)
@limit(
    "--length",
    type=COUNT,
    flag="--loop-length",
    key="loop.sequence_length",
    default=3,
    help="Calls of the shortest sequence that counts.",
)
@limit(
    "--repeat",
    type=COUNT,
    key="loop.repeat",
    default=5,
    help="Times one call may give the same result.",
)
@limit(
    "--ceiling",
    type=COUNT,
    key="loop.ceiling",
    default=20,
    help="Times one call may be made, whatever it gives.",
)
@limit(
    "--warn",
    type=COUNT,
    key="loop.warn",
    default=2,
    help="Warn of a sequence that comes this often.",
)
@click.option(
    "--key",
    cls=Option,
    key="loop.key",
    type=click.Choice(["tool", "target", "call", "result"]),
    default="result",
    show_default=True,
    help="What must be the same for a call to be the same.",
)
@click.option(
    "--text",
    cls=Option,
    key="loop.text",
    is_flag=True,
    help="Look for messages that repeat themselves, too.",
)
def detect_loop(
    max: int,
    length: int,
    repeat: int,
    ceiling: int,
    warn: int,
    key: str,
    text: bool,
) -> Rules:
    """Raise a violation when an agent repeats itself.

    A sequence of calls is a loop when every call in it gives the same result as the round before,
    or when it fails in the same way, whatever was edited in between. Same call, new result is
    progress.
    """
    if max == 1 or repeat == 1:
        raise click.UsageError(
            f"--{'max' if max == 1 else 'repeat'} 1: what comes once does not repeat itself; "
            "2 or more is expected, or 'off'"
        )
    limits = Limits(max, length or 1, repeat, ceiling, warn, key)
    rules: Rules = [lambda: RepeatedCalls(limits)]
    return [*rules, lambda: TextLoop(max)] if text else rules


main = detect_loop.main
