"""Nothing grows without a bound, whatever goes on without end."""

import json
import subprocess
import sys

import pytest

from tests.bench.bounds import ROOT, THINGS

EVENTS, MAX_THINGS = 1_500, 20
"""Every table holds twenty things at most, so that a third of the events fills it.

`python tests/bench/bounds.py THING` feeds a million, with the tables as they are.
"""

MAX_GROWTH_BYTES = 30_000
"""Thirty bytes for each of the events that are measured: an entry of any container takes more."""

PROGRAM = """
import json, sys, tracemalloc
from tests.bench import bounds
bounds.lower_limits({most})
tracemalloc.start()
print(json.dumps(bounds.growth({thing!r}, {events}, bounds.allocated)))
"""


@pytest.mark.parametrize("thing", THINGS)
def test_nothing_grows(thing):
    """Issue 17, number 5."""
    program = PROGRAM.format(most=MAX_THINGS, thing=thing, events=EVENTS)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) < MAX_GROWTH_BYTES
