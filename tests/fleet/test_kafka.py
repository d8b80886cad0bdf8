"""Kafka: sessions shared by the members of a group, and a centre that reads its topic again."""

import json
import time

import pytest

from agent_pipes.core.event import from_fields
from tests.commands.test_cost import response
from tests.fleet.conftest import FIGURES, needs
from tests.helpers.support import Stream, until

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = needs("kcat", "jq")

SLOW = 120.0
SESSIONS, RESPONSES = 12, 20
KEYED = """jq -r --unbuffered '"\\(.session_id)\\t\\(tojson)"' | kcat -P -b %s -t %s -K '\\t'"""
"""The producer of agent-pipes-fleet(7), with a broker and a topic."""


@pytest.fixture
def broker():
    """The address of the cluster that librdkafka keeps in this process."""
    producer = confluent_kafka.Producer({"test.mock.num.brokers": 3})
    found = producer.list_topics(timeout=10).brokers
    yield ",".join(f"{each.host}:{each.port}" for each in found.values())
    producer.flush(1)


def events(rounds=range(RESPONSES)) -> bytes:
    """Responses of a dollar of all sessions in turns."""
    lines = []
    for number in rounds:
        for session in range(SESSIONS):
            stream = Stream(f"session-{session:02}", time.time() - 3600 + number)
            response(stream, id=f"{session}-{number}", input=200_000, after=session / 100)
            lines += [from_fields(each).raw for each in stream.events]
    return b"".join(lines)


def produce(programs, broker: str, topic: str, data: bytes) -> None:
    (programs.folder / f"{topic}.ndjson").write_bytes(data)
    done = programs.shell(f"cat {topic}.ndjson | {KEYED % (broker, topic)}")
    assert done.wait(SLOW) == 0


def lines(path) -> list[dict]:
    content = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def test_two_members_of_a_group_share_sessions_and_never_one_session(programs, broker):
    produce(programs, broker, "events", events(range(1)))
    for member in "xy":
        programs.shell(
            f"kcat -G centre -b {broker} -o earliest -u events | "
            f"trace-detect-cost --max {RESPONSES / 2} > {member}.ndjson"
        )
    parts = [programs.folder / f"{member}.ndjson" for member in "xy"]
    time.sleep(8)
    produce(programs, broker, "events", events(range(1, RESPONSES)))
    until(
        lambda: (
            sum(each["event_type"] == "llm_response" for part in parts for each in lines(part))
            >= SESSIONS * RESPONSES
        ),
        SLOW,
        "all responses",
    )
    # The first response of each may have been read before both had joined.
    seen = [
        {
            each["session_id"]
            for each in lines(part)
            if not each["data"].get("response_id", "-0").endswith("-0")
        }
        for part in parts
    ]
    assert seen[0] and seen[1] and not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == SESSIONS
    raised = [
        each["session_id"]
        for part in parts
        for each in lines(part)
        if each["event_type"] == "violation"
    ]
    assert sorted(raised) == sorted(seen[0] | seen[1])
    FIGURES.append(
        f"Kafka, a group of two: {len(seen[0])} and {len(seen[1])} sessions, none in both"
    )


def test_a_centre_that_is_restarted_reads_its_topic_from_the_beginning(programs, broker):
    budget = f"trace-detect-cost --per all --max {SESSIONS * RESPONSES - 1} --violations-only"
    produce(programs, broker, "budget", events())
    reading = f"kcat -C -u -b {broker} -t budget -o beginning"
    # What the first centre has seen and raised is forgotten with it.
    first = programs.shell(f"{reading} -e -q | trace-tail --catch-up - | {budget} > first.ndjson")
    assert first.wait(SLOW) == 0
    programs.shell(f"{reading} -q | trace-tail --catch-up - | {budget} > second.ndjson")
    second = programs.folder / "second.ndjson"
    until(lambda: any(each["event_type"] == "history_end" for each in lines(second)), SLOW)
    stream = Stream("session-03", time.time())
    response(stream, id="live", input=200_000, after=0.0)
    produce(programs, broker, "budget", b"".join(from_fields(each).raw for each in stream.events))
    until(
        lambda: (
            "session-03"
            in {each["session_id"] for each in lines(second) if each["event_type"] == "violation"}
        ),
        SLOW,
        "the violation",
    )
