"""Table of a backtest for a terminal."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from agent_pipes.core.display import escape, fold, format_duration, two_units
from agent_pipes.core.options import DURATION
from agent_pipes.core.style import Style
from agent_pipes.core.table import Column, format_table, short_ids
from agent_pipes.detect.backtest import Judgement
from agent_pipes.detect.registry import DETECTORS

COLUMNS = (
    Column("ID"),
    Column("CAME AFTER", "right", drop=2),
    Column("OF", "right", drop=3),
    Column("AT", "right", drop=1),
    Column("LIMIT"),
    Column("WHAT", cut="right"),
)

THRESHOLDS = "SESSIONS STOPPED, BY THRESHOLD    * is the default"

CELL_WIDTH = 10
"""Width of a threshold with its count."""


def backtest_table(judgements: list[Judgement], style: Style) -> Iterator[str]:
    """Yield a row for each session that would have been stopped, and the thresholds' counts."""
    stopped = sorted((each for each in judgements if each.critical), key=_came_after)
    if stopped:
        ids = short_ids(each.session.id for each in stopped)
        rows = [_row(escape(ids[each.session.id]), each) for each in stopped]
        header, *lines = format_table(COLUMNS, rows, style)
        yield from [style.dim(header), *lines, style.rule()]
    later, total = sum(map(_came_after, stopped)), sum(each.usd for each in judgements)
    yield from _wrapped(
        [
            f"{len(stopped)} of {len(judgements)} sessions would have been stopped",
            f"${later:.2f} of ${total:.2f} came after",
        ],
        style,
    )
    yield ""
    yield style.dim(THRESHOLDS if len(THRESHOLDS) < style.width else THRESHOLDS.split("  ")[0])
    for watcher, part in DETECTORS.items():
        if part.thresholds:
            yield from _counts(watcher, judgements, style)
    whole = sum(not each.runs_known for each in judgements)
    if whole:
        text = f"{whole} of {len(judgements)} sessions do not record when the agent was restarted: "
        yield from fold(f"{text}limits count the whole session", style.width - 1)
    for judgement in judgements:
        if judgement.problem:
            path, problem = str(judgement.session.path), judgement.problem
            yield from fold(
                f"could not be tried: {escape(path)}: {escape(problem)}", style.width - 1
            )


def _came_after(judgement: Judgement) -> float:
    return max((each["usd_later"] for each in judgement.critical), default=0.0)


def _row(name: str, judgement: Judgement) -> list[str]:
    first = min(judgement.critical, key=itemgetter("at"))
    more = f" +{len(judgement.critical) - 1}" if len(judgement.critical) > 1 else ""
    mark = "~" if judgement.estimated else ""
    return [
        name,
        f"{mark}{_came_after(judgement):,.2f}",
        f"{mark}{judgement.usd:,.2f}",
        two_units(max(0.0, first["at"] - judgement.began)) if judgement.began else "",
        f"{first['watcher']} {_limit(first)}",
        f"{escape(str(first['message']))}{more}",
    ]


def _limit(violation: dict[str, Any]) -> str:
    limit = violation.get("limit")
    if not isinstance(limit, (int, float)):
        return ""
    return _threshold(str(violation["watcher"]), limit)


def _threshold(watcher: str, most: float) -> str:
    part = DETECTORS.get(watcher)
    option = next((each for each in part.options if each.name == "max"), None) if part else None
    if option and option.type is DURATION:
        return format_duration(most)
    return f"${most:g}" if watcher == "cost" else f"{most:g}"


def _counts(watcher: str, judgements: list[Judgement], style: Style) -> Iterator[str]:
    """Yield the number of sessions that each threshold stops, in as many lines as needed."""
    part = DETECTORS[watcher]
    option = next(each for each in part.options if each.name == "max")
    default = None if part.on_request else option.fallback
    cells = [
        f"{_threshold(watcher, most)}{'*' if default == most else ''} "
        f"{sum(most in each.alarms.get(watcher, ()) for each in judgements)}"
        for most in part.thresholds
    ]
    line = f"{watcher:<10}"
    for cell in cells:
        if len(line) + CELL_WIDTH >= style.width and line.strip():
            yield line.rstrip()
            line = " " * 10
        line += f"{cell:>{CELL_WIDTH}}"
    yield line.rstrip()


def _wrapped(parts: list[str], style: Style) -> Iterator[str]:
    joined = style.separator.join(parts)
    fitting = [joined] if len(joined) < style.width else parts
    yield from (line for part in fitting for line in fold(part, style.width - 1))
