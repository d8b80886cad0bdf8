"""Table of a cost report for a terminal."""

from agent_pipes.core.display import escape, fit, tilde
from agent_pipes.core.style import Style
from agent_pipes.core.table import Column, compact_number, format_table, short_ids
from agent_pipes.cost.ledger import ModelTotals
from agent_pipes.cost.options import Grouping
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.report import Group, Report, merged

MIN_WIDE_COLUMNS = 120
"""Width from which the columns for responses, cache writes and savings are shown."""

MIN_BAR_CELLS, MAX_BAR_CELLS = 4, 40


def report_table(report: Report, by: Grouping, style: Style, reverse: bool = False) -> str:
    """Return the table: the latest day or the dearest last, then the sums; `reverse` turns it.

    What does not fit is left out: the bar, then CACHED, OUT, IN, and SESSIONS or MODEL.
    """
    groups = report.groups(by)
    if by != "day":
        groups.sort(key=lambda group: group.totals.usd)
    total = Group("all", {each for group in groups for each in group.sessions})
    total.models = {"": merged(group.totals for group in groups)}
    names = _names(groups, by)
    columns = _columns(by, style)
    rows = [_row(name, group, by, style) for name, group in zip(names, groups, strict=True)]
    rows.append(_row("all", total, by, style))
    header, *lines = format_table(columns, rows, style)
    *lines, sums = _with_bars(lines, groups, style)
    body = [style.dim(header)]
    notes = _notes(total, report, style)
    if reverse:
        return _text([*body, sums, style.rule(), *reversed(lines), *notes])
    return _text([*body, *lines, style.rule(), sums, *notes])


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _names(groups: list[Group], by: Grouping) -> list[str]:
    if by == "session":
        short = short_ids(group.key for group in groups)
        return [escape(short[group.key]) for group in groups]
    if by == "project":
        return [escape(tilde(group.key)) or "-" for group in groups]
    return [escape(group.key) or "-" for group in groups]


def _columns(by: Grouping, style: Style) -> list[Column]:
    columns = [Column(by.upper(), cut="left" if by == "project" else "right")]
    if by == "session":
        columns += [Column("PROJECT", cut="left", drop=1), Column("MODEL", cut="right", drop=2)]
    else:
        columns.append(Column("SESSIONS", "right", drop=2))
    if style.width >= MIN_WIDE_COLUMNS:
        columns.append(Column("RESPONSES", "right", drop=6))
    columns += [
        Column("IN", "right", drop=3),
        Column("CACHED", "right", drop=5),
        Column("OUT", "right", drop=4),
    ]
    if style.width >= MIN_WIDE_COLUMNS:
        columns += [Column("CACHE WRITES", "right", drop=8), Column("SAVED", "right", drop=7)]
    return [*columns, Column("$", "right")]


def _row(name: str, group: Group, by: Grouping, style: Style) -> list[str]:
    totals = group.totals
    cells = [name]
    if by == "session":
        models = [escape(model) for model in group.models if model]
        more = f" +{len(models) - 1}" if len(models) > 1 else ""
        cells += [escape(tilde(group.project)), f"{models[0]}{more}" if models else ""]
    else:
        cells.append(f"{len(group.sessions):,}")
    cached = f"{totals.read / totals.prompt:.0%}" if totals.prompt else ""
    tokens = [compact_number(totals.prompt), cached, compact_number(totals.output)]
    if style.width >= MIN_WIDE_COLUMNS:
        saved = f"{totals.saved / DOLLAR:,.2f}"
        tokens = [f"{totals.responses:,}", *tokens, compact_number(totals.written), saved]
    return [*cells, *tokens, _dollars(totals)]


def _dollars(totals: ModelTotals) -> str:
    marks = ("~" if totals.estimated else "") + ("?" if totals.unpriced else "")
    return f"{marks}{totals.usd / DOLLAR:,.2f}"


def _with_bars(lines: list[str], groups: list[Group], style: Style) -> list[str]:
    """Append each group's share of the dearest one, if there is room for a bar."""
    width = max(map(len, lines), default=0)
    room = min(style.width - 1 - width - 2, MAX_BAR_CELLS)
    dearest = max((group.totals.usd for group in groups), default=0)
    if room < MIN_BAR_CELLS or not dearest:
        return lines
    bars = [style.dim(style.bar(group.totals.usd / dearest, room)) for group in groups]
    return [
        f"{line}{' ' * (width - len(line))}  {bar}" if bar else line
        for line, bar in zip(lines, [*bars, ""], strict=True)
    ]


def _notes(total: Group, report: Report, style: Style) -> list[str]:
    totals = total.totals
    notes = ["~ contains an estimate"] if totals.estimated else []
    if totals.unpriced:
        notes.append("? contains responses without a price, counted as $0")
    if totals.saved > 0:
        notes.append(f"caching saved ${totals.saved / DOLLAR:,.0f}")
    notes = [fit(note, style.width - 1) for note in (*notes, f"prices of {report.price_date}")]
    lines = [notes[0]]
    for note in notes[1:]:
        joined = f"{lines[-1]}{style.separator}{note}"
        lines = [*lines[:-1], joined] if len(joined) < style.width else [*lines, note]
    return [style.dim(line) for line in lines]
