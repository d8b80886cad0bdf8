"""The live line of trace-status, and its parts.

Parts are dropped in a stated order as the width shrinks; the last column of the terminal is left
free. Colours are the 16 of the terminal, and a mark and a word say the same.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agent_pipes.alert.lines import SHORT_ID_CHARS
from agent_pipes.commands.session_status import NEAR, Progress, SessionStatus, State
from agent_pipes.core.display import (
    cell_width,
    escape,
    fit,
    format_limit,
    plural,
    two_units,
)
from agent_pipes.core.style import BAR_BLOCKS, DIM, Style
from agent_pipes.detect.calls import Call

_THRESHOLD = re.compile(r" \(threshold: [^)]*\)")

SHORT_ETA_S = 600.0
MIN_SHOWN_PART = 0.01
MIN_STATE_CELLS = 8

ABOUT = ("url", "query", "pattern", "description", "question", "prompt")
"""Arguments that tell what a call is about which names no command or file."""

PREFIX_FROM = 100
WORDS_FROM = 56
"""Widths from which the line has its prefix, and the counts of events and retries."""


RED, YELLOW, CYAN = "31;1", "33;1", "36;1"

MARKS = {
    State.TRIPPED: ("✗", "x", RED),
    State.STUCK: ("!", "!", YELLOW),
    State.WAITING: ("?", "?", CYAN),
    State.WORKING: ("›", ">", ""),
    State.PAUSED: ("‖", "=", DIM),
    State.IDLE: ("·", ".", DIM),
}
"""Mark, mark in ASCII and colour of each state."""


NAMES = {
    State.TRIPPED: "tripped",
    State.STUCK: "stuck",
    State.WAITING: "waiting",
    State.WORKING: "working",
    State.PAUSED: "paused",
    State.IDLE: "idle",
}


def mark(state: State, style: Style) -> str:
    """Return the mark of a state."""
    return MARKS[state][style.ascii]


def limit_bar(part: float, width: int, style: Style) -> str:
    """Draw a limit's use: full only at 100 %, never empty above 0."""
    eighths = math.floor(min(part, 1.0) * width * 8)
    if part < 1.0:
        eighths = min(eighths, width * 8 - 1)
    if part > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    code = limit_colour(part)
    if style.ascii:
        full = max(full, 1) if part > 0 else 0
        return style.paint("#" * full, code) + "." * (width - full)
    filled = "█" * full + (BAR_BLOCKS[rest] if rest else "")
    return style.paint(filled, code) + style.paint("·" * (width - full - bool(rest)), DIM)


def limit_colour(part: float) -> str:
    """Return the colour of a limit's bar: red when it is passed, yellow when it is near."""
    return RED if part >= 1 else YELLOW[:2] if part >= NEAR else ""


def limit_name(name: str, limit: float) -> str:
    """Return a watcher's limit as it is typed: `$10`, `30m`, `stall 10m`, `retry 5`."""
    text = format_limit(name, limit)
    if name in ("cost", "duration"):
        return text
    return f"{name} {text}" if limit else name


def limit_with_name(name: str, limit: float) -> str:
    """Return a watcher's limit with a name: `cost $10`, `time 30m`, `retry 5`."""
    known = {"cost": "cost ", "duration": "time "}
    return f"{known.get(name, '')}{limit_name(name, limit)}"


def when(eta: float, now: float) -> str:
    """Return the time at which a limit is reached: `in 1:50`, `at 15:02`, "" if never."""
    if not math.isfinite(eta):
        return ""
    if eta <= now:
        return "now"
    if eta - now < SHORT_ETA_S:
        return f"in {clock(eta - now)}"
    return f"at {time.strftime('%H:%M', time.localtime(eta))}"


def clock(seconds: float) -> str:
    """Return `0:12`, `31:40`, `2h04m`: time that something has taken."""
    whole = max(0, int(seconds))
    if whole >= 3600:
        return two_units(whole).replace(" ", "")
    return f"{whole // 60}:{whole % 60:02}"


def dollars(session: SessionStatus) -> str:
    """Return `~$1.50 + unpriced`."""
    unpriced = " + unpriced" if session.unpriced else ""
    return f"{'~' if session.estimated else ''}${session.cost:.2f}{unpriced}"


def counts(session: SessionStatus) -> str:
    """Return the counts as `agent-strace watch` has always written them."""
    retries = plural(session.failing, "retry", "retries")
    return f"{plural(session.events, 'event')}, {dollars(session)}, {retries}"


def cause(session: SessionStatus) -> str:
    """Return why the session tripped: `cost $10.02 of $10`."""
    text = session.cause.removeprefix("detected ").removeprefix("loop").lstrip(": ")
    found = _THRESHOLD.search(text)
    if found and session.trip.limit:
        limit = limit_name(session.trip.name, session.trip.limit)
        text = f"{text[: found.start()]} of {limit.split()[-1]}"
    return f"{session.trip.name} {text}".strip()


def doing(session: SessionStatus, state: State, now: float) -> tuple[str, str]:
    """Return the state or the call in flight, and for how long."""
    calls = session.calls_in_flight()
    silent = clock(session.silence(now))
    if state == State.TRIPPED:
        return f"{'killed' if session.killed else 'tripped'}: {cause(session)}", ""
    if state == State.PAUSED:
        return "paused", silent
    if state == State.STUCK:
        return "no event", silent
    if state == State.WAITING:
        return f"asks: {calls[-1].label}" if calls else "waiting for you", silent
    if state == State.IDLE:
        return "ended" if session.ended else "ended its turn", silent
    if calls:
        return call_in_flight(calls[-1]), clock(now - calls[-1].time)
    return "thinking", silent


