"""Verdict of the breaker on a session, by the limits of its directory.

It is reached after each result, in a process that nobody waits for (see background.py), so that the
next call finds it stored. The check that it still holds loads no detector.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from agent_pipes.agents.store.writer import Folder
from agent_pipes.core.event import Event, from_fields, make
from agent_pipes.core.jsonl import Fields, dumps, objects
from agent_pipes.hooks.state_files import LOCK_TIMEOUT_S, STATE_FILE, STATE_LOCK

CONFIG = ".agent-watch.json"

MAX_PERMISSIONS = 64
"""Tools of a session that are stored; the oldest is dropped first."""

TRIPPED = "as the circuit breaker has tripped"
"""Words of a denial by which those since the trip are counted."""

_MATTERS = (b'"tool_result"', b'"error"', b'"llm_response"')
_CLEARS = b'"user_prompt"'


class Trip(NamedTuple):
    """Why the session must not go on, and how many calls were denied since.

    permissions: tools for whose calls the client asks its hook for permission.
    """

    why: str
    denials: int
    permissions: list[str]


def tripped(folder: Folder, directory: str) -> Trip | None:
    """Return the trip of the breaker, None if there is none; the verdict is renewed if outdated."""
    state = folder.read(STATE_FILE)
    verdict = state.get("verdict")
    if not _holds(verdict, folder, directory):
        with folder.locked(STATE_LOCK, LOCK_TIMEOUT_S):
            state = folder.read(STATE_FILE)
            if renew(state, folder, directory):
                folder.replace(STATE_FILE, dumps(state))
            verdict = state["verdict"]
    if type(verdict) is not dict or not verdict["why"]:
        return None
    since = folder.tail(verdict["size"]).splitlines()
    denials = sum(TRIPPED.encode() in line and b'"error"' in line[:60] for line in since)
    return Trip(str(verdict["why"]), denials, permissions_of(state))


def note_permission(folder: Folder, tool: str) -> None:
    """Store that the client asks its hook for permission before a call of `tool`."""
    if tool in permissions_of(folder.read(STATE_FILE)):
        return
    with folder.locked(STATE_LOCK, LOCK_TIMEOUT_S):
        state = folder.read(STATE_FILE)
        state["permissions"] = [*permissions_of(state), tool][-MAX_PERMISSIONS:]
        folder.replace(STATE_FILE, dumps(state))


def permissions_of(state: Fields) -> list[str]:
    """Return the tools that note_permission has stored."""
    tools = state.get("permissions")
    return tools if type(tools) is list else []


def renew(state: Fields, folder: Folder, directory: str) -> bool:
    """Bring the verdict in `state` up to date; return True if it changed. The state is locked."""
    if "verdict" in state and _holds(state["verdict"], folder, directory):
        return False
    state["verdict"] = reach_verdict(folder, directory, time.time())
    return True


def _holds(verdict: Any, folder: Folder, directory: str) -> bool:
    """Return True if nothing has happened since that could change the verdict.

    Once the breaker has tripped, only a prompt changes it.
    """
    if verdict is None:
        verdict = {"size": 0, "why": "", "config": _config_version(directory)}
    if (
        type(verdict) is not dict
        or type(verdict.get("size")) is not int
        or type(verdict.get("why")) is not str
    ):
        return False
    if verdict.get("config") != _config_version(directory) or verdict["size"] > folder.size():
        return False
    since = folder.tail(verdict["size"]).splitlines()
    if verdict["why"]:
        return not any(_CLEARS in line[:60] for line in since)
    return not any(kind in line[:60] for line in since for kind in _MATTERS)


def _config_version(directory: str) -> list[int]:
    """Return numbers that change when the config file does."""
    try:
        status = os.stat(os.path.join(directory, CONFIG))
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


def reach_verdict(folder: Folder, directory: str, now: float) -> Fields:
    """Return `why` the session must not go on ("" if it may), and `size`, the bytes judged."""
    import click

    version = _config_version(directory)
    content = folder.tail(0)
    whole = content.rfind(b"\n") + 1
    try:
        why = _violation(content[:whole], folder.session, directory, now)
    except click.ClickException as error:
        why = f"its limits cannot be read: {error.format_message()}"
    return {"size": whole, "why": why, "config": version}


def _violation(content: bytes, session: str, directory: str, now: float) -> str:
    """Return the message of a violation that holds at the end of these events, "" if none does."""
    from agent_pipes.detect.registry import DETECTORS
    from agent_pipes.detect.runner import DetectorRunner

    limits, off = _limits(os.path.join(directory, CONFIG))
    # All of it is history: only violations that still hold are raised, at its end.
    begin, end = make("history_start", 0.0, session, {}), make("history_end", now, session, {})
    events: Iterable[Event] = chain([begin], _events(content), [end])
    specs = []
    for name, detector in DETECTORS.items():
        if detector.guards and name not in off:
            values = {
                str(option.name): limits[option.key]
                for option in detector.options
                if option.key in limits and not option.key.endswith(".alert")
            }
            specs.append(detector.configured(values))
    # The last detector's violations come first.
    found = [
        event
        for event in DetectorRunner(events, specs)
        if event.type == "violation" and event.data.get("level") != "warning"
    ]
    # How to raise the limit is for people, not for the agent.
    return found[-1].text("message").partition("; raise ")[0] if found else ""


def _limits(path: str) -> tuple[dict[str, Any], set[str]]:
    if not os.path.lexists(path):
        return {}, set()
    from pathlib import Path

    from agent_pipes.detect.configuration import load_config

    return load_config(Path(path))


def _events(content: bytes) -> Iterator[Event]:
    """Yield the events without the session's end: a resumed session is judged as one."""
    for line in content.splitlines():
        try:
            for fields in objects(line):
                if fields.get("event_type") != "session_end":
                    yield from_fields(fields)
        except ValueError:
            continue
