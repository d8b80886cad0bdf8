"""trace-detect-scope: a file, command or host outside the policy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from agent_pipes.core.display import truncate
from agent_pipes.core.event import Event
from agent_pipes.core.options import Option
from agent_pipes.core.stderr import warn
from agent_pipes.detect.calls import Call
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules
from agent_pipes.scope.access import KINDS
from agent_pipes.scope.evaluate import (
    JUDGED_EVENTS,
    MAX_TARGET_CHARS,
    Evaluation,
    SessionScope,
    others,
)
from agent_pipes.scope.policy import Policy, PolicyError
from agent_pipes.scope.policy_file import load_policy

MAX_UNJUDGED = 20
"""Parts of one call that are listed as not judged."""


class ScopeDetector:
    """One session: each call is evaluated when it is made."""

    __slots__ = ("calls", "reported", "scope", "strict")

    def __init__(self, policy: Policy, strict: bool) -> None:
        self.scope = SessionScope(policy)
        self.strict = strict
        self.reported: set[str] = set()
        self.calls = 0

    def holding(self, now: float) -> Iterable[Finding]:
        """Return nothing: a call is over when it has been made."""
        return ()

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the violation of a call, if it is one."""
        if event.type == "session_start" and event.text("cwd"):
            self.scope.enter(event.text("cwd"))
        if event.type not in JUDGED_EVENTS:
            return ()
        self.calls += 1
        key = event.id or f"#{self.calls}"
        evidence = (event.id,) if event.id else ()
        evaluation = self.scope.evaluate(event)
        gaps = _unjudged(evaluation)
        if evaluation.breaches:
            kind, target, rule = evaluation.breaches[0]
            seen: dict[str, Any] = {
                "kind": kind,
                "target": truncate(target, MAX_TARGET_CHARS),
                "rule": rule,
                "count": len(evaluation.breaches),
            }
            if gaps:
                seen["unjudged"] = gaps
            return [Finding((key, "scope"), evaluation.message, evidence=evidence, seen=seen)]
        if gaps and self.strict:
            message = f"not judged: {gaps[0]}{others(len(gaps))}"
            seen = {"unjudged": gaps}
            found = Finding(
                (key, "unjudged"), message, level="warning", evidence=evidence, seen=seen
            )
            return [found]
        self._report(event, evaluation)
        return ()

    def _report(self, event: Event, evaluation: Evaluation) -> None:
        """Write to stderr what was not judged, once per kind and session."""
        for gap in evaluation.unjudged:
            if gap.kind not in self.reported:
                self.reported.add(gap.kind)
                warn(
                    f"session {event.session[:12]}: not judged: {KINDS[gap.kind]} ({gap.what});"
                    " said once, it holds for all such calls"
                )


def _unjudged(evaluation: Evaluation) -> list[str]:
    """Return what was not judged, in words, each once."""
    gaps = (f"{KINDS[gap.kind]}: {gap.what}" for gap in evaluation.unjudged)
    return list(dict.fromkeys(gaps))[:MAX_UNJUDGED]


class File(click.ParamType):  # type: ignore[type-arg]
    """The name of a file."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; an empty name is refused."""
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

    The policy is read once, at the start. Each call is judged when it is made: the paths of the
    file tools, and shell commands as a shell reads them. Paths are resolved against the session's
    directory, through symbolic links. A call that writes to the policy or to .agent-watch.json is
    a violation whatever the policy says. What cannot be judged (a variable, a script) is said on
    stderr, once a session for each kind, and in the violation.
    """
    try:
        rules = load_policy(policy)
    except PolicyError as error:
        raise click.UsageError(str(error)) from None
    return [lambda: ScopeDetector(rules, strict)]


main = detect_scope.main
