"""Delivery of alerts on threads, so that neither an event nor a kill waits for a receiver."""

import threading
import time
from collections.abc import Callable, Iterable

from agent_pipes.alert.batching import AlertMessage, Batch, Batching, Immediate
from agent_pipes.core.display import plural
from agent_pipes.core.stderr import warn

MAX_REPORTED_FAILURES = 5
"""Failures that are reported one by one; further ones are counted, and reported at the end."""


class Undelivered(Exception):
    """An alert that could not be delivered. The text gives the reason and never the URL.

    retry:   a later try may succeed.
    after_s: seconds that the receiver asks for before the next try.
    """

    def __init__(self, reason: str, *, retry: bool = False, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry = retry
        self.after_s = after_s


class DeliveryQueue:
    """Alerts for one receiver. `put` never waits; `close` waits up to its deadline.

    name:        the receiver, in messages.
    deliver:     delivers one message, and blocks until then. Raises Undelivered.
    batching:    decides which alerts make a message, and when; one each by default.
    max_threads: deliveries at a time.
    abandon:     stops the deliveries that run past the deadline.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Batch], None],
        *,
        batching: Batching | None = None,
        max_threads: int = 1,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.deliver = deliver
        self.batching = Immediate() if batching is None else batching
        self.max_threads = max_threads
        self.abandon = abandon
        self.failed = 0
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._busy = 0
        self._closing = False
        self._closed = False

    def put(self, alert: AlertMessage) -> None:
        """Queue an alert."""
        with self._changed:
            self.batching.put(alert, time.monotonic())
            if not self._idle and self._threads < self.max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=self.name, daemon=True).start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Make everything queued due now, because nothing more will be queued."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, deadline: float) -> bool:
        """Deliver until `deadline` (monotonic seconds), and report the rest.

        Return True if everything was delivered.
        """
        self.flush()
        with self._changed:
            while (len(self.batching) or self._busy) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
            late = len(self.batching) + self._busy
            dropped = self.batching.dropped
        self.abandon()
        if self.failed > MAX_REPORTED_FAILURES:
            warn(f"{self.name} refused {self.failed} alerts in all")
        if late:
            warn(f"{self.name} did not accept {plural(late, 'alert')} in time")
        if dropped:
            warn(f"{self.name} was too slow: {dropped} more alerts were dropped")
        return not (late or dropped or self.failed)

    def _next(self) -> Batch | None:
        """Wait for a message that is due, with the lock held; None at the end."""
        while True:
            if not self._closed:
                batch = self.batching.take(time.monotonic(), self._closing)
                if batch is not None:
                    return batch
            if self._closing or self._closed:
                return None
            self._changed.wait(self.batching.due(time.monotonic()))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                batch = self._next()
                if batch is None:
                    return
                self._idle -= 1
                self._busy += batch.count
            try:
                self.deliver(batch)
            except Undelivered as reason:
                self._fail(batch, str(reason))
            except Exception as error:
                # The text of an unforeseen error may contain the URL.
                self._fail(batch, type(error).__name__)
            finally:
                with self._changed:
                    self._busy -= batch.count
                    self._changed.notify_all()

    def _fail(self, batch: Batch, reason: str) -> None:
        with self._changed:
            before = self.failed
            after = self.failed = before + batch.count
            reported = before < MAX_REPORTED_FAILURES and not self._closed
        if reported:
            what = "an alert" if batch.count == 1 else f"{batch.count} alerts"
            more = (
                "; further refusals are counted, not printed"
                if after >= MAX_REPORTED_FAILURES
                else ""
            )
            warn(f"{self.name} refused {what}: {reason}{more}")


def close_all(queues: Iterable[DeliveryQueue], drain_s: float) -> bool:
    """Deliver for `drain_s` seconds at most, all queues at once. Return True if everything was."""
    every = list(queues)
    deadline = time.monotonic() + drain_s
    for queue in every:
        queue.flush()
    return all([queue.close(deadline) for queue in every])
