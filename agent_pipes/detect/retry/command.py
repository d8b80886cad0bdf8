"""trace-detect-retry: the same command fails again and again, or the same error comes."""

import click

from agent_pipes.core.options import COUNT, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules


@detector("retry", per_agent=True, guards=True, exceptions=True, thresholds=(2, 3, 4, 5, 7, 10))
@limit(
    "--max",
    type=COUNT,
    flag="--max-retries",
    key="retry.max",
    default=5,
    help="Limit on failures of one command.",
)
@limit(
    "--max-errors",
    type=COUNT,
    flag="--max-errors",
    key="retry.max_errors",
    default=6,
    help="Limit on occurrences of one error, whatever the command.",
)
@limit(
    "--warn",
    type=COUNT,
    key="retry.warn",
    default=0,
    help="Warn when one command has failed this often.",
)
def detect_retry(max: int, max_errors: int, warn: int) -> Rules:
    """Raise a violation when a command fails N times, or an error occurs N times.

    Commands are compared without parts such as cd, variables, timeout, 2>&1 and tail; failed edits
    are compared by file. Calls that the user refused, calls aborted because a parallel one failed,
    and searches without a match do not count as failures. If a pipe hides the exit status of a
    test command, the summary that it prints is used instead.
    """
    from agent_pipes.detect.retry.errors import RepeatedError
    from agent_pipes.detect.retry.failures import RepeatedFailure

    if 0 < max <= warn:
        raise click.UsageError(f"--warn {warn}: must be less than --max {max}, or 'off'")
    return [lambda _: RepeatedFailure(max, warn), lambda _: RepeatedError(max_errors)]


main = detect_retry.main
