"""agent-strace report: a recorded session as an HTML page, with the limits of watch applied."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from agent_pipes.commands.cost import cost
from agent_pipes.commands.preset import (
    Preset,
    config_option,
    find_policy,
    judging_options,
    read_config,
)
from agent_pipes.commands.report import report as report_filter
from agent_pipes.commands.report_page.verdict import Breaker
from agent_pipes.commands.tail import tail
from agent_pipes.core.config_monitor import ConfigMonitor
from agent_pipes.core.event import Event
from agent_pipes.core.filter import Command, Events, filter_command, run_pipeline
from agent_pipes.core.stderr import set_prefix
from agent_pipes.detect.backtest import passed_thresholds
from agent_pipes.detect.detector import in_one_stage
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.process.kill_record import recorded_kills

IN_VERDICT = ("--max-cost", "--max-duration")
"""Flags that the command of the verdict contains anyway, with the limit that was exceeded."""

COUNTED = ("retry", "loop", "spawn")
"""Watchers whose nearness to their limit is found by trying lower ones."""


@filter_command("with-kills")
def with_kills(events: Iterable[Event]) -> Events:
    """Pass events on, with the kills that a watch has recorded, and their violations."""
    pending: list[Event] = []
    known: set[str] = set()
    raised: set[tuple[str, str]] = set()
    for event in events:
        if event.session and event.session not in known:
            known.add(event.session)
            pending += recorded_kills(event.session)
        while pending and event.time > pending[0].time:
            yield from _unless_raised(pending.pop(0), raised)
        if event.type == "violation":
            raised.add((event.text("watcher"), event.text("message")))
        yield event
    for event in pending:
        yield from _unless_raised(event, raised)
    return None


def _unless_raised(event: Event, raised: set[tuple[str, str]]) -> Iterable[Event]:
    """Return the recorded event, unless a detector has raised the same violation."""
    found = (event.text("watcher"), event.text("message"))
    return () if event.type == "violation" and found in raised else (event,)


@click.command("report", cls=Command)
@click.argument("session", required=False)
@click.option("--text", is_flag=True, help="Print a summary instead of the page.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page to this file instead of stdout.",
)
@config_option
def report(
    session: str | None, text: bool, output: Path | None, config_file: Path | None, **flags: Any
) -> int:
    """Show a recorded session: the limits that it exceeded, and whether a watch killed it.

    Without SESSION the newest one of this directory is shown. On a terminal a summary is printed,
    elsewhere a self-contained HTML page. The limits are the defaults, unless options or the config
    file set others; a violation for which watch has killed the agent is always shown.
    """
    set_prefix("agent-strace report: ")
    values, off = read_config(config_file, ConfigMonitor())
    preset = Preset(flags, values, off, steps=())
    find_policy(preset, ConfigMonitor())
    detectors = [(part, preset.values(part)) for name, part in DETECTORS.items() if name not in off]
    page = {
        "text": text or (output is None and os.isatty(1)),
        "breaker": Breaker(
            watched=tuple(part.watcher for part, _ in detectors),
            limits=preset.main_limits(),
            flags=tuple(_flags(preset, off)),
        ),
        "judge": partial(
            passed_thresholds,
            limits={
                name: preset.values(part)
                for name, part in DETECTORS.items()
                if name in COUNTED and name not in off
            },
        ),
    }
    parts = in_one_stage(
        [
            (tail, {"session": session, "no_follow": True}),
            (cost, preset.values(cost)),
            *detectors,
            (with_kills, {}),
            (report_filter, page),
        ],
        strict=False,
    )
    fd = 1
    if output:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    return run_pipeline(parts, fd=fd)


def _flags(preset: Preset, off: set[str]) -> list[str]:
    """Return the limits that differ from the default, as they are typed."""
    words = []
    for name, part in DETECTORS.items():
        for option in part.options:
            value = preset.value(option)
            given = option.flag and option.flag not in IN_VERDICT and name not in off
            if given and value is not None and value != option.fallback:
                shown = (
                    ""
                    if value is True
                    else f" {value:g}"
                    if isinstance(value, float)
                    else f" {value}"
                )
                words.append(f"{option.flag}{shown}")
    return words


report.params += judging_options()
