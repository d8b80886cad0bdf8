"""Time in proportion to the number of sessions."""

import pytest

from tests.bench import corpus
from tests.bench.bench import BACKTEST, BILL, ROOT, TIMES
from tests.bench.measure import Place, run

FEW_MB = 1

MAX_GROWTH = 1.5 * TIMES
"""Half as much again, for noise: listing all sessions for each would be sixteen times."""


@pytest.mark.parametrize("command", [BILL, BACKTEST])
def test_four_times_as_many_sessions_take_four_times_as_long(command, tmp_path, monkeypatch):
    # The examples are small, wherever this runs.
    monkeypatch.setattr(corpus, "SHARED", tmp_path)
    taken = []
    for times in (0, 1, TIMES):
        home = tmp_path / str(times)
        (home / "work").mkdir(parents=True)
        if times:
            corpus.build(home, FEW_MB, times)
        place = Place(ROOT, home, home / "work")
        taken.append(run(command, place).cpu)
    start, few, many = taken
    assert (many - start) / (few - start) < MAX_GROWTH
