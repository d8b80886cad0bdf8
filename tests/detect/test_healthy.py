"""The detectors over recorded sessions: nothing in healthy ones, each failure in the others.

Any stretch that is spliced into a healthy session again and again is found.

The recordings lie beside the project: `support.SHARED` says where. Without them these tests are skipped, and
what they hold is held by streams written by hand in the tests of each detector.
"""

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_pipes.agents import registry
from agent_pipes.agents.results import result_data
from agent_pipes.core.event import from_fields
from agent_pipes.core.jsonl import objects
from agent_pipes.detect.call_tracker import CallTracker
from agent_pipes.detect.calls import Call
from agent_pipes.detect.duration import detect_duration
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.loop.rules import LOOKING_PACE_S
from agent_pipes.detect.outcomes import Outcome, outcome
from agent_pipes.detect.retry.command import detect_retry
from agent_pipes.detect.spawn import detect_spawn
from agent_pipes.detect.stall import detect_stall
from agent_pipes.detect.turns import TurnTracker
from tests.helpers.detecting import critical, raised
from tests.helpers.support import ROOT, SHARED, shared_files

SESSIONS = SHARED / "sessions"

pytestmark = pytest.mark.skipif(not SESSIONS.is_dir(), reason=f"no recorded sessions in {SESSIONS}")

HEALTHY = {
    "claude": (
        "claude-code/*.jsonl",
        "driven/claude/healthy*.jsonl",
        "driven/claude/parallel*.jsonl",
    ),
    "codex": ("codex/*.jsonl", "driven/codex/healthy*.jsonl", "driven/codex/parallel*.jsonl"),
    "copilot": (
        "copilot-cli/*.jsonl",
        "driven/copilot/healthy*.jsonl",
        "driven/copilot/parallel*.jsonl",
    ),
    "gemini": (
        "gemini-cli/*.json",
        "driven/gemini/healthy*.jsonl",
        "driven/gemini/parallel*.jsonl",
    ),
    "store": ("agent-strace/**/events.ndjson",),
}

HEALTHY_FILES = [
    (agent, path)
    for agent, patterns in HEALTHY.items()
    for path in shared_files(*(f"sessions/{each}" for each in patterns))
]

# Gemini's JSON has no exit codes: its loop and spiral look like work that succeeds.
SPIRALS = [
    (agent, path)
    for agent in HEALTHY
    for path in shared_files(f"sessions/driven/{agent}/spiral*.jsonl")
    if (agent, path.name) != ("gemini", "spiral.stream.jsonl")
]
LOOPS = [
    (agent, path)
    for agent in HEALTHY
    for path in shared_files(f"sessions/driven/{agent}/loop*.jsonl")
    if (agent, path.name) != ("gemini", "loop.stream.jsonl")
]


def name(case: tuple[str, Path]) -> str:
    return str(case[1].relative_to(SESSIONS))


@cache
def events(agent: str, path: Path, max_result: int = 4096) -> tuple[dict, ...]:
    """The recording as its source translates it."""
    content = path.read_bytes()
    lines = [content] if path.suffix == ".json" else content.splitlines()
    if agent == "store":
        return tuple(record for line in lines for record in objects(line))
    translator = registry.agent(agent).translator(max_result=max_result, recorded=True)
    translated: list[dict] = []
    for line in lines:
        try:
            records = list(objects(line)) if line.strip() else []
        except ValueError:
            continue
        for record in records:
            translated += translator.translate(record, 0.0, str(path))
    return (*translated, *translator.end())


def test_there_are_recordings():
    assert len(HEALTHY_FILES) >= 30 and len(SPIRALS) >= 4 and len(LOOPS) >= 4


@pytest.mark.parametrize("case", HEALTHY_FILES, ids=name)
def test_nothing_is_raised_in_healthy_work(case):
    found = [
        each
        for detector in (detect_retry, detect_loop, detect_spawn)
        for each in raised(detector, events(*case))
    ]
    assert not any(each["level"] == "critical" for each in found)
    assert [each["message"] for each in found] == WARNED.get(case[1].name, [])
    silences = raised(detect_stall, events(*case))
    assert [each["message"] for each in silences] == SILENT.get(case[1].name, [])
    assert not any(each["level"] == "critical" for each in silences)


WARNED = {"dc-1f1cb2cbdc-0.jsonl": ["20 calls of bd with different arguments and the same answer"]}
"""Recordings with a warning of retry, loop or spawn: an issue tracker that prints nothing new."""

SILENT = {"sonnet45-a.jsonl": ["silent for 30m while a tool runs (threshold: 30m)"]}
"""Recordings with a warning of stall: a grep was open for 82 minutes, most likely at a permission
prompt; the file records no state of the client."""

WORKED_ALONE = {"sonnet45-a.jsonl": 32}
"""Recordings that pass the limit of duration, and the most minutes worked without a prompt."""


