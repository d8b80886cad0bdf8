"""Layout of --help: it fits the terminal, and breaks lines at spaces only."""

from collections.abc import Iterable
from typing import Any

import click

from agent_pipes.core.display import UNBROKEN, fold, terminal_size

MAX_COLUMNS, MIN_COLUMNS = 80, 20

WIDE = 60
"""Width from which options have a column of their own, and the texts another one."""

TERM_COLUMNS, NARROW_TERM_COLUMNS = 30, 6


class HelpFormatter(click.HelpFormatter):
    """Click's formatter, for any width of the terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        columns = min(terminal_size(1, 2)[0], MAX_COLUMNS)
        super().__init__(width=max(columns, MIN_COLUMNS) - 2)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = TERM_COLUMNS, col_spacing: int = 2
    ) -> None:
        """Write names and their texts; a name that is too long has a line of its own."""
        rows = list(rows)
        most = col_max if self.width >= WIDE else NARROW_TERM_COLUMNS
        column = min(max(len(name) for name, _ in rows), most) + col_spacing
        start = " " * (self.current_indent + column)
        for name, text in rows:
            head = " " * self.current_indent + name
            if len(name) > column - col_spacing:
                for line in fold(head, self.width, " " * (self.current_indent + most)):
                    self.write(f"{line}\n")
                head = ""
            text = text.replace("[default: ", f"[default:{UNBROKEN}")
            for line in fold(head.ljust(len(start)) + text, self.width, start):
                self.write(f"{line.replace(UNBROKEN, ' ')}\n")


class Context(click.Context):
    """Click's context, with this layout and -h."""

    formatter_class = HelpFormatter

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"help_option_names": ["-h", "--help"]} | settings)
