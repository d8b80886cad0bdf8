"""A session that both its hooks and its agent record is one session."""

import json
from types import SimpleNamespace

import pytest

from agent_pipes.agents.base import Session
from agent_pipes.sessions.own_recordings import TIMEOUT_S, OwnRecordings

ID = "5b1d3c7a-2f4e-4c1b-9a6d-8e7f00c2d134"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def stored(tmp_path, events: int = 2, provider: str = "claude") -> Session:
    folder = tmp_path / ".agent-traces" / ID[:16]
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"attribution": {"agent_provider": provider}}))
    path = folder / "events.ndjson"
    path.write_text('{"event_type":"session_start","data":{}}\n' * events)
    return Session("store", folder.name, "", path, 0.0, 0.0)


def own(tmp_path, *, exists: bool = True) -> Session:
    path = tmp_path / f"{ID}.jsonl"
    if exists:
        path.write_text("")
    return Session("claude", ID, "", path, 0.0, 0.0)


def followed(session: Session) -> dict:
    return {session.path: SimpleNamespace(session=session)}


def test_a_session_of_the_store_waits_for_the_agents_own_file(tmp_path, clock):
    recordings, session = OwnRecordings(clock), stored(tmp_path)
    assert recordings.covers(session, {})
    clock.now = TIMEOUT_S - 0.1
    assert recordings.covers(session, {})
    clock.now = TIMEOUT_S
    assert not recordings.covers(session, {}), "the agent keeps no session: the store has it"


def test_a_session_without_work_waits_for_as_long_as_its_user(tmp_path, clock):
    recordings, session = OwnRecordings(clock), stored(tmp_path, events=1)
    for clock.now in (0.0, 10_000.0):
        assert recordings.covers(session, {})


def test_what_the_agent_records_is_read_once_however_late_a_hook_writes(tmp_path, clock):
    recordings, session = OwnRecordings(clock), stored(tmp_path)
    recordings.covers(session, {})
    clock.now = 10 * TIMEOUT_S
    assert recordings.covers(session, followed(own(tmp_path)))
    assert not recordings.covers(session, {})


def test_a_session_that_runs_without_a_file_of_its_own_is_read_from_the_store(tmp_path, clock):
    recordings, session = OwnRecordings(clock), stored(tmp_path)
    recordings.covers(session, {})
    clock.now = TIMEOUT_S
    assert not recordings.covers(session, followed(own(tmp_path, exists=False)))


@pytest.mark.parametrize("provider", ["", "cursor", "nobody"])
def test_a_session_of_an_agent_without_readable_files_does_not_wait(tmp_path, clock, provider):
    assert not OwnRecordings(clock).covers(stored(tmp_path, provider=provider), {})


def test_an_agents_own_session_is_never_covered(tmp_path, clock):
    assert not OwnRecordings(clock).covers(own(tmp_path), followed(own(tmp_path)))
