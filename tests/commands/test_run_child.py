"""The terminal of a started command: the command's while it runs, the user's while it is paused."""

import json
import os
import pty
import signal
import subprocess
import sys

from agent_pipes.commands.run_child import ENTER_SCREEN, LEAVE_SCREEN, SignalRelay, Terminal
from agent_pipes.process.table import is_stopped
from tests.helpers.support import ROOT, until
from tests.helpers.terminal import received

PAUSED = """
import json, os, sys, termios, tty
sys.path.insert(0, ROOT)
from agent_pipes.commands.run_child import SignalRelay, Terminal
from agent_pipes.core.stderr import warn

class Child:
    pid = os.getpid()
    def __init__(self):
        self.signals = []
    def send_signal(self, number):
        self.signals.append(int(number))

def is_raw():
    return not termios.tcgetattr(2)[3] & termios.ICANON

terminal, child, seen = Terminal(), Child(), []
relay = SignalRelay(terminal)
relay.start(child)
with terminal:
    tty.setraw(2)
    warn("held back")
    seen.append(is_raw())
    relay.set_paused(lambda: child.send_signal(18))
    warn("readable")
    seen.append(is_raw())
    relay.receive(15)
    relay.set_paused(None)
    seen.append(is_raw())
    relay.receive(15)
seen.append(is_raw())
print(json.dumps([seen, child.signals]), flush=True)
"""


def in_terminal(code: str) -> tuple[bytes, bytes]:
    """Return a program's output to the terminal that is its stderr, and to stdout."""
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", code.replace("ROOT", repr(str(ROOT)))],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    out = child.communicate(timeout=30)[0]
    shown = received(master, 0.2)
    os.close(master)
    return shown, out


def test_the_terminal_is_peoples_while_the_command_is_paused():
    shown, out = in_terminal(PAUSED)
    seen, signals = json.loads(out)
    assert seen == [True, False, True, False], "raw, paused, resumed, over"
    left, again = shown.index(LEAVE_SCREEN), shown.index(ENTER_SCREEN)
    assert left < shown.index(b"readable") < again
    assert shown.index(b"held back\r\n") > left, "nothing is written into the command's screen"
    # TERM and CONT while it is paused, WINCH so that it draws its screen anew, then TERM alone.
    assert signals == [15, 18, 28, 15]


SURVIVES = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"received\\n"))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def test_a_signal_undoes_the_pause_that_it_met_and_no_later_one():
    with subprocess.Popen([sys.executable, "-c", SURVIVES], stdout=subprocess.PIPE) as child:
        assert child.stdout
        try:
            assert child.stdout.readline() == b"ready\n"
            relay, continued = SignalRelay(Terminal()), []

            def stop() -> None:
                child.send_signal(signal.SIGSTOP)
                until(lambda: is_stopped(child.pid), what="a stopped command")

            def go_on() -> None:
                continued.append(True)
                child.send_signal(signal.SIGCONT)

            relay.start(child)
            stop()
            relay.receive(signal.SIGTERM)
            child.send_signal(signal.SIGCONT)
            assert child.stdout.readline() == b"received\n"
            stop()
            relay.set_paused(go_on)
            assert not continued, "the user had stopped it when it came"
            go_on()
            relay.set_paused(None)
            stop()
            relay.receive(signal.SIGTERM)
            relay.set_paused(go_on)
            assert continued == [True, True]
            assert child.stdout.readline() == b"received\n"
        finally:
            child.kill()
