"""NDJSON in, NDJSON out, with good manners: prompt when input trickles, fast when it pours, and no flag for it."""

import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO

from agent_pipes.core.event import Event, tick
from agent_pipes.core.jsonl import Fields, objects, parse_line
from agent_pipes.core.stderr import open_nonblocking, warn

CHUNK = 1 << 18
"""Bytes read at once."""

PIPE = 2 * CHUNK
"""Bytes that a pipe to our reader is made to hold, so that one can fill it while the other empties it: the less often the
two take turns, the less each disturbs the other. No more: what all pipes of a user hold is limited."""

MAX_LINE = 64 << 20
"""Bytes of the longest line that is read; a longer one is passed on without being looked at."""

HELD = 256 << 20
"""Bytes held for a reader that does not read, where the stage must not stand still (trace-kill)."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ReaderGone(Exception):
    """Nobody reads our output any more: the process is to die of SIGPIPE, once it has cleaned up."""


class Output:
    """Lines to a file descriptor: gathered, and written before the process waits for anything.

    A pipe is written without blocking, so that a reader that has stopped reading never stops the stage; how much is
    held for it, `limit` says in bytes. `must_run` is a stage that may not wait for its reader: beyond the limit it
    goes on without it, and says so.
    """

    def __init__(self, fd: int = 1, *, must_run: bool = False) -> None:
        self.fd = fd
        self.held: list[bytes] = []
        self.size = 0
        self.enough = 1
        self.must_run = must_run
        self.deaf = False
        self.pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        self._write_fd = open_nonblocking(fd) if self.pipe else fd
        if self.pipe:
            _widen(fd)

    def write(self, line: bytes) -> None:
        self.held.append(line)
        self.size += len(line)
        if self.size >= self.enough:
            # The first lines go out at once, later ones by the pipeful: a reader whom a few suffice (head) ends us soon.
            self.enough = min(CHUNK, 4 * self.enough)
            self.flush()

    def flush(self) -> None:
        """Write what the reader takes now. Raises ReaderGone where there is no reader, OSError where the disk says no."""
        if not self.held or self.deaf:
            self.held.clear()
            self.size = 0
            return
        left = memoryview(b"".join(self.held))
        try:
            while left:
                left = left[
                    os.write(
                        self._write_fd,
                        left if self._write_fd != self.fd or not self.pipe else left[:512],
                    ) :
                ]
                if (
                    self.pipe
                    and self._write_fd == self.fd
                    and left
                    and not select.select([], [self.fd], [], 0)[1]
                ):
                    break
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            if not self.must_run:
                raise
            warn(f"cannot write to standard output ({error.strerror}): going on without it")
            self.deaf = True
        self.held = [bytes(left)] if left else []
        self.size = len(left)
        if self.must_run and self.size > HELD:
            warn(
                f"the reader of our output reads nothing: going on without it, {self.size} bytes are lost to it"
            )
            self.deaf = True

    def full(self) -> bool:
        """Whether the reader must take something before there is more for it."""
        return self.size >= CHUNK and not self.must_run

    def drain(self) -> None:
        """Write everything, waiting for the reader as long as it takes (not where the stage must run on)."""
        self.flush()
        while self.held and not self.deaf:
            ready = select.select([], [self._write_fd], [], 1.0 if self.must_run else None)[1]
            if not ready and self.must_run:
                warn(f"the reader of our output reads nothing: {self.size} bytes are lost to it")
                return
            self.flush()


def _widen(fd: int) -> None:
    """Let the pipe hold PIPE bytes, where that can be told to it and the user may."""
    import fcntl

    with suppress(AttributeError, OSError):
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE)


class Waiter:
    """The one place where a process waits, and the one that looks at a clock.

    Whoever reads (stdin, a file that grows) calls `wait` when there is nothing to read: output is flushed first, a
    reader that has gone is noticed, and a signal ends the wait. Stages that wait for something of their own (a
    process that is being ended) add its file descriptor with `watch` and get a tick when it is ready.
    """

    def __init__(self, output: Output | None = None) -> None:
        self.output = output
        self.interval = 1.0
        """Seconds between ticks at most."""
        self.signal = 0
        """The signal that asked this process to end, 0 while none has."""
        self.divert: Callable[[int], bool] = lambda number: False
        """Says of a signal that it is somebody else's: the command's that we run."""
        self._fds: set[int] = set()
        self._wake_read = -1

    def listen(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP end the wait and set `signal`; a second one kills as ever."""
        if self._wake_read >= 0:
            return
        self._wake_read, wake_write = (
            os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        )
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in SIGNALS:
            # nohup(1) and a shell's background jobs ignore some of these on purpose. SIGTERM ignored by our parent
            # is an accident: a breaker that cannot be ended is none.
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._caught)

    def _caught(self, number: int, frame: object) -> None:
        if self.divert(number):
            return
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def watch(self, fd: int) -> None:
        self._fds.add(fd)

    def forget(self, fd: int) -> None:
        self._fds.discard(fd)

    def wait(self, fd: int = -1, timeout: float | None = None) -> bool:
        """Wait until `fd` can be read, for `timeout` seconds at most (one interval, if None). True: it can be.

        Raises ReaderGone as soon as nobody reads our output, also while nothing is written to it.
        """
        deadline = time.monotonic() + (self.interval if timeout is None else timeout)
        while True:
            if self.output:
                self.output.flush()
            if self.signal:
                return False
            ready = self._poll(fd, max(0.0, deadline - time.monotonic()))
            if self.output and self.output.full():
                if time.monotonic() >= deadline:
                    deadline += self.interval
                continue
            if fd in ready or self._fds & ready or time.monotonic() >= deadline:
                return fd in ready

    def _poll(self, fd: int, timeout: float) -> set[int]:
        poll = select.poll()
        full = self.output is not None and self.output.full()
        for other in (*self._fds, self._wake_read, *(() if full else (fd,))):
            if other >= 0:
                poll.register(other, select.POLLIN)
        if self.output:
            # Without POLLOUT this reports a reader that has gone, and nothing else. A file always has its reader.
            poll.register(self.output.fd, select.POLLOUT if self.output.held else 0)
        ready = dict(poll.poll(timeout * 1000 + 0.999 if timeout else 0))
        if self._wake_read in ready:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 512)
        if (
            self.output
            and self.output.pipe
            and ready.get(self.output.fd, 0) & (select.POLLERR | select.POLLNVAL)
        ):
            raise ReaderGone
        return set(ready)


