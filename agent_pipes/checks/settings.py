"""Checks of the set-up: limits, policy, hooks, store and prices."""

import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import click

from agent_pipes.agents import registry
from agent_pipes.agents.base import Session
from agent_pipes.agents.base_hooks import GUARDS, guard_mode
from agent_pipes.agents.registry import HOOKED, STORE
from agent_pipes.agents.store import sessions as store_sessions
from agent_pipes.checks import Check, Status
from agent_pipes.core import config
from agent_pipes.core.config_monitor import (
    writable_by_agent,
    writable_by_others,
)
from agent_pipes.core.display import plural
from agent_pipes.core.stderr import suspend
from agent_pipes.cost.meter import Meter
from agent_pipes.cost.price_table import built_in
from agent_pipes.cost.recorded import SessionCosts, session_at
from agent_pipes.cost.report import Report
from agent_pipes.detect.configuration import DEFAULT_POLICY, load_config
from agent_pipes.hooks.settings_file import are_disabled, hook_commands
from agent_pipes.scope.policy import PolicyError
from agent_pipes.scope.policy_file import load_policy

NEWEST, BYTES = 20, 16 << 20
"""Number of sessions, the newest, whose models are looked up.

And of so many bytes of them at most.
"""

OLD = 120
"""Days after which prices are called old.

Makers change them, and have new models, a few times a year.
"""


class Limits:
    """The config file of this directory, or what is wrong with it."""

    def __init__(self) -> None:
        self.path = config.DEFAULT_CONFIG
        self.there = os.path.lexists(self.path)
        self.values: dict[str, Any] = {}
        self.off: set[str] = set()
        self.wrong = ""
        if self.there:
            try:
                self.values, self.off = load_config(self.path)
            except click.UsageError as error:
                self.wrong = error.message


def limits(found: Limits) -> Iterator[Check]:
    """Check the config file, read as `watch` reads it."""
    more = {"path": str(found.path), "there": found.there, "off": sorted(found.off)}
    if found.wrong:
        said = f"{found.wrong}: agent-strace watch does not start here"
        yield Check("config", "problem", said, more)
    elif not found.there:
        said = f"no {found.path} here: limits are the defaults, and those on the command line"
        yield Check("config", "ok", said, more)
    else:
        off = f", and turns off {', '.join(sorted(found.off))}" if found.off else ""
        said = f"{found.path} sets {plural(len(found.values), 'value')}{off}"
        yield Check("config", "ok", said, more | {"keys": sorted(found.values)})
        if writable_by_others(found.path):
            said = (
                f"other users can write {found.path}, and so change what it allows; "
                f"chmod go-w {found.path}"
            )
            yield Check("config", "warning", said, {"path": str(found.path)})
        yield from _open_to_agent("config", found.path)


def has_webhook(found: Limits) -> bool:
    """Return True if alerts have a webhook, from the environment or the config file."""
    return bool(os.environ.get("AGENT_PIPES_WEBHOOK") or found.values.get("webhook.url"))


def scope(found: Limits) -> Iterator[Check]:
    """Check the policy, read as `watch` reads it."""
    named = found.values.get("scope.policy")
    path = Path(named) if named else DEFAULT_POLICY
    more = {"path": str(path)}
    if "scope" in found.off:
        yield Check("policy", "ok", f"scope is not watched: {found.path} turns it off", more)
        return
    if not named and not os.path.lexists(path):
        how = "agent-strace setup --policy standard writes one to start from"
        yield Check("policy", "ok", f"no {path} here: scope is not watched; {how}", more)
        return
    suspend(lambda: True)
    try:
        load_policy(path)
        wrong = ""
    except PolicyError as error:
        wrong = str(error)
    finally:
        heard = suspend(None)
    if wrong:
        yield Check("policy", "problem", f"{wrong}: agent-strace watch does not start here", more)
        return
    yield Check("policy", "ok", f"{path} can be enforced", more)
    for line in heard:
        yield Check("policy", "warning", line.partition("warning: ")[2] or line, more)
    yield from _open_to_agent("policy", path)


def _open_to_agent(check: str, path: Path) -> Iterator[Check]:
    if writable_by_agent(path):
        why = f"move it elsewhere, and name it with --{check}"
        said = f"the agent can edit {path}, which is in its directory; {why}"
        yield Check(check, "warning", said, {"path": str(path)})


def traces(sessions: Sequence[Session]) -> Iterator[Check]:
    """Check the store that hooks write."""
    there = [place for place in store_sessions.stores() if place.is_dir()]
    number = sum(session.agent == STORE for session in sessions)
    more = {"stores": list(map(str, there)), "sessions": number}
    closed = [str(place) for place in there if not os.access(place, os.R_OK | os.W_OK | os.X_OK)]
    if closed:
        said = f"{', '.join(closed)} cannot be read and written: hooks record nothing there"
        yield Check("store", "problem", said, more)
    elif there:
        said = f"{plural(number, 'session')} in {', '.join(map(str, there))}"
        yield Check("store", "ok", said, more)
    else:
        yield Check("store", "ok", "none here; hooks create it, if they are set up", more)


