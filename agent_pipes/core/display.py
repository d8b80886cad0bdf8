"""Text for people: escaped, cut to a length, durations as they are written."""


def escape(text: str) -> str:
    """Return `text` with control characters and direction marks written out (`\\x1b`)."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escape, text))


def _escape(char: str) -> str:
    # Joiners and variation selectors are format characters, but harmless, and part of emoji.
    if char.isprintable() or char in "\u200d\ufe0f":
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def truncate(text: str, limit: int) -> str:
    """Return `text`, cut at its end to `limit` characters, the last of them `…`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def truncate_left(text: str, limit: int) -> str:
    """Return `text`, cut at its beginning to `limit` characters, the first of them `…`."""
    return text if len(text) <= limit else "…" + text[len(text) - limit + 1 :]


def plural(number: int, noun: str, several: str = "") -> str:
    """Return `1 event`, `2 events`; `several` is the plural where it is not formed with `s`."""
    return f"{number} {noun if number == 1 else several or noun + 's'}"


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
