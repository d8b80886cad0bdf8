"""Terminals of a given size: a pty's bytes, and the screen of a private tmux server."""

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from termios import tcsetwinsize

import pytest

from tests.helpers.support import BIN, ENVIRONMENT, until

needs_tmux = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


def received(fd: int, silence_s: float) -> bytes:
    """Return what comes from a terminal until it is closed, or silent for this long."""
    sent = b""
    while select.select([fd], [], [], silence_s)[0]:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        sent += part
    return sent


def sent_to_terminal(words: list[str], environment: dict[str, str], columns: int = 0) -> bytes:
    """Return all that a command sends to the terminal that it runs in, 24 lines of `columns`."""
    pid, fd = pty.fork()
    if pid == 0:
        if columns:
            tcsetwinsize(0, (24, columns))
        os.execve(words[0], words, environment)
    sent = received(fd, 30)
    os.waitpid(pid, 0)
    os.close(fd)
    return sent


def shown_on_terminal(
    words: list[str],
    environment: dict[str, str],
    *,
    columns: int = 80,
    input: bytes = b"",
    streams: tuple[str, ...] = ("stdout",),
    status: int = 0,
) -> bytes:
    """Return what a command writes to those streams, which alone are a terminal."""
    ours, theirs = pty.openpty()
    tcsetwinsize(theirs, (24, columns))
    outputs = {name: theirs if name in streams else DEVNULL for name in ("stdout", "stderr")}
    with subprocess.Popen(words, stdin=PIPE, **outputs, env=environment) as process:
        os.close(theirs)
        with ThreadPoolExecutor() as pool:
            shown = pool.submit(received, ours, 30)
            process.communicate(input)
            sent = shown.result()
    os.close(ours)
    assert process.returncode == status, sent
    return sent


class Terminal:
    """One tmux pane in which a shell command runs."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def screen(self, *, colours: bool = False) -> str:
        """The lines on the screen, without the empty ones at the end."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else [])).rstrip("\n ")

    def shows(self, text: str) -> str:
        """The screen, once it contains `text`."""
        until(lambda: text in self.screen(), what=f"{text!r} on the screen")
        return self.screen()

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))


@contextmanager
def terminal(folder: Path, columns: int, rows: int, script: str, **env: str) -> Iterator[Terminal]:
    """Run a shell script in a terminal of that size; it stays open after the script has ended."""
    pane = Terminal(folder / f"tmux{columns}x{rows}")
    path = folder / f"script{columns}x{rows}.sh"
    path.write_text(f"trap : INT\ncd {folder}\n{script}\necho; echo DONE; sleep 120\n")
    environment = {**ENVIRONMENT, "PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    environment |= {"LC_ALL": "C.UTF-8"} | env
    # pytest-xdist exports its own size to the tests.
    for name in {"COLUMNS", "LINES"} - env.keys():
        environment.pop(name, None)
    size = ["-x", str(columns), "-y", str(rows)]
    start = ["tmux", "-S", pane.socket, "-f", "/dev/null", "new-session", "-d", *size]
    subprocess.run(
        [*start, f"sh {path}"],
        env=environment,
        check=True,
    )
    try:
        yield pane
    finally:
        subprocess.run(["tmux", "-S", pane.socket, "kill-server"], capture_output=True)
