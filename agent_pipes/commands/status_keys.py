"""Keys pressed while the table of trace-status is shown, and the terminal's mode meanwhile."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Any

from agent_pipes.core.stderr import forget_live
from agent_pipes.core.stream import Waiter

try:
    import termios
except ImportError:  # pragma: no cover
    termios = None  # type: ignore[assignment]

QUIT_KEYS = b"qQ\x04"
"""Keys that end the view: q, and Control-D."""


class Keyboard:
    """The terminal of this process, read key by key without echo; use as a context manager.

    Events come on standard input, so keys are read from /dev/tty. Nothing is read, and no mode is
    set, without a terminal or in the background. A stop (Control-Z) and Control-\\ restore the
    mode before they take effect; after a stop the view is drawn anew below.
    """

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter
        self._fd = -1
        self._mode: list[Any] | None = None

    def __enter__(self) -> "Keyboard":
        if termios:
            with suppress(OSError):
                self._fd = os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            for number in (signal.SIGTSTP, signal.SIGQUIT):
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, self._stopped)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTSTP, signal.SIGQUIT):
            if signal.getsignal(number) == self._stopped:
                signal.signal(number, signal.SIG_DFL)
        self._restore()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def quits(self) -> bool:
        """Return True if a key that ends the view was pressed since the last call."""
        if self._mode is None:
            self._set_mode()
            return False
        try:
            keys = os.read(self._fd, 1024)
        except BlockingIOError:
            return False
        except OSError:
            keys = b""
        if not keys:
            # The terminal has gone, or reads for another process now.
            self._restore()
        return any(key in QUIT_KEYS for key in keys)

    def _set_mode(self) -> None:
        """Read single keys without echo, if this process is in the foreground."""
        with suppress(OSError, termios.error):
            if self._fd < 0 or os.tcgetpgrp(self._fd) != os.getpgrp():
                return
            mode = termios.tcgetattr(self._fd)
            changed = [*mode[:3], mode[3] & ~(termios.ICANON | termios.ECHO), *mode[4:]]
            termios.tcsetattr(self._fd, termios.TCSADRAIN, changed)
            self._mode = mode
            self._waiter.watch(self._fd)

    def _restore(self) -> None:
        mode, self._mode = self._mode, None
        if mode is not None:
            self._waiter.forget(self._fd)
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, mode)

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Only a stop comes back, when the user continues the process.
        signal.signal(number, self._stopped)
        forget_live()
