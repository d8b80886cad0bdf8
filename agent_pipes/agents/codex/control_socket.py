"""Interrupt one Codex session in a daemon that serves several: a signal would end them all.

Codex's terminal interface leaves the work to a daemon, which all terminals of a user share. On its
control socket a client sends JSON-RPC in the text messages of a WebSocket (RFC 6455). The turn of
one session is interrupted, and those of the subagents it has spawned, which Codex leaves running;
every other session goes on.
"""

import base64
import hashlib
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from agent_pipes import __version__
from agent_pipes.agents.base import InterruptError
from agent_pipes.agents.codex.place import socket_path
from agent_pipes.agents.fields import objects_in, string, within
from agent_pipes.core.jsonl import Fields

TIMEOUT = 5.0
"""Seconds that an interruption may take, from the first look at the socket to the last answer."""

MAX_MESSAGE = 64 << 20
"""Bytes of the longest message that is taken from the daemon."""

PAUSE = 0.02
"""Seconds between two queries of a turn that has just begun."""

ROUNDS = 5
"""Number of scans for running turns: an interrupted one may have started another meanwhile."""

THREADS = 200
"""Loaded sessions of the daemon whose parents are queried."""


class ControlError(InterruptError):
    """A session could not be interrupted; the message is for users."""


def interrupt(path: Path, thread: str, timeout: float = TIMEOUT) -> str:
    """Interrupt the session `thread`, and leave every other session of the daemon alone.

    path:    the control socket; only the one where Codex itself would look is accepted.
    timeout: seconds, for all of it.

    Return "interrupted", or "not_running" if no turn was running. Commands that the session left in
    the background are ended in both cases. Raise ControlError if any of it failed.
    """
    with Connection(_checked(path), timeout) as daemon:
        daemon.call(
            "initialize",
            clientInfo={"name": "agent-pipes", "version": __version__},
            capabilities={"experimentalApi": True},
        )
        daemon.notify("initialized")
        outcome = "not_running"
        for _ in range(ROUNDS):
            # The session comes first, so that it spawns nothing while its subagents are listed.
            stopped = _stop(daemon, thread)
            family = _descendants(daemon, thread)
            for each in family:
                with _unless_unloaded(daemon, each):
                    stopped = _stop(daemon, each) or stopped
            if not stopped:
                break
            outcome = "interrupted"
        else:
            raise ControlError(
                f"the session was interrupted {ROUNDS} times, and began another turn each time"
            )
        daemon.call("thread/backgroundTerminals/clean", threadId=thread)
        for each in family:
            with _unless_unloaded(daemon, each):
                daemon.call("thread/backgroundTerminals/clean", threadId=each)
    return outcome


def _stop(daemon: "Connection", thread: str) -> bool:
    """Interrupt the thread's running turn, if there is one."""
    turn = _running(daemon, thread)
    if not turn:
        return False
    try:
        daemon.call("turn/interrupt", threadId=thread, turnId=turn)
    except Refusal:
        # The turn may have ended between the two calls. If it has not, the refusal is one.
        if _running(daemon, thread) == turn:
            raise
    return True


def _running(daemon: "Connection", thread: str) -> str:
    """Return the id of the thread's running turn, "" between turns."""
    while True:
        if within(_read(daemon, thread), "status").get("type") != "active":
            return ""
        try:
            # One turn without its items: the history of a long session is many megabytes.
            turns = daemon.call(
                "thread/turns/list", threadId=thread, limit=1, itemsView="notLoaded"
            ).get("data")
        except Refusal:
            turns = _read(daemon, thread, turns=True).get("turns")
        for turn in objects_in(turns):
            if turn.get("status") == "inProgress" and (running := string(turn, "id")):
                return running
        # It has begun so recently that it is not listed yet.
        daemon.pause()


def _descendants(daemon: "Connection", thread: str) -> list[str]:
    """Return the loaded threads that descend from `thread`."""
    parents: dict[str, object] = {}
    for each in _loaded(daemon)[:THREADS]:
        with suppress(Refusal):
            parents[each] = _read(daemon, each).get("parentThreadId")
    family = [thread]
    for member in family:
        family += [
            each for each, parent in parents.items() if parent == member and each not in family
        ]
    return family[1:]


def _loaded(daemon: "Connection") -> list[str]:
    threads = daemon.call("thread/loaded/list").get("data")
    return [each for each in threads if isinstance(each, str)] if isinstance(threads, list) else []


@contextmanager
def _unless_unloaded(daemon: "Connection", thread: str) -> Iterator[None]:
    """Ignore the refusal of a request about a subagent that is gone by now."""
    try:
        yield
    except Refusal:
        if thread in _loaded(daemon):
            raise


def _read(daemon: "Connection", thread: str, *, turns: bool = False) -> Fields:
    return within(daemon.call("thread/read", threadId=thread, includeTurns=turns), "thread")


def _checked(path: Path) -> str:
    """Return the path to connect to: it must be Codex's own, and writable by this user alone."""
    if os.path.abspath(path) != os.path.abspath(socket_path()):
        raise ControlError(f"{path} is not Codex's control socket, which is {socket_path()}")
    try:
        owner, found = os.stat(path.parent), os.stat(path)
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}: is the Codex daemon running?") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(f"{path} is not a socket")
    if found.st_uid != os.geteuid() or owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        raise ControlError(f"{path}: other users can write there; a kill is not sent to it")
    return os.path.realpath(path)


