"""NDJSON streams on file descriptors: flushed before each wait, in large writes between."""

import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, tick
from agent_pipes.core.foreign import described
from agent_pipes.core.jsonl import Fields, objects, parse_line
from agent_pipes.core.live_clock import LiveClock
from agent_pipes.core.stderr import open_nonblocking, warn

CHUNK_BYTES = 1 << 18
"""Bytes per read."""

PIPE_BYTES = 2 * CHUNK_BYTES
"""Capacity requested with F_SETPIPE_SZ; the kernel limits the pipe memory of a user."""

MAX_LINE_BYTES = 64 << 20
"""Bytes of the longest line that is parsed; a longer one is passed on as it is."""

MAX_BUFFERED_BYTES = 256 << 20
"""Bytes buffered for a reader that does not read, if the stage must go on (trace-kill)."""

MAX_TICKING_SESSIONS = 10_000
"""Live sessions of a stream that have ticks of their own."""

ENDING_SIGNALS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal was closed",
}
"""Signals that end a filter, as the last message of a watch names them."""


class ReaderGone(Exception):
    """The reader of our output has gone: the process dies of SIGPIPE once it has cleaned up."""


class Output:
    """Lines to a file descriptor, buffered, and written before the process waits for anything.

    A pipe is written without blocking. With `must_run` the stage never waits for its reader:
    beyond MAX_BUFFERED_BYTES it goes on without it, which is reported.
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
            # The first lines are written at once: a reader that takes few (head) ends us early.
            self.enough = min(CHUNK_BYTES, 4 * self.enough)
            self.flush()

    def flush(self) -> None:
        """Write what the reader takes now. Raises ReaderGone if it has gone, or OSError."""
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
            warn(f"cannot write to standard output ({error.strerror}): no more events are written")
            self.deaf = True
        self.held = [bytes(left)] if left else []
        self.size = len(left)
        if self.must_run and self.size > MAX_BUFFERED_BYTES:
            warn(
                "the reader of standard output does not read: no more events are written, "
                f"{self.size} bytes were dropped"
            )
            self.deaf = True

    def full(self) -> bool:
        """Return True if the reader must take something before there is more for it."""
        return self.size >= CHUNK_BYTES and not self.must_run

    def drain(self) -> None:
        """Write everything; wait for the reader, unless the stage must go on."""
        self.flush()
        while self.held and not self.deaf:
            ready = select.select([], [self._write_fd], [], 1.0 if self.must_run else None)[1]
            if not ready and self.must_run:
                warn(f"the reader of standard output does not read: {self.size} bytes were dropped")
                return
            self.flush()


def _widen(fd: int) -> None:
    """Request the capacity PIPE_BYTES for a pipe, if the system and the user's limit allow it."""
    import fcntl

    with suppress(AttributeError, OSError):
        if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Waiter:
    """The one place where a process waits, and the one that reads a clock.

    A source (stdin, a file that grows) calls `wait` when it has nothing to read: output is flushed
    first, a reader that has gone is noticed, and a signal ends the wait. A stage that waits for
    something of its own (a process that is being killed) adds its file descriptor with `watch`.

    interval: seconds between ticks at most.
    signal:   the signal that asked this process to end; 0 for none.
    divert:   returns True for a signal that is meant for the command that we run.
    fds:      file descriptors that stages wait for.
    """

    def __init__(self, output: Output | None = None) -> None:
        self.output = output
        self.interval = 1.0
        self.on_pause: Callable[[Callable[[], object] | None], None] = lambda go_on: None
        """Called when an agent was paused, with what continues it, and with None when it runs."""
        self.linger_s = 0.0
        """Seconds for which to wait for another session when the last one has ended."""
        self.signal = 0
        self.divert: Callable[[int], bool] = lambda number: False
        self.fds: set[int] = set()
        self._wake_read = -1

    def listen(self) -> None:
        """Let SIGINT, SIGTERM and SIGHUP end the wait and set `signal`; a second one kills."""
        if self._wake_read >= 0:
            return
        self._wake_read, wake_write = (
            os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        )
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in ENDING_SIGNALS:
            # nohup(1) and background jobs ignore some of these on purpose. SIGTERM is never
            # ignored, because a breaker must be stoppable.
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._caught)

    def _caught(self, number: int, frame: object) -> None:
        if self.divert(number):
            return
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def watch(self, fd: int) -> None:
        self.fds.add(fd)

    def forget(self, fd: int) -> None:
        self.fds.discard(fd)

    def wait(self, fd: int = -1, timeout: float | None = None) -> bool:
        """Wait until `fd` is readable, for `timeout` seconds at most (None: one interval).

        Returns True if it is. Raises ReaderGone as soon as the reader of our output has gone.
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
            if fd in ready or self.fds & ready or time.monotonic() >= deadline:
                return fd in ready

    def _poll(self, fd: int, timeout: float) -> set[int]:
        poll = select.poll()
        full = self.output is not None and self.output.full()
        for other in (*self.fds, self._wake_read, *(() if full else (fd,))):
            if other >= 0:
                poll.register(other, select.POLLIN)
        if self.output:
            # Without POLLOUT, poll reports only a reader that has gone.
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
    """The whole lines on a file descriptor, a chunk's worth at a time; None for a silence.

    Each line has its newline, except perhaps the last. A line longer than MAX_LINE_BYTES comes in
    parts; `inside` is True until its newline has come.
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
            chunk = os.read(self.fd, CHUNK_BYTES)
            if not chunk:
                break
            if self.inside:
                end = chunk.find(b"\n") + 1
                # Set before the yield, because the consumer asks then.
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
            if len(carry) > MAX_LINE_BYTES:
                self.inside = True
                yield [bytes(carry)]
                carry.clear()
        if carry:
            yield [bytes(carry)]


