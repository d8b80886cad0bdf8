"""The table of trace-status, one row per session, and its short form for the status bar of tmux."""

import math
from collections.abc import Iterable, Mapping

from agent_pipes.commands.session_status import Progress, SessionStatus, State
from agent_pipes.commands.status_view import (
    MARKS,
    NAMES,
    PREFIX_FROM,
    doing,
    limit_bar,
    limit_colour,
    limit_name,
    limit_with_name,
    mark,
    when,
)
from agent_pipes.core.display import cell_width, escape, fit, fit_left, pad, plural, tilde
from agent_pipes.core.style import DIM, Style

RIGHT = ("$", "$/H", "CTX", "FAIL", "FOR")
"""Columns whose cells are aligned on the right."""

Row = tuple[SessionStatus, State, Progress | None]


def rows(sessions: Iterable[SessionStatus], limits: Mapping[str, float], now: float) -> list[Row]:
    """Return the sessions in the table's order: by state, working ones by nearness of a limit."""
    found: list[Row] = []
    for session in sessions:
        progress = session.progress(limits, now)
        state = session.state(now, limits.get("stall", 0.0))
        found.append((session, state, progress[0] if progress else None))
    return sorted(found, key=lambda row: (row[1], -(row[2].part if row[2] else 0.0), row[0].name))


def table(
    sessions: Iterable[SessionStatus],
    limits: Mapping[str, float],
    now: float,
    width: int,
    height: int,
    style: Style,
) -> list[str]:
    """Return the table of several sessions, each line shorter than `width` cells.

    Columns are dropped, first to last: MODEL below 150, CTX 140, AGENT and FAIL 132, $/H 112, ID,
    STATE and FOR 100 (FOR joins DOING), the limit's name 72, REACHED 64, DOING 56. Rows that exceed
    `height` are counted.
    """
    every = rows(sessions, limits, now)
    fits = max(1, height - 4)
    shown = every if len(every) <= fits else every[: max(1, fits - 1)]
    drawn = _Columns(width, style, limits).draw(shown, now)
    if len(shown) < len(every):
        drawn.append(style(f"… and {len(every) - len(shown)} more"))
    drawn.append(style.paint(style("─") * (width - 1), DIM))
    drawn.append(totals(every, now, width, style))
    return drawn


def totals(every: list[Row], now: float, width: int, style: Style) -> str:
    """Return the last line of the table: states, dollars, dollars an hour."""
    found = {state: sum(row[1] == state for row in every) for state in State}
    rates = [row[0].dollars_per_hour(now) for row in every if row[1] == State.WORKING]
    rate = sum(each for each in rates if not math.isnan(each))
    cost = sum(row[0].cost for row in every)
    about = "~" if any(row[0].estimated for row in every) else ""
    shown = [state for state in State if found[state] and state < State.PAUSED]
    names = NAMES | {State.WAITING: "waiting for you"}
    money = [f"{about}${cost:.2f}", *([f"${rate:.2f}/h"] if rate else [])]
    long = [(f"{mark(state, style)} {found[state]} {names[state]}", state) for state in shown]
    short = [(f"{mark(state, style)}{found[state]}", state) for state in shown]
    count = [plural(len(every), "session")] if width >= PREFIX_FROM else []
    if cell_width(style.separator.join([*count, *(text for text, _ in long), *money])) < width:
        states = [style.paint(text, MARKS[state][2]) for text, state in long]
        return style.separator.join([*count, *states, *money])
    brief = " ".join(style.paint(text, MARKS[state][2]) for text, state in short)
    return style.separator.join([str(len(every)), *([brief] if brief else []), *money])