def test_duration_ends_at_most_one_healthy_session_in_fifteen():
    passed: dict[str, int] = {}
    for agent, path in HEALTHY_FILES:
        if raised(detect_duration, events(agent, path)):
            passed[path.name] = round(minutes_alone(events(agent, path)))
    assert passed == WORKED_ALONE and len(passed) * 15 <= len(HEALTHY_FILES)


def minutes_alone(recorded: tuple[dict, ...]) -> float:
    """Return the most minutes that the agent has worked without a prompt."""
    turns, calls, longest = TurnTracker(), CallTracker(), 0.0
    for event in map(from_fields, recorded):
        now = max(event.time, turns.latest)
        longest = max(longest, turns.worked_alone(now))
        turns.see(event, calls.see(event), now)
    return longest / 60


@pytest.mark.parametrize("case", SPIRALS, ids=name)
def test_each_spiral_is_a_retry(case):
    [found] = critical(detect_retry, events(*case))
    assert found["message"].startswith('"python3 t.py" failed 5 times')


@pytest.mark.parametrize("case", LOOPS, ids=name)
def test_each_loop_is_a_loop(case):
    found = critical(detect_loop, events(*case))
    assert found[0]["count"] == 3 and found[0]["steps"][1] == "edit" and len(found) == 1


def test_at_half_the_limits_the_false_alarms_are_those_of_the_pages():
    for page in ("trace-detect-retry.1", "trace-detect-loop.1", "trace-detect-stall.1"):
        assert (
            f"In {len(HEALTHY_FILES)} recordings of healthy work"
            in (ROOT / "man" / page).read_text()
        )
    halved = [
        (path, len(raised(detect_retry, events(agent, path), max=2)))
        for agent, path in HEALTHY_FILES
    ]
    assert (sum(count for _, count in halved), sum(count > 0 for _, count in halved)) == (4, 3)
    looped = [
        (
            path,
            len(
                critical(
                    detect_loop, events(agent, path), max=2, max_same_result=3, max_same_call=10
                )
            ),
        )
        for agent, path in HEALTHY_FILES
    ]
    assert (sum(count for _, count in looped), sum(count > 0 for _, count in looped)) == (0, 0)
    stalled = [
        (path, len(raised(detect_stall, events(agent, path), max=300.0, in_flight=900.0)))
        for agent, path in HEALTHY_FILES
    ]
    assert (sum(count for _, count in stalled), sum(count > 0 for _, count in stalled)) == (4, 4)


# A stretch of real work, again and again in the middle of other real work.

Deed = tuple[dict, dict]
"""A call and its result."""


@cache
def stretches(agent: str, path: Path) -> tuple[tuple[Deed, ...], ...]:
    """Return the main agent's answered calls with their results, grouped by prompt."""
    runs: list[list[Deed]] = [[]]
    calls: dict[str, dict] = {}
    for event in events(agent, path, 1 << 20):
        if event["event_type"] == "user_prompt":
            runs.append([])
        elif event["event_type"] == "tool_call" and not event["data"].get("agent_id"):
            calls[event["event_id"]] = event
        elif (
            event["event_type"] in ("tool_result", "error")
            and event.get("parent_id") in calls
            and outcome(from_fields(event)) != Outcome.VOID
        ):
            runs[-1].append((calls.pop(event["parent_id"]), event))
    return tuple(tuple(run) for run in runs if run)


SPLICED = [
    (agent, path)
    for agent, path in HEALTHY_FILES
    if agent in ("claude", "codex", "copilot") and "driven" not in path.parts
]

VOLATILE = "[2026-11-22T10:{0:02}:{1:02}.{2:03}Z] pid {3} request_id=req_{4:012x} object at 0x7f{4:08x} in /tmp/tmpab{4:x}cd/x {5}\n"


def changed(text: str, randomness: random.Random) -> str:
    """Return `text` with other times in it, and a volatile line of every kind at its head."""
    text = re.sub(
        r"\d\d:\d\d:\d\d",
        lambda _: (
            f"{randomness.randrange(24):02}:{randomness.randrange(60):02}:{randomness.randrange(60):02}"
        ),
        text,
    )
    numbers = (
        randomness.randrange(60),
        randomness.randrange(60),
        randomness.randrange(1000),
        randomness.randrange(100, 99999),
        randomness.getrandbits(32),
    )
    uuid = "-".join(f"{randomness.getrandbits(4 * size):0{size}x}" for size in (8, 4, 4, 4, 12))
    return VOLATILE.format(*numbers, uuid) + text


def moved(text: str, number: int) -> str:
    """`text` with another count at its head: progress."""
    return f"{number} of the tests have failed\n" + text


