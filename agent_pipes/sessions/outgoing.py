"""Changes to events before they leave a host: arguments are cut, host and user are added."""

import os
import pwd
from collections.abc import Callable, Generator, Iterable
from typing import Any

from agent_pipes.core.event import Event, digest, from_fields
from agent_pipes.core.filter import Stage
from agent_pipes.core.jsonl import Fields, canonical, dumps, objects

Change = Callable[[Event], Event]
"""An event as it came -> as it goes on."""

MIN_CUT_BYTES = 16
"""Bytes of a text from which it is never cut further; names and numbers stay whole."""


def changed(events: Iterable[Event], changes: list[Change]) -> Generator[Event, None, int]:
    """Yield the events with all changes applied; return the exit status of `events`."""
    stage = Stage(events)
    for event in stage:
        # A tick has no bytes, and a line that is no event stays as it is.
        if event.type and event.raw:
            for change in changes:
                event = change(event)
        yield event
    return stage.status


def user_name() -> str:
    """Return the name of the user whose process this is, their number if they have none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def add_origin(host: str, user: str) -> Change:
    """Return a change that adds `host` and `user`, in place of what the event has there."""
    names = {"host": host, "user": user}
    added = dumps(names)[:-1] + b","

    def change(event: Event) -> Event:
        if event.raw[:1] != b"{" or b'"host"' in event.raw or b'"user"' in event.raw:
            return from_fields({**_fields(event), **names})
        # The rest of the line stays as it is, byte for byte.
        event.raw = added + event.raw[1:]
        event.host, event.user = host, user
        return event

    return change


def cut_arguments(limit: int) -> Change:
    """Return a change that cuts the longest texts in a call's arguments to `limit` bytes of JSON.

    `arguments_bytes` and `arguments_digest` are then those of the whole, and `arguments_cut` names
    the arguments that were cut.
    """

    def change(event: Event) -> Event:
        arguments = event.data.get("arguments")
        if event.type != "tool_call" or len(event.raw) <= limit or not arguments:
            return event
        whole = dumps({"": arguments})[4:-1]
        if len(whole) <= limit:
            return event
        shortened = _shortened(arguments, limit)
        names = _cut_names(arguments, shortened)
        size = {
            "arguments_bytes": len(whole),
            "arguments_digest": digest(canonical(arguments)),
            "arguments_cut": names,
        }
        data = {**event.data, "arguments": shortened, **size}
        return from_fields({**_fields(event), "data": data})

    return change


def _fields(event: Event) -> Fields:
    return next(objects(event.raw))


def _shortened(value: Any, limit: int) -> Any:
    """Return `value` with its texts cut, each at the same length, so that its JSON fits."""
    longest = limit
    while longest >= MIN_CUT_BYTES:
        shortened = _cut(value, longest)
        if len(dumps({"": shortened})) - 5 <= limit:
            return shortened
        longest //= 2
    return {}


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        content = value.encode(errors="surrogatepass")
        return value if len(content) <= longest else content[:longest].decode(errors="ignore")
    if isinstance(value, dict):
        return {name: _cut(each, longest) for name, each in value.items()}
    return [_cut(each, longest) for each in value] if isinstance(value, list) else value


def _cut_names(whole: Any, shortened: Any) -> list[str]:
    if not isinstance(whole, dict):
        return []
    return [name for name in whole if name not in shortened or shortened[name] != whole[name]]
