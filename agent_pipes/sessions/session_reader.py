"""Reading one session: the lines of its files become events, and forged events are not believed."""

import time
from collections.abc import Collection, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.registry import HOOKED, STORE, hooks
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import KNOWN, OURS, RECORDING, Event, from_fields, make
from agent_pipes.core.jsonl import Fields, objects, records
from agent_pipes.core.live_clock import LiveClock
from agent_pipes.core.stderr import warn
from agent_pipes.process.machine import machine_id
from agent_pipes.sessions.files.file_follower import FileFollower

if TYPE_CHECKING:
    from agent_pipes.process.table import Identity

MAX_RESULT_BYTES = 4096
"""Default for the part of a result that an event carries."""

MAX_LINE_BYTES = 64 << 20
"""Default for the longest line that is read."""

MAX_EVENT_IDS = 200_000
"""Events of a session remembered to drop repetitions when its files are read again."""

MAX_UNKNOWN_LINES = 200
"""First lines of a session of which none gives an event: its format is not known."""

FRAME_TYPES = OURS | {"session_start", "session_end"}
"""Types of events that show no work."""

MAX_CLOCK_LEAD_S = 60.0
"""Seconds by which an event of a live session may be ahead of our clock."""

MAX_BAD_LINES_REPORTED = 5

UNRECORDED = {
    "exit_code": "exit statuses (a failing command may not be seen)",
    "in_flight": "the calls that run (silence counts as a running call)",
    "turns": "whose turn it is (elapsed time is counted)",
    "usage": "usage (dollars are estimated, or missing)",
}
"""Words for what a `session_start` cannot tell, and the consequence."""

PASSED_TYPES = frozenset(KNOWN) - OURS - {"session_start", "session_end"}
"""Types of a native event that passes unchanged once its session has started."""


ALWAYS_EMITTED = frozenset(
    {
        "session_start",
        "session_end",
        "user_prompt",
        "process",
        "history_start",
        "history_end",
    }
)
"""Types that are emitted whatever `only` says: what delimits sessions and runs."""


USAGE_TYPES = frozenset(
    {"llm_request", "llm_response", "reported_cost", "session_start", "session_end"}
)
"""Types that are emitted of lines that may record usage, if nothing else is asked for."""


class Clock:
    """Seconds since the epoch that never go back: the wall clock at the start, then monotonic."""

    def __init__(self) -> None:
        self.began = time.time()
        self._offset = self.began - time.monotonic()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.monotonic() + self._offset