def call_in_flight(call: Call) -> str:
    """Return the command, or the tool and what it is about."""
    text = call.label.strip('"')
    if text != call.tool:
        return text
    arguments = (call.arguments.get(name) for name in ABOUT)
    about = next((each for each in arguments if isinstance(each, str) and each), "")
    return f"{text} {about.removeprefix('https://').partition(chr(10))[0]}".rstrip()


def sentence(session: SessionStatus, state: State, now: float, narrow: bool) -> str:
    """Return what the session does, as the line of one session says it."""
    what, took = doing(session, state, now)
    if state == State.STUCK:
        return f"{what} for {took}"
    if state == State.WAITING:
        what = "waiting for you"
    if state == State.PAUSED and not narrow:
        return f"paused: agent-strace resume {session.name[:SHORT_ID_CHARS]}"
    return f"{what} ({took})" if took else what


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line: its text, and the text with colours."""

    text: str
    painted: str

    @classmethod
    def of(cls, text: str, style: Style, code: str = "") -> "Part":
        """Return a part in one colour."""
        return cls(style(text), style.paint(style(text), code))


def line(
    session: SessionStatus,
    limits: Mapping[str, float],
    now: float,
    since: str,
    width: int,
    style: Style,
    prefix: str = "",
) -> str:
    """Return the live line of one session, in less than `width` cells.

    since: time since the session's start, `+12:03`.

    Dropped in this order: the third limit, the second, the call (a loud state stays and the limit
    goes), the time at which the limit is reached. Near a limit its bar stays.
    """
    state = session.state(now, limits.get("stall", 0.0))
    progress = session.progress(limits, now)
    near = bool(progress) and progress[0].part >= NEAR
    near = near and state not in (State.TRIPPED, State.STUCK)
    # The warning sign takes two cells and is counted as one.
    warning = "⚠" if style.ascii else "⚠ "
    symbol = "❌" if state == State.TRIPPED else warning if near or state == State.STUCK else "✅"
    narrow = width < WORDS_FROM
    what = escape(sentence(session, state, now, narrow))
    loud = state in (State.TRIPPED, State.STUCK, State.WAITING, State.PAUSED)
    call = Part.of(what, style, MARKS[state][2] if loud else "")
    progress = [each for each in progress if each.part >= MIN_SHOWN_PART]
    bars = [_bar(each, now, 4 if narrow else 6, style) for each in progress[:3]]
    bare = [_bar(each, now, 4 if narrow else 6, style, eta=False) for each in progress[:1]]
    if state == State.TRIPPED:
        bars = bare = []
    money = Part.of(dollars(session), style)
    if narrow:
        head = f"{since} {symbol} "
        quiet = [money, *bars[:1]]
        short = [[call, money], [call]] if loud and not near else [quiet, [money, *bare]]
        candidates = [*short, *([] if loud and not near else [[money]])]
    else:
        head = f"{prefix if width >= PREFIX_FROM else ''}{since}  {symbol} "
        base = [Part.of(counts(session), style)]
        tails = [[*bars[:3], call], [*bars[:2], call], [*bars[:1], call]]
        tails += [[call]] if loud and not near else [bars[:1], bare]
        candidates = [[*base, *tail] for tail in tails]
        candidates += [] if loud and not near else [base]
    room = width - 1 - cell_width(style(head))
    separator = style(" · ")
    for parts in candidates:
        if cell_width(separator.join(part.text for part in parts)) <= room:
            return style(head) + separator.join(part.painted for part in parts)
    # Nothing fits: the state is cut if it is loud, else the counts are.
    base = [] if narrow else [Part.of(counts(session), style)]
    left = room - cell_width(separator.join(part.text for part in [*base, Part("", "")]))
    if loud and left >= MIN_STATE_CELLS:
        cut = fit(call.text, left, style("…"))
        base.append(Part(cut, style.paint(cut, MARKS[state][2])))
        return style(head) + separator.join(part.painted for part in base)
    return style(head) + fit(separator.join(part.text for part in base), room, style("…"))


def _bar(progress: Progress, now: float, width: int, style: Style, *, eta: bool = True) -> Part:
    name = style(limit_name(progress.name, progress.limit))
    percent = f"{math.floor(progress.part * 100)}%"
    reached = when(progress.eta, now) if eta else ""
    code = limit_colour(progress.part)
    plain = Style(ascii=style.ascii)
    tail = f" {reached}" if reached else ""
    return Part(
        f"{name} {limit_bar(progress.part, width, plain)} {percent}{tail}",
        f"{name} {limit_bar(progress.part, width, style)} {style.paint(percent, code)}{tail}",
    )


def claude(
    session: SessionStatus, today_usd: float, limits: Mapping[str, float], now: float, style: Style
) -> str:
    """Return one short line for the status line of Claude Code."""
    parts = [session.model.removeprefix("claude-") or session.agent, f"{dollars(session)} run"]
    parts.append(f"${today_usd:.2f} today")
    if not math.isnan(session.context):
        parts.append(f"ctx {session.context:.0%}")
    progress = session.progress(limits, now)
    if progress:
        parts.append(_bar(progress[0], now, 6, style).painted)
    return style(" · ").join(parts)
