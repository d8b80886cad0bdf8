"""trace-detect-context: the model's context window is nearly full."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent_pipes.core.event import Event
from agent_pipes.core.options import COUNT, PERCENT, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

RESPONSES_WITHOUT_WINDOW = 3
"""Responses without the size of the window after which it is reported that nothing is watched."""


class Fill:
    """Part of the context window that the last response of an agent has used.

    The source tells the window's size in tokens (`context_window`), with the response or once for
    the session, unless `window` is given.
    """

    types = frozenset({"compaction", "context", "llm_response"})

    __slots__ = ("blind", "evidence", "fills", "limit", "used", "window")

    def __init__(self, limit: float, window: int) -> None:
        self.limit = limit / 100
        self.window = window
        self.used = 0.0
        self.blind = 0
        self.fills = 0
        self.evidence = ""

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        if event.type == "compaction":
            self.used = 0.0
            self.fills += 1
        elif event.type == "context":
            self.window = self.window or int(_tokens(event.data.get("context_window")))
            return ()
        elif event.type == "llm_response":
            self._measure(event)
        else:
            return ()
        return self.holding(now)

    def holding(self, now: float) -> Iterable[Finding]:
        if self.blind == RESPONSES_WITHOUT_WINDOW and self.limit:
            yield Finding(
                "window",
                "the size of the context window is not recorded, so its use "
                "is not watched; pass --window",
                level="warning",
            )
        if 0 < self.limit <= self.used:
            yield Finding(
                self.fills,
                f"context window {self.used:.0%} full (threshold: {self.limit:.0%})",
                level="warning",
                evidence=(self.evidence,) if self.evidence else (),
                seen={
                    "value": round(self.used, 4),
                    "limit": self.limit,
                    "hint": "raise the limit with --max-context",
                },
            )

    def _measure(self, event: Event) -> None:
        tokens, window = context_size(event)
        window = self.window or window
        if not tokens:
            return
        if not window:
            self.blind += 1
            return
        self.used = tokens / window
        self.evidence = event.id


def context_size(event: Event) -> tuple[float, float]:
    """Return the tokens in the context after a response, and its window's; 0.0 if not recorded."""
    usage = event.data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens = _tokens(usage.get("input_tokens"))
    if tokens:
        tokens += _tokens(usage.get("output_tokens"))
    return tokens, _tokens(event.data.get("context_window"))


def _tokens(value: object) -> float:
    return float(value) if type(value) in (int, float) and value > 0 else 0.0  # type: ignore[operator,arg-type]


@detector("context", per_agent=True, on_request=True, thresholds=(50, 70, 80, 90))
@limit(
    "--max",
    type=PERCENT,
    flag="--max-context",
    key="context.max",
    default="80%",
    help="Limit on the used part of the context window.",
)
@limit(
    "--window",
    type=COUNT,
    key="context.window",
    default=0,
    help="Size of the context window in tokens, if the session does not record it.",
)
def detect_context(max: float, window: int) -> Rules:
    """Warn when the model's context window is nearly full.

    The window holds the tokens of the last request and its answer; a compaction empties it.
    """
    return [lambda _: Fill(max, window)]


main = detect_context.main
