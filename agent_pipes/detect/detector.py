"""What all detectors share: a state per session, silence about what is past, and one violation for one thing."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import click

from agent_pipes.core.bounded import remember
from agent_pipes.core.event import Event, Level, violation
from agent_pipes.core.filter import Joint
from agent_pipes.core.options import Option
from agent_pipes.core.stderr import warn

SESSIONS = 10_000
"""Sessions of which a detector keeps its state; the one unheard of for longest goes first, and it is said once."""


BOUNDS = frozenset({"history_start", "history_end", "session_end", "tick"})
"""The types by which a session's own state is kept, whatever a detector sees."""

NOT_SHOWN = frozenset({"", "violation", "kill"})
"""The types that no detector is shown: what is no event, and what became of the others."""

ANY: frozenset[str] = frozenset()
"""What a detector sees that is shown every event."""

CALLS = BOUNDS | {"tool_call", "tool_result", "error", "user_prompt"}
"""What a detector sees that looks at calls and what became of them."""


class Finding(NamedTuple):
    """What a detector finds to hold now. It may say so again with every event: it is raised once.

    key:      names the thing found; a new streak of the same command is another thing.
    message:  for people: what, how often, how to raise the limit.
    step:     raised again when it has grown beyond the step raised before.
    level:    "warning" tells and never kills.
    evidence: ids of the events that show it, oldest first.
    seen:     what else the violation says: `count` or `value`, `limit`, …
    """

    key: Hashable
    message: str
    step: int = 1
    level: Level = "critical"
    evidence: tuple[str, ...] = ()
    seen: Mapping[str, Any] = MappingProxyType({})


class Detector(Protocol):
    """The state of one session (of one agent in it, where order matters). No I/O, no clock."""

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        """What holds after this event (a `tick` is one), `now` being the latest time seen in the session."""

    def holding(self, now: float) -> Iterable[Finding]:
        """What of all that was seen still holds: asked where history ends and live begins."""


AGENTS = 256
"""Subagents of one session of which a detector keeps its state."""


class Watcher:
    """A kind of detector, and what it is shown.

    new:   makes the state of a session; with `per_agent` each subagent in it has its own.
    alert: who acts on its violations, instead of all that stand downstream.
    sees:  the types of events that it is shown.
    """

    def __init__(
        self,
        name: str,
        new: Callable[[], Detector],
        alert: tuple[str, ...],
        sees: frozenset[str],
        per_agent: bool,
    ) -> None:
        self.name = name
        self.new = new
        self.alert = alert
        self.sees = sees
        self.per_agent = per_agent


RAISED = 1000
"""Findings of one session of which a watcher remembers that they were raised."""


class _State:
    """What one watcher knows of one session: there are very many, of which most have no subagents, and have raised nothing.

    main:   the session's own detector, or that of its main agent.
    others: those of its subagents.
    now:    the latest time in what was shown.
    raised: how far each finding had grown when it was raised.
    """

    __slots__ = ("main", "now", "others", "raised")

    def __init__(self, watcher: Watcher) -> None:
        self.main = watcher.new()
        self.others: dict[str, Detector] | None = None
        self.now = 0.0
        self.raised: dict[Hashable, int] | None = None

    @property
    def detectors(self) -> Iterable[Detector]:
        return (self.main, *self.others.values()) if self.others else (self.main,)

    def new(self, finding: Finding) -> bool:
        """Whether this was not raised before, or only when it was smaller."""
        if self.raised is None:
            self.raised = {}
        if self.raised.get(finding.key, 0) >= finding.step:
            return False
        self.raised.pop(finding.key, None)
        remember(self.raised, finding.key, finding.step, RAISED)
        return True

    def of(self, agent: str, watcher: Watcher) -> Detector:
        """The detector of a subagent."""
        if self.others is None:
            self.others = {}
        detector = self.others.get(agent)
        if detector is None:
            detector = watcher.new()
            remember(self.others, agent, detector, AGENTS)
        return detector


class _Session:
    __slots__ = ("history", "states")

    def __init__(self) -> None:
        self.history = False
        self.states: dict[Watcher, _State] = {}


