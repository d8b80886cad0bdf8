"""Judgement of one recorded session: what its detectors raise, and at which limits.

`judge_session` needs nothing but the session, so that any engine can map it over many.
"""

from collections.abc import Callable, Iterable
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
from agent_pipes.detect.runner import DetectorRunner
from agent_pipes.detect.runs import divides_runs
from agent_pipes.detect.session_state import DetectorSpec
from agent_pipes.sessions.session_reader import read_session

TRIAL = "@"
"""Between a detector's name and the threshold, in the watcher's name of a trial."""

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
    trials, levels, specs = _begin(events, limits)
    if specs:
        levels |= _levels(events, specs, _Notes(judgement, limits).add)
    judgement.alarms = {each.watcher: each.passed(levels) for each in trials}


def passed_thresholds(events: list[Event], limits: Limits) -> dict[str, list[float]]:
    """Return by watcher the thresholds at which the events raise a critical violation."""
    trials, levels, specs = _begin(events, limits)
    levels |= _levels(events, specs)
    return {each.watcher: each.passed(levels) for each in trials}


def _begin(
    events: list[Event], limits: Limits
) -> tuple[list["_Trials"], Levels, list[DetectorSpec]]:
    """Try the lowest threshold of each detector; return what it raised, and what is left to try."""
    trials = [_Trials(watcher, options) for watcher, options in limits.items()]
    levels = _levels(events, [spec for each in trials for spec in each.lowest()])
    return trials, levels, [spec for each in trials for spec in each.others(levels)]


def _levels(
    events: list[Event],
    specs: list[DetectorSpec],
    note: Callable[[Event], None] = lambda event: None,
) -> Levels:
    """Return the level of the worst violation that each watcher has raised.

    note: is given each event and violation.
    """
    levels: Levels = {}
    trials = {spec.watcher: spec for spec in specs if TRIAL in spec.watcher}
    runner = DetectorRunner(events, specs)
    for event in runner:
        note(event)
        if event.type == "violation":
            watcher = event.text("watcher")
            is_critical = event.data.get("level") != "warning"
            levels[watcher] = levels.get(watcher, False) or is_critical
            if is_critical and watcher in trials:
                # Nothing more is asked of it.
                runner.drop(trials.pop(watcher))
    return levels


class _Notes:
    """Notes the violations of limits in a judgement, with the dollars spent after them."""

    def __init__(self, judgement: Judgement, limits: Limits) -> None:
        self.judgement = judgement
        self.limits = limits
        self.usd = 0.0

    def add(self, event: Event) -> None:
        """Note a violation, and what the session had cost before it."""
        if (usd := _session_usd(event)) is not None:
            self.usd = usd
        elif event.type == "violation" and event.text("watcher") in self.limits:
            later = round(self.judgement.usd - self.usd, 6)
            self.judgement.violations.append(
                {"at": event.time, "session": event.session, **event.data, "usd_later": later}
            )


class _Trials:
    """The limit of one detector and the thresholds of its table, each tried on a session.

    Neither the limit nor a higher threshold raises what the lowest threshold does not: it is tried
    first, and in most sessions alone.
    """

    def __init__(self, watcher: str, options: dict[str, Any]) -> None:
        self.watcher = watcher
        self.options = options
        self.part = DETECTORS[watcher]
        self.thresholds = sorted(self.part.thresholds)
        self._limit = self._value("max") or 0.0

    def lowest(self) -> list[DetectorSpec]:
        """Return the trial of the lowest threshold, if there is one."""
        return [self._trial(each) for each in self.thresholds[:1]]

    def others(self, levels: Levels) -> list[DetectorSpec]:
        """Return the detector with its limit and the other trials, as far as they may raise.

        levels: what the trials of the lowest thresholds have raised.
        """
        lowest = self.thresholds[0] if self.thresholds else 0.0
        found = levels.get(self._name(lowest))
        specs = []
        if not self.thresholds or 0 < self._limit < lowest or found is not None:
            specs.append(self.part.configured(self.options))
        if found:
            specs += [self._trial(each) for each in self.thresholds[1:] if each != self._limit]
        return specs

    def passed(self, levels: Levels) -> list[float]:
        """Return the thresholds that raise a critical violation.

        levels: what all trials have raised, and the detector with its limit.
        """
        return [each for each in self.thresholds if levels.get(self._name(each))]

    def _name(self, threshold: float) -> str:
        """Return the watcher of a trial; that of the limit is the detector with its options."""
        is_limit = threshold == self._limit and threshold in self.thresholds[1:]
        return self.watcher if is_limit else f"{self.watcher}{TRIAL}{threshold:g}"

    def _value(self, name: str) -> Any:
        """Return the value of an option, None if the detector has none of that name."""
        option = self._option(name)
        return self.options.get(name, option.fallback if option else None)

    def _option(self, name: str) -> Option | None:
        return next((each for each in self.part.options if each.name == name), None)

    def _trial(self, threshold: float) -> DetectorSpec:
        """Return the detector with a threshold as its limit, under a name of its own."""
        most, early = self._option("max"), self._option("warn")
        assert most
        options = {**self.options, "max": most.type.convert(threshold, most, None)}
        warn = self._value("warn")
        if early and warn and self._limit and type(early.type) is type(most.type):
            # A warning keeps its share of the limit, so that it comes no later than with that.
            options["warn"] = max(1, int(warn * threshold / self._limit))
        return replace(self.part.configured(options), watcher=self._name(threshold))


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


def _session_usd(event: Event) -> float | None:
    """Return the dollars of the session up to this event, if it tells them."""
    cost = event.data.get("cost") if event.type == "llm_response" else None
    total = cost.get("session_usd") if isinstance(cost, dict) else None
    return total if isinstance(total, (int, float)) else None
