"""Measurements for the page: what one process carries, and how little a budget needs."""

import os
import subprocess
import time

import pytest

from tests.fleet.conftest import FIGURES, needs
from tests.fleet.test_mosquitto import SLOW, Broker
from tests.helpers.support import SHARED, command, until

SESSIONS = 10_000
RESPONSES = 100_000
SENT = 2_000


@pytest.fixture(scope="module")
def responses(tmp_path_factory):
    """Responses of ten thousand sessions in turns, as hosts send them."""
    path = tmp_path_factory.mktemp("figures") / "events.ndjson"
    began = time.time() - 3600
    with path.open("w") as file:
        for number in range(RESPONSES):
            file.write(
                f'{{"host":"host-{number % 100}","user":"user-{number % 500}","event_type":"llm_response",'
                f'"timestamp":{began + number / 100:.2f},"event_id":"e{number}",'
                f'"session_id":"7d0b6c1e-3f52-4a8e-9c14-{number % SESSIONS:012}",'
                f'"data":{{"model":"claude-opus-4-8","response_id":"msg_{number:020}","usage":{{'
                f'"input_tokens":42312,"output_tokens":320,"cache_read_input_tokens":41000}}}}}}\n'
            )
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("trace-detect-cost", ["--max", "1000"]),
        ("trace-detect-cost", ["--per", "user", "--max", "100000"]),
        ("trace-detect-cost", ["--per", "all", "--max", "100000"]),
        ("trace-detect-retry", []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_what_one_process_carries(responses, name, options):
    with responses.open("rb") as source:
        began = time.monotonic()
        process = subprocess.Popen(
            command(name, *options, "--violations-only"), stdin=source, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    taken = time.monotonic() - began
    assert process.returncode == 0
    FIGURES.append(
        f"{name} {' '.join(options)}: {RESPONSES / taken:,.0f} responses/s, "
        f"{RESPONSES / (used.ru_utime + used.ru_stime):,.0f} per second of processor, "
        f"{used.ru_maxrss / 1024:.0f} MB with {SESSIONS:,} sessions and {RESPONSES:,} responses"
    )


@needs("mosquitto", "mosquitto_pub", "mosquitto_sub")
@pytest.mark.parametrize("interval", [1, 1000])
def test_events_a_second_over_mosquitto(programs, responses, interval):
    broker = Broker(programs, users=False, interval=interval)
    port = f"-p {broker.port} -q 1"
    programs.shell(
        f"mosquitto_sub {port} -i centre -c -t events | trace-detect-cost --per user --max 100000 > found"
    )
    found = programs.folder / "found"
    time.sleep(1)
    began = time.monotonic()
    sender = programs.shell(f"head -n {SENT} {responses} | mosquitto_pub {port} -i a -l -t events")
    until(lambda: found.read_bytes().count(b"\n") >= SENT, SLOW * 3, "all events")
    taken = time.monotonic() - began
    assert sender.wait(SLOW) == 0
    FIGURES.append(
        f"a host, mosquitto with autosave_interval {interval}, a budget: {SENT / taken:,.0f} events/s"
    )


@pytest.mark.skipif(not SHARED.exists(), reason=f"no recorded sessions in {SHARED}")
def test_how_little_a_budget_needs():
    files = sorted((SHARED / "sessions").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    sizes = [0, 0]
    for path in files[len(files) // 2 :][:12]:
        for number, options in enumerate(([], ["--only", "llm_response"])):
            done = subprocess.run(
                command("trace-tail", "--no-follow", "--add-host", *options, str(path)),
                capture_output=True,
                timeout=120,
            )
            kept = [
                line
                for line in done.stdout.splitlines()
                if not options or b'"event_type":"user_prompt"' not in line
            ]
            sizes[number] += sum(map(len, kept))
    FIGURES.append(f"what a budget needs: {sizes[1] / sizes[0]:.0%} of the bytes")
    assert sizes[1] < sizes[0]
