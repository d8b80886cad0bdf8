"""agent-strace backtest: what limits would have done to the recorded sessions."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click

from agent_pipes.commands.preset import Preset, find_policy, preset_options, read_config
from agent_pipes.core.config_monitor import ConfigMonitor
from agent_pipes.core.display import escape, format_duration
from agent_pipes.core.event import Event, make
from agent_pipes.core.filter import Command
from agent_pipes.core.options import DURATION
from agent_pipes.core.stderr import set_prefix
from agent_pipes.detect.backtest import Judgement, Limits, judge_session
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.sessions import discovery

MAX_MESSAGE_CHARS = 90


def result_events(judgements: Iterable[Judgement]) -> Iterator[Event]:
    """Yield the violations of each session, then a `backtest` event for the session."""
    for judgement in judgements:
        session = judgement.session
        for violation in judgement.violations:
            data = {key: value for key, value in violation.items() if key not in ("at", "session")}
            data["path"] = str(session.path)
            yield make("violation", violation["at"], violation["session"], data)
        data = {
            "agent": session.agent,
            "cwd": session.cwd,
            "path": str(session.path),
            "usd": judgement.usd,
            "violations": len(judgement.violations),
            "alarms": judgement.alarms,
            "runs_known": judgement.runs_known,
        }
        if judgement.problem:
            data["problem"] = judgement.problem
        yield make("backtest", session.modified, session.id, data)


def table(judgements: list[Judgement]) -> Iterator[str]:
    """Yield the lines of the result for a terminal."""
    for judgement in judgements:
        for violation in judgement.critical:
            session = judgement.session
            yield (
                f"{session.agent:8} {session.id[:8]}  {_minute(violation['at'])}  "
                f"{violation['watcher']:8} ${violation['usd_later']:9.2f} later  "
                f"{str(violation['message'])[:MAX_MESSAGE_CHARS]}"
            )
    stopped = [each for each in judgements if each.critical]
    later = sum(max(each["usd_later"] for each in judgement.critical) for judgement in stopped)
    total = sum(each.usd for each in judgements)
    yield (
        f"{len(stopped)} of {len(judgements)} sessions would have been stopped; "
        f"they went on to spend ${later:.2f} of ${total:.2f}"
    )
    yield ""
    yield "sessions stopped, by threshold:"
    for watcher, part in DETECTORS.items():
        if part.thresholds:
            cells = [
                f"{_threshold(watcher, most)}: "
                f"{sum(most in each.alarms.get(watcher, ()) for each in judgements)}"
                for most in part.thresholds
            ]
            yield f"  {watcher:9}" + "".join(f"{cell:>12}" for cell in cells)
    whole = sum(not each.runs_known for each in judgements)
    if whole:
        yield (
            f"{whole} of {len(judgements)} sessions record neither processes nor resumptions: "
            "each counts as one run"
        )
    for judgement in judgements:
        if judgement.problem:
            yield f"could not be tried: {judgement.session.path}: {judgement.problem}"


def _threshold(watcher: str, most: float) -> str:
    option = next(each for each in DETECTORS[watcher].options if each.name == "max")
    if option.type is DURATION:
        return format_duration(most)
    return f"${most:g}" if watcher == "cost" else f"{most:g}"


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


@click.command("backtest", cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--since",
    type=DURATION,
    default="30d",
    show_default=True,
    help="Only sessions that changed within this time; 'off' for all.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: os.cpu_count() or 1,
    help="Sessions that are tried at once.  [default: one a core]",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The config file.  [default: .agent-watch.json, if it is there]",
)
def backtest(since: float, jobs: int, config_file: Path | None, **flags: Any) -> int:
    """Try limits on the sessions recorded on this machine, and show what they would have raised.

    On a terminal a table of what would have been stopped, what the sessions went on to spend, and
    of thresholds against alarms; elsewhere events.
    """
    set_prefix("[backtest] ")
    limits = _limits(config_file, flags)
    oldest = time.time() - since if since else 0.0
    sessions = [each for each in discovery.sessions() if each.modified >= oldest]
    judgements: list[Judgement] = []
    with (
        ProcessPoolExecutor(jobs) as pool,
        click.progressbar(length=len(sessions), label="sessions", file=sys.stderr) as bar,
    ):
        for judgement in pool.map(judge_session, sessions, [limits] * len(sessions)):
            judgements.append(judgement)
            bar.update(1)
    if os.isatty(1):
        for line in table(judgements):
            click.echo(escape(line))
    else:
        for event in result_events(judgements):
            sys.stdout.buffer.write(event.raw)
    return 0


def _limits(config_file: Path | None, flags: dict[str, Any]) -> Limits:
    """Return the limits that flags, config file and defaults come to, as in `watch`."""
    file, off = read_config(config_file, ConfigMonitor())
    preset = Preset(flags, file, off, steps=())
    find_policy(preset, ConfigMonitor())
    return {
        watcher: preset.values(part)
        for watcher, part in DETECTORS.items()
        if watcher not in preset.off
    }


backtest.params += [
    option
    for option in preset_options()
    if option.name not in ("option_alert", "option_webhook", "option_dry_run")
]
