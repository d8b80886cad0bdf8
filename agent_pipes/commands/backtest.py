"""agent-strace backtest: what limits would have done to the recorded sessions.

For another engine than a pool of processes: map `judge_session` over `sessions_in(paths)` with
`read_limits()`, and write the `raw` of each of `result_events`, as data/examples/spark_backtest.py
does.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from agent_pipes.agents.base import Session
from agent_pipes.commands.backtest_table import backtest_table
from agent_pipes.commands.preset import (
    Preset,
    config_option,
    find_policy,
    judging_options,
    read_config,
)
from agent_pipes.core.config_monitor import ConfigMonitor
from agent_pipes.core.display import terminal_size
from agent_pipes.core.event import Event, make
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Command
from agent_pipes.core.options import DURATION
from agent_pipes.core.stderr import set_prefix, warn
from agent_pipes.core.stream import Reader, Waiter
from agent_pipes.core.style import terminal_style
from agent_pipes.cost.recorded import session_at
from agent_pipes.detect.backtest import Judgement, Limits, judge_events, judge_session
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.detect.suggest import suggested_config
from agent_pipes.sessions import discovery

DEFAULT_SINCE_S = 30 * 86_400.0

PROGRESS_CELLS, PROGRESS_TEXT_CELLS = 36, 34
"""Width of the bar, and of what is beside it: the label, per cent and the time left."""

CHUNK_SESSIONS = 4
"""Sessions that a process is given at once."""

SESSION_SUFFIXES = (".jsonl", ".ndjson", ".json")
"""Suffixes of the files in a folder that may hold sessions."""


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
            "ended_well": judgement.ended_well,
        }
        if judgement.problem:
            data["problem"] = judgement.problem
        yield make("backtest", session.modified, session.id, data)


@click.command("backtest", cls=Command)
@click.argument("paths", nargs=-1, metavar="[PATH]... | -")
@click.option(
    "--since",
    type=DURATION,
    help="Use sessions changed within this time; 'off' for all.  [default: 30d; with PATH: off]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    default=lambda: os.cpu_count() or 1,
    help="Number of processes to use.  [default: one per core]",
)
@config_option
@click.option(
    "--suggest",
    is_flag=True,
    help="Print a config file whose limits stop at most 5 % of the sessions that ended well.",
)
def backtest(
    paths: tuple[str, ...],
    since: float | None,
    jobs: int,
    config_file: Path | None,
    suggest: bool,
    **flags: Any,
) -> int:
    """Try limits on recorded sessions, and show the violations they would have raised.

    The sessions are those of this machine, of files and folders, or of the events on standard input
    (-). On a terminal the result is a table: the sessions that would have been stopped, the dollars
    that they spent afterwards, and how many each threshold stops. Elsewhere events are printed.
    """
    set_prefix("[backtest] ")
    limits = read_limits(config_file, flags)
    if paths == ("-",):
        judgements = [judge_events(*each, limits) for each in _sessions_of_stdin()]
    else:
        within = since if since is not None else (0.0 if paths else DEFAULT_SINCE_S)
        oldest = time.time() - within if within else 0.0
        sessions = sessions_in(paths) if paths else discovery.sessions(since=oldest)
        judgements = _judge([each for each in sessions if each.modified >= oldest], limits, jobs)
    if not judgements:
        warn("no session to try limits on; --since off includes those older than 30 days")
    if suggest:
        if not any(each.ended_well for each in judgements):
            warn("no session is known to have ended well, so no limit can be suggested")
        click.echo(json.dumps(suggested_config(judgements), indent=2))
    elif os.isatty(1):
        for line in backtest_table(judgements, terminal_style()):
            click.echo(line)
    else:
        for event in result_events(judgements):
            sys.stdout.buffer.write(event.raw)
    problem = any(each.problem for each in judgements)
    return ExitStatus.UNREADABLE if problem else ExitStatus.OK


def _judge(sessions: list[Session], limits: Limits, jobs: int) -> list[Judgement]:
    """Judge sessions in several processes, with the time left on stderr."""
    progress = click.progressbar(
        length=len(sessions),
        label="sessions",
        file=sys.stderr,
        width=max(1, min(PROGRESS_CELLS, terminal_size(2)[0] - PROGRESS_TEXT_CELLS)),
    )
    judgements: list[Judgement] = []
    with ExitStack() as stack:
        bar = stack.enter_context(progress) if sessions and os.isatty(2) else None
        found: Iterable[Judgement] = map(judge_session, sessions, repeat(limits))
        if jobs > 1:
            from concurrent.futures import ProcessPoolExecutor

            pool = stack.enter_context(ProcessPoolExecutor(jobs))
            found = pool.map(judge_session, sessions, repeat(limits), chunksize=CHUNK_SESSIONS)
        for judgement in found:
            judgements.append(judgement)
            if bar:
                bar.update(1)
    return judgements


def sessions_in(paths: Iterable[str]) -> list[Session]:
    """Return the sessions in files and folders. Files in a folder that hold none are left out.

    Raises click.UsageError for a file that is named and holds no session.
    """
    found = []
    for path in map(Path, paths):
        if not path.is_dir():
            found.append(session_at(path))
            continue
        for file in sorted(each for each in path.rglob("*") if each.suffix in SESSION_SUFFIXES):
            with suppress(click.UsageError):
                found.append(session_at(file))
    if not found:
        raise click.UsageError(f"{', '.join(paths)}: no session in a known format")
    return found


def _sessions_of_stdin() -> Iterator[tuple[Session, list[Event]]]:
    """Yield the sessions in the stream of events on stdin."""
    sessions: dict[str, list[Event]] = {}
    for event in Reader(Waiter()):
        if event.type and event.type != "tick":
            sessions.setdefault(event.session, []).append(event)
    for name, events in sessions.items():
        latest = max(event.time for event in events)
        yield Session("stdin", name, "", Path("-"), 0.0, latest), events


def read_limits(
    config_file: Path | None = None, flags: Mapping[str, Any] = MappingProxyType({})
) -> Limits:
    """Return the limits that flags, config file and defaults come to, as in `watch`.

    config_file: None for .agent-watch.json, if it is there.
    flags:       value of each option of `judging_options` by its parameter's name.

    Raises click.UsageError if the file is invalid.
    """
    file, off = read_config(config_file, ConfigMonitor())
    preset = Preset(dict(flags), file, off, steps=())
    find_policy(preset, ConfigMonitor())
    return {
        watcher: preset.values(part)
        for watcher, part in DETECTORS.items()
        if watcher not in preset.off
    }


backtest.params += judging_options()
