"""Tandem repeats for every period at once, beside counting them by hand."""

import random

from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.detect.loop.repeat_finder import RepeatFinder

SYMBOLS = st.sampled_from([0, 1, -1, 256, 1 << 40])


def by_hand(symbols: list[int], longest: int) -> dict[int, int]:
    """For each period, for how many symbols up to the last x[t] == x[t-p] has held."""
    runs = {}
    for period in range(1, longest + 1):
        length = 0
        while (
            length + period < len(symbols) and symbols[-1 - length] == symbols[-1 - length - period]
        ):
            length += 1
        if length:
            runs[period] = length
    return runs


@given(st.lists(SYMBOLS, max_size=120), st.integers(1, 60))
def test_every_run_is_as_long_as_counted_by_hand(symbols, longest):
    repeats = RepeatFinder(longest)
    for number, symbol in enumerate(symbols):
        runs = repeats.runs(symbol)
        assert runs == by_hand(symbols[: number + 1], longest)
        assert list(runs) == sorted(runs)
        repeats.push(symbol, runs)


@given(st.integers(1, 50), st.integers(2, 6), st.randoms(use_true_random=False))
def test_a_block_repeated_is_found_in_the_symbol_that_completes_it(period, rounds, randomness):
    block = [randomness.getrandbits(62) for _ in range(period)]
    repeats = RepeatFinder(50)
    for symbol in [
        -1 - randomness.getrandbits(62) for _ in range(randomness.randrange(200))
    ] + block * rounds:
        runs = repeats.runs(symbol)
        repeats.push(symbol, runs)
    assert runs[period] == (rounds - 1) * period
    assert repeats.block(period) == block[::-1]


def test_looking_changes_nothing():
    repeats = RepeatFinder(50)
    for symbol in (1, 2, 1, 2, 1):
        repeats.push(symbol, repeats.runs(symbol))
    assert repeats.runs(9) == {}
    assert repeats.runs(2) == repeats.runs(2) == {2: 4, 4: 2}


def test_the_state_stays_small_however_long_the_stream():
    repeats, randomness = RepeatFinder(50), random.Random(1)
    for _ in range(20_000):
        symbol = randomness.getrandbits(63)
        repeats.push(symbol, repeats.runs(symbol))
    assert len(repeats._symbols) == 50 and len(repeats._runs) <= 50
