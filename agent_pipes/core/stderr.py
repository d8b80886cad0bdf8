"""Messages for people on stderr: whole escaped lines, which never wait for a reader.

All messages of a process pass through here, so that the live line of trace-status is cleared before
any other line. The live line of another process in the pipeline is ended instead.
"""

import os
import re
import select
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from agent_pipes.core.display import (
    UNBROKEN,
    cell_width,
    escape,
    fold,
    is_ascii_locale,
    terminal_size,
    to_ascii,
)

WRITE_TIMEOUT_S = 0.5
"""Time that a paused terminal or pager may block; then messages are dropped and counted."""

WRITE_BYTES = 4096
"""Bytes per write: a pipe that is ready takes as many without blocking."""

MAX_SUSPENDED_LINES = 1000

ALERT_MARKS = ("⚠", "❌")
"""Marks of lines for which the bell rings where they cannot be shown."""

_CLEAR_LINE = "\r\x1b[K"
_SAVE_TITLE, _RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class _Writer:
    """State of stderr in this process.

    prefix:    begins each warning; the program's name by default.
    busy:      True while another program draws on the terminal; lines wait meanwhile.
    suspended: the lines that wait.
    deferred:  collects lines, if it is not None; see `defer`.
    live:      the live lines on the terminal.
    columns:   the terminal's width when they were written.
    log:       file descriptor that each line is appended to, -1 if there is none.
    titled:    the terminal has a title of ours.
    """

    def __init__(self) -> None:
        self.prefix = ""
        self.busy: Callable[[], bool] | None = None
        self.suspended: list[str] = []
        self.deferred: list[str] | None = None
        self.live: tuple[str, ...] = ()
        self.columns = 0
        self.log = -1
        self.titled = False
        self._fd = -1
        self._dropped = 0
        self._terminal: bool | None = None

    def lines(self, *texts: str) -> None:
        if self.deferred is not None:
            self.deferred.extend(texts)
            return
        if self.log >= 0:
            self._append(texts)
        if self.busy and (self.busy() or self.suspended):
            self.suspended.extend(texts)
            del self.suspended[:-MAX_SUSPENDED_LINES]
            if self.busy():
                alert = any(mark in text for text in texts for mark in ALERT_MARKS)
                self.title(texts[-1], bell=alert)
                return
            texts, self.suspended = tuple(self.suspended), []
        start = "" if self.live else self._new_line()
        self.clear()
        shown = (f"{line}\n" for text in texts for line in self._shown(text))
        self.write((start + "".join(shown)).encode(errors="replace"))

    def _new_line(self) -> str:
        """Return what ends a line of another program that has not ended it itself.

        Spaces up to the margin run over into the next row only if the row is not empty.
        """
        return " " * (terminal_size(2)[0] - 1) + _CLEAR_LINE if is_drawable() else ""

    def _shown(self, text: str) -> list[str]:
        """Return the lines of a message: on a terminal folded, in the characters that it has."""
        if not self._is_terminal():
            return [_plain(text)]
        kept = UNBROKEN.join(map(escape, text.split(UNBROKEN)))
        folded = (each.replace(UNBROKEN, " ") for each in fold(kept, terminal_size(2)[0] - 1))
        return [to_ascii(line) if is_ascii_locale() else line for line in folded]

    def _is_terminal(self) -> bool:
        if self._terminal is None:
            self._terminal = os.isatty(2)
        return self._terminal

    def _append(self, texts: Iterable[str]) -> None:
        from datetime import datetime  # seldom needed

        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        text = "".join(f"{now} {_plain(text)}\n" for text in texts)
        try:
            os.write(self.log, text.encode(errors="replace"))
        except OSError as error:
            self.log = -1
            self.lines(f"{prefix()}cannot write to the log: {error.strerror}")

    def title(self, text: str, *, bell: bool = False) -> None:
        """Set the terminal's title, the only place that a full-screen program leaves to others."""
        saved = "" if self.titled else _SAVE_TITLE
        self.titled = True
        sound = "\a" if bell else ""
        self.write(f"{saved}\x1b]2;{_plain(text)}\x1b\\{sound}".encode(errors="replace"))

    def clear(self) -> None:
        if self.live:
            self.write(f"{self._to_first_line()}\x1b[J".encode())
            self.live = ()

    def show(self, lines: tuple[str, ...]) -> None:
        columns = terminal_size(2)[0]
        below = "\x1b[J" if len(self.live) != len(lines) or columns != self.columns else ""
        text = "\n".join(f"{line}\x1b[K" for line in lines)
        self.write(f"{self._to_first_line()}{below}{text}".encode(errors="replace"))
        self.live, self.columns = lines, columns

    def _to_first_line(self) -> str:
        """Return the way back to the first live line.

        A terminal that became narrower has wrapped them: each takes more rows.
        """
        columns = terminal_size(2)[0]
        rows = len(self.live)
        if columns < self.columns:
            widths = (cell_width(_ANSI.sub("", line)) for line in self.live)
            rows = sum(max(1, -(-width // columns)) for width in widths)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"

    def write(self, text: bytes) -> None:
        try:
            if self._fd < 0:
                self._fd = open_nonblocking(2) if stat.S_ISFIFO(os.fstat(2).st_mode) else 2
            if self._dropped and self._writable(0):
                lost = f"\n{prefix()}stderr was not read: {self._dropped} messages were dropped\n"
                text = lost.encode() + text
            for at in range(0, len(text), WRITE_BYTES):
                part = text[at : at + WRITE_BYTES]
                while part:
                    if not self._writable(0 if self._dropped else WRITE_TIMEOUT_S):
                        raise BlockingIOError
                    part = part[os.write(self._fd, part) :]
            self._dropped = 0
        except BlockingIOError:
            self._dropped += 1
        except OSError:
            pass  # Nobody is left to tell.

    def _writable(self, timeout_s: float) -> bool:
        return bool(select.select([], [self._fd], [], timeout_s)[1])


def _plain(text: str) -> str:
    """Return a message as one escaped line."""
    return escape(text.replace(UNBROKEN, " "))


_stderr = _Writer()


def is_drawable() -> bool:
    """Return True if stderr is a terminal that obeys escape sequences."""
    return os.isatty(2) and os.environ.get("TERM") != "dumb"


def write_line(text: str) -> None:
    """Write one line, escaped; the live line is cleared before it."""
    _stderr.lines(text)


@contextmanager
def defer() -> Iterator[list[str]]:
    """Collect the lines of a block in a list, for the caller to write when others have been."""
    before, _stderr.deferred = _stderr.deferred, []
    try:
        yield _stderr.deferred
    finally:
        _stderr.deferred = before


def warn(text: str) -> None:
    """Write one line that begins with the prefix: `trace-kill: TEXT`."""
    write_line(f"{prefix()}{text}")


def show_live(*lines: str) -> None:
    """Write `lines` in place of the last live ones, without a newline at the end.

    The caller escapes them and fits them to the width.
    """
    if _stderr.busy and _stderr.busy():
        _stderr.title(_ANSI.sub("", lines[-1]))
        return
    _stderr.show(lines)


def clear_live() -> None:
    """Clear the live lines; others may follow in their place."""
    _stderr.clear()


def end_live() -> None:
    """End the live line with a newline."""
    if _stderr.live:
        _stderr.live = ()
        _stderr.write(b"\n")


def forget_live() -> None:
    """Write the next live lines below what others have written meanwhile, as after a stop."""
    _stderr.live = ()


def suspend(busy: Callable[[], bool] | None) -> list[str]:
    """Hold lines back while `busy` returns True; None ends that.

    Return the lines that were held back so far.
    """
    waiting, _stderr.suspended = _stderr.suspended, []
    _stderr.busy = busy
    if _stderr.titled:
        _stderr.titled = False
        _stderr.write(_RESTORE_TITLE.encode())
    return waiting


def set_log(path: str) -> None:
    """Append each line, with its time, to the file at `path` as well. Raises OSError."""
    _stderr.log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def prefix() -> str:
    """Return the beginning of each warning: `trace-kill: `, `[watch] `."""
    return _stderr.prefix or f"{program_name()}: "


def set_prefix(text: str) -> None:
    """Begin each warning with `text` from now on."""
    _stderr.prefix = text


def program_name() -> str:
    """Return the name by which this program was called."""
    return os.path.basename(sys.argv[0]) or "agent-pipes"


def open_nonblocking(fd: int) -> int:
    """Return a nonblocking descriptor of our own for the pipe `fd`, or `fd` if there is none.

    O_NONBLOCK belongs to the open file description, which other processes share.
    """
    with suppress(OSError):
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return fd
