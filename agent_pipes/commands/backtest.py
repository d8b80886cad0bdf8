"""agent-strace backtest: what the breaker would have done to every session recorded on this machine."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents.base import Session
from agent_pipes.commands.cost import cost
from agent_pipes.commands.preset import Preset, find_policy, preset_options, read_config
from agent_pipes.core.config_monitor import ConfigMonitor
from agent_pipes.core.display import escape, format_duration
from agent_pipes.core.event import Event, make
from agent_pipes.core.filter import Command, Filter
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.options import DURATION
from agent_pipes.core.stderr import set_prefix
from agent_pipes.core.stream import Waiter
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_reader import read_session

THRESHOLDS = {name: part.thresholds for name, part in DETECTORS.items() if part.thresholds}
"""What each watcher's `--max` is tried at, for the table."""

Limits = dict[str, dict[str, Any]]


@dataclass(slots=True)
class Tried:
    """What came of one session.

    usd:      dollars that it cost in all.
    raised:   the violations, each with the dollars that the session went on to spend after it.
    alarms:   of each watcher, the thresholds at which it would have ended the session.
    problem:  why it could not be read, "" if it could.
    """

    session: Session
    usd: float = 0.0
    raised: list[Fields] = field(default_factory=list)
    alarms: dict[str, list[float]] = field(default_factory=dict)
    problem: str = ""


def try_session(session: Session, limits: Limits) -> Tried:
    """Run the watchers over what is recorded of the session, at `limits` and at each of THRESHOLDS."""
    tried = Tried(session)
    try:
        events = list(_events(session))
        spent = [total for event in events if (total := _session_usd(event)) is not None]
        tried.usd = spent[-1] if spent else 0.0
        for watcher, options in limits.items():
            so_far = 0.0
            for event in _stage(DETECTORS[watcher], options)(events):
                so_far = total if (total := _session_usd(event)) is not None else so_far
                if event.type == "violation":
                    later = round(tried.usd - so_far, 6)
                    tried.raised.append(
                        {
                            "at": event.time,
                            "session": event.session,
                            **event.data,
                            "usd_later": later,
                        }
                    )
            tried.alarms[watcher] = [
                most
                for most in THRESHOLDS.get(watcher, ())
                if any(
                    _ends(event)
                    for event in _stage(
                        DETECTORS[watcher], options | {"max": type(options.get("max", 0))(most)}
                    )(events)
                )
            ]
    except Exception as error:
        # One session that cannot be read must not cost the result of a thousand others.
        tried.problem = f"{type(error).__name__}: {error}"
    return tried


def _events(session: Session) -> Iterator[Event]:
    yield from _stage(cost, {})(read_session(session))


def _stage(part: Filter, options: dict[str, Any]) -> Any:
    return part.stage(Waiter(), **options)


def _session_usd(event: Event) -> float | None:
    """Dollars that the session had cost after this event, where it is one that tells."""
    said = event.data.get("cost") if event.type == "llm_response" else None
    total = said.get("session_usd") if isinstance(said, dict) else None
    return total if isinstance(total, (int, float)) else None


def _ends(event: Event) -> bool:
    return event.type == "violation" and event.data.get("level") != "warning"


def told(tried: Iterable[Tried]) -> Iterator[Event]:
    """The result as events: each violation, and behind a session's the session itself."""
    for each in tried:
        session = each.session
        for raised in each.raised:
            data = {key: value for key, value in raised.items() if key not in ("at", "session")}
            yield make(
                "violation", raised["at"], raised["session"], data | {"path": str(session.path)}
            )
        data = {
            "agent": session.agent,
            "cwd": session.cwd,
            "path": str(session.path),
            "usd": each.usd,
            "violations": len(each.raised),
        }
        yield make(
            "backtest",
            session.modified,
            session.id,
            data | {"alarms": each.alarms} | ({"problem": each.problem} if each.problem else {}),
        )


def table(tried: list[Tried]) -> Iterator[str]:
    """The result for people."""
    for each in tried:
        for raised in each.raised:
            if raised["level"] != "warning":
                yield (
                    f"{each.session.agent:8} {each.session.id[:8]}  {_day(raised['at'])}  {raised['watcher']:8} "
                    f"${raised['usd_later']:9.2f} later  {str(raised['message'])[:90]}"
                )
    stopped = [
        each for each in tried if any(raised["level"] != "warning" for raised in each.raised)
    ]
    later = sum(
        max(
            (raised["usd_later"] for raised in each.raised if raised["level"] != "warning"),
            default=0.0,
        )
        for each in stopped
    )
    yield f"{len(stopped)} of {len(tried)} sessions would have been stopped; they went on to spend ${later:.2f} of ${sum(each.usd for each in tried):.2f}"
    yield ""
    yield "sessions stopped, by threshold:"
    for watcher, thresholds in THRESHOLDS.items():
        cells = [
            f"{_threshold(watcher, most)}: {sum(most in each.alarms.get(watcher, ()) for each in tried)}"
            for most in thresholds
        ]
        yield f"  {watcher:9}" + "".join(f"{cell:>12}" for cell in cells)
    for each in tried:
        if each.problem:
            yield f"could not be tried: {each.session.path}: {each.problem}"


def _threshold(watcher: str, most: float) -> str:
    return (
        format_duration(most)
        if watcher in ("duration", "stall")
        else f"${most:g}"
        if watcher == "cost"
        else f"{most:g}"
    )


def _day(at: float) -> str:
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
    """Try limits on the past: what would have been raised in every session recorded on this machine, and what the
    session went on to spend.

    On a terminal a table of what would have been stopped, and of thresholds against alarms; elsewhere events.
    """
    set_prefix("[backtest] ")
    file, off = read_config(config_file, ConfigMonitor())
    preset = Preset(flags, file, off, kills=False)
    find_policy(preset, ConfigMonitor())
    limits: Limits = {
        watcher: preset.values(part)
        for watcher, part in DETECTORS.items()
        if watcher not in preset.off
    }
    oldest = time.time() - since if since else 0.0
    sessions = [each for each in discovery.sessions() if each.modified >= oldest]
    results: list[Tried] = []
    with (
        ProcessPoolExecutor(jobs) as pool,
        click.progressbar(length=len(sessions), label="sessions", file=sys.stderr) as bar,
    ):
        for tried in pool.map(try_session, sessions, [limits] * len(sessions), chunksize=1):
            results.append(tried)
            bar.update(1)
    if os.isatty(1):
        for line in table(results):
            click.echo(escape(line))
    else:
        for event in told(results):
            sys.stdout.buffer.write(event.raw)
    return 0


backtest.params += [
    option
    for option in preset_options()
    if option.name not in ("option_alert", "option_webhook", "option_dry_run")
]
