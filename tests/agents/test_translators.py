"""All that each agent's translator must do with its own lines, recorded and broken ones."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipes.agents import registry
from agent_pipes.sessions import discovery
from tests.helpers.support import FIXTURES, shared_files
from tests.helpers.translating import (
    ARRIVAL,
    JUNK,
    check,
    lines_of,
    of,
    readable,
    translated,
    wrong,
)

READ = [name for name in registry.NAMES if not registry.agent(name).is_native]

FOLDERS = {"claude": "claude*", "copilot": "copilot*", "gemini": "gemini*"}
"""Folders of the recorded sessions beside the project, where they are not named as the agent."""


def files_of(name: str) -> list[Path]:
    """The agent's example sessions, and those that were recorded beside the project."""
    folder = FOLDERS.get(name, name)
    places = (f"{folder}/*.jsonl", f"driven/{name}/*.jsonl", f"schema/{name}/**/*.jsonl")
    recorded = shared_files(*(f"sessions/{place}" for place in places))
    found = [*sorted((FIXTURES / name).rglob("*.json*")), *recorded]
    return [path for path in found if not path.name.endswith(".meta.json")]


FILES = [
    pytest.param(name, path, id=f"{name}-{path.name}") for name in READ for path in files_of(name)
]
every_file = pytest.mark.parametrize(("name", "path"), FILES)


@every_file
def test_file_is_recognised_as_the_agents_alone(name: str, path: Path) -> None:
    records = (record for line in lines_of(path) for record in readable(line))
    assert next(filter(None, map(registry.recognised, records))).name == name
    if path.suffix == ".jsonl":
        assert discovery.format_of(path).name == name


@every_file
def test_ids_are_unique_and_the_same_at_each_reading(name: str, path: Path) -> None:
    events = translated(name, path)
    check(events)
    ids = [event["event_id"] for event in events if event["event_type"] != "llm_response"]
    # The ids of the schemas' examples were replaced by one text.
    assert len(ids) == len(set(ids)) or "schema" in path.parts
    assert events == translated(name, path)


@every_file
def test_line_that_does_not_matter_gives_no_event(name: str, path: Path) -> None:
    assert translated(name, path) == translated(name, path, matters=False)


@every_file
def test_lines_that_may_record_usage_give_the_same_usage(name: str, path: Path) -> None:
    may = registry.agent(name).may_record_usage
    some = translated(name, path, lines=[line for line in lines_of(path) if may(line)])
    used = [event["data"] for event in of(some, "llm_response")]
    assert used == [event["data"] for event in of(translated(name, path), "llm_response")]


@every_file
def test_longer_file_gives_the_events_of_the_shorter_and_more(name: str, path: Path) -> None:
    lines = lines_of(path)
    whole = translated(name, path, end=False)
    for length in range(0, len(lines), max(1, len(lines) // 12)):
        part = translated(name, path, lines=lines[:length], end=False)
        assert part == whole[: len(part)]


@pytest.mark.parametrize("name", READ)
@settings(deadline=None, max_examples=100)
@given(st.data())
def test_wrong_types_raise_nothing(name: str, data: st.DataObject) -> None:
    own = [
        record
        for path in sorted((FIXTURES / name).rglob("*.json*"))
        for line in lines_of(path)
        for record in readable(line)
    ]
    junk = st.dictionaries(st.text(max_size=5), JUNK, max_size=4)
    records = data.draw(st.lists(wrong(own) | junk, max_size=8))
    path = data.draw(st.sampled_from(["standard input", "", "/p/agent-x.jsonl", "/p/events.jsonl"]))
    agent = registry.agent(name)
    translator = agent.translator(64)
    events = []
    for record in records:
        assert agent.recognises(record) in (True, False)
        events += translator.translate(record, ARRIVAL, path)
    check([*events, *translator.end()])
    assert list(translator.end()) == []
