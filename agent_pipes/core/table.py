"""Tables for a terminal: columns fitted to its width, bars, compact numbers."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from agent_pipes.core.display import (
    cell_width,
    fit,
    fit_left,
    is_ascii_locale,
    pad,
    terminal_size,
)

GAP = "  "

MIN_CUT_COLUMNS = 8
"""Width below which a column is not cut."""

MIN_ID_CHARS = 8

BAR_BLOCKS = " ▏▎▍▌▋▊▉█"
"""A cell of a bar in eighths."""


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


class Style(NamedTuple):
    """Width of the terminal in columns, the characters that it shows, and colour."""

    width: int = 80
    ascii: bool = False
    colour: bool = False

    @property
    def ellipsis(self) -> str:
        """The sign for text that was cut."""
        return "..." if self.ascii else "…"

    @property
    def separator(self) -> str:
        """The sign between the parts of a sentence below a table."""
        return ", " if self.ascii else " · "

    def dim(self, text: str) -> str:
        """Return text that steps back, if the terminal shows colours."""
        return f"\x1b[2m{text}\x1b[0m" if self.colour and text else text

    def rule(self) -> str:
        """Return a line that separates a table from its sums."""
        return ("-" if self.ascii else "─") * (self.width - 1)

    def bar(self, share: float, width: int) -> str:
        """Return a bar that fills `share` (0 to 1) of `width` columns; any share above 0 shows."""
        if share <= 0 or width < 1:
            return ""
        if self.ascii:
            return "#" * max(1, round(share * width))
        eighths = max(1, round(share * width * 8))
        return BAR_BLOCKS[-1] * (eighths // 8) + BAR_BLOCKS[eighths % 8].strip()


def terminal_style(columns: int | None = None) -> Style:
    """Return the style of the terminal on stdout."""
    encoding = (sys.stdout.encoding or "ascii") if sys.stdout else "ascii"
    try:
        BAR_BLOCKS.encode(encoding)
        ascii_only = os.environ.get("TERM") == "dumb" or is_ascii_locale()
    except (UnicodeEncodeError, LookupError):
        ascii_only = True
    width = columns or terminal_size(1)[0]
    colour = os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(width, ascii_only, colour)


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