class SessionReader:
    """Turns the lines of one session into events.

    live:  emit `history_start` and `history_end` around what exists already.
    only:  types of events to emit, beside ALWAYS_EMITTED; None for all.
    usage_only: skip lines that record no usage before they are parsed. The events have no bytes.

    history: True until `history_end`.
    ended:   True if the last event was a `session_end`.
    bad:     number of lines that could not be read.
    ids:     ids of the sessions in the events, oldest first.
    """

    def __init__(
        self,
        session: Session,
        agent: Agent,
        clock: Clock,
        *,
        live: bool,
        max_result: int = MAX_RESULT_BYTES,
        recorded: bool = False,
        usage_only: bool = False,
        only: Collection[str] | None = None,
    ) -> None:
        self.session = session
        self._usage_only = usage_only
        self.agent = agent
        self.clock = clock
        self._only = None if only is None else ALWAYS_EMITTED | set(only)
        self._may_matter = agent.may_record_usage if usage_only else agent.may_matter
        if self._only and self._only <= ALWAYS_EMITTED | {"llm_response"}:
            # Other lines, results first of all, are skipped before they are parsed.
            self._may_matter = self._may_be_paid
        self.history = live
        self.ended = False
        self.bad = 0
        self.ids: dict[str, None] = {}
        self._max_result = max_result
        self._recorded = recorded
        self._forgery_reported = False
        self._future_reported = False
        # A part of the lines gives events only now and then.
        self._is_understood = agent.is_native or usage_only or only is not None
        self._unknown_lines = 0
        self._event_ids: BoundedDict[int, None] | None = (
            BoundedDict(MAX_EVENT_IDS) if live else None
        )
        self._restarted = False
        self._process: dict[str, Any] = {}
        self._state: Fields = {}
        self._is_live = live
        self.live_clock = LiveClock(clock.now())
        self._translator = agent.translator(max_result, recorded)

    @property
    def id(self) -> str:
        """The session's id, as its events have it."""
        return next(reversed(self.ids), "") or self._translator.session or self.session.id

    def events(self, path: Path | str, number: int, lines: Iterable[bytes]) -> Iterator[Event]:
        """Yield the events of consecutive lines of a file; `number` is that of the first line."""
        name = str(path)
        arrival = self.clock.now()
        line_number = number - 1
        for line_number, line in enumerate(lines, number):
            if not self._may_matter(line):
                continue
            try:
                yield from self._translated(line, arrival, name)
            except ValueError as error:
                if line.strip(b"\0 \t\r\n"):
                    self._report_bad(f"{name}:{line_number}: {error}")
                    if self.agent.is_native:
                        yield Event(line, {})
        if not self._is_understood:
            self._count_unknown(line_number + 1 - number)

    def _count_unknown(self, lines: int) -> None:
        """Report a session whose first lines give no events."""
        self._unknown_lines += lines
        if self._unknown_lines >= MAX_UNKNOWN_LINES:
            self._is_understood = True
            warn(
                f"{self.session.path}: {self._unknown_lines} lines contain no known event: NOT "
                f"watched; this may be the format of a newer version of {self.agent.title}"
            )

    def restart(self) -> None:
        """Expect all files again from their start, and drop the events emitted before."""
        self._translator = self.agent.translator(self._max_result, self._recorded)
        self._restarted = True

    def rest(self) -> Iterator[Event]:
        """Yield what the translator held back until the end of the input."""
        for fields in self._translator.end():
            yield from self._emitted(from_fields(fields))

    def end_history(self) -> Iterator[Event]:
        """Yield `history_end`, once."""
        if self.history:
            self.history = False
            if self._process:
                yield self._process_event()
            for each in self.ids or [self.id]:
                yield make("history_end", self.clock.now(), each, {})

    def set_process(self, process: "Identity", how: str, control: Path | None) -> Iterator[Event]:
        """Yield the `process` event: the session's process is known, or has changed.

        Before the session's first event the id is not certain; `history_start` brings it then.
        """
        from agent_pipes.process.table import began

        name = self.agent.name
        data: dict[str, Any] = {
            "pid": process.pid,
            "started": process.started,
            "how": how,
            "machine": machine_id(),
            "hooked": name == STORE or (name in HOOKED and hooks(name).is_set_up(self.session.cwd)),
        }
        if (since := began(process)) < float("inf"):
            data["began"] = since
        if control:
            data["control"] = str(control)
        if restart_signal := self.agent.restart_signal(self.session):
            data["restart_signal"] = restart_signal
        self._process = data
        if self.ids or not self.history:
            yield self._process_event()

    def _process_event(self) -> Event:
        data, self._process = self._process, {}
        if marker := self.agent.marker(self.id, data["pid"]):
            data["marker"] = marker
        return make("process", self.clock.now(), self.id, data)

    def set_state(self, state: Fields) -> Iterator[Event]:
        """Yield a `waiting` event if the agent says that its state has changed."""
        if state and state != self._state and self.ids and not self.history:
            self._state = state
            yield from self._emitted(make("waiting", self.clock.now(), self.id, state))

    def end(self, reason: str) -> Iterator[Event]:
        """Yield `session_end` unless the session's own was the last event."""
        if not self.ended:
            self.ended = True
            yield make("session_end", self.clock.now(), self.id, {"reason": reason})

    def _translated(self, line: bytes, arrival: float, path: str) -> Iterator[Event]:
        """Yield the events of one line. Raises ValueError."""
        found = records(line)
        for record in found:
            if not self.agent.is_native:
                for fields in self._translator.translate(record, arrival, path):
                    if not self._usage_only:
                        yield from self._emitted(from_fields(fields))
                    elif fields["event_type"] in USAGE_TYPES:
                        yield from self._emitted(Event(b"", fields))
                continue
            # A line with one event passes byte for byte.
            event = Event(line, record) if len(found) == 1 else from_fields(record)
            if (
                event.type in PASSED_TYPES
                and event.session in self.ids
                and "cost" not in event.data
                and not self._is_repeated(event)
            ):
                self.ended = False
                event = self._timely(event)
                if self._only is None or event.type in self._only:
                    yield event
            else:
                yield from self._emitted(self._believed(event))

    def _emitted(self, event: Event) -> Iterator[Event]:
        """Yield the event, after `history_start` if it is the session's first."""
        if self._is_repeated(event):
            return
        event = self._timely(event)
        if event.session and event.session not in self.ids:
            self.ids[event.session] = None
            if self.history:
                began = event.time or self.clock.now()
                path = {"path": str(self.session.path)}
                yield make("history_start", began, event.session, path)
            if self._process:
                yield self._process_event()
        if event.type:
            self.ended = event.type == "session_end"
            self._is_understood = self._is_understood or event.type not in FRAME_TYPES
        if event.type == "session_start" and (missing := event.data.get("cannot_tell")):
            unknown = ", ".join(UNRECORDED.get(str(each), str(each)) for each in missing)
            warn(
                f"session {event.session}: this format of {self.agent.name} does not record "
                f"{unknown}; see agent-pipes(7)"
            )
        if self._only is None or event.type in self._only or event.type in OURS:
            yield event

    def _timely(self, event: Event) -> Event:
        """Return the event; one that is dated in the future happens now.

        Otherwise it would stop the session's time until then.
        """
        if not self._is_live:
            return event
        if event.time > time.time() + MAX_CLOCK_LEAD_S and event.type not in OURS:
            if not self._future_reported:
                self._future_reported = True
                warn(f"{self.session.path}: has events dated in the future; treated as of now")
            (record,) = objects(event.raw)
            event = from_fields({**record, "timestamp": self.clock.now()})
        if not self.history:
            self.live_clock.see(event.time)
        return event

    def _may_be_paid(self, line: bytes) -> bool:
        return self.agent.may_record_usage(line) or self.agent.may_be_prompt(line)

    def _is_repeated(self, event: Event) -> bool:
        """Return True if files are read again and the event was emitted before."""
        if self._event_ids is None or not event.id:
            return False
        # A response may be recorded several times: each time with more of its usage.
        version = event.raw if event.type == "llm_response" else b""
        key = hash((event.type, event.id, version))
        if self._restarted and key in self._event_ids:
            return True
        self._event_ids[key] = None
        return False

    def _believed(self, event: Event) -> Event:
        """Return the event without what only the commands of this suite may emit."""
        if event.type in OURS:
            line = event.raw.decode(errors="replace")[: self._max_result]
            self._report_forgery(f"an event of type {event.type}")
            data = {"event_type": event.type, "line": line}
            return make("unbelieved", event.time, event.session, data)
        if "cost" in event.data and event.type in RECORDING:
            self._report_forgery("a cost")
            (record,) = objects(event.raw)
            data = {key: value for key, value in event.data.items() if key != "cost"}
            return from_fields({**record, "data": data})
        return event

    def _report_forgery(self, what: str) -> None:
        if not self._forgery_reported:
            self._forgery_reported = True
            warn(
                f"{self.session.path}: contains {what}, which only this suite's own commands emit; "
                "ignored"
            )

    def _report_bad(self, what: str) -> None:
        self.bad += 1
        if self.bad <= MAX_BAD_LINES_REPORTED:
            warn(f"{what}; line skipped")
        elif self.bad == MAX_BAD_LINES_REPORTED + 1:
            warn(f"{what}; line skipped; further bad lines are counted, not printed")


def read_session(
    session: Session,
    agent: Agent | None = None,
    *,
    clock: Clock | None = None,
    max_result: int = MAX_RESULT_BYTES,
    recorded: bool = False,
    usage_only: bool = False,
    max_line: int = MAX_LINE_BYTES,
    only: Collection[str] | None = None,
) -> Generator[Event, None, int]:
    """Yield the events of a stored session: each of its files once, in order, without following.

    agent: the agent whose format the files have, if not the session's own.

    Returns the number of lines that could not be read.
    """
    agent = agent or agent_named(session.agent)
    reader = SessionReader(
        session,
        agent,
        clock or Clock(),
        live=False,
        max_result=max_result,
        recorded=recorded,
        usage_only=usage_only,
        only=only,
    )
    follower = FileFollower(poll=True, max_line=max_line, warn=warn)
    try:
        for path in agent.files(session) or [session.path]:
            follower.add(path, document=agent.is_document(path), rows=agent.row_reader(path))
        for chunk in follower.rest():
            yield from reader.events(chunk.path, chunk.number, chunk.lines)
        yield from reader.rest()
    finally:
        follower.close()
    return reader.bad
