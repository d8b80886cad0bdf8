"""Judgement of one recorded session: what its detectors raise, and at which limits.

`judge_session` needs nothing but the session, so that any engine can map it over many.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from agent_pipes.agents.base import Session
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.recorded import FixedClock
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.runner import DetectorRunner, DetectorSpec
from agent_pipes.detect.runs import divides_runs
from agent_pipes.sessions.session_reader import read_session

_TURN_TYPES = frozenset({"user_prompt", "assistant_response", "tool_call"})

Limits = dict[str, dict[str, Any]]
"""Options of each detector, by watcher name."""


@dataclass(slots=True)
class Judgement:
    """Result of one session.

    usd:        dollars that it cost.
    violations: data of each violation, with `at` (seconds since the epoch), `session`, and
                `usd_later` (dollars spent after it).
    alarms:     by watcher, the thresholds at which a critical violation is raised.
    runs_known: its record tells where a run of the agent begins; else it counts as one run.
    estimated:  a part of the dollars is an estimate.
    began:      time of the first event, seconds since the epoch, 0.0 if unknown.
    ended_well: the last prompt was answered, and the last test has passed.
    problem:    why the session could not be read, or "".
    """

    session: Session
    usd: float = 0.0
    violations: list[Fields] = field(default_factory=list)
    alarms: dict[str, list[float]] = field(default_factory=dict)
    runs_known: bool = False
    estimated: bool = False
    began: float = 0.0
    ended_well: bool = False
    problem: str = ""

    @property
    def critical(self) -> list[Fields]:
        """The violations that would have ended the session."""
        return [each for each in self.violations if each["level"] != "warning"]


def judge_session(session: Session, limits: Limits) -> Judgement:
    """Return what detectors with `limits` raise in a session, and at which thresholds."""
    clock = FixedClock(session.modified)
    return judge_events(session, read_session(session, clock=clock), limits)


def judge_events(session: Session, stream: Iterable[Event], limits: Limits) -> Judgement:
    """Return what detectors with `limits` raise in the events of a session."""
    judgement = Judgement(session)
    try:
        _judge(judgement, stream, limits)
    except Exception as error:
        # One session that cannot be read must not cost the results of the others.
        judgement.problem = f"{type(error).__name__}: {error}"
    return judgement


def _judge(judgement: Judgement, stream: Iterable[Event], limits: Limits) -> None:
    pricing = {name: limits.get("cost", {}).get(name) for name in ("prices", "model")}
    meter = Meter(**{name: value for name, value in pricing.items() if value})
    events = list(with_costs(stream, meter, raw=False))
    judgement.began = next((event.time for event in events if event.time), 0.0)
    judgement.ended_well = ended_well(events)
    judgement.estimated = any(
        "session_estimated_usd" in event.data["cost"]
        for event in events
        if type(event.data.get("cost")) is dict
    )
    costs = [usd for event in events if (usd := _session_usd(event)) is not None]
    judgement.runs_known = any(map(divides_runs, events))
    judgement.usd = costs[-1] if costs else 0.0
    searches = [_ThresholdSearch(watcher, options) for watcher, options in limits.items()]
    specs = [DETECTORS[watcher].configured(options) for watcher, options in limits.items()]
    raised: set[str] = set()
    usd = 0.0
    for event in DetectorRunner(events, [*specs, *(each.spec() for each in searches if each.open)]):
        if (now := _session_usd(event)) is not None:
            usd = now
        elif event.type == "violation":
            if _is_critical(event):
                raised.add(event.text("watcher"))
            if event.text("watcher") in limits:
                _add_violation(judgement, event, usd)
    for search in searches:
        search.learn(raised)
        search.learn_from_limit(raised)
    while trials := [search for search in searches if search.open]:
        raised = set(_raised_by(events, [search.spec() for search in trials]))
        for search in trials:
            search.learn(raised)
    judgement.alarms = {search.watcher: search.passed for search in searches}


def _raised_by(events: Iterable[Event], specs: list[DetectorSpec]) -> Iterator[str]:
    for event in DetectorRunner(events, specs):
        if event.type == "violation" and _is_critical(event):
            yield event.text("watcher")


class _ThresholdSearch:
    """Finds the thresholds of one detector that raise a critical violation.

    A higher threshold raises no more than a lower one, so the search goes up from the lowest and
    ends at the first that raises nothing: most sessions need one trial per detector.
    """

    def __init__(self, watcher: str, options: dict[str, Any]) -> None:
        self.watcher = watcher
        self.options = options
        self.part = DETECTORS[watcher]
        self.thresholds = sorted(self.part.thresholds)
        self.lowest_unknown = 0
        self.lowest_silent = len(self.thresholds)

    @property
    def open(self) -> bool:
        """True while a threshold's result is unknown."""
        return self.lowest_unknown < self.lowest_silent

    @property
    def passed(self) -> list[float]:
        """The thresholds that raise."""
        return self.thresholds[: self.lowest_silent]

    def _trial(self) -> str:
        return f"{self.watcher}@{self.thresholds[self.lowest_unknown]:g}"

    def spec(self) -> DetectorSpec:
        """Return the detector with the lowest unknown threshold, under a name of its own."""
        option = next(each for each in self.part.options if each.name == "max")
        threshold = option.type.convert(self.thresholds[self.lowest_unknown], option, None)
        spec = self.part.configured({**self.options, "max": threshold})
        return replace(spec, watcher=self._trial())

    def learn(self, raised: set[str]) -> None:
        """Take in which watchers and trials have raised something."""
        if not self.open:
            return
        if self._trial() in raised:
            self.lowest_unknown += 1
        else:
            self.lowest_silent = self.lowest_unknown

    def learn_from_limit(self, raised: set[str]) -> None:
        """Take in what the detector raised at its own limit."""
        limit = self.options.get("max")
        if limit is None:
            limit = next((each.fallback() for each in self.part.options if each.name == "max"), 0)
        if not limit:
            return
        if self.watcher in raised:
            lower = sum(threshold <= limit for threshold in self.thresholds)
            self.lowest_unknown = max(self.lowest_unknown, lower)
        else:
            lower = sum(threshold < limit for threshold in self.thresholds)
            self.lowest_silent = min(self.lowest_silent, max(lower, self.lowest_unknown))


def ended_well(events: Iterable[Event]) -> bool:
    """Return True if the last prompt was answered, and the last test that was run has passed.

    The main agent's last word is then an answer, not a call or a prompt.
    """
    last, outcome = "", ""
    for event in events:
        if event.type in _TURN_TYPES and not event.agent:
            last = event.type
        outcome = event.text("outcome") or outcome
    return last == "assistant_response" and outcome != "failed"


def _add_violation(judgement: Judgement, event: Event, usd: float) -> None:
    later = round(judgement.usd - usd, 6)
    judgement.violations.append(
        {"at": event.time, "session": event.session, **event.data, "usd_later": later}
    )


def _session_usd(event: Event) -> float | None:
    """Return the dollars of the session up to this event, if it tells them."""
    cost = event.data.get("cost") if event.type == "llm_response" else None
    total = cost.get("session_usd") if isinstance(cost, dict) else None
    return total if isinstance(total, (int, float)) else None


def _is_critical(event: Event) -> bool:
    return event.data.get("level") != "warning"
