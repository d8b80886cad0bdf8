"""First lines of the report: the verdict, what would have stopped the session, five figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_pipes.alert.lines import SHORT_ID_CHARS
from agent_pipes.commands.report_page.rounds import Loop
from agent_pipes.commands.report_page.story import Mark, Story
from agent_pipes.commands.report_page.words import clip, count, day, dollars, span
from agent_pipes.commands.status_view import limit_with_name
from agent_pipes.core.display import format_duration

Piece = tuple[str, str]
"""A piece of the verdict: its style (`""`, `b` or `hot`) and its text."""

LOOKED_FOR = ("retry", "loop", "stall")
"""Watchers whose silence the verdict mentions, if they ran and only a limit tripped."""

MIN_SHOWN_USD = 0.0005
"""Dollars below which a sum is shown as nothing."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker that would have watched the session, as far as it is known.

    watched: watchers that ran.
    limits:  their main limits, in the watcher's unit.
    passed:  thresholds below the limit at which a watcher would have tripped.
    flags:   options of `agent-strace watch` that differ from the default, as typed.
    """

    watched: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    passed: Mapping[str, Sequence[float]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


UNKNOWN_BREAKER = Breaker()


@dataclass(slots=True)
class Figure:
    """One of the five figures: `hot` if it shows money spent after the trip."""

    label: str
    value: str
    remark: str
    hot: bool = False


def clean_message(message: str) -> str:
    """Return a violation's message without the advice how to raise the limit."""
    return re.split(r"; raise (?:it|the limit)\b", message)[0]


def finding(mark: Mark) -> tuple[str, str]:
    """Return (what was found, how) of a violation, in a few words."""
    data = mark.data
    limit = data.get("limit")
    steps, times = data.get("steps"), data.get("count")
    message = clean_message(mark.message)
    named = re.match(r"detected loop: (.+? × \d+)(?:, (.*))?$", message)
    if named:
        return clip(named[1], 90), named[2] or ""
    if mark.watcher == "loop" and isinstance(steps, list) and steps and isinstance(times, int):
        how = message.partition(", ")[2]
        return f"{' → '.join(map(str, steps))} × {times}", how
    if mark.watcher == "cost" and isinstance(limit, (int, float)):
        return f"{money_limit(limit)} spent", ""
    if mark.watcher == "duration" and isinstance(limit, (int, float)):
        how = "without a prompt" if "without a prompt" in message else ""
        worked = "of work" if message.startswith("worked") else "passed"
        return f"{span(limit)} {worked}", how
    message = re.sub(r"^detected |\s*\(threshold: [^)]*\)", "", message)
    return clip(message, 90), ""


def money_limit(limit: float) -> str:
    """Return a limit in dollars, without cents if it has none."""
    return f"${limit:,.0f}" if float(limit).is_integer() else f"${limit:,.2f}"


def verdict(story: Story, loop: Loop | None, breaker: Breaker) -> list[Piece]:
    """Return the sentence that says what happened."""
    trip = story.trip
    if trip is None:
        return _untripped(story, breaker)
    what, how = finding(trip)
    if not how and loop and loop.mark is trip and loop.fails_alike:
        how = "the same failure each time"
    pieces: list[Piece] = [("", "Tripped: "), ("b", what)]
    if trip.watcher != "duration":
        pieces.append(("", f" after {span(trip.at)}"))
    second = next(
        (m for m in story.marks if m.critical and m is not trip and m.watcher != trip.watcher), None
    )
    if second and trip.watcher in ("duration", "cost") and second.watcher in ("duration", "cost"):
        later = max(0.0, second.at - trip.at)
        pieces += [("", ", then "), ("b", finding(second)[0]), ("", f" {span(later)} later")]
    elif how:
        pieces.append(("", f", {how}"))
    if kill := story.kill:
        at = day(story.start + kill.at).partition(", ")[2]
        pieces.append(("", f"; killed {span(max(0.0, kill.at - trip.at))} later, at {at}"))
    pieces += _after(story)
    quiet = [name for name in LOOKED_FOR if name in breaker.watched]
    raised = {mark.watcher for mark in story.marks}
    if trip.watcher in ("duration", "cost") and quiet and not raised & set(quiet):
        pieces.append(("", f" No {_either(quiet)} was raised."))
    return pieces


def _after(story: Story) -> list[Piece]:
    if not story.priced:
        return [("", ".")]
    later = saved_usd(story)
    if not later:
        return [("", "; nothing was spent after.")]
    text = f"{later} of {dollars(story.usd, story.estimated)} came after"
    return [("", "; "), ("hot", text), ("", ".")]


def _untripped(story: Story, breaker: Breaker) -> list[Piece]:
    nearest = nearest_limit(story, breaker)
    by = _judged_by(breaker)
    if nearest is None:
        return [("", f"Nothing tripped.{by}")]
    name, share = nearest
    near = f"{name} at {percent(share)}"
    return [("", "Nothing tripped; nearest was "), ("b", near), ("", f".{by}")]


