"""What is said to people, on stderr: a line at a time, with nothing in it that a terminal would obey, waiting for nobody."""

import os
import select
import stat
import sys
from collections.abc import Callable
from contextlib import suppress


def say(text: str) -> None:
    """One line to the people on stderr, in one write, with nothing in it that a terminal would obey."""
    if _busy and (_busy() or _later):
        _later.append(text)
        del _later[:-1000]
        if _busy():
            return
        waiting, _later[:] = _later[:], []
        text = "\n".join(map(shown, waiting))
    else:
        text = shown(text)
    to_people((text + "\n").encode(errors="replace"))


PATIENCE = 0.5
"""Seconds that people's terminal or pager may take no more before what we say is lost to them."""

_people = -1
_lost = 0


def to_people(text: bytes) -> None:
    """Write to stderr, but do not wait for its reader: a terminal may be paused, a pager left alone, and a breaker must run."""
    global _people, _lost
    try:
        if _people < 0:
            _people = own_description(2) if stat.S_ISFIFO(os.fstat(2).st_mode) else 2
        if _lost and select.select([], [_people], [], 0)[1]:
            text = (
                f"\n{warning_head()}nobody read what was said here, {_lost} times\n".encode() + text
            )
        for at in range(0, len(text), 4096):
            part = text[at : at + 4096]
            while part:
                if not select.select([], [_people], [], 0 if _lost else PATIENCE)[1]:
                    raise BlockingIOError
                part = part[os.write(_people, part) :]
        _lost = 0
    except BlockingIOError:
        _lost += 1
    except OSError:
        pass


def own_description(fd: int) -> int:
    """The pipe that `fd` is, opened once more, not to block: O_NONBLOCK belongs to the open file, which others share."""
    with suppress(OSError):
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return fd


def hold_back(busy: Callable[[], bool] | None) -> list[str]:
    """From now on lines wait while `busy` says that the terminal is another's; the result is what still waits."""
    global _busy
    _busy = busy
    waiting = _later[:]
    _later.clear()
    return waiting


_busy: Callable[[], bool] | None = None
_later: list[str] = []


def warn(text: str) -> None:
    """One line to the people on stderr, with our name before it."""
    say(f"{warning_head()}{text}")


def warning_head() -> str:
    """What a line to people begins with: `trace-kill: `, `[watch] `."""
    return _head or f"{program()}: "


def speak_as(head: str) -> None:
    """From now on `warn` begins its lines with `head`."""
    global _head
    _head = head


_head = ""


def shown(text: str) -> str:
    """`text` with its control characters, escape sequences and direction marks written out instead of sent."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    # Joiners and variation selectors are format characters too, but harmless, and part of many a sign.
    if char.isprintable() or char in "\u200d\ufe0f":
        return char
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def program() -> str:
    """The name that people called us by, for the head of a message."""
    return os.path.basename(sys.argv[0]) or "agent-pipes"
