"""Run the agent as a child, as timeout(1) does: it has the terminal and we have its exit status."""

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent_pipes.alert.options import SECRET_VARIABLES
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import exit_status
from agent_pipes.core.stderr import suspend, warn, write_line
from agent_pipes.core.stream import ENDING_SIGNALS, Waiter, die_of
from agent_pipes.process.handle import become_subreaper, clear_death_signal
from agent_pipes.process.table import Identity, identify, pending_signals
from agent_pipes.sessions.selection import NO_SESSION_OF_COMMAND

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit statuses of env(1), timeout(1) and the shell for a command that cannot be started."""

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l\x1b[?25h"
"""Escape sequences: the alternate screen; the normal one, with the cursor."""

BREAKER_STATUSES = (ExitStatus.KILLED, ExitStatus.NOT_KILLED, ExitStatus.VIOLATION)
"""Statuses of the breaker that replace the command's own exit status."""


def run_command(command: tuple[str, ...], waiter: Waiter, watch: Callable[[Identity], int]) -> int:
    """Start `command`, run `watch` until the command has exited, and return the exit status.

    That is the command's own, 128 + n for its death by signal n, or one of BREAKER_STATUSES.
    """
    become_subreaper()
    clear_death_signal()
    terminal = Terminal()
    relay = SignalRelay(terminal)
    # Signals are caught before the command starts, so that it is never left without its breaker.
    waiter.divert = relay.receive
    waiter.on_pause = relay.set_paused
    waiter.listen()
    environment = {
        name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
    }
    try:
        # Python ignores SIGPIPE for itself; the command gets the default actions back.
        child = subprocess.Popen(command, restore_signals=True, env=environment)
    except FileNotFoundError:
        warn(f"{command[0]}: not found")
        return NOT_FOUND
    except OSError as error:
        warn(f"{command[0]}: {error.strerror}")
        return NOT_EXECUTABLE
    relay.start(child)
    identity = identify(child.pid)
    status: int = ExitStatus.OK
    with terminal:
        if identity:
            # The command is waited for even if `watch` fails.
            status = exit_status(lambda: watch(identity))
        else:
            # The command has exited already, but it may have left something running.
            warn(NO_SESSION_OF_COMMAND)
        if child.poll() is None:
            warn(f"{command[0]} (process {child.pid}) is still running, and nothing watches it now")
        returned = child.wait()
    if status in BREAKER_STATUSES:
        return status
    for number in {-returned, returned - 128} & set(relay.sent) & ENDING_SIGNALS.keys():
        warn(f"{ENDING_SIGNALS[number]}: {command[0]} has ended, and nothing is watched now")
    if -returned in relay.sent:
        die_of(-returned)
    return 128 - returned if returned < 0 else returned


class SignalRelay:
    """Passes the signals that we receive on to the command.

    sent: the signals that the command got, from us or from the terminal.
    """

    def __init__(self, terminal: "Terminal") -> None:
        self.sent: list[int] = []
        self._terminal = terminal
        self._go_on: Callable[[], object] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def start(self, child: "subprocess.Popen[bytes]") -> None:
        """Pass on what was received before the command was started, and everything from now on."""
        self._child = child
        for number in self._early:
            self.receive(number)

    def receive(self, number: int) -> bool:
        """Pass one signal on. Returns True: the signal does not end us."""
        if self._child is None:
            self._early.append(number)
            return True
        # The terminal sends SIGINT to the whole foreground group, so that the command has it.
        if number != signal.SIGINT or self._terminal.saved is None:
            with suppress(OSError):
                self._child.send_signal(number)
        self.sent.append(number)
        if self._go_on:
            # A stopped process receives the signal only once it is continued, its tools likewise.
            self._go_on()
        return True

    def set_paused(self, go_on: Callable[[], object] | None) -> None:
        """Note what continues the paused command, None if it runs, and switch the terminal."""
        self._go_on = go_on
        if go_on and self._has_pending():
            # The signal came while the processes were being stopped.
            go_on()
        elif go_on:
            self._terminal.take_back()
        elif self._terminal.lend_again() and self._child:
            # The command draws its screen anew.
            with suppress(OSError):
                self._child.send_signal(signal.SIGWINCH)

    def _has_pending(self) -> bool:
        with suppress(OSError):
            return bool(self._child and pending_signals(self._child.pid) & set(self.sent))
        return False


class Terminal:
    """The command's terminal: kept free of our output, and restored afterwards."""

    def __init__(self) -> None:
        self.saved: list[Any] | None = None
        self._commands: list[Any] | None = None
        with suppress(termios.error, OSError, ValueError):
            self.saved = termios.tcgetattr(2)

    def __enter__(self) -> None:
        if self.saved is not None:
            suspend(self.in_use)

    def in_use(self) -> bool:
        """Return True if the command has the terminal in raw mode, and so draws on the screen."""
        try:
            return not termios.tcgetattr(2)[3] & termios.ICANON
        except (termios.error, OSError):
            return False

    def take_back(self) -> None:
        """Leave the screen of a command that was paused, so that people can read and type."""
        if self.saved is None or not self.in_use():
            return
        with suppress(termios.error, OSError):
            self._commands = termios.tcgetattr(2)
            os.write(2, LEAVE_SCREEN)
            termios.tcsetattr(2, termios.TCSADRAIN, self.saved)

    def lend_again(self) -> bool:
        """Restore the command's screen; return False if it had none."""
        if self._commands is None:
            return False
        with suppress(termios.error, OSError):
            termios.tcsetattr(2, termios.TCSADRAIN, self._commands)
            os.write(2, ENTER_SCREEN)
        self._commands = None
        return True

    def __exit__(self, *error: object) -> None:
        if self.saved is not None:
            if self.in_use():
                # A command that was killed has not left the alternate screen nor shown the cursor.
                with suppress(OSError):
                    os.write(2, LEAVE_SCREEN)
            with suppress(termios.error, OSError):
                termios.tcsetattr(2, termios.TCSADRAIN, self.saved)
        for line in suspend(None):
            write_line(line)
        sys.stderr.flush()