class Lines:
    """The whole lines on a file descriptor, each with its newline, a chunk's worth at a time; None for a silence.

    A line longer than MAX_LINE comes in parts, `inside` being true until its newline has come; the last line may
    lack its newline.
    """

    def __init__(self, waiter: Waiter, fd: int = 0) -> None:
        self.waiter = waiter
        self.fd = fd
        self.inside = False

    def __iter__(self) -> Iterator[list[bytes] | None]:
        carry = bytearray()
        while True:
            while not self.waiter.wait(self.fd):
                if self.waiter.signal:
                    return
                yield None
            chunk = os.read(self.fd, CHUNK)
            if not chunk:
                break
            if self.inside:
                end = chunk.find(b"\n") + 1
                # Before the part is handed out: whoever takes it asks then whether its line goes on.
                self.inside = not end
                yield [chunk[:end] if end else chunk]
                chunk = chunk[end:] if end else b""
            end = chunk.rfind(b"\n") + 1
            if end:
                whole = bytes(carry) + chunk[:end] if carry else chunk[:end]
                carry = bytearray(chunk[end:])
                yield lines(whole)
            else:
                carry += chunk
            if len(carry) > MAX_LINE:
                self.inside = True
                yield [bytes(carry)]
                carry.clear()
        if carry:
            yield [bytes(carry)]


class Reader:
    """The events on a file descriptor, as they come; silence becomes ticks.

    A line that is no event is reported once with its number, flows on as it came, and is counted
    in `bad`.
    """

    def __init__(self, waiter: Waiter, fd: int = 0, name: str = "standard input") -> None:
        self.lines = Lines(waiter, fd)
        self.name = name
        self.number = 0
        self.bad = 0
        self._latest = 0.0
        self._since = time.monotonic()

    def __iter__(self) -> Iterator[Event]:
        inside = False
        for whole in self.lines:
            if whole is None:
                if self._latest:
                    yield tick(self._latest + time.monotonic() - self._since)
                continue
            if inside:
                yield Event(whole.pop(0), {})
            for line in whole:
                yield self._event(line)
            inside = self.lines.inside
            self._since = time.monotonic()

    def _event(self, line: bytes) -> Event:
        self.number += 1
        fields = parse_line(line) if len(line) <= MAX_LINE else None
        event = Event(line, self._lenient(line) if fields is None else fields)
        if event.time > self._latest:
            self._latest = event.time
        return event

    def _lenient(self, line: bytes) -> Fields:
        """Return the first object on a line that is not one object of strict JSON."""
        fields: Fields = {}
        try:
            if len(line) > MAX_LINE:
                raise ValueError(f"longer than {MAX_LINE} bytes")
            found = objects(line)
            fields = next(found, fields)
            for _ in found:
                raise ValueError("two objects on one line, of which the second is")
        except ValueError as error:
            self.complain(str(error))
        return fields

    def complain(self, why: str) -> None:
        """Say a bad line to people: the first few each, then only that there are more."""
        self.bad += 1
        if self.bad <= 5:
            warn(f"{self.name}:{self.number}: {why}: passed on, not judged")
        elif self.bad == 6:
            warn(f"{self.name}:{self.number}: another bad line; further ones are counted, not said")


def lines(content: bytes) -> list[bytes]:
    """The lines of `content`, each with its newline."""
    # Not splitlines, which also parts at a bare carriage return, and looks at each byte by itself.
    return BytesIO(content).readlines()


def die_of(number: int) -> None:
    """End the process by signal `number`, as a C program does, so that the shell sees what happened."""
    signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
