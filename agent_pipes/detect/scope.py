"""trace-detect-scope: a file, command or host outside the policy."""

from typing import TYPE_CHECKING, Any

import click

from agent_pipes.core.options import Option
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Rules

if TYPE_CHECKING:
    from pathlib import Path

    from agent_pipes.scope.policy import UnjudgedRule


class File(click.ParamType):  # type: ignore[type-arg]
    """The name of a file."""

    name = "FILE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Path":
        """Return the path; an empty name is refused."""
        from pathlib import Path

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
    help="Policy file: what the agent may read, write, run and connect to.",
)
@click.option(
    "--unjudged",
    cls=Option,
    type=click.Choice(["ignore", "warn", "deny"]),
    key="scope.unjudged",
    flag="--unjudged",
    help="What to do about a call that cannot be checked.  [default: as in the policy, or warn]",
)
def detect_scope(policy: "Path", unjudged: "UnjudgedRule | None") -> Rules:
    """Raise a violation when a call reads, writes, runs or connects to what the policy forbids.

    The policy is read once, at the start. Each call is judged when it is made: a file tool by its
    paths, a shell command by parsing it as a shell does. Paths are resolved against the session's
    directory, through symbolic links. A call that writes to the policy or to .agent-watch.json is
    always a violation. A call that cannot be judged (a variable, a script) is reported on stderr,
    once per kind and session, and raises a warning if a rule of the policy might forbid it.
    """
    from agent_pipes.detect.scope_rules import ScopeDetector
    from agent_pipes.scope.policy import PolicyError
    from agent_pipes.scope.policy_file import load_policy

    try:
        rules = load_policy(policy)
    except PolicyError as error:
        raise click.UsageError(str(error)) from None
    rules.unjudged = unjudged or rules.unjudged
    return [lambda _: ScopeDetector(rules)]


main = detect_scope.main
