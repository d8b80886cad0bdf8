"""Helpers for tests of translators: files read by one, and lines in which something is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from agent_pipes.agents import registry
from agent_pipes.agents.base import Translator
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import objects

ARRIVAL = 1_795_400_000.0

FIELDS = {
    "event_type", "timestamp", "event_id", "session_id", "parent_id", "duration_ms", "data",
}  # fmt: skip
"""The keys that an event may have."""


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file; a JSON document is one."""
    content = path.read_bytes()
    return [content] if path.suffix == ".json" else content.splitlines(keepends=True)


def readable(line: bytes) -> list[dict]:
    try:
        return list(objects(line))
    except ValueError:
        return []


def translated(
    agent: str,
    *paths: Path,
    lines: list[bytes] | None = None,
    matters: bool = True,
    end: bool = True,
    translator: Translator | None = None,
    **options: Any,
) -> list[dict]:
    """The events of these files, read one after the other as one session of `agent`.

    lines:   read in place of the files' own.
    matters: leave out the lines of which the agent says that they give no event.
    """
    reader = registry.agent(agent)
    translator = translator or reader.translator(**options)
    events: list[dict] = []
    for path in paths:
        for line in lines_of(path) if lines is None else lines:
            if not matters or reader.may_matter(line):
                for record in readable(line):
                    events += translator.translate(record, ARRIVAL, str(path))
    return events + (list(translator.end()) if end else [])


def typed(agent: str, path: Path, *kinds: str) -> list[dict]:
    """The events of one file, or those of some types."""
    events = translated(agent, path)
    return of(events, *kinds) if kinds else events


def of(events: list[dict], *kinds: str) -> list[dict]:
    return [event for event in events if event["event_type"] in kinds]


def ended(events: list[dict], call: str) -> dict:
    """The end of a call, which has one."""
    (event,) = [
        each for each in of(events, "tool_result", "error") if each.get("parent_id") == call
    ]
    return event


def check(events: list[dict]) -> None:
    """Fail unless each is an event in the store's own form."""
    for fields in events:
        event = Event(b"", fields)
        assert event.type and event.time and event.id
        assert type(fields["session_id"]) is str and type(fields["data"]) is dict
        assert set(fields) <= FIELDS
        if event.type == "llm_response":
            counts = event.data["usage"].values()
            assert all(type(count) is int and count >= 0 for count in counts)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["assistant", "tool_use", "success", "bash", "2026-11-20T09:00:00Z"])
    | st.sampled_from(
        ["<session_context>", "Exit Code: 1", "<shellId: 0 completed with exit code 1>"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "text", "content", "usage", "input", "message", "data"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the place of each value within `value`, at any depth."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def wrong(draw: st.DrawFn, records: list[dict]) -> dict:
    """A record in which some things, at any depth, are other ones or are missing."""
    record = json.loads(json.dumps(draw(st.sampled_from(records))))
    for _ in range(draw(st.integers(1, 3))):
        if not (found := list(places(record))):
            break
        *outer, key = draw(st.sampled_from(found))
        place = record
        for each in outer:
            place = place[each]
        if isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JUNK)
    return record
