"""Delivering alerts over HTTP: on a thread of its own, within a deadline, and never saying where to.

A webhook's URL is a secret: whoever has it can write where it leads. It is in no message, no error and no traceback.
"""

import http.client
import random
import socket
import ssl
import threading
import time
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

import click

from agent_pipes.event import Event, Fields, dumps
from agent_pipes.stream import warn

CONNECT, TOTAL = 3.0, 10.0
"""Seconds to connect, and for one alert in all, its tries included."""

TRIES = 3

QUEUE = 100
"""Alerts that wait for delivery; of more, the oldest warnings go first, and how many is said."""

ANSWER = 4096
"""Bytes of an answer that are read."""

BODY = 16 << 10
"""Bytes of an alert at most; a longer one loses its evidence, then its text's end."""

AGAIN = frozenset({408, 425, 429})
"""Statuses besides 5xx after which a later try may succeed. A redirect is none: it would carry the alert elsewhere."""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Undelivered(Exception):
    """An alert could not be delivered; the text says why, and not where. `again`: a later try may succeed."""

    def __init__(self, why: str, *, again: bool = False, after: float = 0.0) -> None:
        super().__init__(why)
        self.again = again
        self.after = after


class Endpoint:
    """Where alerts go. Raises click.UsageError, without the URL in it, for one that cannot be used."""

    def __init__(self, url: str, *, allow_http: bool) -> None:
        text = url.strip()
        if not text:
            raise click.UsageError("the webhook's URL is empty")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise click.UsageError("the webhook's URL holds characters that no URL has")
        try:
            parts = urlsplit(text)
            self.host, self.port = parts.hostname or "", parts.port
        except ValueError:
            raise click.UsageError("the webhook's URL is not one: expected https://host/path") from None
        if parts.scheme not in ("https", "http") or not self.host:
            raise click.UsageError("the webhook's URL is not one: expected https://host/path")
        if parts.username or parts.password:
            raise click.UsageError("the webhook's URL holds a user's name or password, which would not be sent")
        if parts.scheme == "http" and self.host not in LOCAL and not allow_http:
            raise click.UsageError("the webhook's URL is http:, which sends the alert and the URL in the clear; use https:, or --allow-http")
        self.secure = parts.scheme == "https"
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def post(self, body: bytes, deadline: float) -> None:
        """Send `body` once. Raises Undelivered; ends at `deadline` (monotonic seconds), however slowly they answer."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise Undelivered("no answer in time")
        connection = self._connection(min(CONNECT, left))
        expired = False
        try:
            connection.connect()
            # The timeout of a socket is for each operation; a server that sends a byte now and then would never meet it.
            line = connection.sock

            def expire() -> None:
                nonlocal expired
                expired = True
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

            timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire)
            timer.daemon = True
            timer.start()
            try:
                line.settimeout(left)
                connection.request("POST", self.path, body, {"Content-Type": "application/json", "User-Agent": "agent-pipes"})
                answer = connection.getresponse()
                answer.read(ANSWER)
                self._judge(answer)
            finally:
                timer.cancel()
        except Undelivered:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Only the kind of error: its text may hold the URL.
            why = "no answer in time" if expired or isinstance(error, TimeoutError) else _reason(error)
            raise Undelivered(why, again=not isinstance(error, ssl.SSLCertVerificationError)) from None
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def _judge(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        after = answer.headers.get("Retry-After") or ""
        if answer.status in AGAIN or answer.status >= 500:
            raise Undelivered(f"status {answer.status}", again=True, after=float(after) if after.isdigit() and len(after) < 6 else 0.0)
        raise Undelivered(f"status {answer.status}" + (", a redirect, which is not followed" if 300 <= answer.status < 400 else ""))


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    strerror = getattr(error, "strerror", None)
    return f"{type(error).__name__}" + (f" ({strerror})" if number and isinstance(strerror, str) and "://" not in strerror else "")


class Sender:
    """Alerts on their way: `send` never waits, `close` waits as long as it is told to."""

    def __init__(self, url: str, *, allow_http: bool = False, tries: int = TRIES, total: float = TOTAL) -> None:
        self.endpoint = Endpoint(url, allow_http=allow_http)
        self.tries = tries
        self.total = total
        self.waiting: deque[tuple[bool, bytes]] = deque()
        self.changed = threading.Condition()
        self.busy = False
        self.closing = False
        self.dropped = 0
        self.failed = 0
        self.thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self.thread.start()

    def send(self, event: Event, text: str) -> None:
        """Put an alert on its way: Slack's `text`, and every field of the violation beside it."""
        urgent = event.data.get("level") != "warning"
        with self.changed:
            if len(self.waiting) >= QUEUE:
                self._make_room(urgent)
            if len(self.waiting) < QUEUE:
                self.waiting.append((urgent, body_of(event, text)))
            self.changed.notify_all()

    def _make_room(self, urgent: bool) -> None:
        """The first alert of a burst says most: warnings go before it, and what comes last before what came first."""
        self.dropped += 1
        for index, (important, _) in enumerate(self.waiting):
            if urgent and not important:
                del self.waiting[index]
                return

    def close(self, drain: float) -> bool:
        """Go on delivering for `drain` seconds at most. True: everything has arrived; what has not is said."""
        deadline = time.monotonic() + drain
        with self.changed:
            self.closing = True
            self.changed.notify_all()
            while (self.waiting or self.busy) and (left := deadline - time.monotonic()) > 0:
                self.changed.wait(left)
            left_over = len(self.waiting) + self.busy
        if left_over:
            warn(f"the webhook has not taken {left_over} {'alert' if left_over == 1 else 'alerts'} in time")
        if self.dropped:
            warn(f"the webhook was too slow for {self.dropped} more, which were dropped")
        return not (left_over or self.dropped or self.failed)

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self.waiting and not self.closing:
                    self.changed.wait()
                if not self.waiting:
                    return
                _, body = self.waiting.popleft()
                self.busy = True
            try:
                self._deliver(body)
            except Undelivered as why:
                self.failed += 1
                warn(f"the webhook did not take an alert: {why}")
            finally:
                with self.changed:
                    self.busy = False
                    self.changed.notify_all()

    def _deliver(self, body: bytes) -> None:
        deadline = time.monotonic() + self.total
        for attempt in range(1, self.tries + 1):
            try:
                return self.endpoint.post(body, deadline)
            except Undelivered as why:
                # Full jitter: of many breakers that one outage has woken, not all come back in the same moment.
                pause = max(why.after, random.uniform(0.2, 1.0) * 2 ** (attempt - 1))  # noqa: S311
                if not why.again or attempt == self.tries or time.monotonic() + pause >= deadline:
                    raise
            with self.changed:
                self.changed.wait_for(lambda: False, pause)


def body_of(event: Event, text: str) -> bytes:
    """The alert as JSON: `text` as Slack shows it, and the event's own fields."""
    fields: Fields = {
        "text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), "source": "agent-pipes",
        "event_type": event.type, "event_id": event.id, "session_id": event.session, "timestamp": event.time, **event.data,
    }
    body = dumps(fields)
    if len(body) > BODY:
        fields.pop("evidence", None)
        kept = ("text", "source", "event_type", "event_id", "session_id", "timestamp", "watcher", "level", "count", "value", "limit", "outcome")
        body = dumps({key: value[:1000] if isinstance(value, str) else value for key, value in fields.items() if key in kept})
    return body
