"""Time in proportion to the number of sessions."""

import pytest

from tests.bench import corpus
from tests.bench.bench import BACKTEST, BILL, ROOT
from tests.bench.measure import Place, run

FEW_MB, TIMES = 1, 4

MAX_GROWTH = 8.0
"""Twice the sessions at most, for noise: listing all sessions for each would be 16 times."""


@pytest.mark.parametrize("command", [BILL, BACKTEST])
def test_four_times_as_many_sessions_take_four_times_as_long(command, tmp_path):
    taken = []
    for size in (0, FEW_MB, FEW_MB * TIMES):
        home = tmp_path / str(size)
        (home / "work").mkdir(parents=True)
        if size:
            corpus.build(home, size)
        place = Place(ROOT, home, home / "work")
        taken.append(run(command, place).cpu)
    start, few, many = taken
    assert (many - start) / (few - start) < MAX_GROWTH
