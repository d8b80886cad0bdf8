"""trace-detect-quota: the quota of the subscription is nearly used up."""

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event
from agent_pipes.core.options import PERCENT, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import Finding, Rules

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

MIN_RATE_SPAN_S = 60.0
"""Seconds between two readings from which on a rate is computed of them."""

RESET_TOLERANCE_S = 600.0
"""Seconds by which two readings may differ in the time of one reset."""

MAX_WINDOWS = 16
"""Windows of one session that are distinguished, such as five hours and a week."""


class Quota:
    """Used part of each window of the subscription's quota, as the source records it."""

    types = frozenset({"quota"})

    __slots__ = ("first", "latest", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.first: dict[str, tuple[float, float, float]] = {}
        self.latest: dict[str, dict[str, Any]] = {}

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        if event.type != "quota" or event.number("used_percent") is None:
            return ()
        self._read(event.data, now)
        return self.holding(now)

    def holding(self, now: float) -> Iterable[Finding]:
        for name, window in self.latest.items():
            used = float(window["used_percent"])
            if 0 < self.limit <= used:
                resets = _number(window.get("resets_at")) or 0.0
                yield Finding(
                    (name, resets),
                    f"{used:.0f}% of {_title(window)} used (threshold: {self.limit:g}%)"
                    f"{self._forecast(name, used, resets)}",
                    level="warning",
                    seen={
                        "value": used,
                        "limit": self.limit,
                        "resets_at": resets or None,
                        "hint": "raise the limit with --max-quota",
                    },
                )

    def _read(self, window: dict[str, Any], now: float) -> None:
        name = str(window.get("limit", ""))
        if name not in self.latest and len(self.latest) >= MAX_WINDOWS:
            return
        used = float(window["used_percent"])
        resets = _number(window.get("resets_at")) or 0.0
        before = self.first.get(name)
        if before is None or abs(before[2] - resets) > RESET_TOLERANCE_S:
            self.first[name] = before = (now, used, resets)
        elif used < before[1]:
            self.first[name] = before = (now, used, before[2])
        self.latest[name] = {**window, "at": now, "resets_at": before[2]}

    def _forecast(self, name: str, used: float, resets: float) -> str:
        """Return when the quota is used up at the rate of this session, and when it resets."""
        start, used_then, _ = self.first[name]
        at = float(self.latest[name]["at"])
        spent = used - used_then
        text = ""
        if spent > 0 and at - start >= MIN_RATE_SPAN_S:
            end = at + (100 - used) / spent * (at - start)
            if not resets or end < resets:
                text = f"; used up at {_moment(end, at)} at the present rate"
            else:
                text = "; at the present rate it lasts until its reset"
        return f"{text}; resets at {_moment(resets, at)}" if resets else text


def _title(window: dict[str, Any]) -> str:
    minutes = _number(window.get("window_minutes"))
    if minutes and minutes > 0:
        return f"the {format_duration(minutes * 60)} quota"
    return f"the quota {window.get('limit', '')}".rstrip()


def _moment(at: float, now: float) -> str:
    form = "%H:%M UTC" if abs(at - now) < 86_400 else "%Y-%m-%d %H:%M UTC"
    try:
        return time.strftime(form, time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


def _number(value: object) -> float | None:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        return None
    return float(value)  # type: ignore[arg-type]


@detector("quota", on_request=True, thresholds=(50, 75, 90))
@limit(
    "--max",
    type=PERCENT,
    flag="--max-quota",
    key="quota.max",
    default="90%",
    help="Limit on the used part of the subscription's quota.",
)
def detect_quota(max: float) -> Rules:
    """Warn when the quota of the subscription is nearly used up.

    The message gives the times at which the quota will be used up at the present rate, and reset.
    """
    return [lambda _: Quota(max)]


main = detect_quota.main
