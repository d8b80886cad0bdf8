"""Parts of a result that change by themselves, and parts that never do."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.core.text import (
    MAX_MASKED_CHARS,
    comparable,
    mask_volatile,
    progress,
    without_frame,
)

CHANGES = [
    ("started 2026-11-22T17:30:11.123Z ok", "started 2026-11-23T04:00:00Z ok"),
    ("2026-11-22 17:30:11,456 INFO x", "2026-11-22 17:31:00,001 INFO x"),
    ("2026-11-22T17:30:11+02:00 x", "2026-11-22T18:30:11-0500 x"),
    ("[12:34:56] go", "[12:35:01.5] go"),
    ("epoch 1795359278.123 end", "epoch 1795359999 end"),
    ("at 1795359278123", "at 1795359278999"),
    ("id 550e8400-e29b-41d4-a716-446655440000", "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ("<object at 0x7f3a22bc90>", "<object at 0x7f3a11aa00>"),
    ("wrote /tmp/tmpab12cd/out.txt", "wrote /tmp/tmpzz98yy/out.txt"),
    ("/tmp/pytest-of-root/pytest-12/test_a0/x", "/tmp/pytest-of-root/pytest-13/test_a0/x"),
    ("/tmp/tmp.Xa8sjKLq/y", "/tmp/tmp.QQzzkkMM/y"),
    ("/var/folders/ab/cdef/T/x1", "/var/folders/ab/cdef/T/y2"),
    ("pid 4321 (pid=99) PID: 77", "pid 4322 (pid=98) PID: 78"),
    ("Process Group PGID: 500", "Process Group PGID: 612"),
    ("x-request-id: req-abc123", "x-request-id: req-def456"),
    ('{"requestId": "a1", "n": 1}', '{"n": 1, "requestId": "b2"}'),
    ("trace_id=4bf92f3577b34da6 done", "trace_id=00f067aa0ba902b7 done"),
    ("req_011CeRyqAb1 failed", "req_011CeRyqZz9 failed"),
    (
        "Command still running (session sess-0, pid 1000)",
        "Command still running (session sess-1, pid 1001)",
    ),
    (
        "Process running with session ID 4242\nOutput:\n",
        "Process running with session ID 5151\nOutput:\n",
    ),
    (
        "Chunk ID: a1b2c3\nWall time: 0.31 seconds\nok",
        "Chunk ID: 99ff00\nWall time: 12.5 seconds\nok",
    ),
    (
        '{"ok": true, "runId": "run_0", "messageId": "om_0"}',
        '{"ok": true, "runId": "run_1", "messageId": "om_1"}',
    ),
    ("{'stdout': 'x', 'duration_ms': 12}", "{'stdout': 'x', 'duration_ms': 98}"),
    ('{"a": 1, "b": [1, 2]}', '{"b": [1, 2], "a": 1}'),
]

SAYS = [
    ("3 failed, 5 passed", "2 failed, 6 passed"),
    ("SyntaxError: line 10", "SyntaxError: line 20"),
    ("app.py:12:4: error", "app.py:13:4: error"),
    ("page=2", "page=3"),
    ("40%", "45%"),
    ("4/10 done", "5/10 done"),
    ("[3s] compiling", "[4s] compiling"),
    ("took 1.2s", "took 1.3s"),
    ("AssertionError: 7 == 6", "AssertionError: 8 == 6"),
    ("HEAD is now at 1a2b3c4", "HEAD is now at 9f8e7d6"),
    ('{"chatId": "room-1"}', '{"chatId": "room-2"}'),
    ("1", '"1"'),
    ("version 1.2.3", "version 1.2.4"),
    ("poll 1", "poll 2"),
    ("write revision 3", "write revision 4"),
    ("job 17 running", "job 18 running"),
    ("/tmp/a.md", "/tmp/b.md"),
    ("127.0.0.1:8080", "127.0.0.1:8081"),
    ("exit code 1", "exit code 2"),
    ("123456789 bytes", "123456788 bytes"),
]

LASTS = [
    ("1 failed in 0.12s", "1 failed in 0.13s"),
    ("====== 1 failed in 9.99s ======", "===== 1 failed in 10.01s ====="),
    ("Time: 3.2 s, 1 failed", "Time: 12 s, 1 failed"),
    ("FAIL pkg 1m 3.2s", "FAIL pkg 2m 1.0s"),
    ("timeout after 300ms", "timeout after 301ms"),
]


@pytest.mark.parametrize("one, other", CHANGES)
def test_what_changes_by_itself_makes_no_difference(one, other):
    assert mask_volatile(one, failed=False) == mask_volatile(other, failed=False)
    assert mask_volatile(one, failed=True) == mask_volatile(other, failed=True)


@pytest.mark.parametrize("one, other", SAYS)
def test_numbers_lines_and_counts_are_never_put_aside(one, other):
    assert mask_volatile(one, failed=False) != mask_volatile(other, failed=False)


@pytest.mark.parametrize(
    "one, other", [pair for pair in SAYS if "s]" not in pair[0] and "took" not in pair[0]]
)
def test_nor_in_what_failed(one, other):
    assert mask_volatile(one, failed=True) != mask_volatile(other, failed=True)


@pytest.mark.parametrize("one, other", LASTS)
def test_durations_make_no_difference_where_it_failed_and_only_there(one, other):
    assert mask_volatile(one, failed=True) == mask_volatile(other, failed=True)
    assert mask_volatile(one, failed=False) != mask_volatile(other, failed=False)


@given(st.text(max_size=300))
def test_no_text_raises(text):
    mask_volatile(text, failed=True)
    mask_volatile(text, failed=False)
    progress(text)


@pytest.mark.parametrize(
    "unit",
    ["pid:", "id:1", "session a", "/tmp/a", "1m", "1.1.", "0x", "1:1:", "-", "=", "req_a", "11111111", "2026-11-22T10:00", "a-1_", "[", "Wall time: 1",
     "/var/folders/a/", "1/1 of ", "progress ", "session 1-a_", "\u2500"],
)  # fmt: skip
def test_time_is_linear_in_hostile_text(unit):
    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        begun = time.process_time()
        mask_volatile(text, failed=True)
        progress(text)
        return time.process_time() - begun

    # Sixteen times the text takes far less than the 256 times as long of what is quadratic.
    assert min(seconds(160_000) for _ in range(2)) < 80 * max(
        0.0005, min(seconds(10_000) for _ in range(3))
    )


def test_what_is_behind_a_megabyte_is_compared_as_it_stands():
    text = "x" * MAX_MASKED_CHARS
    assert mask_volatile(text + "pid 1", failed=False) != mask_volatile(
        text + "pid 2", failed=False
    )
    assert mask_volatile("pid 1 " + text, failed=False)[:6] == "pid <>"


@pytest.mark.parametrize(
    "text, risen",
    [("10%", 10), ("at 99.5 % now", 99.5), ("3/12", 0.25), ("5 of 10 files", 0.5), ('{"progress": 0.04}', 0.04), ("done", None), ("1/0", None),
     ("10% then 20%", 20), ("{'status': 'pending', 'timestamp': 3}", None)],
)  # fmt: skip
def test_how_far_something_has_come_by_its_own_account(text, risen):
    assert progress(text) == risen


@pytest.mark.parametrize(
    "framed, output",
    [
        ("Exit code 1\nError: no such module\n", "Error: no such module\n"),
        ("<untrusted_context>\nOutput: 1 failed\nExit Code: 1\nProcess Group PGID: 9\n</untrusted_context>", "1 failed"),
        ("Command: make\nDirectory: (root)\nOutput: x\nError: (none)\nExit Code: 1\nSignal: (none)", "x"),
        ("Chunk ID: 0a1b2c\nWall time: 1.2 seconds\nProcess exited with code 1\nOutput:\nx\n", "x\n"),
        ("x\n\n\nCommand exited with code 2", "x"),
        ("Output: (empty)", ""),
        ("Error: exit status 3\nSignal: lost", "Error: exit status 3\nSignal: lost"),
    ],
)  # fmt: skip
def test_the_lines_that_clients_write_around_an_output_are_left_out(framed, output):
    assert without_frame(framed) == output


@pytest.mark.parametrize(
    "one, other",
    [
        ("Randomized with seed 31", "Randomized with seed 7919"),
        ("3 actionable tasks: 1 executed, 2 up-to-date", "3 actionable tasks: 2 executed, 1 up-to-date"),
        ("FAIL a\nok b 0.12s", "ok b (cached)\nFAIL a"),
        ("Time: 00:00.012, Memory: 10.00 MB", "Time: 00:00.034, Memory: 12.50 MB"),
        ("thread 'a' (812) panicked at src/lib.rs:3", "thread 'a' (990) panicked at src/lib.rs:3"),
        ("connect ECONNREFUSED 127.0.0.1:43211", "connect ECONNREFUSED 127.0.0.1:51023"),
        ("# duration_ms 12.34", "# duration_ms 9.1"),
    ],
)  # fmt: skip
def test_seeds_caches_and_the_order_of_lines_make_no_other_failure(one, other):
    assert comparable(one, failed=True) == comparable(other, failed=True)
    assert comparable(one, failed=False) != comparable(other, failed=False)


def test_the_digits_of_a_failure_are_kept():
    assert comparable("a.ts:3:1 got 0.5", failed=True) != comparable(
        "a.ts:3:1 got 0.7", failed=True
    )
    assert comparable("3 failed", failed=True) != comparable("2 failed", failed=True)
