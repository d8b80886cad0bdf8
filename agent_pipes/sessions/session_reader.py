"""Reading one session: its lines become events, and what it may not say is not believed."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_pipes.agents.base import Agent, Session
from agent_pipes.core.event import KNOWN, OURS, RECORDING, Event, from_fields, make
from agent_pipes.core.jsonl import objects, records
from agent_pipes.core.stderr import warn

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

PASSING = frozenset(KNOWN) - OURS - {"session_start", "session_end"}
"""The types of events that a file's own line may say in the middle of a session: nothing is to be added to these, nor taken away."""


class Clock:
    """The time, as the reader alone sees it: the wall clock where we began, and steadily on from there."""

    def __init__(self) -> None:
        self.began = time.time()
        self._offset = self.began - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.monotonic() + self._offset


class Reading:
    """A session that is being read. `live`: what is there already is its history, and marked as such.

    bad:   lines that could not be read.
    ended: the session said that it is over, and nothing since.
    """

    def __init__(
        self,
        session: Session,
        source: Agent,
        clock: Clock,
        *,
        live: bool,
        max_result: int = 4096,
        recorded: bool = False,
    ) -> None:
        self.session = session
        self.source = source
        self.clock = clock
        self.history = live
        self.ended = False
        self.bad = 0
        self.ids: dict[str, None] = {}
        self._max_result = max_result
        self._disbelieved = False
        self.translator = source.translator(max_result, recorded)
        self._passes = source.is_native

    @property
    def id(self) -> str:
        """The session's id, as its events have it."""
        return next(reversed(self.ids), "") or self.translator.session or self.session.id

    def events(self, path: Path | str, number: int, lines: Iterable[bytes]) -> Iterator[Event]:
        """What these lines of one of the session's files come to, `number` being that of the first."""
        arrival, name = self.clock.now(), str(path)
        may_matter, ids = self.source.may_matter, self.ids
        for number, line in enumerate(lines, number):  # noqa: B020
            if not may_matter(line):
                continue
            try:
                said = records(line)
                for record in said:
                    if not self._passes:
                        for fields in self.translator.translate(record, arrival, name):
                            yield from self._marked(from_fields(fields))
                        continue
                    event = Event(line, record) if len(said) == 1 else from_fields(record)
                    if event.type in PASSING and event.session in ids and "cost" not in event.data:
                        self.ended = False
                        yield event
                    else:
                        yield from self._marked(self._believed(event))
            except ValueError as error:
                if line.strip(b"\0 \t\r\n"):
                    self._complain(f"{path}:{number}: {error}")
                    if self._passes:
                        yield Event(line, {})

    def rest(self) -> Iterator[Event]:
        """What was held back until the input was over."""
        for fields in self.translator.end():
            yield from self._marked(from_fields(fields))

    def caught_up(self) -> Iterator[Event]:
        """History ends here and live begins."""
        if self.history:
            self.history = False
            for each in self.ids or [self.id]:
                yield make("history_end", self.clock.now(), each, {})

    def runs_in(self, process: "Identity", how: str, *, control: Path | None = None) -> Event:
        """That the session's process is known, or is another now."""
        data: dict[str, Any] = {"pid": process.pid, "started": process.started, "how": how}
        if control:
            data["control"] = str(control)
        if marker := self.source.env_marker:
            data["marker"] = f"{marker}={self.id}"
        return make("process", self.clock.now(), self.id, data)

    def over(self, reason: str) -> Iterator[Event]:
        """The session's end, where it did not say so itself."""
        if not self.ended:
            self.ended = True
            yield make("session_end", self.clock.now(), self.id, {"reason": reason})

    def _marked(self, event: Event) -> Iterator[Event]:
        """The event, and before a session's first one that its history begins."""
        if event.session and event.session not in self.ids:
            self.ids[event.session] = None
            if self.history:
                yield make(
                    "history_start",
                    event.time or self.clock.now(),
                    event.session,
                    {"path": str(self.session.path)},
                )
        if event.type:
            self.ended = event.type == "session_end"
        if event.type == "session_start" and (blind := event.data.get("cannot_tell")):
            warn(
                f"session {event.session}: this form of {self.source.name}'s sessions cannot tell {', '.join(map(str, blind))}: see agent-pipes(7)"
            )
        yield event

    def _believed(self, event: Event) -> Event:
        """The event as it came; but what only our own commands may say, a session's file does not say for them."""
        if event.type in OURS:
            said = event.raw.decode(errors="replace")[: self._max_result]
            self._disbelieve(f"an event of type {event.type}")
            return make(
                "unbelieved", event.time, event.session, {"event_type": event.type, "line": said}
            )
        if "cost" in event.data and event.type in RECORDING:
            self._disbelieve("a cost of its own making")
            (record,) = objects(event.raw)
            return from_fields(
                {
                    **record,
                    "data": {key: value for key, value in event.data.items() if key != "cost"},
                }
            )
        return event

    def _disbelieve(self, what: str) -> None:
        if not self._disbelieved:
            self._disbelieved = True
            warn(
                f"{self.session.path} holds {what}, which only this suite's own commands may say: not believed"
            )

    def _complain(self, what: str) -> None:
        self.bad += 1
        if self.bad <= 5:
            warn(f"{what}: skipped")
        elif self.bad == 6:
            warn(f"{what}: skipped; further ones are counted, not said")
