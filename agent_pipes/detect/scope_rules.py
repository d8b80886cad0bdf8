"""The rule of trace-detect-scope: each call is judged by the policy."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agent_pipes.core.display import truncate
from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.detect.finding import Finding
from agent_pipes.scope.access import KINDS
from agent_pipes.scope.evaluate import (
    JUDGED_EVENTS,
    MAX_TARGET_CHARS,
    Evaluation,
    SessionScope,
)
from agent_pipes.scope.policy import Policy

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

MAX_PAST_FINDINGS = 100
"""Violations in a session's history that are raised where it ends, the latest ones."""

MAX_UNJUDGED = 20
"""Parts of one call that are listed as not judged."""


class ScopeDetector:
    """One session: each call is evaluated when it is made.

    past: violations in the history of this run, to be raised as warnings where it ends.
    """

    types = frozenset({"session_start", "history_start", *JUDGED_EVENTS})

    __slots__ = ("calls", "in_history", "past", "reported", "scope")

    def __init__(self, policy: Policy) -> None:
        self.scope = SessionScope(policy)
        self.reported: set[str] = set()
        self.calls = 0
        self.in_history = False
        self.past: deque[Finding] = deque(maxlen=MAX_PAST_FINDINGS)

    def holding(self, now: float) -> Iterable[Finding]:
        """Return what this run has done before it was watched, as warnings: it is over."""
        past, self.in_history = list(self.past), False
        self.past.clear()
        return [finding._replace(level="warning") for finding in past]

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        """Return the violation of a call, if it is one."""
        if event.type == "session_start" and event.text("cwd"):
            self.scope.enter(event.text("cwd"))
        if event.type == "history_start":
            self.in_history = True
        if event.type not in JUDGED_EVENTS:
            return ()
        self.calls += 1
        key = event.id or f"#{self.calls}"
        evidence = (event.id,) if event.id else ()
        evaluation = self.scope.evaluate(event)
        if evaluation.breaches:
            seen = _breach_fields(evaluation)
            found = Finding((key, "scope"), evaluation.message, evidence=evidence, seen=seen)
            if self.in_history:
                self.past.append(found)
            return [found]
        if self.scope.policy.unjudged == "ignore":
            return ()
        self._report(event, evaluation)
        gap = next((gap for gap in evaluation.unjudged if gap.rule), None)
        if gap is None:
            return ()
        message = f"not judged: {KINDS[gap.kind]} ({gap.what}) may break {gap.rule}"
        seen = {"rule": gap.rule, "target": gap.what, "unjudged": _unjudged(evaluation)}
        key_of_gap = (key, "unjudged")
        return [Finding(key_of_gap, message, level="warning", evidence=evidence, seen=seen)]

    def _report(self, event: Event, evaluation: Evaluation) -> None:
        """Write to stderr what was not judged, once per kind and session."""
        for gap in evaluation.unjudged:
            if not gap.rule and gap.kind not in self.reported:
                self.reported.add(gap.kind)
                warn(
                    f"session {event.session[:8]}: scope cannot judge {KINDS[gap.kind]} "
                    f"(first: {gap.what}); shown once per session"
                )


def _breach_fields(evaluation: Evaluation) -> dict[str, Any]:
    kind, target, rule = evaluation.breaches[0]
    fields: dict[str, Any] = {
        "kind": kind,
        "target": truncate(target, MAX_TARGET_CHARS),
        "rule": rule,
        "count": len(evaluation.breaches),
    }
    if gaps := _unjudged(evaluation):
        fields["unjudged"] = gaps
    return fields


def _unjudged(evaluation: Evaluation) -> list[str]:
    """Return what was not judged, in words, each once."""
    gaps = (f"{KINDS[gap.kind]}: {gap.what}" for gap in evaluation.unjudged)
    return list(dict.fromkeys(gaps))[:MAX_UNJUDGED]
