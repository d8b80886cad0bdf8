"""The detector of trace-detect-scope: a session's calls, each held against the policy as it is made."""

from collections.abc import Iterable

from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding
from agent_pipes.scope import KINDS
from agent_pipes.scope.evaluate import JUDGED, Judgement, Scope, more, shortened
from agent_pipes.scope.policy import Policy


class ScopeDetector:
    """One session: what a call may not do is found as it is made, and what could not be told is said."""

    __slots__ = ("calls", "said", "scope", "strict")

    def __init__(self, policy: Policy, strict: bool) -> None:
        self.scope = Scope(policy)
        self.strict = strict
        self.said: set[str] = set()
        self.calls = 0

    def holding(self, now: float) -> Iterable[Finding]:
        """Nothing: what a call did is done."""
        return ()

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        if event.type == "session_start" and event.text("cwd"):
            self.scope.enter(event.text("cwd"))
        if event.type not in JUDGED:
            return ()
        self.calls += 1
        key = event.id or f"#{self.calls}"
        judgement = self.scope.judge(event)
        if judgement.breaches:
            gaps = _gaps(judgement)
            kind, target, rule = judgement.breaches[0]
            seen = {
                "kind": kind,
                "target": shortened(target),
                "rule": rule,
                "count": len(judgement.breaches),
                **({"unjudged": gaps} if gaps else {}),
            }
            return [
                Finding(
                    (key, "scope"),
                    judgement.message,
                    evidence=(event.id,) if event.id else (),
                    seen=seen,
                )
            ]
        if judgement.unjudged and self.strict:
            gaps = _gaps(judgement)
            return [
                Finding(
                    (key, "unjudged"),
                    f"not judged: {gaps[0]}{more(len(gaps))}",
                    level="warning",
                    evidence=(event.id,),
                    seen={"unjudged": gaps},
                )
            ]
        for gap in judgement.unjudged:
            if gap.kind not in self.said:
                self.said.add(gap.kind)
                warn(
                    f"session {event.session[:12]}: not judged: {KINDS[gap.kind]} ({gap.what}); said once, it holds for all such calls"
                )
        return ()


def _gaps(judgement: Judgement) -> list[str]:
    """What could not be told, each once, in words."""
    return list(dict.fromkeys(f"{KINDS[gap.kind]}: {gap.what}" for gap in judgement.unjudged))[:20]
