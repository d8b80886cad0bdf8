"""BoundedDict: never more than its limit, and the newest are kept."""

from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.core.bounded import BoundedDict


@given(st.lists(st.integers(0, 40)), st.integers(1, 30))
def test_the_newest_keys_are_kept_and_never_more_than_the_limit(keys, limit):
    bounded: BoundedDict[int, int] = BoundedDict(limit)
    order: list[int] = []
    for number, key in enumerate(keys):
        if key in bounded:
            assert bounded[key] < number
        else:
            order.append(key)
        bounded[key] = number
        assert bounded[key] == number
        assert list(bounded) == order[-limit:]
        order = list(bounded)


def test_a_renewed_key_is_the_last_to_be_evicted():
    bounded: BoundedDict[str, int] = BoundedDict(2)
    bounded["a"], bounded["b"] = 1, 2
    bounded.renew("a", 3)
    bounded["c"] = 4
    assert bounded == {"a": 3, "c": 4}


def test_setdefault_obeys_the_limit():
    bounded: BoundedDict[int, int] = BoundedDict(8)
    assert [bounded.setdefault(key % 20, key) for key in range(40)] == [*range(40)]
    assert bounded.setdefault(19, 0) == 39 and len(bounded) == 8
