"""Helpers for tests of detectors: a detector run in this process, and calls written short."""

from collections.abc import Iterable
from typing import Any

from agent_pipes.core.event import from_fields
from agent_pipes.core.filter import Filter
from tests.helpers.support import Stream


def raised(detector: Filter, events: Stream | Iterable[dict], **options: Any) -> list[dict]:
    """Return the data of each violation that `detector` raises over `events`.

    `options` replace the detector's defaults; `behind` is the number of the event that raised it.
    """
    values = {option.name: option.fallback for option in detector.options} | options
    given = [
        from_fields(event) for event in (events.events if isinstance(events, Stream) else events)
    ]
    number, found = -1, []
    for event in detector.generator(iter(given), **values):
        if event.type == "violation" and event not in given:
            found.append(
                {**event.data, "behind": number, "time": event.time, "session": event.session}
            )
        else:
            number += 1
    return found


def messages(detector: Filter, events: Stream | Iterable[dict], **options: Any) -> list[str]:
    return [each["message"] for each in raised(detector, events, **options)]


def critical(detector: Filter, events: Stream | Iterable[dict], **options: Any) -> list[dict]:
    return [each for each in raised(detector, events, **options) if each["level"] == "critical"]


def edit(stream: Stream, number: int, file: str = "/home/dev/proj/app.py", **more: Any) -> Stream:
    arguments = {
        "file_path": file,
        "old_string": f"return {number}",
        "new_string": f"return {number + 1}",
    }
    return stream.call("Edit", arguments, f"The file {file} has been updated.", **more)


def read(
    stream: Stream, text: str = "def f(): ...", file: str = "/home/dev/proj/app.py", **more: Any
) -> Stream:
    return stream.call("Read", {"file_path": file}, text, **more)


FAILED = (
    "Exit code 1\nFAILED tests/test_app.py::test_f - AssertionError: 1 != 2\n1 failed in 0.1{}s"
)


def read_edit_test(stream: Stream, rounds: int, *, first: int = 0) -> Stream:
    """The example that everyone gives: each edit differs, and the test fails in the same way."""
    for number in range(first, first + rounds):
        read(stream, f"def f(): return {number}")
        edit(stream, number)
        stream.bash("python -m pytest -q", FAILED.format(number % 10), failed=True)
    return stream


def parallel(stream: Stream, step: str, calls: Iterable[tuple[str, dict, str]]) -> Stream:
    """Calls of one response: all are made before the first has its result."""
    made = [
        (
            stream.add("tool_call", {"tool_name": tool, "arguments": arguments, "step": step}),
            tool,
            result,
        )
        for tool, arguments, result in calls
    ]
    for call, tool, result in made:
        stream.add("tool_result", {"tool_name": tool, "result": result}, parent=call)
    return stream


def tick(after: Stream, seconds: float) -> dict:
    """The time while nothing happens, `seconds` after the stream's last event."""
    return {"event_type": "tick", "timestamp": after.time + seconds}