class Spliced:
    """A session with a stretch of calls in it `times` in a row, each as long as it took.

    `ends` is the number of the event that completes the stretch.
    """

    def __init__(
        self, before: tuple[dict, ...], stretch: tuple[Deed, ...], times: int, change: Any
    ) -> None:
        self.events = list(before)
        self.at = max([event["timestamp"] for event in before], default=1795359278.0)
        self.begins = len(before)
        for number in range(times):
            for place, step in enumerate(steps_of(stretch)):
                copies = [self._copy(deed, number, place, change) for deed in step]
                for call, _ in copies:
                    self._add(call, 1.0)
                for (_, answer), (call, done) in zip(copies, step, strict=True):
                    self._add(answer, max(0.1, done["timestamp"] - call["timestamp"]))
        self.ends = len(self.events) - 1

    def _add(self, event: dict, after: float) -> None:
        self.at = round(self.at + after, 3)
        self.events.append({**event, "timestamp": self.at})

    def _copy(self, deed: Deed, number: int, place: int, change: Any) -> Deed:
        call, answer = json.loads(json.dumps(deed))
        call["event_id"] = answer["parent_id"] = f"{call['event_id']}-{number}"
        answer["event_id"] = f"{answer['event_id']}-{number}"
        call["data"]["step"] = f"spliced-{number}-{place}"
        kind = "error" if answer["event_type"] == "error" else "result"
        answer["data"] |= result_data(change(answer["data"].get(kind) or "", number), 4096, kind)
        return call, answer


def steps_of(stretch: tuple[Deed, ...]) -> list[list[Deed]]:
    """The stretch in steps: the parallel calls of one response together."""
    steps: list[list[Deed]] = []
    for deed in stretch:
        step = deed[0]["data"].get("step")
        if steps and step and step == steps[-1][0][0]["data"].get("step"):
            steps[-1].append(deed)
        else:
            steps.append([deed])
    return steps


def waits(stretch: tuple[Deed, ...]) -> bool:
    """Return True if at least half of it only waits: a late warning, and never more."""
    steps = steps_of(stretch)
    # Slow calls that change nothing are waiting whatever their name, and so is sleeping.
    lasted = sum(answer["timestamp"] - call["timestamp"] for call, answer in stretch)
    calls = [Call(from_fields(call)) for call, _ in stretch]
    if all(call.only_sleeps for call in calls):
        return True
    if lasted + len(stretch) >= LOOKING_PACE_S * len(stretch) and all(call.looks for call in calls):
        return True
    return 2 * sum(any(Call(from_fields(call)).polls for call, _ in step) for step in steps) >= len(
        steps
    )


def spliced(
    case: tuple[str, Path], length: int, times: int, seed: int, change: Any
) -> Spliced | None:
    """Return `length` consecutive calls of the session; None if there are none or they wait."""
    randomness = random.Random(seed)
    runs = [run for run in stretches(*case) if len(run) >= length]
    if not runs:
        return None
    run = randomness.choice(runs)
    first = randomness.randrange(len(run) - length + 1)
    whole = events(*case)
    session = run[0][0]["session_id"]
    before = whole[: randomness.randrange(len(whole))]
    stretch = tuple(
        (call | {"session_id": session}, answer | {"session_id": session})
        for call, answer in run[first : first + length]
    )
    return (
        None
        if waits(stretch)
        else Spliced(before, stretch, times, lambda text, number: change(text, number, randomness))
    )


def rounds_of(length: int) -> int:
    """Repeats at which so many calls are a loop: three, or until they fill nine calls."""
    return 3 if length >= 3 else 5


SETTINGS = settings(
    max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@SETTINGS
@given(st.sampled_from(SPLICED or [None]), st.integers(1, 50), st.integers(0, 1 << 32))
def test_any_stretch_spliced_in_again_and_again_is_found(case, length, seed):
    made = spliced(
        case,
        length,
        rounds_of(length),
        seed,
        lambda text, number, randomness: changed(text, randomness),
    )
    if made is not None:
        found = [
            each for each in critical(detect_loop, made.events) if each["behind"] >= made.begins
        ]
        assert found and found[0]["behind"] <= made.ends


@SETTINGS
@given(
    st.sampled_from(SPLICED or [None]), st.integers(1, 50), st.integers(0, 1 << 32), st.booleans()
)
def test_the_same_stretch_whose_results_move_on_is_none(case, length, seed, only):
    """Vary all results, or only failures; if nothing fails, only the last."""
    made = spliced(case, length, rounds_of(length), seed, lambda text, number, randomness: text)
    if made is not None:
        answers = [
            event for event in made.events[made.begins :] if event["event_type"] != "tool_call"
        ]
        failures = [event for event in answers if event["event_type"] == "error"]
        moving = answers if not only else failures or answers[length - 1 :: length]
        for number, event in enumerate(moving):
            kind = "error" if event["event_type"] == "error" else "result"
            event["data"] |= result_data(moved(event["data"][kind], number), 4096, kind)
        assert not [
            each for each in critical(detect_loop, made.events) if each["behind"] >= made.begins
        ]
