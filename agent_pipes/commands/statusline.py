"""One line for Claude Code's status line, from what the client writes to its command."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents.claude.status_line import figures
from agent_pipes.commands.session_status import SessionStatus
from agent_pipes.commands.status_view import claude
from agent_pipes.core.client_figures import note_figures
from agent_pipes.core.config import DEFAULT_CONFIG, ConfigError
from agent_pipes.core.jsonl import Fields
from agent_pipes.core.style import default_style
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.prices import DOLLAR
from agent_pipes.cost.recorded import SessionCosts
from agent_pipes.cost.report import Report, ordinal_of
from agent_pipes.detect.configuration import load_config
from agent_pipes.detect.registry import DETECTORS
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_reader import read_session

MAX_TRANSCRIPT_BYTES = 8 << 20
"""Length of a transcript that is still read after each message: half a second."""

MIN_SCAN_INTERVAL_S = 60.0
"""Time for which the sum of today's sessions is kept: the client asks after each message."""

MAX_SCAN_SHARE = 0.01
"""Share of the time that reading today's sessions may take."""


def is_request(record: Fields) -> bool:
    """Return True for the object that Claude Code passes to the command of its status line."""
    return type(record.get("transcript_path")) is str and "model" in record


def status_line(record: Fields, limits: Mapping[str, float], watchers: tuple[str, ...]) -> str:
    """Return the line: model, this run's and today's dollars, context, the nearest limit.

    limits: those to show; without any, the limits of `agent-strace watch` in the session's
            directory, for these watchers.
    """
    now = time.time()
    with suppress(OSError):
        note_figures(str(record.get("session_id")), list(figures(record)))
    status = _read(record)
    recorded_usd = status.cost
    status.model = _text(record, "model", "id") or status.model
    run_usd = _number(record, "cost", "total_cost_usd")
    if run_usd is not None:
        status.cost, status.estimated, status.unpriced = run_usd, False, False
    used = _number(record, "context_window", "used_percentage")
    if used is not None:
        status.context = used / 100
    today = _today_usd(status.name, recorded_usd, now)
    directory = _text(record, "workspace", "project_dir") or status.cwd
    limits = limits or _limits_of(Path(directory), watchers)
    if not status.events:
        limits = {name: value for name, value in limits.items() if name == "cost"}
    return claude(status, today, limits, now, default_style(colour=True))


def _read(record: Fields) -> SessionStatus:
    """Return the state of the session that is named.

    It is empty before the first prompt, and for a long transcript: only limits on dollars are
    shown then.
    """
    status = SessionStatus(str(record.get("session_id")))
    path = Path(str(record["transcript_path"]))
    with suppress(click.ClickException, OSError):
        if path.stat().st_size > MAX_TRANSCRIPT_BYTES:
            return status
        session = discovery.named(str(path))
        for event in with_costs(read_session(session), Meter(), raw=False):
            if event.session == session.id:
                status.see(event)
    return status


def _limits_of(directory: Path, watchers: tuple[str, ...]) -> dict[str, float]:
    """Return the limits of the directory's config file, else the defaults."""
    values: dict[str, Any] = {}
    off: set[str] = set()
    with suppress(OSError, ConfigError):
        if (directory / DEFAULT_CONFIG).exists():
            values, off = load_config(directory / DEFAULT_CONFIG)
    found: dict[str, float] = {}
    for watcher in watchers:
        option = next(each for each in DETECTORS[watcher].options if each.name == "max")
        if watcher not in off:
            found[watcher] = values.get(option.key, option.fallback)
    return found


def _today_usd(session: str, session_usd: float, now: float) -> float:
    """Return today's dollars of all sessions.

    They are read seldom; in between, only what `session` has spent since then is added.
    """
    cache = _cache_path()
    scan: Fields = {}
    with suppress(OSError, ValueError):
        scan = json.loads(cache.read_bytes())
    day = ordinal_of(now)
    took = scan.get("took", 0.0)
    fresh = now - scan.get("at", 0.0) < max(MIN_SCAN_INTERVAL_S, took / MAX_SCAN_SHARE)
    if scan.get("day") == day and fresh:
        return float(scan["usd"] + session_usd - scan["sessions"].get(session, 0.0))
    scan = _scan(day, now)
    new = cache.with_name(f"{cache.name}.{os.getpid()}")
    with suppress(OSError):
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.write_text(json.dumps(scan))
        new.replace(cache)
    return float(scan["usd"])


def _scan(day: int, now: float) -> Fields:
    """Read the sessions that have changed today, and return what they cost."""
    began = time.monotonic()
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0).timestamp()
    meter = Meter(detailed=True)
    report = Report(meter, since=day)
    totals: dict[str, float] = {}
    for session in discovery.sessions(since=midnight):
        for event, costs in SessionCosts(session, meter):
            report.see(event)
            for _, cost in costs:
                totals[event.session] = cost.session / DOLLAR
    usd = sum(group.totals.usd for group in report.groups("day")) / DOLLAR
    took = time.monotonic() - began
    return {"day": day, "at": now, "took": took, "usd": usd, "sessions": totals}


def _cache_path() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "agent-pipes" / "today.json"


def _text(record: Fields, group: str, name: str) -> str:
    value = _value(record, group, name)
    return value if isinstance(value, str) else ""


def _number(record: Fields, group: str, name: str) -> float | None:
    value = _value(record, group, name)
    return value if type(value) in (int, float) else None


def _value(record: Fields, group: str, name: str) -> Any:
    fields = record.get(group)
    return fields.get(name) if isinstance(fields, dict) else None