def _judged_by(breaker: Breaker) -> str:
    """Return the limits that the session was judged by, and how to set others."""
    if not breaker.watched:
        return ""
    if breaker.flags:
        return f" Limits: {', '.join(breaker.flags)}, else the defaults."
    return " Limits: the defaults; to try others, add options of watch such as --max-retries 3."


def percent(share: float) -> str:
    """Return `42%`, `under 1%`."""
    return f"{share:.0%}" if share >= 0.01 or not share else "under 1%"


def nearest_limit(story: Story, breaker: Breaker) -> tuple[str, float] | None:
    """Return the limit that came nearest to being passed (`retry 5`), and the part of it used."""
    limits, shares = dict(breaker.limits), dict[str, float]()
    for mark in story.marks:
        value = mark.data.get("value", mark.data.get("count"))
        limit = mark.data.get("limit")
        if isinstance(value, (int, float)) and isinstance(limit, (int, float)) and limit:
            shares[mark.watcher] = max(shares.get(mark.watcher, 0.0), value / limit)
            # A watcher's limits other than its main one have no name.
            if limits.setdefault(mark.watcher, limit) != limit:
                limits[mark.watcher] = 0.0
    peaks = {"duration": story.alone, "stall": story.silent}
    peaks |= {"cost": story.usd} if story.priced else {}
    for watcher, limit in breaker.limits.items():
        lower = (each for each in breaker.passed.get(watcher, ()) if each < limit)
        peak = peaks.get(watcher, max(lower, default=0.0))
        # A limit that has not tripped is below its maximum, whatever the clock says.
        share = min(peak / limit, 0.99) if limit else 0.0
        shares[watcher] = max(shares.get(watcher, 0.0), share)
    name = max(shares, key=lambda each: shares[each], default="")
    if not name:
        return None
    return limit_with_name(name, limits[name]) if limits[name] else name, shares[name]


def stop_command(story: Story, breaker: Breaker) -> list[str]:
    """Return the command that would have stopped the session, in parts that stay together."""
    options = list(breaker.flags)
    for mark in story.marks:
        limit = mark.data.get("limit")
        if not mark.critical or not isinstance(limit, (int, float)):
            continue
        if mark.watcher == "cost":
            options.append(f"--max-cost {limit:g}")
        elif mark.watcher == "duration":
            options.append(f"--max-duration {format_duration(limit)}")
    name = story.session[:SHORT_ID_CHARS]
    return ["agent-strace watch", *dict.fromkeys(options), "--on-violation kill", name]


def saved_usd(story: Story) -> str:
    """Return the dollars that came after the trip, "" if none did, or if it is not known."""
    later = story.usd_after_trip
    return dollars(later, story.estimated) if story.priced and later >= MIN_SHOWN_USD else ""


def figures(story: Story, loop: Loop | None, breaker: Breaker) -> list[Figure]:
    """Return the five figures."""
    return [_spent(story), _later(story), _calls(story), _time(story), _last(story, loop, breaker)]


def _spent(story: Story) -> Figure:
    models = sorted(story.models, key=lambda name: -story.models[name])
    named = [name for name in models if name]
    remark = ", ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    if not story.priced:
        return Figure("Spent", "–", "no cost in the stream")
    if story.unpriced:
        remark = f"{count(story.unpriced, 'response')} without a price"
    return Figure("Spent", dollars(story.usd, story.estimated), remark)


def _later(story: Story) -> Figure:
    if story.trip is None or not story.priced:
        return Figure("After the trip", "–", "nothing tripped" if not story.trip else "")
    later = story.usd_after_trip
    share = later / story.usd if story.usd else 0.0
    hot = later >= MIN_SHOWN_USD
    return Figure("After the trip", dollars(later, story.estimated), f"{share:.0%} of all", hot)


def _calls(story: Story) -> Figure:
    failed = sum(row.state == "fail" for row in story.calls)
    cut = sum(row.state == "cut" for row in story.calls)
    unanswered = sum(row.state == "open" for row in story.calls)
    parts = [f"{failed:,} failed"] * bool(failed) + [f"{cut:,} not run"] * bool(cut)
    parts += [f"{unanswered:,} without a result"] * bool(unanswered)
    return Figure("Calls", f"{len(story.calls):,}", ", ".join(parts) or "none failed")


def _time(story: Story) -> Figure:
    idle = f"{span(story.idle)} without an event" if story.gaps else "no silence of 2 min"
    return Figure("Time", span(story.length), idle)


def _last(story: Story, loop: Loop | None, breaker: Breaker) -> Figure:
    if loop:
        allowed = loop.mark.data.get("limit")
        return Figure("Rounds", f"{len(loop.rounds):,}", f"{allowed} allowed" if allowed else "")
    if story.subagents:
        usd = sum(agent.usd for agent in story.subagents.values())
        remark = f"{dollars(usd, story.estimated)} of all spent" if story.priced else ""
        return Figure("Subagents", f"{len(story.subagents):,}", remark)
    nearest = nearest_limit(story, breaker)
    if nearest and not story.trip:
        return Figure("Nearest limit", percent(nearest[1]), nearest[0])
    return Figure("Prompts", f"{len(story.prompts):,}", "")


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