class Detection(Joint):
    """Passes events on, and behind each whatever its watchers find then: the last one first, as if each stood in a
    pipe behind the one before.

    What a session's history holds is seen and not raised, until it ends: what still holds then is.
    """

    def __init__(self, events: Iterable[Event], watcher: Watcher) -> None:
        self.events = events
        self.watchers = [watcher]
        self.sessions: OrderedDict[str, _Session] = OrderedDict()
        self._dropped = False
        self._shown: dict[str, list[Watcher]] = {}

    def join(self, later: "Detection") -> None:
        """Take over the watchers of one that would have stood behind this one."""
        self.watchers += later.watchers

    def __iter__(self) -> Iterator[Event]:
        shown_of = self._shown
        apart = any(each.per_agent for each in self.watchers)
        name, session = "", None
        for event in self.events:
            yield event
            kind = event.type
            shown = shown_of.get(kind)
            if shown is None:
                shown = self._shown_of(kind)
            if not shown:
                continue
            if kind == "tick":
                yield from self._tick(event, shown)
                continue
            if session is None or event.session != name:
                name = event.session
                session = self.sessions.get(name)
                if session is None:
                    session = self._begin(name)
                else:
                    self.sessions.move_to_end(name)
            if kind == "history_start":
                session.history = True
            elif kind == "history_end":
                session.history = False
                yield from self._caught_up(event, session, shown)
            else:
                states, time, agent = session.states, event.time, event.agent if apart else ""
                for watcher in shown:
                    try:
                        state = states.get(watcher)
                        if state is None:
                            state = states[watcher] = _State(watcher)
                        if time > state.now:
                            state.now = time
                        detector = (
                            state.of(agent, watcher) if agent and watcher.per_agent else state.main
                        )
                        findings = detector.see(event, state.now)
                        if findings:
                            yield from self._raised(
                                event, name, session.history, watcher, state, findings
                            )
                    except Exception as error:
                        yield from self._failed(watcher, error, event)
                if kind == "session_end":
                    del self.sessions[name]
                    session = None

    def _shown_of(self, kind: str) -> list[Watcher]:
        """Who is shown the events of this type."""
        shown = (
            []
            if kind in NOT_SHOWN
            else [each for each in reversed(self.watchers) if not each.sees or kind in each.sees]
        )
        if len(self._shown) < 1000:
            self._shown[kind] = shown
        return shown

    def _begin(self, name: str) -> _Session:
        session = self.sessions[name] = _Session()
        if len(self.sessions) > SESSIONS:
            self.sessions.popitem(last=False)
            if not self._dropped:
                self._dropped = True
                warn(
                    f"more than {SESSIONS} sessions at once: detectors forget the ones unheard of for longest"
                )
        return session

    def _tick(self, event: Event, shown: list[Watcher]) -> Iterator[Event]:
        for watcher in shown:
            try:
                for name, session in list(self.sessions.items()):
                    if state := session.states.get(watcher):
                        state.now = max(state.now, event.time)
                        for detector in state.detectors:
                            yield from self._raised(
                                event,
                                name,
                                session.history,
                                watcher,
                                state,
                                detector.see(event, state.now),
                            )
            except Exception as error:
                yield from self._failed(watcher, error, event)

    def _caught_up(self, event: Event, session: _Session, shown: list[Watcher]) -> Iterator[Event]:
        for watcher in shown:
            try:
                if state := session.states.get(watcher):
                    state.now = max(state.now, event.time)
                    for detector in state.detectors:
                        yield from self._raised(
                            event, event.session, False, watcher, state, detector.holding(state.now)
                        )
            except Exception as error:
                yield from self._failed(watcher, error, event)

    def _raised(
        self,
        trigger: Event,
        session: str,
        silent: bool,
        watcher: Watcher,
        state: _State,
        findings: Iterable[Finding],
    ) -> Iterator[Event]:
        for finding in findings:
            if not silent and state.new(finding):
                yield violation(
                    trigger,
                    watcher.name,
                    finding.message,
                    time=state.now,
                    session=session,
                    level=finding.level,
                    evidence=finding.evidence,
                    actions=watcher.alert,
                    **finding.seen,
                )

    def _failed(self, watcher: Watcher, error: Exception, event: Event) -> Iterator[Event]:
        """A watcher that throws is left out from here on, where somebody answers for that; else nobody is."""
        if self.shield is None:
            raise error
        self.watchers.remove(watcher)
        self._shown.clear()
        yield from self.shield(watcher.name, error, event)


def detect(
    events: Iterable[Event],
    watcher: str,
    new: Callable[[], Detector],
    alert: tuple[str, ...] = (),
    *,
    sees: frozenset[str] = ANY,
    per_agent: bool = False,
) -> Detection:
    """Watch `events` with the detectors that `new` makes: see `Watcher` and `Detection`."""
    found = Detection(events, Watcher(watcher, new, alert, sees, per_agent))
    if not isinstance(events, Detection):
        return found
    events.join(found)
    return events


def alert_option(watcher: str) -> Callable[[Any], Any]:
    """`--alert SINK`, the same on every detector: who acts on its violations, instead of all that stand downstream."""
    return click.option(
        "--alert",
        cls=Option,
        key=f"{watcher}.alert",
        multiple=True,
        type=click.Choice(["terminal", "file", "webhook", "exec", "kill"]),
        help="Only this acts on the violations; may be given again.",
    )
