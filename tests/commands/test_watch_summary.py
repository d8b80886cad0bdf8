"""The closing lines of watch."""

from agent_pipes.commands.session_status import SessionStatus
from agent_pipes.commands.watch_summary import closing_line
from agent_pipes.core.event import make
from tests.helpers.support import START


def killed(*, began: float | None = None) -> str:
    session = SessionStatus("4e19aab4")
    session.see(make("session_start", START, "4e19aab4", {"agent": "claude", "cwd": "/srv/shop"}))
    if began is not None:
        session.see(make("process", START + 100, "4e19aab4", {"pid": 48213, "began": began}))
    kill = make("kill", START + 108, "4e19aab4", {"pid": 48213, "outcome": "terminated"})
    return closing_line(session, kill, ("retry", "failed 3 times"))


def test_a_session_that_was_killed():
    assert killed() == (
        "claude in /srv/shop was killed after 1m 48s; RetryWatcher: failed 3 times; "
        "to resume: claude\N{NO-BREAK SPACE}--resume\N{NO-BREAK SPACE}4e19aab4"
    )


def test_the_time_of_a_resumed_session_is_that_of_its_run():
    assert "was killed after 8s;" in killed(began=START + 100)
    assert "was killed after 1m 48s;" in killed(began=START - 1)
