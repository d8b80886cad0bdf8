"""What all detectors share: a state per session, silence about what is past, and one violation for one thing."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import click

from agent_pipes.event import Event, Level, violation
from agent_pipes.options import Option
from agent_pipes.stream import warn

SESSIONS = 10_000
"""Sessions of which a detector keeps its state; the one unheard of for longest goes first, and it is said once."""


@dataclass(frozen=True, slots=True)
class Finding:
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
    seen: dict[str, Any] = field(default_factory=dict)


class Detector(Protocol):
    """The state of one session (of one agent in it, where order matters). No I/O, no clock."""

    def see(self, event: Event, now: float) -> Iterable[Finding]:
        """What holds after this event (a `tick` is one), `now` being the latest time seen in the session."""

    def holding(self, now: float) -> Iterable[Finding]:
        """What of all that was seen still holds: asked where history ends and live begins."""


class _Session:
    __slots__ = ("detectors", "history", "now", "raised")

    def __init__(self) -> None:
        self.detectors: OrderedDict[str, Detector] = OrderedDict()
        self.history = False
        self.now = 0.0
        self.raised: OrderedDict[Hashable, int] = OrderedDict()

    def new(self, finding: Finding) -> bool:
        """Whether this was not raised before, or only when it was smaller."""
        if self.raised.get(finding.key, 0) >= finding.step:
            return False
        self.raised[finding.key] = finding.step
        self.raised.move_to_end(finding.key)
        if len(self.raised) > 1000:
            self.raised.popitem(last=False)
        return True


AGENTS = 256
"""Subagents of one session of which a detector keeps its state."""


def detect(events: Iterable[Event], watcher: str, new: Callable[[], Detector], alert: tuple[str, ...] = (), *, per_agent: bool = False) -> Iterator[Event]:
    """Pass `events` on, and behind each whatever `watcher`'s detectors find then.

    `new` makes the state of a session; with `per_agent` each subagent in it has its own. What a session's history
    holds is seen and not raised, until it ends: what still holds then is.
    """
    sessions: OrderedDict[str, _Session] = OrderedDict()
    dropped = False

    def raised(trigger: Event, name: str, session: _Session, findings: Iterable[Finding]) -> Iterator[Event]:
        for finding in findings:
            if not session.history and session.new(finding):
                yield violation(
                    trigger, watcher, finding.message, time=session.now, session=name, level=finding.level,
                    evidence=finding.evidence, actions=alert, **finding.seen,
                )

    for event in events:
        yield event
        kind = event.type
        if kind == "tick":
            for name, session in list(sessions.items()):
                session.now = max(session.now, event.time)
                for detector in session.detectors.values():
                    yield from raised(event, name, session, detector.see(event, session.now))
            continue
        if not kind or kind == "violation" or kind == "kill":
            continue
        name = event.session
        session = sessions.get(name)  # type: ignore[assignment]
        if session is None:
            session = sessions[name] = _Session()
            if len(sessions) > SESSIONS:
                sessions.popitem(last=False)
                if not dropped:
                    dropped = True
                    warn(f"more than {SESSIONS} sessions at once: {watcher} forgets the ones unheard of for longest")
        else:
            sessions.move_to_end(name)
        if event.time > session.now:
            session.now = event.time
        if kind == "history_start":
            session.history = True
            continue
        if kind == "history_end":
            session.history = False
            for detector in session.detectors.values():
                yield from raised(event, name, session, detector.holding(session.now))
            continue
        agent = event.agent if per_agent else ""
        detector = session.detectors.get(agent)  # type: ignore[assignment]
        if detector is None:
            detector = session.detectors[agent] = new()
            if len(session.detectors) > AGENTS:
                session.detectors.popitem(last=False)
        findings = detector.see(event, session.now)
        if findings:
            yield from raised(event, name, session, findings)
        if kind == "session_end":
            del sessions[name]


def alert_option(watcher: str) -> Callable[[Any], Any]:
    """`--alert SINK`, the same on every detector: who acts on its violations, instead of all that stand downstream."""
    return click.option(
        "--alert", cls=Option, key=f"{watcher}.alert", multiple=True, type=click.Choice(["terminal", "file", "webhook", "kill"]),
        help="Only this acts on the violations; may be given again.",
    )
