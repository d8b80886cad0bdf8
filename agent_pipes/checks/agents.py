"""Checks of agents: installed ones, their live sessions, and whether a signal reaches these."""

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from agent_pipes.agents.base import Agent, Session
from agent_pipes.agents.fields import string
from agent_pipes.agents.processes import runs
from agent_pipes.agents.registry import AGENTS, NAMES, agent
from agent_pipes.checks import Check, Status
from agent_pipes.checks.machine import reachable
from agent_pipes.core.display import plural
from agent_pipes.core.jsonl import Fields, parse_line
from agent_pipes.process.table import Identity, alive, all_processes, ancestors, cwd
from agent_pipes.sessions import discovery

CLIENTS = tuple(name for name in AGENTS if agent(name).programs)
"""Agents that have a program, other than formats of events."""

PACKAGE_MAX = 1 << 20
"""Bytes of the longest package.json that is read."""

SECONDS = 0.2
"""For which it is asked of each agent whether its sessions are live, the newest first."""

_NUMBERED = re.compile(r"/(?:versions|Cellar/[^/]+)/(v?\d[\w.+-]*)(?:/|$)")
"""Paths in which installers of single files, and Homebrew, put a version's number."""


def homes_of(client: Agent) -> list[Path]:
    """Return the agent's directories, none if the user's home may not be read."""
    with suppress(OSError):
        return client.homes()
    return []


def agents(sessions: Iterable[Session]) -> Iterator[Check]:
    """Check each agent's program, version, directory and number of sessions."""
    numbers = Counter(session.agent for session in sessions)
    away = []
    for name in CLIENTS:
        client = agent(name)
        program = next(filter(None, map(shutil.which, client.programs)), None)
        places = [home for home in homes_of(client) if os.path.exists(home)]
        if not program and not places:
            away.append(name)
            continue
        known = version_of(client, program) if program else ""
        more: Fields = {
            "agent": name,
            "program": program,
            "version": known,
            "homes": list(map(str, places)),
            "sessions": numbers[name],
        }
        where = f"{known or 'of an unknown version'}, {program}" if program else "not on PATH"
        closed = [str(home) for home in places if not os.access(home, os.R_OK | os.X_OK)]
        status: Status = "problem" if closed else "ok"
        if closed:
            found = f"{', '.join(closed)} cannot be read: its sessions are not seen"
        elif not AGENTS[name].sessions:
            found = "only its hooks record what it does"
        else:
            number = plural(numbers[name], "session") if numbers[name] else "no session"
            found = f"{number} in {', '.join(map(str, places))}" if places else f"{number} yet"
        yield Check("agent", status, f"{name}: {where}; {found}", more)
    if len(away) == len(CLIENTS):
        said = "no agent was found, neither on PATH nor by its directory in your home"
        yield Check("agent", "warning", said, {"away": away})
    elif away:
        yield Check("agent", "ok", f"not here: {', '.join(away)}", {"away": away})


def version_of(client: Agent, program: str) -> str:
    """Return the agent's version by its files, "" if unknown.

    The program is not started: it may do anything then.
    """
    real = os.path.realpath(program)
    if found := _NUMBERED.search(real):
        return found[1]
    for folder in list(Path(real).parents)[:4]:
        with suppress(OSError):
            with (folder / "package.json").open("rb") as file:
                said = parse_line(file.read(PACKAGE_MAX)) or {}
            if said.get("name") == client.package:
                return string(said, "version")
    return ""


def live(sessions: Iterable[Session]) -> Iterator[Check]:
    """Check each live session for whether a kill would reach it, and agents without a session."""
    running = _running()
    known: set[Identity] = set()
    found = left = 0
    spent = dict.fromkeys(NAMES, 0.0)
    for session in sessions:
        # The other two are known by something else than their program: a mark, and the file that a
        # process has open.
        if agent(session.agent).needs_process and session.agent not in running.values():
            continue
        if spent[session.agent] > SECONDS:
            left += 1
            continue
        began = time.monotonic()
        identity = discovery.process_of(session)
        is_live = identity not in known if identity else discovery.is_active(session)
        spent[session.agent] += time.monotonic() - began
        if is_live:
            found += 1
            known |= {identity} if identity else set()
            yield _of_session(session, identity)
    if left:
        said = f"{plural(left, 'older session')} not checked, to save time"
        yield Check("live", "ok", said, {"left": left})
    alone = {identity: name for identity, name in running.items() if not _related(identity, known)}
    for identity, name in alone.items():
        # A wrapper is listed, and the agent that it has started is not.
        if alone.keys().isdisjoint(ancestors(identity.pid)) and alive(identity):
            yield _without_session(name, identity)
    if not (found or alone):
        yield Check("live", "ok", "no session is live", {"live": 0})


def _without_session(name: str, identity: Identity) -> Check:
    where, why = cwd(identity.pid), reachable(identity)
    ending = f"a kill would not reach it: {why}" if why else f"a kill needs --pid {identity.pid}"
    place = f"process {identity.pid}, in {where or 'an unknown directory'}"
    more = {"agent": name, "pid": identity.pid, "cwd": where, "refused": why}
    return Check("live", "warning", f"{name} ({place}) runs in an unknown session: {ending}", more)


def _of_session(session: Session, identity: Identity | None) -> Check:
    control = discovery.control_socket(session)
    how = agent(session.agent).process_found_by
    more: Fields = {
        "agent": session.agent,
        "session_id": session.id,
        "cwd": session.cwd,
        "path": str(session.path),
    }
    status: Status = "ok"
    if identity is None:
        status, said = "warning", "its process is unknown; a kill needs --pid"
    else:
        more |= {"pid": identity.pid, "process_started": identity.started, "how": how}
        if control:
            said = (
                f"in process {identity.pid}, which serves other sessions too: "
                f"a kill interrupts this one over {control}"
            )
        elif why := reachable(identity):
            status, said = "problem", f"a kill would not reach it: {why}"
            more["refused"] = why
        else:
            said = f"process {identity.pid} ({how}), and a kill would reach it"
    name = f"{session.agent} {session.id} in {session.cwd or 'an unknown directory'}"
    return Check("live", status, f"{name}: {said}", more)


def _running() -> dict[Identity, str]:
    """Return the processes that are agents by their programs, of any user."""
    with suppress(OSError):
        table = all_processes()
        return {
            row.identity: name
            for row in table.values()
            if not row.kernel
            for name in CLIENTS
            if runs(agent(name), row.pid)
        }
    return {}


def _related(identity: Identity, known: set[Identity]) -> bool:
    """Return True if the process is one of `known`, or an ancestor or descendant of one."""
    return (
        identity in known
        or bool(known & set(ancestors(identity.pid)))
        or any(identity in ancestors(each.pid) for each in known)
    )
