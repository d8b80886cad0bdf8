"""Tables for a terminal: columns fitted to its width, bars, compact numbers."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from agent_pipes.core.display import cell_width, fit, fit_left, pad
from agent_pipes.core.style import Style

GAP = "  "

MIN_CUT_COLUMNS = 8
"""Width below which a column is not cut."""

MIN_ID_CHARS = 8


class Column(NamedTuple):
    """A column of a table.

    align: the side of the cell on which the text is.
    cut:   the side on which a cell may be cut to fit the terminal: "left" keeps the end of a
           path; "" never cuts.
    drop:  columns that do not fit are left out, the highest number first; 0 never is.
    gap:   what separates it from the column before it.
    """

    title: str
    align: Literal["left", "right"] = "left"
    cut: Literal["left", "right", ""] = ""
    drop: int = 0
    gap: str = GAP


def format_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], style: Style
) -> list[str]:
    """Return the lines of a table, its header first, none wider than the terminal.

    The columns that may be cut share what the others leave: the widest is cut first. If that is
    not enough, columns are left out.
    """
    every = [[column.title for column in columns], *rows]
    widths = [max(map(cell_width, cells)) for cells in zip(*every, strict=True)]
    excess = sum(widths) + sum(len(column.gap) for column in columns[1:]) - (style.width - 1)
    narrowest = [
        max(min(width, MIN_CUT_COLUMNS), cell_width(column.title)) if column.cut else width
        for column, width in zip(columns, widths, strict=True)
    ]
    if excess > sum(widths) - sum(narrowest):
        dropped = max(range(len(columns)), key=lambda at: columns[at].drop)
        if columns[dropped].drop:
            kept = [at for at in range(len(columns)) if at != dropped]
            fewer = [[row[at] for at in kept] for row in rows]
            return format_table([columns[at] for at in kept], fewer, style)
    for _ in range(max(0, excess)):
        cuttable = [at for at, width in enumerate(widths) if width > narrowest[at]]
        if not cuttable:
            break
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    return [_line(columns, cells, widths, style) for cells in every]


def _line(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], style: Style
) -> str:
    line = ""
    for at, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        cut = fit_left if column.cut == "left" else fit
        text = pad(cut(cell, width, style.ellipsis), width, right=column.align == "right")
        line += (column.gap if at else "") + text
    return fit(line.rstrip(), style.width - 1, style.ellipsis)


def compact_number(count: float) -> str:
    """Return a count in at most five characters: `907`, `22k`, `1.3M`."""
    for limit, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if round(count / divisor) * divisor < limit:
            scaled = count / divisor
            return f"{scaled:.0f}{unit}" if unit in ("", "k") else f"{scaled:.1f}{unit}"
    return f"{count / 1e12:.1f}T"


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return the shortest beginning of each id that no other has, of MIN_ID_CHARS at least."""
    every = sorted(set(ids))
    found = {}
    for at, each in enumerate(every):
        near = [*every[max(0, at - 1) : at], *every[at + 1 : at + 2]]
        length = MIN_ID_CHARS
        while length < len(each) and any(other.startswith(each[:length]) for other in near):
            length += 1
        found[each] = each[:length]
    return found
