"""A program that is run with each alert on its standard input: `trace-alert --exec`."""

import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO

from agent_pipes.alert.batching import Batch
from agent_pipes.alert.delivery import Undelivered
from agent_pipes.core.stderr import warn
from agent_pipes.process import helpers

WORKERS = 4
"""How many run at once, at most."""

TIMEOUT = 30.0
"""Seconds that one may run."""

SECRETS = ("AGENT_PIPES_WEBHOOK", "AGENT_PIPES_PAGERDUTY_KEY")
"""Variables that it does not get."""

SAID, LINES = 4096, 5
"""Bytes of its standard error that are read of each run, and lines of it that are said."""

LOOK = 0.05
"""Seconds between two looks at whether it has ended."""


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell would take them but for what only a shell does. Raises ValueError, saying why."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{error}".lower()) from None
    if not words:
        raise ValueError("a command is expected")
    if not shutil.which(words[0]):
        raise ValueError(f"{words[0]!r} was not found, or cannot be executed")
    return words


class Program:
    """Runs a command, without a shell: what an Outbox delivers with."""

    def __init__(self, words: list[str], *, timeout: float = TIMEOUT) -> None:
        self.words = words
        # Found once: what somebody puts into a directory of $PATH later is not it.
        self.path = os.path.abspath(shutil.which(words[0]) or words[0])
        self.name = os.path.basename(self.path)
        self.timeout = timeout
        self._running: set[subprocess.Popen[bytes]] = set()
        self._abandoned = False

    def __call__(self, batch: Batch) -> None:
        """Run it, and wait for it. Raises Undelivered if it fails, or takes too long."""
        (alert,) = batch.alerts
        environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        try:
            child = helpers.begin(
                lambda: subprocess.Popen(
                    self.words,
                    executable=self.path,
                    env=environment,
                    start_new_session=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            )
        except OSError as error:
            raise Undelivered(f"it could not be run: {error.strerror}") from None
        said = bytearray()
        self._running.add(child)
        if self._abandoned:
            _end(child)
        try:
            status = self._see_through(child, alert.event.raw.rstrip(b"\n") + b"\n", said)
        finally:
            for pipe in (child.stdin, child.stderr):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            self._running.discard(child)
            helpers.over(child.pid)
        self._say(said)
        if status is None:
            raise Undelivered(f"it had not ended after {self.timeout:g} s, and was killed")
        if status:
            raise Undelivered(
                f"it was ended by {signal.Signals(-status).name}"
                if status < 0
                else f"it ended with status {status}"
            )

    def _see_through(
        self, child: "subprocess.Popen[bytes]", line: bytes, said: bytearray
    ) -> int | None:
        """Give it the line, gather what it says on standard error, and wait. Its exit status, or None: it took too long."""
        assert child.stdin is not None
        assert child.stderr is not None
        os.set_blocking(child.stdin.fileno(), False)
        os.set_blocking(child.stderr.fileno(), False)
        deadline = time.monotonic() + self.timeout
        left, poll = memoryview(line), select.poll()
        poll.register(child.stdin, select.POLLOUT)
        poll.register(child.stderr, select.POLLIN)
        while (status := child.poll()) is None:
            if time.monotonic() >= deadline:
                _end(child)
                child.wait()
                return None
            for fd, _ in poll.poll(LOOK * 1000):
                if fd == child.stderr.fileno():
                    if not _gather(child.stderr, said):
                        poll.unregister(fd)
                    continue
                with suppress(BlockingIOError):
                    try:
                        left = left[os.write(fd, left) :]
                    except BrokenPipeError:
                        # It need not read what it is given.
                        left = left[:0]
                if not left:
                    poll.unregister(fd)
                    child.stdin.close()
        _gather(child.stderr, said)
        return status

    def abandon(self) -> None:
        """End what still runs."""
        self._abandoned = True
        for child in list(self._running):
            _end(child)

    def _say(self, said: bytearray) -> None:
        lines = said[:SAID].decode(errors="replace").splitlines()
        for text in lines[:LINES]:
            warn(f"{self.name}: {text}")
        if len(lines) > LINES or len(said) > SAID:
            warn(f"{self.name} said more, which is left out")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End an errand, and what it has started: its group is its own."""
    if child.returncode is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)


def _gather(pipe: IO[bytes], said: bytearray) -> bool:
    """Read what is there, and keep the beginning. False: there is nothing more to come."""
    with suppress(BlockingIOError):
        while part := os.read(pipe.fileno(), 65536):
            said += part[: SAID + 1 - len(said)] if len(said) <= SAID else b""
        return False
    return True
