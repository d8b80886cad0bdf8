"""A file read or written, a command run or a host reached outside the policy."""

from pathlib import Path
from typing import Any

import click

from agent_pipes.core.options import Option
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules


class File(click.ParamType):  # type: ignore[type-arg]
    """The name of a file."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not isinstance(value, (str, Path)) or not str(value):
            self.fail(f"expected the name of a file, not {value!r}.", param, ctx)
        return Path(value)


@detector("scope")
@click.option(
    "--policy",
    cls=Option,
    type=File(),
    default=".agent-scope.json",
    show_default=True,
    flag="--policy",
    key="scope.policy",
    help="The policy: what may be read, written, run and reached.",
)
@click.option(
    "--strict",
    cls=Option,
    is_flag=True,
    help="Raise a warning for a call that cannot be judged wholly.",
)
def detect_scope(policy: Path, strict: bool) -> Rules:
    """Raise a violation when a call reads, writes, runs or reaches what the policy does not allow.

    The policy is read once, at the start. Each call is judged when it is made: the paths of the file tools, and shell
    commands as a shell reads them. Paths are resolved against the session's directory, through symbolic links. A call
    that writes to the policy or to .agent-watch.json is a violation whatever the policy says. What cannot be judged
    (a variable, a script) is said on stderr, once a session for each kind, and in the violation.
    """
    from agent_pipes.detect.scope_detector import ScopeDetector
    from agent_pipes.scope.policy import PolicyError, load

    try:
        rules = load(policy)
    except PolicyError as error:
        raise click.UsageError(str(error)) from None
    return [lambda: ScopeDetector(rules, strict)]


main = detect_scope.main
