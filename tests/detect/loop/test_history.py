"""What an agent has done lately: kept in little space, and compared as if it were kept as it came."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.detect import results
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.loop.history import STEPS, Strings
from tests.helpers.detecting import raised
from tests.helpers.support import Stream


@given(
    st.lists(st.text(st.characters(), max_size=8), max_size=40),
    st.integers(1, 20),
    st.integers(0, 50),
)
def test_strings_end_to_end_are_the_strings(texts, kept, asked):
    strings = Strings()
    for number, text in enumerate(texts):
        strings.append(text)
        if number % 7 == 6:
            strings.keep(kept)
            left = texts[: number + 1][-kept:]
            assert strings.last(asked) == (left[-asked:] if asked else [])
    strings.keep(kept)
    assert strings.last(100) == texts[-kept:]


def moving(dice: random.Random) -> Stream:
    """Calls that come again, singly and in parallel, with results that are the same, nearly the same, cut, or new."""
    stream = Stream()
    for number in range(3 * STEPS):
        step = f"msg_{number}"
        for _ in range(dice.choice((1, 1, 1, 2))):
            target = dice.randrange(3)
            text = dice.choice(
                (
                    f"{target} done",
                    f"at 10:{dice.randrange(60):02}:00 {target}",
                    f"took {dice.random():.2f}s {target}",
                    str(dice.random()),
                )
            )
            more = (
                {"result_bytes": len(text) + 9000, "result_digest": str(dice.random())}
                if dice.random() < 0.2
                else {}
            )
            stream.bash(f"make target{target}", text, failed=dice.random() < 0.3, step=step, **more)
        if dice.random() < 0.02:
            stream.add("user_prompt", {"prompt": "go on"})
    return stream


@pytest.mark.parametrize("seed", range(20))
def test_whether_a_text_is_read_at_once_or_when_it_is_compared_does_not_matter(seed, monkeypatch):
    stream = moving(random.Random(seed))
    late = raised(detect_loop, stream, repeat=3, length=1, ceiling=6)
    monkeypatch.setattr(results, "BUDGET", 0)
    assert late and raised(detect_loop, stream, repeat=3, length=1, ceiling=6) == late
