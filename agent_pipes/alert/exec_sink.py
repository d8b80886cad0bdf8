"""Program that is run with each alert on its stdin: `trace-alert --exec`."""

import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO

from agent_pipes.alert.batching import Batch
from agent_pipes.alert.delivery import Undelivered
from agent_pipes.alert.options import SECRET_VARIABLES
from agent_pipes.core.stderr import warn
from agent_pipes.process import helpers

MAX_PROCESSES = 4
RUN_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.05

MAX_STDERR_BYTES = 4096
MAX_STDERR_LINES = 5
"""Bytes and lines of a run's stderr that are reported."""


class Program:
    """Runs a command without a shell; `deliver` of a DeliveryQueue."""

    def __init__(self, words: list[str], *, timeout_s: float = RUN_TIMEOUT_S) -> None:
        self.words = words
        # Resolved once, so that a file put into a directory of $PATH later is not run.
        self.path = os.path.abspath(shutil.which(words[0]) or words[0])
        self.name = os.path.basename(self.path)
        self.timeout_s = timeout_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._abandoned = False

    def __call__(self, batch: Batch) -> None:
        """Run the program and wait for it. Raises Undelivered if it fails or takes too long."""
        (alert,) = batch.alerts
        stderr = bytearray()
        child = self._start()
        self._running.add(child)
        if self._abandoned:
            _kill(child)
        try:
            status = self._communicate(child, alert.event.raw.rstrip(b"\n") + b"\n", stderr)
        finally:
            for pipe in (child.stdin, child.stderr):
                if pipe:
                    with suppress(OSError):
                        pipe.close()
            self._running.discard(child)
            helpers.reaped(child.pid)
        self._report(stderr)
        if status is None:
            raise Undelivered(f"it timed out after {self.timeout_s:g} s, and was killed")
        if status:
            raise Undelivered(
                f"it was killed by {signal.Signals(-status).name}"
                if status < 0
                else f"it exited with status {status}"
            )

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = {
            name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
        }
        try:
            return helpers.spawn(
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

    def _communicate(
        self, child: "subprocess.Popen[bytes]", line: bytes, stderr: bytearray
    ) -> int | None:
        """Write `line` to stdin, collect stderr, and wait.

        Return the exit status, None after the timeout.
        """
        assert child.stdin is not None
        assert child.stderr is not None
        os.set_blocking(child.stdin.fileno(), False)
        os.set_blocking(child.stderr.fileno(), False)
        deadline = time.monotonic() + self.timeout_s
        left, poll = memoryview(line), select.poll()
        poll.register(child.stdin, select.POLLOUT)
        poll.register(child.stderr, select.POLLIN)
        while (status := child.poll()) is None:
            if time.monotonic() >= deadline:
                _kill(child)
                child.wait()
                return None
            for fd, _ in poll.poll(POLL_INTERVAL_S * 1000):
                if fd == child.stderr.fileno():
                    if not _collect(child.stderr, stderr):
                        poll.unregister(fd)
                    continue
                left = _write_some(fd, left)
                if not left:
                    poll.unregister(fd)
                    child.stdin.close()
        _collect(child.stderr, stderr)
        return status

    def abandon(self) -> None:
        """Kill the runs that have not ended."""
        self._abandoned = True
        for child in list(self._running):
            _kill(child)

    def _report(self, stderr: bytearray) -> None:
        lines = stderr[:MAX_STDERR_BYTES].decode(errors="replace").splitlines()
        for text in lines[:MAX_STDERR_LINES]:
            warn(f"{self.name}: {text}")
        if len(lines) > MAX_STDERR_LINES or len(stderr) > MAX_STDERR_BYTES:
            warn(f"{self.name} printed more lines, which are not shown")


def _write_some(fd: int, left: memoryview) -> memoryview:
    """Write to a nonblocking pipe and return the rest, empty if its reader has gone."""
    try:
        return left[os.write(fd, left) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill a run with its process group."""
    if child.returncode is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)


def _collect(pipe: IO[bytes], stderr: bytearray) -> bool:
    """Read all that is available, and keep its beginning. Return False at the end of the pipe."""
    with suppress(BlockingIOError):
        while part := os.read(pipe.fileno(), 65536):
            if len(stderr) <= MAX_STDERR_BYTES:
                stderr += part[: MAX_STDERR_BYTES + 1 - len(stderr)]
        return False
    return True
