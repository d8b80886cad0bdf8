"""Alerts on their way to whoever takes them, on threads of their own: no event and no kill waits for them."""

import threading
import time
from collections.abc import Callable, Iterable

from agent_pipes.alert.batching import Alert, Batch, OneByOne, Waiting
from agent_pipes.core.stderr import warn

SAID = 5
"""Failures that are said one by one; further ones are counted, and said at the end."""


class Undelivered(Exception):
    """An alert could not be delivered; the text says why, and not where. `again`: a later try may succeed."""

    def __init__(self, why: str, *, again: bool = False, after: float = 0.0) -> None:
        super().__init__(why)
        self.again = again
        self.after = after


class Outbox:
    """What waits for one taker: `put` never waits, `close` waits as long as it is told to.

    name:    what people know the taker by.
    deliver: hands over one message, taking its time. Raises Undelivered.
    waiting: decides what goes out when; each alert by itself, if not given.
    workers: how many deliveries there are at once, at most.
    abandon: ends the deliveries that nobody waits for any more.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Batch], None],
        *,
        waiting: Waiting | None = None,
        workers: int = 1,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.deliver = deliver
        self.waiting = OneByOne() if waiting is None else waiting
        self.workers = workers
        self.abandon = abandon
        self.failed = 0
        self._changed = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._busy = 0
        self._closing = False
        self._over = False

    def put(self, alert: Alert) -> None:
        """Put an alert on its way."""
        with self._changed:
            self.waiting.put(alert, time.monotonic())
            if not self._idle and self._threads < self.workers:
                self._threads += 1
                threading.Thread(target=self._work, name=self.name, daemon=True).start()
            self._changed.notify_all()

    def hurry(self) -> None:
        """Nothing more comes: what was to wait for more goes out now."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, deadline: float) -> bool:
        """Go on delivering until `deadline` (monotonic seconds) at most. True: everything has arrived; what has not is said."""
        self.hurry()
        with self._changed:
            while (len(self.waiting) or self._busy) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._over = True
            left_over = len(self.waiting) + self._busy
            dropped = self.waiting.dropped
        self.abandon()
        if self.failed > SAID:
            warn(f"{self.name} did not take {self.failed} alerts in all")
        if left_over:
            warn(
                f"{self.name} has not taken {left_over} {'alert' if left_over == 1 else 'alerts'} in time"
            )
        if dropped:
            warn(f"{self.name} was too slow for {dropped} more, which were dropped")
        return not (left_over or dropped or self.failed)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while (
                    self._over
                    or (batch := self.waiting.take(time.monotonic(), self._closing)) is None
                ):
                    if self._closing or self._over:
                        return
                    self._changed.wait(self.waiting.due(time.monotonic()))
                self._idle -= 1
                self._busy += batch.count
            try:
                self.deliver(batch)
            except Undelivered as why:
                self._fail(batch, str(why))
            except Exception as error:
                # Of an error that nobody has thought of only the kind is said: its text may hold a secret.
                self._fail(batch, type(error).__name__)
            finally:
                with self._changed:
                    self._busy -= batch.count
                    self._changed.notify_all()

    def _fail(self, batch: Batch, why: str) -> None:
        with self._changed:
            before = self.failed
            after = self.failed = before + batch.count
            told = before < SAID and not self._over
        if told:
            what = "an alert" if batch.count == 1 else f"{batch.count} alerts"
            warn(
                f"{self.name} did not take {what}: {why}"
                + ("; further ones are counted" if after >= SAID else "")
            )


def close_all(outboxes: Iterable[Outbox], drain: float) -> bool:
    """Go on delivering for `drain` seconds at most, all at once. True: everything has arrived."""
    boxes = list(outboxes)
    deadline = time.monotonic() + drain
    for box in boxes:
        box.hurry()
    return all([box.close(deadline) for box in boxes])
