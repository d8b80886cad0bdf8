"""Delivery of alerts over HTTP, within a deadline.

A webhook's URL is a secret, because whoever has it can post there. It is in no message, error or
traceback.
"""

import http.client
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import click

from agent_pipes.alert.batching import Batch
from agent_pipes.alert.delivery import Undelivered
from agent_pipes.alert.formats import Payload

CONNECT_TIMEOUT_S = 3.0
DELIVERY_TIMEOUT_S = 10.0
"""Time for one alert, with all tries."""

MAX_TRIES = 3

MAX_RETRY_AFTER_S = 60.0
"""Longest Retry-After that is obeyed; the time for the alert starts again after it."""

RETRY_STATUSES = frozenset({408, 425, 429})
"""Statuses besides 5xx after which a later try may succeed.

Redirects are not followed, because they lead to another receiver.
"""

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Endpoint:
    """Address of a webhook. Raises click.UsageError, without the URL in it, if it is unusable."""

    def __init__(self, url: str, *, allow_http: bool) -> None:
        text = url.strip()
        if not text:
            raise click.UsageError("the webhook's URL is empty")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise click.UsageError("the webhook's URL contains invalid characters")
        try:
            parts = urlsplit(text)
            self.host, self.port = parts.hostname or "", parts.port
        except ValueError:
            raise click.UsageError(
                "the webhook's URL is invalid: expected https://host/path"
            ) from None
        if parts.scheme not in ("https", "http") or not self.host:
            raise click.UsageError("the webhook's URL is invalid: expected https://host/path")
        if parts.username or parts.password:
            raise click.UsageError(
                "the webhook's URL contains a user name or password, which would not be sent"
            )
        if parts.scheme == "http" and self.host not in LOCAL and not allow_http:
            raise click.UsageError(
                "the webhook's URL is http:, which sends the alert and the URL in the clear; "
                "use https:, or trace-alert --allow-http"
            )
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def post(self, body: bytes, deadline: float) -> None:
        """Send `body` once. Raises Undelivered, by `deadline` (monotonic seconds) at the latest."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise Undelivered("no answer in time")
        lines: list[socket.socket] = []
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            for line in lines:
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

        # A socket's timeout is for each operation; a server that trickles never exceeds it.
        timer = threading.Timer(left, expire)
        timer.daemon = True
        timer.start()
        connection = self._connection()
        try:
            plain = socket.create_connection(
                (self.host, self.port or connection.default_port),
                timeout=min(CONNECT_TIMEOUT_S, left),
            )
            lines.append(plain.dup())
            if expired.is_set():
                raise TimeoutError
            plain.settimeout(left)
            connection.sock = (
                self.tls.wrap_socket(plain, server_hostname=self.host) if self.tls else plain
            )
            connection.request(
                "POST",
                self.path,
                body,
                {"Content-Type": "application/json", "User-Agent": "agent-pipes"},
            )
            # Only the status is read, so a slow body delays nothing.
            self._check(connection.getresponse())
        except Undelivered:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = (
                "no answer in time"
                if expired.is_set() or isinstance(error, TimeoutError)
                else self._reason(error)
            )
            raise Undelivered(
                why, retry=not isinstance(error, ssl.SSLCertVerificationError)
            ) from None
        finally:
            timer.cancel()
            connection.close()
            for line in lines:
                line.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port)

    def _check(self, answer: http.client.HTTPResponse) -> None:
        if 200 <= answer.status < 300:
            return
        if answer.status in RETRY_STATUSES or answer.status >= 500:
            raise Undelivered(
                f"status {answer.status}",
                retry=True,
                after_s=retry_after(answer.headers.get("Retry-After") or ""),
            )
        raise Undelivered(
            f"status {answer.status}"
            + (", a redirect, which is not followed" if 300 <= answer.status < 400 else "")
        )

    def _reason(self, error: Exception) -> str:
        """Describe an error, without the parts of its text that may contain the URL."""
        if isinstance(error, ssl.SSLCertVerificationError):
            message = error.verify_message
            return "its certificate is not trusted" + (
                f" ({message})" if self.host not in message else " (it is for another host)"
            )
        if isinstance(error, ssl.SSLError):
            return (
                f"TLS failed ({(error.reason or type(error).__name__).lower().replace('_', ' ')})"
            )
        number, strerror = getattr(error, "errno", None), getattr(error, "strerror", None)
        return type(error).__name__ + (
            f" ({strerror})"
            if number and isinstance(strerror, str) and self.host not in strerror
            else ""
        )


def retry_after(text: str) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0.0 if it is neither."""
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


class Sender:
    """Posts messages to an endpoint; `deliver` of a DeliveryQueue."""

    def __init__(
        self, endpoint: Endpoint, payload: Payload, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.endpoint = endpoint
        self.payload = payload
        self.sleep = sleep

    def __call__(self, batch: Batch) -> None:
        """Post one message. Raises Undelivered."""
        body = self.payload(batch)
        if body is None:
            return
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S
        for attempt in range(1, MAX_TRIES + 1):
            try:
                return self.endpoint.post(body, deadline)
            except Undelivered as reason:
                # Jitter spreads the retries of many breakers after one outage.
                pause = max(reason.after_s, random.uniform(0.2, 1.0) * 2 ** (attempt - 1))  # noqa: S311
                if reason.after_s:
                    deadline = time.monotonic() + pause + DELIVERY_TIMEOUT_S
                if (
                    not reason.retry
                    or attempt == MAX_TRIES
                    or reason.after_s > MAX_RETRY_AFTER_S
                    or time.monotonic() + pause >= deadline
                ):
                    raise
            self.sleep(pause)
