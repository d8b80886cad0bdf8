"""Judgement of one recorded session: what its detectors raise, and at which limits.

`judge_session` needs nothing but the session, so that any engine can map it over many.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from agent_pipes.agents.base import Session
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.options import Option
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

Levels = dict[str, bool]
"""By watcher: True if one of its violations was critical, False if there were warnings only."""


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
    """Return what detectors with `limits` raise in a session, and at which thresholds.

    session: as `commands.backtest.sessions_in` finds it; the judging process reads its files.
    limits:  options of each detector, as `commands.backtest.read_limits` reads them.

    All arguments and the result can be pickled. A session that cannot be read raises nothing: its
    judgement has a `problem`.
    """
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
    levels = _levels(DetectorRunner(events, [each.trial() for each in searches if each.open]))
    # A higher limit raises nothing that the lowest threshold does not: most detectors run once.
    judged = [each for each in searches if each.may_pass_limit(levels)]
    for search in searches:
        search.learn(levels)
    trials = [each.trial() for each in searches if each.open]
    specs = [*(each.spec() for each in judged), *trials]
    levels = _levels(_noted(judgement, DetectorRunner(events, specs) if specs else events, limits))
    for search in searches:
        search.learn(levels)
    for search in judged:
        search.learn_from_limit(levels)
    _search(events, searches)
    judgement.alarms = {search.watcher: search.passed for search in searches}


def passed_thresholds(events: list[Event], limits: Limits) -> dict[str, list[float]]:
    """Return by watcher the thresholds at which the events raise a critical violation."""
    searches = [_ThresholdSearch(watcher, options) for watcher, options in limits.items()]
    _search(events, searches)
    return {search.watcher: search.passed for search in searches}


def _search(events: list[Event], searches: list["_ThresholdSearch"]) -> None:
    """Try the thresholds that are still open."""
    while trials := [each.trial() for each in searches if each.open]:
        levels = _levels(DetectorRunner(events, trials))
        for search in searches:
            search.learn(levels)


def _levels(events: Iterable[Event]) -> Levels:
    """Return the level of the worst violation that each watcher has raised."""
    levels: Levels = {}
    for event in events:
        if event.type == "violation":
            watcher = event.text("watcher")
            levels[watcher] = levels.get(watcher, False) or event.data.get("level") != "warning"
    return levels


def _noted(judgement: Judgement, events: Iterable[Event], limits: Limits) -> Iterator[Event]:
    """Yield `events`, and note the violations of limits with the dollars spent after them."""
    usd = 0.0
    for event in events:
        if (now := _session_usd(event)) is not None:
            usd = now
        elif event.type == "violation" and event.text("watcher") in limits:
            _add_violation(judgement, event, usd)
        yield event


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

    @property
    def limit(self) -> float:
        """The detector's own limit, 0 for none."""
        return self._value("max") or 0.0

    def _value(self, name: str) -> Any:
        """Return the value of an option, None if the detector has none of that name."""
        option = self._option(name)
        return self.options.get(name, option.fallback() if option else None)

    def _option(self, name: str) -> Option | None:
        return next((each for each in self.part.options if each.name == name), None)

    def _name(self) -> str:
        return f"{self.watcher}@{self.thresholds[self.lowest_unknown]:g}"

    def spec(self) -> DetectorSpec:
        """Return the detector with its own limit."""
        return self.part.configured(self.options)

    def trial(self) -> DetectorSpec:
        """Return the detector with the lowest unknown threshold, under a name of its own."""
        threshold = self.thresholds[self.lowest_unknown]
        most, early = self._option("max"), self._option("warn")
        assert most
        options = {**self.options, "max": most.type.convert(threshold, most, None)}
        warn = self._value("warn")
        if early and warn and self.limit and type(early.type) is type(most.type):
            # A warning keeps its share of the limit, so that it comes no later than with that.
            options["warn"] = max(1, int(warn * threshold / self.limit))
        return replace(self.part.configured(options), watcher=self._name())

    def may_pass_limit(self, levels: Levels) -> bool:
        """Return False if the trial of the lowest threshold shows that the limit raises nothing."""
        return not self.open or 0 < self.limit < self.thresholds[0] or self._name() in levels

    def learn(self, levels: Levels) -> None:
        """Take in what trials have raised."""
        if not self.open:
            return
        if levels.get(self._name()):
            self.lowest_unknown += 1
        else:
            self.lowest_silent = self.lowest_unknown

    def learn_from_limit(self, levels: Levels) -> None:
        """Take in what the detector raised at its own limit."""
        if not self.limit:
            return
        if levels.get(self.watcher):
            lower = sum(threshold <= self.limit for threshold in self.thresholds)
            self.lowest_unknown = max(self.lowest_unknown, lower)
        else:
            lower = sum(threshold < self.limit for threshold in self.thresholds)
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
