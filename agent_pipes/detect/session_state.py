"""State that detectors keep of one session, and the rules that are shown each of its events."""

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import NO_ORIGIN, Event
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.finding import Detector, Finding, Rules
from agent_pipes.detect.ladder import Ladder, Rank
from agent_pipes.detect.runs import RunTracker
from agent_pipes.detect.turns import TurnTracker

MAX_SUBAGENT_STATES = 1_000
"""States of subagents, of all detectors together, that are kept of one session."""

MAX_COUNTED = 512
"""Events of one session that are remembered as counted."""

COUNTED_ONCE = frozenset(
    {"user_prompt", "assistant_response", "tool_call", "tool_result", "error", "compaction"}
)
"""Types of events that count once; responses with usage are distinguished by their response_id."""

MAX_TYPES = 64
"""Types of events whose rules are remembered; there are half as many."""

MAX_RAISED = 1_000
"""Conditions of one session that are remembered as raised."""


_OPTION = re.compile(r"--[\w-]+")


@dataclass(frozen=True, eq=False, slots=True)
class DetectorSpec:
    """A configured detector.

    watcher:   its name in violations.
    rules:     constructors of its rules.
    actions:   sinks that act on its violations; empty: all that are downstream.
    per_agent: each subagent has a state of its own.
    steps:     what its first, second, … violation in a session does to the agent, see Ladder.
    ignored:   patterns of the tools and commands that it leaves alone.
    renamed:   by the name of an option in `watch`, its name in the command that runs.
    """

    watcher: str
    rules: Rules
    actions: tuple[str, ...] = ()
    per_agent: bool = False
    steps: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def fields(self, finding: Finding) -> dict[str, Any]:
        """Return the fields of a finding; its hint names the option of the command that runs."""
        fields = dict(finding.seen)
        if self.renamed and "hint" in fields:
            fields["hint"] = _OPTION.sub(
                lambda found: self.renamed.get(found[0], found[0]), fields["hint"]
            )
        return fields

    def new_state(self, turns: TurnTracker) -> list[Detector]:
        """Return the state of all rules for a new session or agent."""
        return [new_rule(turns) for new_rule in self.rules]


Shown = tuple[DetectorSpec, str, list[tuple[int, Detector]]]
"""Rules of a detector that are shown an event, with their numbers, and the agent whose they are."""


def _shown(state: list[Detector], kind: str) -> list[tuple[int, Detector]]:
    """Return the rules that are shown events of a type, with their numbers."""
    return [(number, rule) for number, rule in enumerate(state) if kind in rule.types]


class SessionState:
    """State of one session.

    counted:  events that were counted lately.
    history:  the events are history: they are seen, and nothing is raised.
    now:      latest time of its events and ticks, seconds since the epoch.
    raised:   rank at which each condition was last raised.
    ladder:   the steps that were taken.
    origin:   the `host` and `user` of its events, if they name them.
    reported: number of failed detectors that were raised for it, see `strict`.
    runs:     divides it into runs.
    shown:    by type of events, the rules that are shown those of the main agent.
    start:    its last `session_start`, which the states of a new run are shown.
    ticked:   time of the last tick of its own, which a live session has; 0.0 before the first.
    turns:    whose turn it is in the present run.
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
        "shown",
        "start",
        "subagents",
        "ticked",
        "turns",
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
        self.turns = TurnTracker()
        self.runs = RunTracker()
        self.start: Event | None = None
        self.shown: BoundedDict[str, list[Shown]] = BoundedDict(MAX_TYPES)
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
        rules = spec.new_state(self.turns)
        if self.start and self.runs.divided:
            for rule in rules:
                if self.start.type in rule.types:
                    rule.see(self.start, None, self.now)
        return rules

    def rules_for(self, specs: Iterable[DetectorSpec], kind: str, agent: str) -> list[Shown]:
        """Return the rules that are shown an event of this type and agent, "" for the main one."""
        if not agent and kind in self.shown:
            return self.shown[kind]
        found: list[Shown] = []
        for spec in specs:
            owner = agent if spec.per_agent else ""
            if rules := _shown(self.state(spec, owner), kind):
                found.append((spec, owner, rules))
        if not agent:
            self.shown[kind] = found
        return found

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
        self.shown.clear()
        self.calls = CallTracker()
        self.turns = TurnTracker()
        if self.start and self.runs.divided:
            self.turns.see(self.start, None, self.now)
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

    def states(self, spec: DetectorSpec) -> list[tuple[str, list[Detector]]]:
        """Return each agent that was seen, and the rules of `spec` for it."""
        states = [("", self.main[spec])] if spec in self.main else []
        if spec.per_agent:
            states += [
                (agent, rules) for (other, agent), rules in self.subagents.items() if other is spec
            ]
        return states

    def timed_rules(self, specs: Iterable[DetectorSpec]) -> list[Shown]:
        """Return the rules of all agents that were seen which are shown the time."""
        if not self.subagents:
            return self.rules_for(specs, "tick", "") if self.main else []
        found: list[Shown] = []
        for spec in specs:
            for agent, state in self.states(spec):
                if rules := _shown(state, "tick"):
                    found.append((spec, agent, rules))
        return found
