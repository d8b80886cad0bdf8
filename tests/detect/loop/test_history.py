"""Results are masked when they are first compared: when that is makes no difference."""

import random

import pytest

from agent_pipes.core.event import Event
from agent_pipes.detect.loop.command import detect_loop
from agent_pipes.detect.loop.history import MAX_TURNS
from agent_pipes.detect.results import Result
from tests.helpers.detecting import raised
from tests.helpers.support import Stream


def moving(dice: random.Random) -> Stream:
    """Repeated calls, alone and in parallel, with equal, nearly equal, cut or new results."""
    stream = Stream()
    for number in range(3 * MAX_TURNS):
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
    late = raised(detect_loop, stream, max_same_result=3, length=1, max_same_call=6)
    begin = Result.__init__

    def masked_at_once(self: Result, event: Event, *, failed: bool) -> None:
        begin(self, event, failed=failed)
        assert isinstance(self.masked, int)

    monkeypatch.setattr(Result, "__init__", masked_at_once)
    assert (
        late and raised(detect_loop, stream, max_same_result=3, length=1, max_same_call=6) == late
    )
