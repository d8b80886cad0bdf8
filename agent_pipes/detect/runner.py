"""The driver of all detectors: pairs calls with results once, and raises each condition once."""

import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import NO_ORIGIN, Event, tick, violation
from agent_pipes.core.stderr import warn
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.finding import Detector, Finding, Rules
from agent_pipes.detect.ladder import Ladder, Rank
from agent_pipes.detect.runs import RunTracker

MAX_SESSIONS = 10_000
"""Sessions whose state is kept; the least recently active is evicted, which is reported once."""

MAX_SUBAGENT_STATES = 1_000
"""States of subagents, of all detectors together, that are kept of one session."""

MAX_COUNTED = 512
"""Events of one session that are remembered as counted."""

COUNTED_ONCE = frozenset(
    {"user_prompt", "assistant_response", "tool_call", "tool_result", "error", "compaction"}
)
"""Types of events that count once; responses with usage are distinguished by their response_id."""

MAX_RAISED = 1_000
"""Conditions of one session that are remembered as raised."""

NOT_RAISED: Rank = (0, 0, 0)

MAX_TICK_GAP_S = 60.0
"""Seconds beyond its last tick from which on an event of a live session shows a jump in time."""

MIN_FILLED_GAP_S = 1.0
"""Seconds between two events of a session from which the time between them is shown: a tick's."""

VIOLATIONS_ONLY = frozenset(
    {"violation", "session_start", "session_end", "process", "history_start", "history_end", "tick"}
)
"""Types that go on downstream with --violations-only; a tick has no bytes."""

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
    timed:     it raises while nothing happens: it is shown the time before each event.
    ignored:   patterns of the tools and commands that it leaves alone.
    renamed:   by the name of an option in `watch`, its name in the command that runs.
    """

    watcher: str
    rules: Rules
    actions: tuple[str, ...] = ()
    per_agent: bool = False
    steps: tuple[str, ...] = ()
    timed: bool = False
    ignored: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def fields(self, finding: Finding) -> dict[str, Any]:
        """Return the fields of a finding; its hint names the option of the command that runs."""
        fields = dict(finding.seen)
        if self.renamed and "hint" in fields:
            fields["hint"] = re.sub(
                r"--[\w-]+", lambda found: self.renamed.get(found[0], found[0]), fields["hint"]
            )
        return fields

    def new_state(self) -> list[Detector]:
        """Return the state of all rules for a new session or agent."""
        return [new_rule() for new_rule in self.rules]


class _Session:
    """State of one session.

    counted:  events that were counted lately.
    history:  the events are history: they are seen, and nothing is raised.
    now:      latest time of its events and ticks, seconds since the epoch.
    raised:   rank at which each condition was last raised.
    ladder:   the steps that were taken.
    origin:   the `host` and `user` of its events, if they name them.
    reported: number of failed detectors that were raised for it, see `strict`.
    runs:     divides it into runs.
    start:    its last `session_start`, which the states of a new run are shown.
    ticked:   time of the last tick of its own, which a live session has; 0.0 before the first.
    """

    __slots__ = (
        "calls",
        "counted",
        "history",
        "ladder",
        "main",
        "name",
        "now",
        "origin",
        "raised",
        "reported",
        "runs",
        "start",
        "subagents",
        "ticked",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.history = False
        self.now = self.ticked = 0.0
        self.raised: BoundedDict[Hashable, Rank] = BoundedDict(MAX_RAISED)
        self.ladder = Ladder()
        self.origin: Mapping[str, str] = NO_ORIGIN
        self.reported = 0
        self.counted: BoundedDict[int, None] = BoundedDict(MAX_COUNTED)
        self.calls = CallTracker()
        self.runs = RunTracker()
        self.start: Event | None = None
        self.main: dict[DetectorSpec, list[Detector]] = {}
        self.subagents: BoundedDict[tuple[DetectorSpec, str], list[Detector]] = BoundedDict(
            MAX_SUBAGENT_STATES
        )

    def state(self, spec: DetectorSpec, agent: str) -> list[Detector]:
        """Return the rules of `spec` for `agent`, "" for the main agent."""
        if not agent or not spec.per_agent:
            rules = self.main.get(spec)
            if rules is None:
                rules = self.main[spec] = self._new_state(spec)
            return rules
        rules = self.subagents.get((spec, agent))
        if rules is None:
            rules = self.subagents[spec, agent] = self._new_state(spec)
        return rules

    def _new_state(self, spec: DetectorSpec) -> list[Detector]:
        rules = spec.new_state()
        if self.start and self.runs.divided:
            for rule in rules:
                rule.see(self.start, None, self.now)
        return rules

    def describe(self, event: Event) -> None:
        """Note the start of the session, and where it runs."""
        if event.type == "session_start":
            self.start = event
        if event.host or event.user:
            self.origin = {"host": event.host, "user": event.user}

    def drop_states(self) -> None:
        """Forget what was counted: the session is read again, or a new run begins."""
        self.main.clear()
        self.subagents.clear()
        self.calls = CallTracker()
        self.counted.clear()

    def is_double(self, event: Event) -> bool:
        """Return True for an event that was counted lately: what comes twice counts once."""
        if not event.id or event.type not in COUNTED_ONCE or event.data.get("delta") is True:
            return False
        key = hash((event.type, event.id))
        if key in self.counted:
            return True
        self.counted[key] = None
        return False

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
        timed = [spec for spec in self.specs if spec.timed]
        if timed and session.now and event.time - session.now >= MIN_FILLED_GAP_S:
            yield from self._show_tick(tick(event.time, event.session), session, timed)

    def _see(self, event: Event) -> Iterator[Event]:
        kind, name = event.type, event.session
        session = self._session(name)
        if session.runs.begins(event):
            session.drop_states()
            session.raised.clear()
            session.ladder = Ladder()
        session.describe(event)
        if kind == "history_start":
            session.now = 0.0
        elif kind != "process":
            # A process event has the time at which it was found, not one of the session.
            session.now = max(session.now, event.time)
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
            agent = call.agent if call else event.agent
            for spec in tuple(self.specs):
                if call and spec.ignored and call.matches(spec.ignored):
                    continue
                try:
                    owner = agent if spec.per_agent else ""
                    for number, rule in enumerate(session.state(spec, owner)):
                        found = rule.see(event, call, session.now)
                        if found:
                            yield from self._raised(event, session, spec, (owner, number), found)
                except Exception as error:
                    self._failed(spec, error)
        if kind == "session_end":
            if self.failures and self.strict:
                yield from self._report_failures(event)
            del self.sessions[name]

    def _session(self, name: str) -> _Session:
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = _Session(name)
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
            yield from self._show_tick(event, session, tuple(self.specs))

    def _show_tick(
        self, event: Event, session: _Session, specs: Iterable[DetectorSpec]
    ) -> Iterator[Event]:
        session.now = max(session.now, event.time)
        for spec in specs:
            try:
                for agent, rules in session.states(spec):
                    for number, rule in enumerate(rules):
                        found = rule.see(event, None, session.now)
                        if found:
                            yield from self._raised(event, session, spec, (agent, number), found)
            except Exception as error:
                self._failed(spec, error)

    def _caught_up(self, event: Event, session: _Session) -> Iterator[Event]:
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
        session: _Session,
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
                yield violation(
                    trigger,
                    "internal",
                    message,
                    time=trigger.time,
                    session=name,
                    origin=session.origin,
                )
            session.reported = len(self.failures)