class Refusal(ControlError):
    """The daemon answered a call with an error."""


class Connection:
    """Client of the daemon: one call at a time, all within `timeout` seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._buffer = bytearray()
        self._calls = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._wait()
            self._socket.connect(path)
            self._check_peer()
            self._shake_hands()
        except OSError as error:
            self._socket.close()
            raise self._failed(error) from None
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError, ControlError):
            self._send(_CLOSE, struct.pack("!H", 1000))
        self._socket.close()

    def call(self, method: str, **params: Any) -> Fields:
        """Return the result of `method`.

        Raise Refusal if the daemon answers with an error, ControlError if it does not answer.
        """
        self._calls += 1
        number = self._calls
        self._say({"id": number, "method": method, "params": params})
        while True:
            try:
                answer = orjson.loads(self._message())
            except ValueError:
                raise ControlError(
                    "the Codex daemon answered with something that is not JSON"
                ) from None
            # Notifications and requests for approval are for the user.
            if not isinstance(answer, dict) or "method" in answer or answer.get("id") != number:
                continue
            if "error" in answer:
                reason = within(answer, "error").get("message") or "it gave no reason"
                raise Refusal(f"the Codex daemon refused {method}: {reason}")
            return within(answer, "result")

    def notify(self, method: str) -> None:
        self._say({"method": method})

    def pause(self) -> None:
        """Give the daemon a moment. Raises ControlError when the time is up."""
        if time.monotonic() + PAUSE > self._deadline:
            raise self._failed(TimeoutError())
        time.sleep(PAUSE)

    def _say(self, message: Fields) -> None:
        try:
            self._send(_TEXT, orjson.dumps(message))
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> ControlError:
        if isinstance(error, TimeoutError):
            return ControlError(f"the Codex daemon gave no answer within {self._timeout:g} s")
        return ControlError(f"the connection to the Codex daemon failed: {error.strerror or error}")

    def _wait(self) -> None:
        """Whatever blocks next may do so until the deadline and not beyond it."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)

    def _check_peer(self) -> None:
        """Raise ControlError unless this user listens there, on the socket that was checked."""
        if hasattr(socket, "SO_PEERCRED"):
            _, user, _ = struct.unpack(
                "iII", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            )
            if user != os.geteuid():
                raise ControlError("a process of another user answers on Codex's control socket")

    def _shake_hands(self) -> None:
        """Turn the connection into a WebSocket: RFC 6455, section 4.1."""
        key = base64.b64encode(os.urandom(16))
        self._socket.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > 16384:
                raise ControlError("Codex's control socket does not answer as a WebSocket")
            self._receive()
        status, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        expected = base64.b64encode(
            hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
        ).decode()
        if status.split()[1:2] != ["101"] or headers.get("sec-websocket-accept") != expected:
            raise ControlError(
                f"Codex's control socket does not answer as a WebSocket: {status[:80]!r}"
            )

    def _receive(self) -> None:
        self._wait()
        chunk = self._socket.recv(1 << 16)
        if not chunk:
            raise ControlError("the Codex daemon closed the connection")
        self._buffer += chunk

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _send(self, opcode: int, payload: bytes) -> None:
        """One frame, masked as a client's must be: section 5.2."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = os.urandom(4)
        stream = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
        self._wait()
        self._socket.sendall(head + mask + masked.to_bytes(size, "big"))

    def _message(self) -> bytes:
        """Return the next message, joined from its fragments; answer pings (sections 5.4, 5.5)."""
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                final, opcode, payload = self._frame(MAX_MESSAGE - size)
                if opcode == _PING:
                    self._send(_PONG, payload)
                elif opcode == _CLOSE:
                    reason = payload[2:].decode(errors="replace")
                    raise ControlError(
                        f"the Codex daemon closed the connection{': ' + reason if reason else ''}"
                    )
                elif opcode in (_TEXT, _BINARY, _CONTINUATION):
                    if (opcode == _CONTINUATION) != bool(parts):
                        raise ControlError("the Codex daemon sent a fragment out of order")
                    # An empty first fragment is still a first one.
                    parts.append(payload)
                    size += len(payload)
                    if final:
                        return b"".join(parts)
                elif opcode != _PONG:
                    raise ControlError(f"the Codex daemon sent a frame of unknown type {opcode}")
        except OSError as error:
            raise self._failed(error) from None

    def _frame(self, limit: int) -> tuple[bool, int, bytes]:
        """Return the next frame: final flag, opcode, and payload of at most `limit` bytes."""
        first, second = self._take(2)
        size = second & 0x7F
        control = first & 0x08
        if first & 0x70 or second & 0x80 or (control and (size > 125 or not first & 0x80)):
            raise ControlError("the Codex daemon sent an invalid WebSocket frame")
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        if size > limit and not control:
            raise ControlError(f"the Codex daemon sent a message longer than {MAX_MESSAGE} bytes")
        return bool(first & 0x80), first & 0x0F, self._take(size)


_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
