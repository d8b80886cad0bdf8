"""Style of a terminal: its width, the characters that it shows, and colour."""

import os
import sys
from typing import NamedTuple

from agent_pipes.core.display import is_ascii_locale, terminal_size, to_ascii

BAR_BLOCKS = " ▏▎▍▌▋▊▉█"
"""A cell of a bar in eighths."""

DIM = "2"
"""ANSI code of text that steps back."""


class Style(NamedTuple):
    """Style of drawn text.

    width:  columns of the terminal.
    ascii:  draw without characters that a terminal without UTF-8 lacks.
    colour: use ANSI colours.
    """

    width: int = 80
    ascii: bool = False
    colour: bool = False

    def __call__(self, text: str) -> str:
        """Return `text` with the characters that the terminal has."""
        return to_ascii(text) if self.ascii else text

    @property
    def ellipsis(self) -> str:
        """The sign for text that was cut."""
        return self("…")

    @property
    def separator(self) -> str:
        """The sign between the parts of a sentence below a table."""
        return ", " if self.ascii else " · "

    def paint(self, text: str, code: str) -> str:
        """Return `text` in the colour of an ANSI code, if the terminal shows colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code and text else text

    def dim(self, text: str) -> str:
        """Return text that steps back, if the terminal shows colours."""
        return self.paint(text, DIM)

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


def default_style(colour: bool, width: int = 80) -> Style:
    """Return the style of this terminal: NO_COLOR, TERM and the locale are obeyed."""
    is_dumb = os.environ.get("TERM") == "dumb"
    has_colour = colour and not is_dumb and not os.environ.get("NO_COLOR")
    return Style(width, is_dumb or is_ascii_locale(), has_colour)


def terminal_style(columns: int | None = None) -> Style:
    """Return the style of the terminal on stdout."""
    style = default_style(os.isatty(1), columns or terminal_size(1)[0])
    try:
        BAR_BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (AttributeError, UnicodeEncodeError, LookupError):
        return style._replace(ascii=True)
    return style
