"""Requests to the model that are refused again and again: a rule of trace-detect-stall."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent_pipes.core.event import Event, Level, is_person
from agent_pipes.detect.finding import Finding

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

WARN_REFUSALS = 10
WARN_SPAN_S = 600.0
"""Refusals without an answer between, or seconds between the first and the last, that warn.

In 425 recorded sessions one had 19 refusals in 16 minutes and recovered; no other had above 3.
"""

MAX_FINAL_REFUSALS = 5
FINAL_STATUSES = (401, 402, 403)
"""Refusals in a row for want of money or permission: no retry mends these."""

_FINAL_TEXT = re.compile(
    r"\b40[123]\b|invalid (?:x-)?api.key|authentication|unauthorized|insufficient|billing|quota"
    r"|credit balance|out of credits",
    re.IGNORECASE,
)
_ANSWERS = frozenset({"llm_response", "assistant_response", "tool_call"})


class Refusals:
    """Refused requests of a session since the last answer or the last prompt of its user."""

    types = _ANSWERS | {"user_prompt", "error"}

    __slots__ = ("evidence", "final", "first", "limit", "refused")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reset()

    def _reset(self) -> None:
        self.refused = self.final = 0
        self.first = 0.0
        self.evidence: tuple[str, ...] = ()

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        if event.type in _ANSWERS or is_person(event):
            self._reset()
        elif call is None and event.type == "error" and event.data.get("reason") == "api":
            self.refused += 1
            self.final = self.final + 1 if _is_final(event) else 0
            self.first = self.first or now
            self.evidence = (*self.evidence[-9:], event.id)
            return self._found(now)
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        return self._found(now)

    def _found(self, now: float) -> Iterable[Finding]:
        if not self.limit or not self.refused:
            return
        final = self.final >= MAX_FINAL_REFUSALS
        if final or self.refused >= self.limit:
            allowed = MAX_FINAL_REFUSALS if final else self.limit
            yield self._finding("critical", self.final if final else self.refused, allowed)
        elif self.refused >= WARN_REFUSALS or (
            self.refused > 1 and now - self.first >= WARN_SPAN_S
        ):
            yield self._finding("warning", self.refused, self.limit)

    def _finding(self, level: Level, count: int, allowed: int) -> Finding:
        return Finding(
            self.first,
            f"{count} requests in a row were refused (threshold: {allowed})",
            2 if level == "critical" else 1,
            level,
            self.evidence,
            {
                "count": count,
                "limit": allowed,
                "hint": "raise the limit with --max-refused, or turn it off",
            },
        )


def _is_final(event: Event) -> bool:
    status = event.number("status")
    if status is not None:
        return status in FINAL_STATUSES
    return bool(_FINAL_TEXT.search(event.text("error")[:500]))
