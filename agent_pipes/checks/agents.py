"""Which agents are here, which of their sessions are live, and whether a signal would reach the processes of these."""

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from agent_pipes.agents import Session
from agent_pipes.agents.claude import sessions as claude_sessions
from agent_pipes.agents.fields import string
from agent_pipes.agents.processes import runs
from agent_pipes.checks import Check, counted
from agent_pipes.checks.machine import reachable
from agent_pipes.commands.setup import settings_of
from agent_pipes.core.jsonl import Fields
from agent_pipes.hooks.payload import AGENTS
from agent_pipes.process.table import Identity, alive, all_processes, ancestors, cwd
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_follower import control_of

PROGRAMS = {"cursor": "cursor-agent"}
"""What an agent's program is called, where that is not its name."""

PACKAGES = {
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "copilot": "@github/copilot",
    "gemini": "@google/gemini-cli",
}
"""What an agent's npm package is called."""

PACKAGE_MAX = 1 << 20
"""Bytes of the longest package.json that is read."""

PROCESSED = ("claude", "copilot", "gemini")
"""The agents whose sessions are live only while a program of theirs runs."""

SECONDS = 0.2
"""For which it is asked of each agent whether its sessions are live, the newest first."""

_NUMBERED = re.compile(r"/(?:versions|Cellar/[^/]+)/(v?\d[\w.+-]*)(?:/|$)")
"""Where installers of single files, and Homebrew, put a version's number."""


def homes(agent: str) -> list[Path]:
    """The directories in which the agent keeps its sessions and settings."""
    with suppress(OSError):
        return claude_sessions.roots() if agent == "claude" else [settings_of(agent).home]
    return [settings_of(agent).home]


def agents(sessions: Iterable[Session]) -> Iterator[Check]:
    """Each agent: its program on PATH, its version as far as its files tell, its home, how many sessions."""
    numbers = Counter(session.agent for session in sessions)
    away = []
    for agent in AGENTS:
        program = shutil.which(PROGRAMS.get(agent, agent))
        places = [home for home in homes(agent) if os.path.exists(home)]
        if not program and not places:
            away.append(agent)
            continue
        known = version_of(agent, program) if program else ""
        more: Fields = {
            "agent": agent,
            "program": program,
            "version": known,
            "homes": list(map(str, places)),
            "sessions": numbers[agent],
        }
        where = f"{known or 'of an unknown version'}, {program}" if program else "not on PATH"
        closed = [str(home) for home in places if not os.access(home, os.R_OK | os.X_OK)]
        if closed:
            yield Check(
                "agent",
                "problem",
                f"{agent}: {where}; {', '.join(closed)} cannot be read: its sessions are not seen",
                more,
            )
        elif agent == "cursor":
            yield Check(
                "agent", "ok", f"{agent}: {where}; what it does is seen by its hooks only", more
            )
        else:
            kept = f"in {', '.join(map(str, places))}" if places else "yet"
            yield Check(
                "agent",
                "ok",
                f"{agent}: {where}; {counted(numbers[agent], 'session') if numbers[agent] else 'no session'} {kept}",
                more,
            )
    if len(away) == len(AGENTS):
        yield Check(
            "agent",
            "warning",
            "none was found, neither on PATH nor by its directory at home",
            {"away": away},
        )
    elif away:
        yield Check("agent", "ok", f"not here: {', '.join(away)}", {"away": away})


def version_of(agent: str, program: str) -> str:
    """The agent's version as its files tell it, "" where they do not. It is not started: it may do anything then."""
    real = os.path.realpath(program)
    if found := _NUMBERED.search(real):
        return found[1]
    for folder in list(Path(real).parents)[:4]:
        with suppress(OSError, ValueError):
            with (folder / "package.json").open("rb") as file:
                said = orjson.loads(file.read(PACKAGE_MAX))
            if type(said) is dict and said.get("name") == PACKAGES.get(agent):
                return string(said, "version")
    return ""


def live(sessions: Iterable[Session]) -> Iterator[Check]:
    """Each session that somebody works in, and whether a kill would reach its process; and agents without a session."""
    running = _running()
    known: set[Identity] = set()
    found = left = 0
    spent = dict.fromkeys(discovery.NAMES, 0.0)
    for session in sessions:
        # The other two are known by something else than their program: a mark, and the file that a process has open.
        if session.agent in PROCESSED and session.agent not in running.values():
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
        yield Check(
            "live",
            "ok",
            f"{counted(left, 'older session')} not asked about: it would take too long",
            {"left": left},
        )
    alone = {
        identity: agent for identity, agent in running.items() if not _related(identity, known)
    }
    # Of a wrapper and what it has started, the wrapper stands for both.
    alone = {
        identity: agent
        for identity, agent in alone.items()
        if not set(alone) & set(ancestors(identity.pid))
    }
    for identity, agent in alone.items():
        if not alive(identity):
            continue
        where = cwd(identity.pid) or "a directory that is not told"
        why = reachable(identity)
        said = f"{agent} (process {identity.pid}, in {where}) runs, and which session it is in is not known"
        ending = (
            f"a kill would not reach it: {why}" if why else f"a kill needs --pid {identity.pid}"
        )
        yield Check(
            "live",
            "warning",
            f"{said}: {ending}",
            {"agent": agent, "pid": identity.pid, "cwd": cwd(identity.pid), "refused": why},
        )
    if not (found or alone):
        yield Check("live", "ok", "no session is live", {"live": 0})


def _of_session(session: Session, identity: Identity | None) -> Check:
    control = control_of(session)
    how = getattr(discovery.source(session.agent), "HOW", "registry")
    name = f"{session.agent} {session.id} in {session.cwd or 'an unknown directory'}"
    more: Fields = {
        "agent": session.agent,
        "session_id": session.id,
        "cwd": session.cwd,
        "path": str(session.path),
    }
    if identity is None:
        return Check(
            "live", "warning", f"{name}: its process is not known; a kill would need --pid", more
        )
    more |= {"pid": identity.pid, "process_started": identity.started, "how": how}
    if control:
        return Check(
            "live",
            "ok",
            f"{name}: in process {identity.pid}, which serves others too: a kill interrupts it over {control}",
            more,
        )
    why = reachable(identity)
    if why:
        return Check(
            "live", "problem", f"{name}: a kill would not reach it: {why}", more | {"refused": why}
        )
    return Check(
        "live", "ok", f"{name}: process {identity.pid} ({how}), and a kill would reach it", more
    )


def _running() -> dict[Identity, str]:
    """The processes that are agents by their programs, whosever they are."""
    with suppress(OSError):
        table = all_processes()
        return {
            row.identity: agent
            for row in table.values()
            if not row.kernel
            for agent in AGENTS
            if runs(agent, row.pid)
        }
    return {}


def _related(identity: Identity, known: set[Identity]) -> bool:
    """Whether the process is one of those, or a wrapper of one, or something that one has started."""
    return (
        identity in known
        or bool(known & set(ancestors(identity.pid)))
        or any(identity in ancestors(each.pid) for each in known)
    )
