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
    help="Failures of one command at which it is raised.",
)
@limit(
    "--max-errors",
    type=COUNT,
    flag="--max-errors",
    key="retry.max_errors",
    default=6,
    help="Occurrences of one error at which it is raised, whatever the command.",
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

    Commands are compared without parts such as cd, variables, timeout, 2>&1 and tail, failing edits
    by their file. Calls that the user refused, calls aborted with a parallel one, and searches
    without a match are no failures. If a pipe hides the status of a test, its summary is read.
    """
    from agent_pipes.detect.retry.errors import RepeatedError
    from agent_pipes.detect.retry.failures import RepeatedFailure

    if 0 < max <= warn:
        raise click.UsageError(f"--warn {warn}: must be less than --max {max}, or 'off'")
    return [lambda _: RepeatedFailure(max, warn), lambda _: RepeatedError(max_errors)]


main = detect_retry.main
