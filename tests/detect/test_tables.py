"""Each row of the tables "What is raised" on the detectors' pages, tried with the code."""

import re
from collections.abc import Callable

import pytest

from agent_pipes.detect.registry import DETECTORS
from tests.helpers.detecting import critical, edit, raised, read
from tests.helpers.support import ROOT, Stream

Trouble = Callable[[int], Stream]
"""Makes a stream in which the trouble comes so many times."""


def each(step: Callable[[Stream, int], object]) -> Trouble:
    def trouble(times: int) -> Stream:
        stream = Stream()
        for number in range(times):
            step(stream, number)
        return stream

    return trouble


def fails(text: str, command: str = "npm ci") -> Callable[[Stream, int], object]:
    return lambda stream, n: stream.bash(
        command.format(chr(97 + n)), f"Exit code 1\n{text.format(chr(97 + n))}", failed=True
    )


def changes_and_fails(stream: Stream, number: int) -> None:
    edit(stream, number)
    fails("{}{}".format(number, "{}"), "pytest")(stream, number % 26)


def round_of_three(stream: Stream, number: int) -> None:
    for file in "abc":
        read(stream, "the same", f"/home/dev/{file}.py")


def page_again(stream: Stream, number: int) -> None:
    # Numbers aside, old results come again.
    stream.call("mcp__log__next", {}, f"entry {number}")


ROWS: dict[str, dict[str, Trouble]] = {
    "retry": {
        "--max": each(fails("broken")),
        "4 x --max": each(changes_and_fails),
        "--max-errors": each(fails("broken", "tool-{}")),
    },
    "loop": {
        "--max": each(round_of_three),
        "--max-same-result": each(lambda stream, n: read(stream)),
        "--max-same-call": each(page_again),
        "--max-unfinished": each(
            lambda stream, n: stream.bash(
                f"run {n}", "Command timed out after 2m", failed=True
            )
        ),
        "--max-talk": each(
            lambda stream, n: stream.add("assistant_response", {"text": f"done {n}"})
        ),
        "--max-same-message": each(
            lambda stream, n: stream.add("assistant_response", {"text": "done"})
        ),
        "--max-chant": lambda times: each(
            lambda stream, n: stream.add(
                "assistant_response", {"text": "I will look at every file of the project once more. " * times}
            )
        )(1),
        "--max-compactions": each(lambda stream, n: stream.add("compaction", {})),
        "--max-stagnant": each(
            lambda stream, n: stream.call("Grep", {"pattern": f"p{n}"}, "No match in src")
        ),
    },
    "spawn": {
        "--max": each(
            lambda stream, n: stream.add("subagent_start", {"agent_id": f"a{n}"})
        ),
        "--depth": each(
            lambda stream, n: stream.add("subagent_start", {"agent_id": f"a{n}", "depth": n + 1})
        ),
    },
}  # fmt: skip

WARNINGS_ONLY = {"--max-stagnant"}


def rows_of(name: str) -> list[tuple[str, int]]:
    """Return option and limit of each row of the page's table, whatever words the row has."""
    page = (ROOT / "man" / f"trace-detect-{name}.1").read_text()
    defaults = {each.opts[0]: each.fallback for each in DETECTORS[name].options}
    found = []
    for line in page.splitlines():
        row = re.match(
            r"\.It ([a-z].+?) Ta (?:critical Ta |(4) \\\(mu )?Fl -([\w-]+)(?: No (\d+))? ?", line
        )
        if row and "--" + row[3] in defaults:
            limit = int(defaults["--" + row[3]])
            assert row[4] is None or int(row[4]) == limit
            name_of_row = f"4 x --{row[3]}" if row[2] else f"--{row[3]}"
            found.append((name_of_row, limit * int(row[2] or 1)))
    return found


@pytest.mark.parametrize(
    "name, trouble, limit", [(name, *row) for name in ROWS for row in rows_of(name)]
)
def test_a_row_of_a_table_is_raised_at_its_limit_and_not_before(name, trouble, limit):
    found = raised if trouble in WARNINGS_ONLY else critical
    make = ROWS[name][trouble]
    assert not found(DETECTORS[name], make(limit - 1))
    assert found(DETECTORS[name], make(limit))


@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_tried(name):
    assert {trouble for trouble, _ in rows_of(name)} == set(ROWS[name])
