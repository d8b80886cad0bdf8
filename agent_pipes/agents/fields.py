"""Typed reading of an agent's records: a value of its type or an empty one, a time, a text."""

import re
from contextlib import suppress
from datetime import UTC, datetime

import orjson

from agent_pipes.core.event import YEAR_2000, YEAR_2100, digest
from agent_pipes.core.jsonl import Fields

ABSURD_COUNT = 10**15
"""Count of tokens from which on a number is absurd."""


def string(fields: Fields, key: str) -> str:
    """Return the string that `fields` has under `key`, or ""."""
    value = fields.get(key)
    return value if type(value) is str else ""


def within(fields: Fields, key: str) -> Fields:
    """Return the object that `fields` has under `key`, or {}."""
    value = fields.get(key)
    return value if type(value) is dict else {}


def objects_in(value: object) -> list[Fields]:
    """Return the objects of a list, [] for anything else."""
    return [each for each in value if type(each) is dict] if type(value) is list else []


def number(fields: Fields, key: str) -> float | None:
    """Return the number that `fields` has under `key`, None for anything else."""
    value = fields.get(key)
    return value if type(value) is int or type(value) is float else None


def count(fields: Fields, key: str) -> int:
    """Return the number of tokens under `key`; 0 if it is absent or absurd."""
    value = fields.get(key)
    if type(value) is not int and type(value) is not float:
        return 0
    return int(value) if 0 <= value < ABSURD_COUNT else 0


def arguments_of(value: object) -> Fields:
    """Return a call's arguments as an object; they may be its JSON, or a text (a patch)."""
    if type(value) is not str:
        return value if type(value) is dict else {}
    try:
        parsed = orjson.loads(value)
    except ValueError:
        parsed = None
    return parsed if type(parsed) is dict else {"input": value} if value else {}


def stored_as(session: str) -> str:
    """Return the name that a session has in the store written by its agent's hooks."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", session[:16])


def time_of(fields: Fields, fallback: float, key: str = "timestamp") -> float:
    """Return the time under `key`, in ISO format or in milliseconds, in seconds since the epoch.

    `fallback` if it is absent or absurd.
    """
    value = fields.get(key)
    try:
        if type(value) is str:
            moment = datetime.fromisoformat(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        elif type(value) is int or type(value) is float:
            seconds = value / 1000
        else:
            return fallback
    except (ValueError, OverflowError):
        return fallback
    return seconds if YEAR_2000 <= seconds < YEAR_2100 else fallback


def event_fields(
    event_type: str,
    time: float,
    event_id: str,
    session: str,
    data: Fields,
    parent: str = "",
    *,
    since: float | None = None,
) -> Fields:
    """Return an event's fields in the order of the store.

    time:  seconds since the epoch.
    since: the time at which it began, None if it has no duration.
    """
    fields: Fields = {
        "event_type": event_type,
        "timestamp": time,
        "event_id": event_id,
        "session_id": session,
    }
    if parent:
        fields["parent_id"] = parent
    if since is not None and time >= since:
        fields["duration_ms"] = round((time - since) * 1000, 3)
    fields["data"] = data
    return fields


def text_of(content: object) -> str:
    """Return a content as the model sees it. Other parts are named by kind and digest."""
    if type(content) is str:
        return content
    parts = [content] if type(content) is dict else content if type(content) is list else []
    return "\n".join(
        part["text"] if type(part) is dict and type(part.get("text")) is str else _named(part)
        for part in parts
    )


def _named(part: object) -> str:
    kind = part.get("type") if type(part) is dict else None
    return f"[{kind if type(kind) is str else 'content'} {digest(written(part))}]"


def written(value: object) -> bytes:
    """Return a value as bytes, equal for equal values; too deep nesting is all the same."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        # Lone surrogates, integers beyond 64 bits, nesting beyond 254.
        with suppress(RecursionError):
            return repr(value).encode(errors="surrogatepass")
    return b"nested too deep"
