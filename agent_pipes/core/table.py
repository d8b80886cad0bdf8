"""Tables for a terminal: columns fitted to its width, bars, compact numbers."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

GAP = "  "

MIN_CUT_COLUMNS = 8
"""Width below which a column is not cut."""

BAR_BLOCKS = " ▏▎▍▌▋▊▉█"
"""A cell of a bar in eighths."""


class Column(NamedTuple):
    """A column of a table.

    align: the side of the cell on which the text is.
    cut:   the side on which a cell may be cut to fit the terminal: "left" keeps the end of a
           path; "" never cuts.
    gap:   what separates it from the column before it.
    """

    title: str
    align: Literal["left", "right"] = "left"
    cut: Literal["left", "right", ""] = ""
    gap: str = GAP


class Style(NamedTuple):
    """Width of the terminal in columns, and the characters that it shows."""

    width: int = 80
    ascii: bool = False

    @property
    def ellipsis(self) -> str:
        """The sign for text that was cut."""
        return "..." if self.ascii else "…"

    @property
    def separator(self) -> str:
        """The sign between the parts of a sentence below a table."""
        return ", " if self.ascii else " · "

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
        ascii_only = os.environ.get("TERM") == "dumb"
    except (UnicodeEncodeError, LookupError):
        ascii_only = True
    return Style(columns or shutil.get_terminal_size((80, 24)).columns, ascii_only)


def text_width(text: str) -> int:
    """Return the columns that `text` takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def fit(text: str, width: int, style: Style, side: str = "right") -> str:
    """Return `text` cut on `side` to at most `width` columns."""
    if text_width(text) <= width:
        return text
    kept = width - len(style.ellipsis)
    if side == "left":
        while text_width(text) > kept:
            text = text[1:]
        return style.ellipsis + text
    while text_width(text) > kept:
        text = text[:-1]
    return text.rstrip() + style.ellipsis


def format_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], style: Style
) -> list[str]:
    """Return the lines of a table, its header first, none wider than the terminal.

    The columns that may be cut share what the others leave: the widest is cut first.
    """
    every = [[column.title for column in columns], *rows]
    widths = [max(map(text_width, cells)) for cells in zip(*every, strict=True)]
    gaps = sum(len(column.gap) for column in columns[1:])
    while sum(widths) + gaps > style.width - 1:
        cuttable = [
            at for at, column in enumerate(columns) if column.cut and widths[at] > MIN_CUT_COLUMNS
        ]
        if not cuttable:
            break
        widths[max(cuttable, key=widths.__getitem__)] -= 1
    return [_line(columns, cells, widths, style) for cells in every]


def _line(
    columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int], style: Style
) -> str:
    line = ""
    for at, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        text = fit(cell, width, style, column.cut or "right")
        padding = " " * (width - text_width(text))
        line += (column.gap if at else "") + (
            text + padding if column.align == "left" else padding + text
        )
    return fit(line.rstrip(), style.width - 1, style)


def compact_number(count: float) -> str:
    """Return a count in at most five characters: `907`, `22k`, `1.3M`."""
    for limit, divisor, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if round(count / divisor) * divisor < limit:
            scaled = count / divisor
            return f"{scaled:.0f}{unit}" if unit in ("", "k") else f"{scaled:.1f}{unit}"
    return f"{count / 1e12:.1f}T"


def short_path(path: str, home: str) -> str:
    """Return a path with `~` for the home directory."""
    return "~" + path[len(home) :] if home and f"{path}/".startswith(f"{home}/") else path
