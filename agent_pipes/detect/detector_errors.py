"""What becomes of a detector of the preset that fails: it is left out from then on, and it is said; or its sessions are ended."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from agent_pipes.core.event import Event, violation
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn
from agent_pipes.detect.detector import SESSIONS


class Failures:
    """The detectors that have thrown so far, told to people as it happens.

    messages: what was said of each.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, watcher: str, error: Exception, event: Event) -> Iterator[Event]:
        """Nothing comes downstream of it: whoever is to be ended for it, `strict` knows."""
        message = f"trace-detect-{watcher} failed ({type(error).__name__}: {error}) and watches nothing from here on"
        warn(message)
        self.messages.append(message)
        return iter(())


@filter_command("--strict")
def strict(events: Iterable[Event], failures: Failures) -> Events:
    """Raise a violation of every session that a detector does not watch any more.

    Stands behind the detectors: what one of them fails at, an event or a tick, comes here first, and the next a second
    later at most.
    """
    told: OrderedDict[str, int] = OrderedDict()
    last: Event | None = None
    for event in events:
        yield event
        last = event
        if event.session:
            told.setdefault(event.session, 0)
            if event.type == "session_end":
                del told[event.session]
            elif len(told) > SESSIONS:
                told.popitem(last=False)
        if failures.messages:
            yield from _untold(event, told, failures.messages)
    if last:
        yield from _untold(last, told, failures.messages)
    return ExitStatus.OK


def _untold(trigger: Event, told: OrderedDict[str, int], messages: list[str]) -> Iterator[Event]:
    for session, count in told.items():
        for message in messages[count:]:
            yield violation(trigger, "internal", message, time=trigger.time, session=session)
        told[session] = len(messages)
