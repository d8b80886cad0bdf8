"""The driver of all detectors: pairs calls with results once, and raises each condition once."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from agent_pipes.core.event import Event, tick, violation
from agent_pipes.core.stderr import warn
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import Finding
from agent_pipes.detect.ladder import Ladder, Rank
from agent_pipes.detect.session_state import DetectorSpec, SessionState, Shown

MAX_SESSIONS = 10_000
"""Sessions whose state is kept; the least recently active is evicted, which is reported once."""

NOT_RAISED: Rank = (0, 0, 0)

MAX_TICK_GAP_S = 60.0
"""Seconds beyond its last tick from which on an event of a live session shows a jump in time."""

MIN_FILLED_GAP_S = 1.0
"""Seconds between two events of a session from which the time between them is shown: a tick's."""

NOT_SHOWN = frozenset({"", "violation", "kill"})
"""Event types never passed to detectors: no event at all, and the results of detectors."""


class DetectorRunner:
    """Yields each event, then the violations that it brings, last detector first.

    That is the order that a pipeline of one process per detector produces. A detector that raises
    an exception ends the stream; with `isolated` it is dropped, which is reported, and with
    `strict` a violation is raised in each session that it no longer watches.
    """

    def __init__(
        self,
        events: Iterable[Event],
        specs: Iterable[DetectorSpec],
        *,
        isolated: bool = False,
        strict: bool = False,
    ) -> None:
        self.events = events
        self.specs = list(specs)[::-1]
        self.isolated = isolated
        self.strict = strict
        self.failures: list[str] = []
        self.sessions: OrderedDict[str, SessionState] = OrderedDict()
        self._evicted = False

    def __iter__(self) -> Iterator[Event]:
        event: Event | None = None
        for event in self.events:
            if event.type in NOT_SHOWN:
                yield event
                continue
            yield from self._fill_gap(event)
            yield event
            if event.type == "tick":
                yield from self._tick(event)
            else:
                yield from self._see(event)
            if self.failures and self.strict:
                yield from self._report_failures(event)
        if event and self.strict:
            yield from self._report_failures(event)

    def _fill_gap(self, event: Event) -> Iterator[Event]:
        """Show the time between two events of a session as the ticks of a live one would have."""
        session = self.sessions.get(event.session)
        if session is None or session.history or event.type in ("tick", "process"):
            return
        if session.ticked and event.time - session.ticked >= MAX_TICK_GAP_S:
            # The machine slept, its clock was set, or we were stopped: that is no silence.
            return
        if session.now and event.time - session.now >= MIN_FILLED_GAP_S:
            session.now = event.time
            if rules := session.timed_rules(self.specs):
                yield from self._show(tick(event.time, event.session), None, session, rules)

    def _see(self, event: Event) -> Iterator[Event]:
        kind, name = event.type, event.session
        session = self._session(name)
        begins = session.runs.begins(event)
        session.describe(event)
        if kind == "history_start":
            session.now = 0.0
        elif kind != "process":
            # A process event has the time at which it was found, not one of the session.
            session.now = max(session.now, event.time)
        if begins:
            session.drop_states()
            session.raised.clear()
            session.ladder = Ladder()
        session.ladder.see(event)
        if kind == "history_start":
            session.history = True
            session.drop_states()
            session.runs.restart()
        if kind == "history_end":
            session.history = False
            yield from self._caught_up(event, session)
        else:
            if session.is_double(event):
                return
            call = session.calls.see(event)
            session.turns.see(event, call, session.now)
            agent = call.agent if call else event.agent
            yield from self._show(event, call, session, session.rules_for(self.specs, kind, agent))
        if kind == "session_end":
            if self.failures and self.strict:
                yield from self._report_failures(event)
            del self.sessions[name]

    def _session(self, name: str) -> SessionState:
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = SessionState(name)
            if len(self.sessions) > MAX_SESSIONS:
                self.sessions.popitem(last=False)
                if not self._evicted:
                    self._evicted = True
                    warn(
                        f"more than {MAX_SESSIONS} sessions at once: "
                        "the least recently active are forgotten"
                    )
        else:
            self.sessions.move_to_end(name)
        return session

    def _tick(self, event: Event) -> Iterator[Event]:
        """Show a tick to its session, or to all if it names none."""
        names = [event.session] if event.session else list(self.sessions)
        for name in names:
            session = self.sessions.get(name)
            if session is None or (session.ticked and not event.session):
                # A live session has ticks of its own.
                continue
            if event.session:
                session.ticked = event.time
            session.now = max(session.now, event.time)
            yield from self._show(event, None, session, session.timed_rules(self.specs))

    def _show(
        self, event: Event, call: Call | None, session: SessionState, shown: Iterable[Shown]
    ) -> Iterator[Event]:
        """Show an event to rules, and yield the violations that they raise."""
        for spec, agent, rules in shown:
            if call and spec.ignored and call.matches(spec.ignored):
                continue
            try:
                for number, rule in rules:
                    found = rule.see(event, call, session.now)
                    if found:
                        yield from self._raised(event, session, spec, (agent, number), found)
            except Exception as error:
                self._failed(spec, error)

    def _caught_up(self, event: Event, session: SessionState) -> Iterator[Event]:
        """History has ended: raise what still holds."""
        for spec in tuple(self.specs):
            try:
                for agent, rules in session.states(spec):
                    for number, rule in enumerate(rules):
                        found = rule.holding(session.now)
                        yield from self._raised(event, session, spec, (agent, number), found)
            except Exception as error:
                self._failed(spec, error)

    def _raised(
        self,
        trigger: Event,
        session: SessionState,
        spec: DetectorSpec,
        rule: tuple[str, int],
        findings: Iterable[Finding],
    ) -> Iterator[Event]:
        for finding in findings:
            key = (spec.watcher, rule, finding.key)
            if session.history or (session.ladder.is_paused and trigger.type == "tick"):
                continue
            rank = session.ladder.rank(spec.watcher, spec.steps, key, finding)
            if session.raised.get(key, NOT_RAISED) >= rank:
                continue
            session.raised.renew(key, rank)
            finding, step = session.ladder.take(spec.watcher, spec.steps, key, finding)
            yield violation(
                trigger,
                spec.watcher,
                finding.message,
                time=finding.time or session.now,
                session=session.name,
                level=finding.level,
                evidence=finding.evidence,
                actions=(*spec.actions, *step),
                origin=session.origin,
                **spec.fields(finding),
            )

    def drop(self, spec: DetectorSpec) -> None:
        """Show a detector nothing any more."""
        self.specs.remove(spec)
        for session in self.sessions.values():
            session.shown.clear()

    def _failed(self, spec: DetectorSpec, error: Exception) -> None:
        """Drop a detector that raised an exception."""
        if not self.isolated:
            raise error
        self.drop(spec)
        message = (
            f"trace-detect-{spec.watcher} failed ({type(error).__name__}: {error}) "
            "and watches nothing from here on"
        )
        warn(message)
        self.failures.append(message)

    def _report_failures(self, trigger: Event) -> Iterator[Event]:
        """Raise each failure of a detector once in every session."""
        for name, session in self.sessions.items():
            for message in self.failures[session.reported :]:
                yield violation(
                    trigger,
                    "internal",
                    message,
                    time=trigger.time,
                    session=name,
                    origin=session.origin,
                )
            session.reported = len(self.failures)