class UnreadableInputError(Exception):
    """Standard input is no stream of events; the message says what it is and what to do.

    record: its first JSON object, empty if it has none.
    """

    def __init__(self, message: str, record: Fields | None = None) -> None:
        super().__init__(message)
        self.record: Fields = record or {}


class Reader:
    """The events on a file descriptor, as they come; silence becomes ticks.

    The first JSON value decides: raises UnreadableInputError if it is no event. Later a line that
    is no event is reported once with its number, flows on as it came, and is counted
    in `bad`. Each session that is live, from its `history_end` to its `session_end`, has a tick
    of its own every second.
    """

    def __init__(self, waiter: Waiter, fd: int = 0, name: str = "standard input") -> None:
        self.lines = Lines(waiter, fd)
        self.name = name
        self.number = 0
        self.bad = 0
        self._is_stream = False
        self._latest = 0.0
        self._since = time.monotonic()
        # When the next tick of each live session is due, and its clock.
        self._live: BoundedDict[str, tuple[float, LiveClock]] = BoundedDict(MAX_TICKING_SESSIONS)

    def __iter__(self) -> Iterator[Event]:
        inside = False
        for whole in self.lines:
            if whole is None:
                yield from self._ticks()
                if self._latest:
                    yield tick(self._latest + time.monotonic() - self._since)
                elif self.lines.waiter.fds:
                    # A stage that waits for something of its own.
                    yield tick(0.0)
                continue
            if inside:
                yield Event(whole.pop(0), {})
            arrival = time.time()
            for line in whole:
                event = self._event(line)
                event.arrival = arrival
                yield event
            inside = self.lines.inside
            self._since = time.monotonic()
            yield from self._ticks()

    def _ticks(self) -> Iterator[Event]:
        """Yield a tick of each live session whose last is a second ago, whatever others do."""
        now = time.monotonic()
        for session, (due, clock) in self._live.items():
            if now >= due:
                self._live[session] = now + self.lines.waiter.interval, clock
                yield tick(clock.now(), session)

    def _event(self, line: bytes) -> Event:
        self.number += 1
        fields = parse_line(line) if len(line) <= MAX_LINE_BYTES else None
        if not self._is_stream and line.strip():
            self._decide(line, fields)
        event = Event(line, self._lenient(line) if fields is None else fields)
        if event.time > self._latest:
            self._latest = event.time
        if event.type == "history_end":
            due = time.monotonic() + self.lines.waiter.interval
            self._live[event.session] = due, LiveClock(event.time)
        elif event.type == "session_end":
            self._live.pop(event.session, None)
        elif live := self._live.get(event.session) if self._live else None:
            live[1].see(event.time)
        return event

    def _decide(self, line: bytes, fields: Fields | None) -> None:
        """Raise UnreadableInputError unless the first line is an event."""
        if len(line) <= MAX_LINE_BYTES:
            try:
                fields = fields or next(objects(line), {})
            except ValueError as error:
                advice = "; use jq -c" if line.strip() in (b"{", b"[") else ""
                message = f"{self.name} is not a stream of events: {error}{advice}"
                raise UnreadableInputError(message) from None
        if fields is not None and type(fields.get("event_type")) is not str:
            what = described(fields) or 'not a stream of events: an object without "event_type"'
            raise UnreadableInputError(f"{self.name} is {what}; put trace-tail before it", fields)
        self._is_stream = True

    def _lenient(self, line: bytes) -> Fields:
        """Return the first object on a line that is not one object of strict JSON."""
        fields: Fields = {}
        try:
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
            found = objects(line)
            fields = next(found, fields)
            for _ in found:
                raise ValueError("two objects on one line, of which the second is")
        except ValueError as error:
            self.complain(str(error))
        return fields

    def complain(self, why: str) -> None:
        """Report a bad line: each of the first few, then only that there are more."""
        self.bad += 1
        if self.bad <= 5:
            warn(f"{self.name}:{self.number}: {why}: passed on, not checked")
        elif self.bad == 6:
            warn(f"{self.name}:{self.number}: another bad line; others are counted, not printed")


def lines(content: bytes) -> list[bytes]:
    """Return the lines of `content`, each with its newline."""
    # splitlines would also split at a bare carriage return.
    return BytesIO(content).readlines()


def die_of(number: int) -> None:
    """Kill this process by signal `number`, so that the shell sees that it died of it."""
    signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
