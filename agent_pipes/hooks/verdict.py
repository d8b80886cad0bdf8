"""Whether the breaker has tripped: where a session stands, by the limits of the directory in which it began.

It is worked out after each result, in a process that nobody waits for (see afterwards.py), so that the next call finds
it noted. Only what says that nothing has changed since is loaded to find it; the detectors are not.
"""

import os
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from agent_pipes.agents.store.writer import Folder
from agent_pipes.core.event import Event, from_fields, make
from agent_pipes.core.jsonl import Fields, dumps, objects
from agent_pipes.hooks.state_files import LOCK, NOTES, PATIENCE

CONFIG = ".agent-watch.json"

_MATTERS = (b'"tool_result"', b'"error"', b'"llm_response"')
_CLEARS = b'"user_prompt"'


def tripped(folder: Folder, directory: str) -> str:
    """Why the session must not go on, "" where it may: as it is noted, or as it is found now where that is out of date."""
    noted = folder.read(NOTES).get("judged")
    if not _holds(noted, folder, directory):
        with folder.locked(LOCK, PATIENCE):
            notes = folder.read(NOTES)
            if renew(notes, folder, directory):
                folder.replace(NOTES, dumps(notes))
            noted = notes["judged"]
    return str(noted["why"]) if type(noted) is dict else ""


def renew(notes: Fields, folder: Folder, directory: str) -> bool:
    """Bring the judgement in `notes` up to date; whether that changed them. Only while the notes are locked."""
    if "judged" in notes and _holds(notes["judged"], folder, directory):
        return False
    notes["judged"] = judge(folder, directory, time.time())
    return True


def _holds(noted: Any, folder: Folder, directory: str) -> bool:
    """Whether nothing has happened since that could change the judgement. One that has tripped stays so until a person speaks."""
    if noted is None:
        noted = {"size": 0, "why": "", "config": _version(directory)}
    if (
        type(noted) is not dict
        or type(noted.get("size")) is not int
        or type(noted.get("why")) is not str
    ):
        return False
    if noted.get("config") != _version(directory) or noted["size"] > folder.size():
        return False
    since = folder.tail(noted["size"]).splitlines()
    if noted["why"]:
        return not any(_CLEARS in line[:60] for line in since)
    return not any(kind in line[:60] for line in since for kind in _MATTERS)


def _version(directory: str) -> list[int]:
    """What changes when the config file does."""
    try:
        about = os.stat(os.path.join(directory, CONFIG))
    except OSError:
        return []
    return [about.st_mtime_ns, about.st_size]


def judge(folder: Folder, directory: str, now: float) -> Fields:
    """What the limits say of the session as it stands: `why` it must not go on ("" if it may), and of how much of it."""
    import click

    version = _version(directory)
    content = folder.tail(0)
    whole = content.rfind(b"\n") + 1
    try:
        why = _violation(content[:whole], folder.session, directory, now)
    except click.ClickException as error:
        why = f"its limits cannot be read: {error.format_message()}"
    return {"size": whole, "why": why, "config": version}


def _violation(content: bytes, session: str, directory: str, now: float) -> str:
    """What still holds at the end of these events, of all that is a violation."""
    from agent_pipes.detect.registry import DETECTORS
    from agent_pipes.detect.runner import DetectorRunner

    limits, off = _limits(os.path.join(directory, CONFIG))
    # All of it is history: what was violated and is over stops nothing, and what still holds is raised where it ends.
    begin, end = make("history_start", 0.0, session, {}), make("history_end", now, session, {})
    events: Iterable[Event] = chain([begin], _events(content), [end])
    specs = [
        part.configured(
            {
                str(option.name): limits[option.key]
                for option in part.options
                if option.key in limits and not option.key.endswith(".alert")
            }
        )
        for name, part in DETECTORS.items()
        if part.guards and name not in off
    ]
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
    """The events, but for the session's end: one that was taken up again is judged as one."""
    for line in content.splitlines():
        try:
            for fields in objects(line):
                if fields.get("event_type") != "session_end":
                    yield from_fields(fields)
        except ValueError:
            continue