class _Columns:
    """The columns of the table at one width."""

    def __init__(self, width: int, style: Style, limits: Mapping[str, float]) -> None:
        self.width = width
        self.style = style
        self.bar = 6 if width < 100 else 8 if width < 140 else 14
        self.names = [
            name
            for name, least in (
                ("STATE", 100), ("AGENT", 132), ("ID", 100), ("DIRECTORY", 0), ("DOING", 56),
                ("FOR", 100), ("MODEL", 150), ("$", 0), ("$/H", 112), ("CTX", 140), ("FAIL", 132),
                ("NEAREST", 72), ("LIMIT", 0), ("REACHED", 64),
            )
            if width >= least and (limits or name not in ("NEAREST", "LIMIT", "REACHED"))
        ]  # fmt: skip

    def draw(self, shown: list[Row], now: float) -> list[str]:
        cells = [self._cells(row, now) for row in shown]
        widths = {
            name: max([len(name), *(cell_width(each[name]) for each in cells)])
            for name in self.names
        }
        if "LIMIT" in widths:
            widths["LIMIT"] = self.bar + 5
        gaps = sum(map(_gap, self.names))
        spare = self.width - 1 - gaps - sum(widths.values()) + widths["DIRECTORY"]
        doing = widths.get("DOING", 0)
        spare += doing
        # A directory has up to a third of what the others leave, the call in flight the rest.
        widths["DIRECTORY"] = min(widths["DIRECTORY"], max(9, 2 * spare // 5 if doing else spare))
        if doing:
            widths["DOING"] = max(5, min(doing, spare - widths["DIRECTORY"]))
        lines = [self._line({name: name for name in self.names}, widths, " ", DIM, DIM)]
        for row, each in zip(shown, cells, strict=True):
            sign, code = mark(row[1], self.style), MARKS[row[1]][2]
            lines.append(self._line(each, widths, sign, code, "", row[2]))
        return lines

    def _cells(self, row: Row, now: float) -> dict[str, str]:
        session, state, nearest = row
        style = self.style
        what, took = doing(session, state, now)
        rate = session.dollars_per_hour(now)
        nothing = style("–")
        if "FOR" not in self.names and took:
            what = f"{what}\x00{took}"
        cost = f"{'~' if session.estimated else ''}{session.cost:.2f}" if session.cost else nothing
        return {
            "STATE": NAMES[state],
            "AGENT": session.agent or nothing,
            "ID": escape(session.name)[:8],
            "DIRECTORY": escape(tilde(session.cwd)) or nothing,
            "DOING": "\x00".join(escape(each) for each in what.split("\x00")),
            "FOR": took or nothing,
            "MODEL": escape(session.model.removeprefix("claude-")) or nothing,
            "$": cost,
            "$/H": nothing if math.isnan(rate) or state != State.WORKING else f"{rate:.2f}",
            "CTX": nothing if math.isnan(session.context) else f"{session.context:.0%}",
            "FAIL": str(session.failing) if session.failing else nothing,
            "NEAREST": "",
            "LIMIT": "",
            "REACHED": "",
        } | (self._limit(nearest, now) if nearest else {})

    def _limit(self, nearest: Progress, now: float) -> dict[str, str]:
        return {
            "NEAREST": limit_with_name(nearest.name, nearest.limit),
            "REACHED": when(nearest.eta, now) or self.style("–"),
        }

    def _line(
        self,
        cells: dict[str, str],
        widths: dict[str, int],
        sign: str,
        code: str,
        dim: str,
        nearest: Progress | None = None,
    ) -> str:
        style, dots = self.style, self.style("…")
        drawn = [style.paint(sign, code)]
        for name in self.names:
            width, text = widths[name], cells[name]
            drawn.append(" " if name == self.names[0] else " " * _gap(name))
            if name == "LIMIT" and nearest:
                percent = f"{math.floor(nearest.part * 100):>4}%"
                bar = limit_bar(nearest.part, self.bar, style)
                drawn.append(bar + style.paint(percent, limit_colour(nearest.part)))
                continue
            if name == "DIRECTORY":
                text = fit_path(text, width, dots)
            elif "\x00" in text:
                what, took = text.split("\x00")
                text = f"{fit(style(what), width - len(took) - 1, dots)} {took}"
            text = pad(
                fit(style(text), width, dots),
                width,
                right=name in RIGHT,
            )
            drawn.append(style.paint(text, code if name == "STATE" else dim))
        return "".join(drawn).rstrip()


def _gap(name: str) -> int:
    return 1 if name == "REACHED" else 2


def fit_path(path: str, width: int, dots: str) -> str:
    """Return a path in `width` cells, cut on its left, at a slash where that fits."""
    if cell_width(path) <= width:
        return path
    parts = path.split("/")
    for at in range(1, len(parts)):
        short = f"{dots}/{'/'.join(parts[at:])}"
        if cell_width(short) <= width:
            return short
    return fit_left(path, width, dots)


def tmux(
    sessions: Iterable[SessionStatus], limits: Mapping[str, float], now: float, style: Style
) -> str:
    """Return one short line for the status bar of tmux."""
    every = rows(sessions, limits, now)
    found = {state: sum(row[1] == state for row in every) for state in State}
    loud = [state for state in (State.TRIPPED, State.STUCK, State.WAITING) if found[state]]
    worst = mark(loud[0] if loud else State.WORKING, style)
    parts = [f"{worst} {len(every)}"]
    if loud:
        parts.append(" ".join(f"{mark(state, style)}{found[state]}" for state in loud))
    parts.append(f"${sum(row[0].cost for row in every):.2f}")
    alive = [row[2] for row in every if row[1] in (State.WORKING, State.STUCK) and row[2]]
    nearest = max(alive, key=lambda each: each.part, default=None)
    if nearest:
        eta = when(nearest.eta, now)
        name = limit_name(nearest.name, nearest.limit)
        parts.append(f"{name} {math.floor(nearest.part * 100)}%{' ' if eta else ''}{eta}")
    return style(" · ").join(parts)