def hooks() -> Iterator[Check]:
    """Check which agents call our hook, and whether they can."""
    without = []
    for agent in HOOKED:
        settings = registry.hooks(agent).settings
        set_up = []
        for path in (settings.home / settings.file, Path(settings.project)):
            commands, whole, wrong = _calls_in(agent, path)
            if wrong:
                said = f"{agent}: {wrong.partition('; nothing is changed')[0]}"
                yield Check("hooks", "warning", said, {"agent": agent, "path": str(path)})
            elif commands:
                set_up.append(str(path))
                yield _hook(agent, path, commands, whole)
        if len(set_up) == 2:
            twice = " and ".join(set_up)
            said = f"{agent}: both {twice} call the hook: every event is recorded twice"
            yield Check("hooks", "warning", said, {"agent": agent})
        elif not set_up:
            without.append(agent)
    if without:
        said = f"not set up for {', '.join(without)}; watch does not need them"
        yield Check("hooks", "ok", said, {"without": without})


def _calls_in(agent: str, path: Path) -> tuple[list[str], bool, str]:
    """Return our hook's commands in settings, True if they are complete, and what is wrong."""
    try:
        return *hook_commands(registry.hooks(agent), path), ""
    except click.UsageError as error:
        return [], False, error.message


def _hook(agent: str, path: Path, commands: list[str], whole: bool) -> Check:
    guard = next(filter(None, map(guard_mode, commands)), "")
    more = {"agent": agent, "path": str(path), "commands": commands, "guard": bool(guard)}
    status: Status = "problem"
    missing = [name for name in map(_program, commands) if not shutil.which(name)]
    if missing:
        said = f" calls {missing[0]}, which cannot be executed: nothing is recorded or denied"
    elif are_disabled(path):
        said = ": disableAllHooks is true there, so no hook will run; nothing is recorded or denied"
    elif not whole:
        again = f"agent-strace setup --agent {agent}{f' {GUARDS[guard]}' if guard else ''} --write"
        status, said = "warning", f" has hooks of an older set-up; to renew them: {again}"
    else:
        status, said = "ok", f" calls the hook{_guards(agent, guard)}"
    return Check("hooks", status, f"{agent}: {path}{said}", more)


def _guards(agent: str, guard: str) -> str:
    """Return what the hook does to a run after a trip."""
    if not guard:
        return ""
    if not registry.hooks(agent).stop_kinds:
        return ", as a guard; its hooks cannot end a run, but trace-kill can"
    return ", as a guard" + (" that ends a run at once" if guard == "stop" else "")


def _program(command: str) -> str:
    """Return the program of a hook's command line."""
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:
        return command


def prices(sessions: Sequence[Session], found: Limits) -> Iterator[Check]:
    """Check the date of the prices, and the newest sessions for models without one."""
    table = built_in()
    day = str(table.get("date", ""))
    more: dict[str, Any] = {"source": table.get("source"), "date": day}
    age = 0
    with suppress(ValueError):
        age = (date.fromtimestamp(time.time()) - date.fromisoformat(day)).days
    of, old = f"built in, of {day}", age > OLD
    if old:
        of += f", more than {OLD} days ago: new models may have no price; upgrade agent-pipes"
    yield Check("prices", "warning" if old else "ok", of, more)
    paths = _newest(sessions)
    priced, unpriced = _models(paths, found)
    of = f"in the newest {plural(len(paths), 'session')}"
    more = {"models": sorted(priced), "unpriced": sorted(unpriced), "sessions": len(paths)}
    if unpriced:
        names = ", ".join(each or "an unnamed model" for each in sorted(unpriced))
        said = (
            f"no price for {names}, {of}: it counts as $0, so --max-cost will not stop it "
            "(--prices, --unpriced-as)"
        )
        yield Check("models", "warning", said, more)
    else:
        named = (
            f"prices are known for {', '.join(sorted(priced))}, {of}"
            if priced
            else f"no model is named {of}"
        )
        yield Check("models", "ok", named if paths else "no session names a model yet", more)


def _newest(sessions: Sequence[Session]) -> list[Path]:
    paths: list[Path] = []
    left = BYTES
    for session in sessions:
        with suppress(OSError):
            size = session.path.stat().st_size
            if 0 < size <= left and len(paths) < NEWEST:
                left -= size
                paths.append(session.path)
    return paths


def _models(paths: list[Path], found: Limits) -> tuple[set[str], set[str]]:
    """Return the models of these sessions that have a price, and those that have none."""
    prices, model, unpriced_as = (
        str(found.values.get(f"cost.{name}") or "") for name in ("prices", "model", "unpriced_as")
    )
    meter = Meter(prices, model, unpriced_as, detailed=True)
    suspend(lambda: True)
    try:
        for path in paths:
            # One that cannot be read, or is in no known form, is not what is looked for here.
            with suppress(click.UsageError, OSError):
                for _ in SessionCosts(session_at(path), meter):
                    pass
    finally:
        suspend(None)
    priced: set[str] = set()
    unpriced: set[str] = set()
    for group in Report(meter).groups("model"):
        (unpriced if group.totals.unpriced else priced).add(group.key)
    return priced - unpriced, unpriced
