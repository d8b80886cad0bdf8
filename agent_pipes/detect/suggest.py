"""Limits suggested from the past: those that leave sessions alone that ended well."""

from typing import Any

from agent_pipes.detect.backtest import Judgement
from agent_pipes.detect.registry import DETECTORS

MAX_STOPPED_SHARE = 0.05
"""Share of the sessions that ended well which a suggested limit may stop."""


def suggested_config(judgements: list[Judgement]) -> dict[str, Any]:
    """Return a config file with the lowest threshold of each detector that stops few enough.

    A detector of which even the highest threshold stops more keeps its default, and is left out.
    """
    healthy = [each for each in judgements if each.ended_well]
    most = MAX_STOPPED_SHARE * len(healthy)
    watchers: dict[str, dict[str, float]] = {}
    for watcher, part in DETECTORS.items():
        option = next((each for each in part.options if each.name == "max"), None)
        for threshold in sorted(part.thresholds):
            stopped = sum(threshold in each.alarms.get(watcher, ()) for each in healthy)
            if option and option.key and stopped <= most:
                key = option.key.partition(".")[2]
                watchers[watcher] = {key: _number(threshold / option.unit)}
                break
    return {"watchers": watchers} if healthy else {}


def _number(value: float) -> float:
    return int(value) if value == int(value) else value
