"""Each fuzz target, on made-up inputs and earlier finds; `make fuzz` tries a million inputs each."""

import click
import pytest

from agent_pipes.core.options import COUNT, DOLLARS, DURATION, SIZE
from tests import fuzz

INPUTS = 2_000

FOUND = {
    "limits": ["\x1c0", "0\x1c", "\x1f5s", " 1h ", 10**400, -(10**400), float("nan")],
    "config": [
        b'{"watchers": {"cost": {"max_dollars": ' + b"9" * 400 + b"}}}",
        b'{"watchers": {"stall": {"max_minutes": ' + b"9" * 4000 + b"}}}",
    ],
}
"""Inputs on which a target has raised, and others like them."""


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_nothing_that_is_made_up_crashes_it(name):
    fuzz.fuzz(name, INPUTS)


@pytest.mark.parametrize(
    "name, made", [(name, made) for name, cases in FOUND.items() for made in cases]
)
def test_what_was_found_crashes_nothing_any_more(name, made):
    fuzz.TARGETS[name][0](made)


def test_a_limit_is_read_without_the_white_space_around_it_and_a_number_beyond_any_is_none():
    assert (
        DURATION.convert("\x1c1h ", None, None) == 3600
        and DOLLARS.convert("\x1c5", None, None) == 5
    )
    for kind in (COUNT, DURATION, DOLLARS, SIZE):
        with pytest.raises(click.BadParameter):
            kind.convert(10**400, None, None)
