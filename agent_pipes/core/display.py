"""Text for people: escaped, cut to a length or width, durations as they are written."""

import os
import re
import unicodedata
from contextlib import suppress

DEFAULT_SIZE = (80, 24)
"""Columns and rows where nothing tells them."""

HARMLESS = "\u200d\ufe0f"
"""Format characters that are part of emoji: a joiner and a variation selector."""

UNBROKEN = "\N{NO-BREAK SPACE}"
"""Space at which no line is broken: in a command that is to be copied."""

INDENT = "    "
"""Beginning of the second and following lines of a message on a terminal."""

_ASCII = str.maketrans(
    {
        "·": "-", "–": "-", "…": "...", "‹": "<", "›": ">", "─": "-", "→": ">",
        "×": "x", "✅": "ok", "⚠": "!!", "❌": "XX", "⏳": "..", "—": "-", "\ufe0f": "",
    }
)  # fmt: skip


def is_ascii_locale() -> bool:
    """Return True if the locale is set, and not to UTF-8: Python writes UTF-8 in the C locale."""
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next((name for name in names if name), "")
    return bool(locale) and not locale.upper().replace("-", "").endswith("UTF8")


def to_ascii(text: str) -> str:
    """Return `text` in the characters of a terminal without UTF-8."""
    if text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def unbroken(command: str) -> str:
    """Return a command that is to be copied from a message, which no line break parts."""
    return command.replace(" ", UNBROKEN)


def fold(text: str, width: int, indent: str = INDENT) -> list[str]:
    """Return the lines of a message, broken at spaces to `width` cells; later ones are indented."""
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        if line.strip() and cell_width(line + word) > width:
            lines.append(line)
            line = indent + word.lstrip(" ")
        else:
            line += word
    return [*lines, line]


def escape(text: str) -> str:
    """Return `text` with control characters and direction marks written out (`\\x1b`)."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    if char.isprintable() or char in HARMLESS:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_line(line: bytes) -> bytes:
    """Return what is written to a terminal: lines with control characters as `\\u202e`."""
    text = line.decode(errors="replace")
    if text.isascii() and text.rstrip("\n").isprintable():
        return line
    shown = (
        char if char.isprintable() or char in f"{HARMLESS}\n" else f"\\u{ord(char):04x}"
        for char in text
    )
    return "".join(shown).encode(errors="replace")


def truncate(text: str, limit: int) -> str:
    """Return `text`, cut at its end to `limit` characters, the last of them `…`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def truncate_left(text: str, limit: int) -> str:
    """Return `text`, cut at its beginning to `limit` characters, the first of them `…`."""
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def plural(number: int, noun: str, several: str = "") -> str:
    """Return `1 event`, `2 events`; `several` is the plural if it is not formed with `s`."""
    return f"{number} {noun if number == 1 else several or noun + 's'}"


def format_limit(watcher: str, limit: float) -> str:
    """Return a watcher's limit as it is typed: `$0.066`, `30m`, `5`."""
    if watcher == "cost":
        return f"${round(limit, 2):g}" if limit >= 1 else f"${limit:.2g}"
    return format_duration(limit) if watcher in ("duration", "stall") else f"{limit:g}"


def format_duration(seconds: float) -> str:
    """Return a duration as it is typed in an option: `45s`, `10m`, `1h30m`."""
    if seconds < 60:
        return f"{seconds:g}s"
    whole = round(seconds)
    parts = (
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "m"),
        (whole % 60, "s"),
    )
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def two_units(seconds: float) -> str:
    """Return an age in its two greatest units: `12s`, `3m 04s`, `2h 04m`, `3d 4h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole // 60 % 60:02}m"
    return f"{whole // 86400}d {whole // 3600 % 24}h"


def cell_width(text: str) -> int:
    """Return the terminal cells that `text` takes: East Asian wide characters and emoji are two."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def _cells(char: str) -> int:
    if char < "\x7f":
        return 1
    if char in "\u200b\u200d\ufe0f" or unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text`, cut at its end to `width` cells."""
    return text if cell_width(text) <= width else _cut(text, width, ellipsis)


def fit_left(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text`, cut at its beginning to `width` cells."""
    if cell_width(text) <= width:
        return text
    return ellipsis[:width] + _cut(text[::-1], width - len(ellipsis), "")[::-1]


def _cut(text: str, width: int, ellipsis: str) -> str:
    room, kept = width - len(ellipsis), 0
    for at, char in enumerate(text):
        kept += _cells(char)
        if kept > room:
            return (text[:at] + ellipsis)[: max(0, width)] if room >= 0 else ellipsis[:width]
    return text


def pad(text: str, width: int, right: bool = False) -> str:
    """Return `text` with spaces up to `width` cells, on its left if it is aligned `right`."""
    spaces = " " * max(0, width - cell_width(text))
    return spaces + text if right else text + spaces


def terminal_size(*fds: int) -> tuple[int, int]:
    """Return columns and rows of the first of `fds` that is a terminal.

    Without any, those of COLUMNS and LINES, else 80 and 24.
    """
    for fd in fds:
        with suppress(OSError):
            size = os.get_terminal_size(fd)
            if size.columns:
                return size.columns, size.lines or DEFAULT_SIZE[1]
    named = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    columns, lines = (int(each) if each.isascii() and each.isdigit() else 0 for each in named)
    return columns or DEFAULT_SIZE[0], lines or DEFAULT_SIZE[1]


def tilde(path: str) -> str:
    """Return a path with the home directory as `~`."""
    home = os.path.expanduser("~")
    return "~" + path[len(home) :] if path == home or path.startswith(home + "/") else path
