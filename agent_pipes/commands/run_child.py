"""Starting the agent ourselves, as timeout(1) does: it gets the terminal, we watch it, and its exit status is ours."""

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import exit_status
from agent_pipes.core.stderr import suspend, warn, write_line
from agent_pipes.core.stream import Waiter, die_of
from agent_pipes.process.handle import become_subreaper, clear_death_signal
from agent_pipes.process.table import Identity, identify
from agent_pipes.sessions.session_follower import UNWATCHED

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit statuses of env(1), timeout(1) and the shell for a command that could not be started."""

BREAKERS = (ExitStatus.KILLED, ExitStatus.NOT_KILLED, ExitStatus.VIOLATION)
"""What the breaker has to say that matters more than the command's own exit status."""


def run_command(command: tuple[str, ...], waiter: Waiter, watch: Callable[[Identity], int]) -> int:
    """Start `command`, let `watch` look after it until it has ended, and return what it came to: its own exit status
    (128 + n for death by signal n), or the breaker's."""
    become_subreaper()
    clear_death_signal()
    terminal = Terminal()
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []
    passed_on: list[int] = []

    def divert(number: int) -> bool:
        # Ctrl-C reaches the whole foreground group: the command has it already, and its end is ours.
        if child is None:
            early.append(number)
        elif not (number == signal.SIGINT and terminal.saved is not None):
            with suppress(OSError):
                child.send_signal(number)
            passed_on.append(number)
        return True

    # Before there is a command: one whose breaker dies of a signal as it starts would run on unwatched.
    waiter.divert = divert
    waiter.listen()
    try:
        # Default signals in the child: what Python ignores for itself (SIGPIPE) is not the command's business.
        child = subprocess.Popen(command, restore_signals=True)
    except FileNotFoundError:
        warn(f"{command[0]}: not found")
        return NOT_FOUND
    except OSError as error:
        warn(f"{command[0]}: {error.strerror}")
        return NOT_EXECUTABLE
    for number in early:
        divert(number)
    identity = identify(child.pid)
    status: int = ExitStatus.OK
    with terminal:
        if identity:
            # Whatever becomes of the watching, the command is waited for.
            status = exit_status(lambda: watch(identity))
        else:
            # It was over at once, and may have left something behind that goes on.
            warn(UNWATCHED)
        if child.poll() is None:
            warn(f"{command[0]} (process {child.pid}) still runs, and nothing watches it now")
        returned = child.wait()
    if status in BREAKERS:
        return status
    if passed_on and -returned in passed_on:
        die_of(-returned)
    return 128 - returned if returned < 0 else returned


class Terminal:
    """The terminal that the command has: nothing of ours is written into its screen, and it is given back as it was."""

    def __init__(self) -> None:
        self.saved: list[Any] | None = None
        with suppress(termios.error, OSError, ValueError):
            self.saved = termios.tcgetattr(2)

    def __enter__(self) -> None:
        if self.saved is not None:
            suspend(self.in_use)

    def in_use(self) -> bool:
        """Whether the command draws on the screen itself: it reads keys, not lines, from this terminal."""
        try:
            return not termios.tcgetattr(2)[3] & termios.ICANON
        except (termios.error, OSError):
            return False

    def __exit__(self, *error: object) -> None:
        if self.saved is not None:
            if self.in_use():
                # It was ended without a chance to tidy up: leave the alternate screen, show the cursor.
                with suppress(OSError):
                    os.write(2, b"\x1b[?1049l\x1b[?25h")
            with suppress(termios.error, OSError):
                termios.tcsetattr(2, termios.TCSADRAIN, self.saved)
        for line in suspend(None):
            write_line(line)
        sys.stderr.flush()
