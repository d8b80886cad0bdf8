"""A file read or written, a command run or a host reached outside the policy."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from agent_pipes.detector import BOUNDS, Detection, Finding, alert_option, detect
from agent_pipes.event import Event
from agent_pipes.filter import filter_command
from agent_pipes.options import Option
from agent_pipes.people import warn
from agent_pipes.policy import Policy, PolicyError, load
from agent_pipes.reach import KINDS
from agent_pipes.reach.scope import JUDGED, Scope, more, shortened


class File(click.ParamType):  # type: ignore[type-arg]
    """The name of a file."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not isinstance(value, (str, Path)) or not str(value):
            self.fail(f"expected the name of a file, not {value!r}.", param, ctx)
        return Path(value)


SEES = BOUNDS | {"session_start", *JUDGED}


@filter_command("trace-detect-scope", sees=SEES)
@click.option(
    "--policy", cls=Option, type=File(), default=".agent-scope.json", show_default=True, flag="--policy", key="scope.policy",
    help="The policy: what may be read, written, run and reached.",
)
@click.option("--strict", cls=Option, is_flag=True, help="Raise a warning for a call that cannot be judged wholly.")
@alert_option("scope")
def detect_scope(events: Iterable[Event], policy: Path, strict: bool, alert: tuple[str, ...]) -> Detection:
    """Raise a violation when a call reads, writes, runs or reaches what the policy does not allow.

    The policy is read once, at the start. Each call is judged when it is made: the paths of the file tools, and shell
    commands as a shell reads them. Paths are resolved against the session's directory, through symbolic links. A call
    that writes to the policy or to .agent-watch.json is a violation whatever the policy says. What cannot be judged
    (a variable, a script) is said on stderr, once a session for each kind, and in the violation.
    """
    try:
        rules = load(policy)
    except PolicyError as error:
        raise click.UsageError(str(error)) from None
    return detect(events, "scope", lambda: ScopeDetector(rules, strict), alert, sees=SEES)


class ScopeDetector:
    """One session: what a call may not do is found as it is made, and what could not be told is said."""

    def __init__(self, policy: Policy, strict: bool) -> None:
        self.scope = Scope(policy)
        self.strict = strict
        self.said: set[str] = set()
        self.calls = 0

    def holding(self, now: float) -> Iterable[Finding]:
        """Nothing: what a call did is done."""
        return ()

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        if event.type == "session_start" and event.text("cwd"):
            self.scope.enter(event.text("cwd"))
        if event.type not in JUDGED:
            return ()
        self.calls += 1
        key = event.id or f"#{self.calls}"
        judgement = self.scope.judge(event)
        gaps = list(dict.fromkeys(f"{KINDS[gap.kind]}: {gap.what}" for gap in judgement.unjudged))[:20]
        if judgement.breaches:
            kind, target, rule = judgement.breaches[0]
            seen = {"kind": kind, "target": shortened(target), "rule": rule, "count": len(judgement.breaches), **({"unjudged": gaps} if gaps else {})}
            return [Finding((key, "scope"), judgement.message, evidence=(event.id,) if event.id else (), seen=seen)]
        if gaps and self.strict:
            return [Finding((key, "unjudged"), f"not judged: {gaps[0]}{more(len(gaps))}", level="warning", evidence=(event.id,), seen={"unjudged": gaps})]
        for gap in judgement.unjudged:
            if gap.kind not in self.said:
                self.said.add(gap.kind)
                warn(f"session {event.session[:12]}: not judged: {KINDS[gap.kind]} ({gap.what}); said once, it holds for all such calls")
        return ()


main = detect_scope.main
