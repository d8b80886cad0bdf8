"""What is remembered of a bounded number."""

from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.core.bounded import remember


@given(st.lists(st.integers(0, 40)), st.integers(1, 30))
def test_the_latest_are_remembered_and_never_more_than_so_many(keys, most):
    memory: dict[int, int] = {}
    first: list[int] = []
    for number, key in enumerate(keys):
        if key not in memory:
            first.append(key)
        remember(memory, key, number, most)
        assert memory[key] == number and len(memory) <= most
        kept = [each for each in dict.fromkeys(reversed(first))][: most - most // 8 - 1]
        assert set(kept) <= memory.keys()
