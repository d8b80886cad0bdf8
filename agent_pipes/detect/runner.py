"""The driver of all detectors: pairs calls with results once, and raises each condition once."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, violation
from agent_pipes.core.stderr import warn
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.finding import Detector, Finding, Rules
from agent_pipes.detect.ladder import Ladder, Rank

MAX_SESSIONS = 10_000
"""Sessions whose state is kept; the least recently active is evicted, which is reported once."""

MAX_SUBAGENT_STATES = 1_000
"""States of subagents, of all detectors together, that are kept of one session."""

MAX_RAISED = 1_000
"""Conditions of one session that are remembered as raised."""

NOT_RAISED: Rank = (0, 0, 0)

NOT_SHOWN = frozenset({"", "violation", "kill"})
"""Event types never passed to detectors: no event at all, and the results of detectors."""


@dataclass(frozen=True, eq=False, slots=True)
class DetectorSpec:
    """A configured detector.

    watcher:   its name in violations.
    rules:     constructors of its rules.
    actions:   sinks that act on its violations; empty: all that are downstream.
    per_agent: each subagent has a state of its own.
    steps:     what its first, second, … violation in a session does to the agent, see Ladder.
    """

    watcher: str
    rules: Rules
    actions: tuple[str, ...] = ()
    per_agent: bool = False
    steps: tuple[str, ...] = ()

    def new_state(self) -> list[Detector]:
        """Return the state of all rules for a new session or agent."""
        return [new_rule() for new_rule in self.rules]


class _Session:
    """State of one session.

    history:  the events are history: they are seen, and nothing is raised.
    now:      latest time of its events and ticks, seconds since the epoch.
    raised:   rank at which each condition was last raised.
    ladder:   the steps that were taken.
    reported: number of failed detectors that were raised for it, see `strict`.
    """

    __slots__ = ("calls", "history", "ladder", "main", "now", "raised", "reported", "subagents")

    def __init__(self) -> None:
        self.history = False
        self.now = 0.0
        self.raised: BoundedDict[Hashable, Rank] = BoundedDict(MAX_RAISED)
        self.ladder = Ladder()
        self.reported = 0
        self.calls = CallTracker()
        self.main: dict[DetectorSpec, list[Detector]] = {}
        self.subagents: BoundedDict[tuple[DetectorSpec, str], list[Detector]] = BoundedDict(
            MAX_SUBAGENT_STATES
        )

    def state(self, spec: DetectorSpec, agent: str) -> list[Detector]:
        """Return the rules of `spec` for `agent`, "" for the main agent."""
        if not agent or not spec.per_agent:
            rules = self.main.get(spec)
            if rules is None:
                rules = self.main[spec] = spec.new_state()
            return rules
        rules = self.subagents.get((spec, agent))
        if rules is None:
            rules = self.subagents[spec, agent] = spec.new_state()
        return rules

    def states(self, spec: DetectorSpec) -> Iterator[tuple[str, list[Detector]]]:
        """Yield each agent that was seen, and the rules of `spec` for it."""
        if spec in self.main:
            yield "", self.main[spec]
        if spec.per_agent:
            yield from [
                (agent, rules) for (other, agent), rules in self.subagents.items() if other is spec
            ]


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
        self.sessions: OrderedDict[str, _Session] = OrderedDict()
        self._evicted = False

    def __iter__(self) -> Iterator[Event]:
        event: Event | None = None
        for event in self.events:
            yield event
            if event.type in NOT_SHOWN:
                continue
            if event.type == "tick":
                yield from self._tick(event)
            else:
                yield from self._see(event)
            if self.failures and self.strict:
                yield from self._report_failures(event)
        if event and self.strict:
            yield from self._report_failures(event)

    def _see(self, event: Event) -> Iterator[Event]:
        kind, name = event.type, event.session
        session = self._session(name)
        session.now = max(session.now, event.time)
        session.ladder.see(event)
        if kind == "history_start":
            session.history = True
        elif kind == "history_end":
            session.history = False
            yield from self._caught_up(event, session)
        else:
            call = session.calls.see(event)
            agent = call.agent if call else event.agent
            for spec in tuple(self.specs):
                try:
                    for number, rule in enumerate(session.state(spec, agent)):
                        found = rule.see(event, call, session.now)
                        if found:
                            yield from self._raised(event, name, spec, (agent, number), found)
                except Exception as error:
                    self._failed(spec, error)
        if kind == "session_end":
            if self.failures and self.strict:
                yield from self._report_failures(event)
            del self.sessions[name]

    def _session(self, name: str) -> _Session:
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = _Session()
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
            if session is None:
                continue
            session.now = max(session.now, event.time)
            for spec in tuple(self.specs):
                try:
                    for agent, rules in session.states(spec):
                        for number, rule in enumerate(rules):
                            found = rule.see(event, None, session.now)
                            if found:
                                yield from self._raised(event, name, spec, (agent, number), found)
                except Exception as error:
                    self._failed(spec, error)

    def _caught_up(self, event: Event, session: _Session) -> Iterator[Event]:
        """History has ended: raise what still holds."""
        for spec in tuple(self.specs):
            try:
                for agent, rules in session.states(spec):
                    for number, rule in enumerate(rules):
                        found = rule.holding(session.now)
                        yield from self._raised(event, event.session, spec, (agent, number), found)
            except Exception as error:
                self._failed(spec, error)

    def _raised(
        self,
        trigger: Event,
        name: str,
        spec: DetectorSpec,
        rule: tuple[str, int],
        findings: Iterable[Finding],
    ) -> Iterator[Event]:
        session = self.sessions[name]
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
                time=session.now,
                session=name,
                level=finding.level,
                evidence=finding.evidence,
                actions=(*spec.actions, *step),
                **finding.seen,
            )

    def _failed(self, spec: DetectorSpec, error: Exception) -> None:
        """Drop a detector that raised an exception."""
        if not self.isolated:
            raise error
        self.specs.remove(spec)
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
                yield violation(trigger, "internal", message, time=trigger.time, session=name)
            session.reported = len(self.failures)
