"""Variations of recorded cases: the same trouble with other paths, times, flags and wrappers.

    python tests/variations.py FOLDER OUT

FOLDER has session files and `expected.ndjson`, as ../shared/cases/reports does. Two variations of
each case are written to OUT as streams of events, with an `expected.ndjson` of their own, so that
the folder's `score` runs them, too.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

ROOT = Path(__file__).resolve().parent.parent

Events = list[dict[str, Any]]

INSERTED = "inserted"
"""Beginning of the ids of added calls, which are not counted as the case's."""


def other_path(events: Events) -> Events:
    """Return the case in another directory."""
    text = json.dumps(events).replace("/home/dev/", "/srv/work/build-7/")
    return json.loads(text)


def other_time(events: Events) -> Events:
    """Return the case a week and some seconds later."""
    moved = 7 * 86400 + 4321.5
    return [{**event, "timestamp": event["timestamp"] + moved} for event in events]


def other_wrapper(events: Events) -> Events:
    """Return the case with `cd X &&` and a variable before each command."""
    return _commands(events, lambda command: f"cd /home/dev/shop && LANG=C {command}")


def other_flag(events: Events) -> Events:
    """Return the case with a further flag in each simple command that has one."""
    return _commands(
        events,
        lambda command: (
            f"{command} --color=never"
            if re.fullmatch(r"[\w./ -]* -[\w./ -]*", command)
            else command
        ),
    )


def interleaved_read(events: Events) -> Events:
    """Return the case with an unrelated read, each of another file, before every third call."""
    varied: Events = []
    calls = 0
    for event in events:
        if event["event_type"] == "tool_call":
            calls += 1
            if calls % 3 == 0:
                varied += _read(event, calls)
        varied.append(event)
    return varied


VARIATIONS: tuple[Callable[[Events], Events], ...] = (
    other_path,
    other_time,
    other_wrapper,
    other_flag,
    interleaved_read,
)


def _commands(events: Events, vary: Callable[[str], str]) -> Events:
    varied = []
    for event in events:
        arguments = event.get("data", {}).get("arguments")
        if event["event_type"] == "tool_call" and isinstance(arguments, dict):
            for key in ("command", "cmd"):
                command = arguments.get(key)
                if isinstance(command, str) and "\n" not in command:
                    changed = {**arguments, key: vary(command)}
                    event = {**event, "data": {**event["data"], "arguments": changed}}
        varied.append(event)
    return varied


def _read(before: dict[str, Any], number: int) -> Iterator[dict[str, Any]]:
    name = f"{INSERTED}-{number}"
    place = {key: before["data"][key] for key in ("agent_id",) if key in before["data"]}
    common = {"timestamp": before["timestamp"], "session_id": before["session_id"]}
    arguments = {"file_path": f"/home/dev/shop/docs/page-{number}.md"}
    call = {"tool_name": "Read", "arguments": arguments, "step": name, **place}
    result = {"tool_name": "Read", "result": f"page {number} of the manual", **place}
    yield {"event_type": "tool_call", **common, "event_id": name, "data": call}
    yield {
        "event_type": "tool_result",
        **common,
        "event_id": f"{name}:result",
        "parent_id": name,
        "data": result,
    }


def events_of(file: Path) -> Events:
    """Return the events of a session file."""
    tail = [sys.executable, ROOT / "bin" / "trace-tail", "--no-follow", file]
    done = subprocess.run(tail, stdout=subprocess.PIPE, check=False, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


def variations_of(name: str, events: Events) -> Iterator[tuple[str, Events]]:
    """Yield two variations of a case, by its name, so that all kinds are tried over all cases."""
    start = crc32(name.encode())
    for number in (start, start + 1 + start // 7 % (len(VARIATIONS) - 1)):
        vary = VARIATIONS[number % len(VARIATIONS)]
        yield vary.__name__, vary(events)


def cases_of(folder: Path) -> list[dict[str, Any]]:
    """Return the cases of a folder that need no policy."""
    lines = (folder / "expected.ndjson").read_text().splitlines()
    cases = [json.loads(line) for line in lines if line.strip()]
    return [case for case in cases if not case["options"]]


def main(arguments: list[str]) -> int:
    """Write the variations of all cases of a folder."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder, out = map(Path, arguments)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "expected.ndjson").open("w") as expected:
        for case in cases_of(folder):
            for kind, events in variations_of(case["file"], events_of(folder / case["file"])):
                name = f"{Path(case['file']).stem}.{kind}.ndjson"
                (out / name).write_text("".join(json.dumps(event) + "\n" for event in events))
                expected.write(json.dumps({**case, "file": name}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
