"""Hooks of the real clients, offline: sessions reach the store, and the guard denies in time.

The settings are those that `agent-strace setup --guard --write` adds to the client's own, before it starts.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.helpers.hooked import events, meta  # noqa: E402
from tests.helpers.support import BIN, SHARED  # noqa: E402

RUN_AGENT = SHARED / "real" / "run-agent"

MISSING = [name for name in ("npm", "node", "unshare", "ip", "git") if not shutil.which(name)] + (
    [] if RUN_AGENT.exists() else ["run-agent beside the project"]
)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not here: {', '.join(MISSING)}"),
    pytest.mark.usefixtures("patience"),
]

CLIENTS = ("claude", "codex", "gemini", "copilot")

TRUST = {"codex": ("--dangerously-bypass-hook-trust",)}
"""Codex runs a new hook only once a person has trusted it, or when it is told to trust them all."""


ENDED = {"claude": 0, "gemini": 0, "copilot": 1}
"""Clients whose run a hook can end, with the requests that follow a trip under --guard=stop."""


@pytest.fixture
def patience():
    """A client may be fetched and started first."""
    import signal

    signal.alarm(300)


def driven(
    client: str, scenario: str, folder: Path, policy: str = "", guard: str = "--guard"
) -> tuple[Path, list[dict]]:
    """The client's project after a run with the hooks in place, and what they have recorded."""
    wrapper = folder / "wrapper"
    wrapper.write_text(
        f'#!/bin/sh\n"{BIN}/agent-strace" setup --agent {client} {guard} --write || exit 1\nexec "$@"\n'
    )
    wrapper.chmod(0o755)
    project = folder / "run" / "proj"
    project.mkdir(parents=True)
    if policy:
        (project / ".agent-scope.json").write_text(policy)
    words = ["--", *TRUST[client]] if client in TRUST else []
    environment = {**os.environ, "WRAP": str(wrapper), "LIMIT": "90"}
    subprocess.run(
        [RUN_AGENT, client, scenario, folder / "run", *words],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=250,
    )
    store = project / ".agent-traces"
    assert store.is_dir(), (folder / "run" / "stderr.txt").read_text(errors="replace")
    (session,) = [each.name for each in store.iterdir() if each.is_dir()]
    assert "ended_at" in meta(store, session)
    return project, events(store, session)


def requests(project: Path) -> int:
    """Number of the client's requests to the model."""
    return (project.parent / "stub.log").read_text().count('"main": true')


@pytest.mark.parametrize("client", CLIENTS)
def test_guard_denies_what_is_out_of_scope_before_it_is_done(client, tmp_path):
    project, found = driven(
        client, "scope", tmp_path, '{"files": {"write": {"deny": ["deploy/**"]}}}'
    )
    assert list((project / "deploy").iterdir()) == [], (
        "nothing was written where nothing may be written"
    )
    denied = [event for event in found if event["event_type"] == "error"]
    assert len(denied) == 2 and all(
        "deploy/prod.yml" in event["data"]["error"] and event["data"]["reason"] == "tool"
        for event in denied
    )
    process = found[0]["data"]["process"]
    assert process["pid"] > 1 and process["started"]


@pytest.mark.parametrize("client", CLIENTS)
def test_guard_denies_all_once_the_breaker_has_tripped(client, tmp_path):
    project, found = driven(client, "spiral", tmp_path)
    failed = [
        event["data"]
        for event in found
        if event["event_type"] == "error" and event["data"]["reason"] == "exit"
    ]
    assert [data["exit_code"] for data in failed] == [1] * 5, "the sixth is not made"
    assert len({data["result_digest"] for data in failed}) == 1
    denied = [
        event["data"]
        for event in found
        if event["event_type"] == "error" and event["data"]["reason"] == "tool"
    ]
    assert denied and all('"python3 t.py" failed 5 times' in data["error"] for data in denied)
    if client in ENDED:
        assert len(denied) == 2 and requests(project) == 7, "the second denial ends its run"


@pytest.mark.parametrize("client", CLIENTS)
def test_guard_that_stops_leaves_at_most_one_request_after_the_trip(client, tmp_path):
    project, found = driven(client, "spiral", tmp_path, guard="--guard=stop")
    failed = [
        event
        for event in found
        if event["event_type"] == "error" and event["data"]["reason"] == "exit"
    ]
    assert len(failed) == 5, "the breaker has tripped at the fifth"
    if client in ENDED:
        assert requests(project) - 5 == ENDED[client]
    else:
        assert requests(project) == 16, "no hook of it ends the run: see trace-kill"


@pytest.mark.parametrize("client", CLIENTS)
def test_healthy_session_is_recorded_whole_and_nothing_is_denied(client, tmp_path):
    project, found = driven(client, "healthy", tmp_path)
    kinds = [event["event_type"] for event in found]
    assert (kinds[0], kinds[1], kinds[-1]) == ("session_start", "user_prompt", "session_end")
    calls = [event["event_id"] for event in found if event["event_type"] == "tool_call"]
    answers = [event["parent_id"] for event in found if "parent_id" in event]
    assert calls and sorted(answers) == sorted(calls), "each call has its result"
    assert not [
        event
        for event in found
        if event["event_type"] == "error" and "agent-strace" in event["data"]["error"]
    ]
    responses = {
        event["data"]["response_id"] for event in found if event["event_type"] == "llm_response"
    }
    assert len(responses) == requests(project), "each of the model's responses is there once"


@pytest.mark.parametrize("client", CLIENTS)
def test_parallel_calls_are_paired_with_their_results(client, tmp_path):
    _, found = driven(client, "parallel", tmp_path)
    calls = {
        event["event_id"]: json.dumps(event["data"]["arguments"])
        for event in found
        if event["event_type"] == "tool_call"
    }
    assert len(calls) == 3
    ends = {
        event["event_type"]: calls[event["parent_id"]]
        for event in found
        if "exit_code" in event["data"] and event["data"]["exit_code"] == 1
    }
    assert list(ends) == ["error"] and "t.py" in ends["error"]
