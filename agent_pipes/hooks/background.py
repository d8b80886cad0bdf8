"""Work that follows a hook and need not keep the agent waiting: reading usage, and the verdict.

A process of its own does it, which the hook leaves behind. Its results are stored beside the
session's events, so that the next guarded call finds a verdict instead of reaching one.
"""

import gc
import os
import signal
from collections.abc import Iterator

from agent_pipes.agents import registry
from agent_pipes.agents.base_hooks import Payload
from agent_pipes.agents.store.writer import Folder, Store
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields, dumps, objects
from agent_pipes.hooks.state_files import LOCK_TIMEOUT_S, STATE_FILE, STATE_LOCK

BACKGROUND_TIMEOUT_S = 60
"""Seconds after which the background process is killed."""

MAX_REREAD_BYTES = 32 << 20
"""Bytes before the new lines of a transcript that are read again, and of the longest line."""

MAX_TRANSCRIPTS = 64
"""Transcripts of a session (its subagents have their own) whose offsets are stored."""


def catch_up_in_background(
    store: Store, folder: Folder, payload: Payload, directory: str, *, guard: bool
) -> None:
    """Run catch_up in a process of its own, and do not wait for it."""
    if not guard and not _has_grown(folder.read(STATE_FILE), payload.hooks.transcript(payload)):
        return
    try:
        if os.fork():
            return
    except OSError:
        # There is no room for another process, so the agent waits.
        catch_up(store, folder, payload, directory, guard=guard)
        return
    try:
        # Whoever called the hook waits until its output is closed, and may kill its process group.
        os.setsid()
        gc.enable()
        signal.alarm(BACKGROUND_TIMEOUT_S)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        catch_up(store, folder, payload, directory, guard=guard, timeout_s=BACKGROUND_TIMEOUT_S)
    finally:
        os._exit(0)


def catch_up(
    store: Store,
    folder: Folder,
    payload: Payload,
    directory: str,
    *,
    guard: bool,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> None:
    """Append the transcript's new usage to the session, and with `guard` renew the verdict."""
    with folder.locked(STATE_LOCK, timeout_s) as alone:
        if not alone:
            return
        state = folder.read(STATE_FILE)
        offsets = _offsets(state)
        path = payload.hooks.transcript(payload)
        if _has_grown(state, path):
            events, end = _usage_events(payload, path, _offset(offsets, path))
            if events:
                with store.locked() as sole:
                    folder.append(events, alone=sole)
            offsets.pop(path, None)
            state["read"] = dict([*offsets.items(), (path, end)][-MAX_TRANSCRIPTS:])
            folder.replace(STATE_FILE, dumps(state))
        if guard:
            from agent_pipes.hooks.verdict import renew

            if renew(state, folder, directory):
                folder.replace(STATE_FILE, dumps(state))


def _offsets(state: Fields) -> Fields:
    offsets = state.get("read")
    return offsets if type(offsets) is dict else {}


def _offset(offsets: Fields, path: str) -> int:
    offset = offsets.get(path)
    return offset if type(offset) is int and offset >= 0 else 0


def _has_grown(state: Fields, path: str) -> bool:
    """Return True if the transcript is longer than the part that was read."""
    try:
        return (
            os.path.isabs(path)
            and os.path.isfile(path)
            and os.stat(path).st_size > _offset(_offsets(state), path)
        )
    except (OSError, ValueError):
        return False


def _usage_events(payload: Payload, path: str, offset: int) -> tuple[list[Fields], int]:
    """Return the usage in the transcript's lines after `offset`, and where they end.

    The lines before are translated too: they say which responses were counted already.
    """
    agent = registry.agent(payload.agent)
    translator = agent.translator()
    found: list[Fields] = []
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        at = file.seek(max(0, offset - MAX_REREAD_BYTES))
        if at:
            at += len(file.readline())
        while line := file.readline(MAX_REREAD_BYTES):
            if line[-1:] != b"\n" and len(line) < MAX_REREAD_BYTES:
                break  # It is still being written.
            at += len(line)
            if agent.may_record_usage(line):
                events = [
                    event
                    for record in _readable(line)
                    for event in translator.translate(record, payload.time, path)
                ]
                if at > offset:
                    found += [
                        _stored(event, payload)
                        for event in events
                        if event["event_type"] == "llm_response"
                    ]
    return found, max(at, offset)


def _readable(line: bytes) -> Iterator[Fields]:
    try:
        yield from objects(line)
    except ValueError:
        return


def _stored(event: Fields, payload: Payload) -> Fields:
    """Return the event with the session's id of the store and an event id of the store's form."""
    data = event["data"]
    if not data.get("model") and (model := payload.text("model")):
        data = {**data, "model": model}
    return {
        "event_type": "llm_response",
        "timestamp": event["timestamp"],
        "event_id": digest(dumps({"id": event["event_id"], "data": data}))[:12],
        "session_id": payload.session,
        "data": data,
    }
