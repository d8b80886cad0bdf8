"""What the preset holds of a session stays small, and does not grow with the session."""

import pytest

from agent_pipes.cost import meter
from tests.bench.state import PRESET, of_a_session, on_the_way
from tests.bench.trace import POLICY


@pytest.fixture(autouse=True)
def policy(tmp_path, monkeypatch):
    (tmp_path / ".agent-scope.json").write_text(POLICY)
    monkeypatch.chdir(tmp_path)


def test_ten_thousand_sessions_fit_into_400_mb():
    # Less what a process takes that has seen nothing, and a tenth for what an allocator cannot use.
    assert of_a_session(PRESET, sessions=8, each=1000) < 33_000


def test_the_state_of_one_session_is_full_at_some_time(monkeypatch):
    # Of fifty thousand responses as of these: what is remembered of all sessions together is bounded, too.
    monkeypatch.setattr(meter, "RESPONSES", 500)
    sizes = on_the_way(PRESET, 12_000, 1, samples=6)
    assert max(sizes[2:]) < 1.05 * min(sizes[2:])
