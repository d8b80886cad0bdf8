"""What follows a hook's work and need not keep the agent waiting: reading what was spent, and judging where the session is.

It is done by a process of its own, which the hook leaves behind: the agent is answered at once. What it finds is noted
beside the session's events, so that the next guarded call finds a judgement instead of making one.
"""

import gc
import os
import signal
from collections.abc import Iterator

from agent_pipes.agents.store.writer import Folder, Store
from agent_pipes.core.event import digest
from agent_pipes.core.jsonl import Fields, dumps, objects
from agent_pipes.hooks.payload import Payload
from agent_pipes.hooks.state_files import LOCK, NOTES, PATIENCE

LONGEST = 60
"""Seconds that it may take."""

AT_ONCE = 32 << 20
"""Bytes before the new lines of a transcript that are read again, and of the longest line."""

TRANSCRIPTS = 64
"""Transcripts of a session (its subagents have their own) of which it is noted how far they were read."""


def afterwards(
    store: Store, folder: Folder, payload: Payload, directory: str, *, guard: bool
) -> None:
    """Do the rest in a process of our own, and do not wait for it."""
    if not guard and not _grown(folder.read(NOTES), transcript_of(payload)):
        return
    try:
        if os.fork():
            return
    except OSError:
        # No room for another process: then here, and the agent waits.
        catch_up(store, folder, payload, directory, guard=guard)
        return
    try:
        # Whoever called the hook waits until its output is closed, and may end its process group.
        os.setsid()
        gc.enable()
        signal.alarm(LONGEST)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        catch_up(store, folder, payload, directory, guard=guard, patience=LONGEST)
    finally:
        os._exit(0)


def catch_up(
    store: Store,
    folder: Folder,
    payload: Payload,
    directory: str,
    *,
    guard: bool,
    patience: float = PATIENCE,
) -> None:
    """Append what the session's transcript tells of what was spent, and with a guard judge the session."""
    with folder.locked(LOCK, patience) as alone:
        if not alone:
            return
        notes = folder.read(NOTES)
        read = notes.get("read")
        offsets: Fields = read if type(read) is dict else {}
        path = transcript_of(payload)
        if _grown(notes, path):
            events, end = _spent(payload, path, _offset(offsets, path))
            if events:
                with store.locked() as sole:
                    folder.append(events, alone=sole)
            offsets.pop(path, None)
            notes["read"] = dict([*offsets.items(), (path, end)][-TRANSCRIPTS:])
            folder.replace(NOTES, dumps(notes))
        if guard:
            from agent_pipes.hooks.verdict import renew

            if renew(notes, folder, directory):
                folder.replace(NOTES, dumps(notes))


def transcript_of(payload: Payload) -> str:
    """The file in which the agent itself keeps what this payload is about, "" where that is not known."""
    if payload.kind == "subagent_stop":
        return payload.text("agent_transcript_path")
    if payload.transcript or payload.agent != "copilot":
        return payload.transcript
    home = os.environ.get("COPILOT_HOME") or os.path.expanduser("~/.copilot")
    return os.path.join(home, "session-state", os.path.basename(payload.name), "events.jsonl")


def _offset(offsets: Fields, path: str) -> int:
    offset = offsets.get(path)
    return offset if type(offset) is int and offset >= 0 else 0


def _grown(notes: Fields, path: str) -> bool:
    """Whether there is more in the transcript than was read of it."""
    read = notes.get("read")
    try:
        return (
            os.path.isabs(path)
            and os.path.isfile(path)
            and os.stat(path).st_size > _offset(read if type(read) is dict else {}, path)
        )
    except (OSError, ValueError):
        return False


def _spent(payload: Payload, path: str, offset: int) -> tuple[list[Fields], int]:
    """What the transcript's lines behind `offset` tell of what was spent, and where they end.

    It is read from its start, as a line may only be understood by what came before: what was counted already.
    """
    from agent_pipes.agents.registry import agent

    writer = agent(payload.agent)
    translator = writer.translator()
    found: list[Fields] = []
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        at = file.seek(max(0, offset - AT_ONCE))
        if at:
            at += len(file.readline())
        while line := file.readline(AT_ONCE):
            if line[-1:] != b"\n" and len(line) < AT_ONCE:
                break  # It is still being written.
            at += len(line)
            if writer.may_record_usage(line):
                events = [
                    event
                    for record in _readable(line)
                    for event in translator.translate(record, payload.time, path)
                ]
                found += [
                    _ours(event, payload)
                    for event in events
                    if event["event_type"] == "llm_response" and at > offset
                ]
    return found, max(at, offset)


def _readable(line: bytes) -> Iterator[Fields]:
    try:
        yield from objects(line)
    except ValueError:
        return


def _ours(event: Fields, payload: Payload) -> Fields:
    """The event as the store has them: under the session's id there, and with an id of the store's form."""
    data = event["data"]
    if not data.get("model") and (model := payload.text("model")):
        data = {**data, "model": model}
    name = digest(dumps({"id": event["event_id"], "data": data}))[:12]
    return {
        "event_type": "llm_response",
        "timestamp": event["timestamp"],
        "event_id": name,
        "session_id": payload.session,
        "data": data,
    }
