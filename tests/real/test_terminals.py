"""Real clients that change their session: resumed, in the background, two at once, /clear, /new.

Each was a way to be silently off (issue 13), and is tried here with the client itself.
"""

import uuid

import pytest

from tests.real.terminals import Terminals, needs

pytestmark = pytest.mark.usefixtures("patience")

KILL = ("--max-retries", "3", "--on-violation", "kill")


@pytest.fixture
def patience():
    """Return nothing; a client takes its time to start."""
    import signal

    signal.alarm(300)


@pytest.fixture
def terminals(tmp_path):
    """Start terminals, which are closed at the end."""
    started = []

    def start(client: str, scenario: str) -> Terminals:
        started.append(Terminals(client, scenario, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.close()


def is_over(terminals: Terminals, requests: int = 1) -> None:
    """Check that at most `requests` more requests come, and then none for some seconds."""
    import time

    limit = terminals.requests + requests
    time.sleep(4)
    assert terminals.requests <= limit, terminals.screen()


@needs("claude")
def test_13_2_a_session_that_is_resumed_is_followed_again_under_all(terminals):
    here, session = terminals("claude", "hi-spiral"), str(uuid.uuid4())
    watch = here.watch("--all", *KILL).ready()
    here.keys(f"$AGENT -p hello --session-id {session}", "Enter")
    watch.until("session_end")
    here.asked(1)
    here.keys(f"$AGENT -p 'fix it' --resume {session}", "Enter")
    (kill,) = watch.until("kill")
    assert (kill["session_id"], kill["data"]["outcome"]) == (session, "terminated"), watch.told
    is_over(here)
    assert here.requests <= 6, "one, and three failures, and those on their way"


@needs("claude")
def test_13_3_clear_and_resume_back_are_followed(terminals):
    here = terminals("claude", "clear-and-back")
    watch = here.watch(*KILL).ready()
    here.begin()
    here.say("begin")
    watch.until("assistant_response", 1)
    first = watch.of("session_start")[0]["session_id"]
    here.say("/clear")
    here.see("❯")
    here.say("go on")
    watch.until("assistant_response", 2)
    assert watch.of("assistant_response")[1]["session_id"] != first
    here.say(f"/resume {first}")
    here.see("begin")
    here.say("and on")
    (kill,) = watch.until("kill")
    assert (kill["session_id"], kill["data"]["outcome"]) == (first, "terminated"), watch.told
    is_over(here)


@needs("claude")
def test_13_5_of_two_sessions_in_one_directory_the_one_that_spins_is_ended(terminals):
    here = terminals("claude", "two")
    here.open("other")
    for number, terminal in enumerate(("main:other", "main:0.0"), 1):
        here.begin(terminal=terminal)
        here.say("hello", terminal=terminal)
        here.asked(number)
    watch = here.watch(*KILL).ready()
    watch.until("history_end", 2)
    here.say("fix it")
    (kill,) = watch.until("kill")
    assert len({each["session_id"] for each in watch.of("session_start")}) == 2, watch.told
    assert kill["data"]["outcome"] == "terminated", watch.told
    here.see("bypass permissions on", terminal="main:other")
    assert watch.process.poll() is None, "the other session is watched on"
    is_over(here)


@needs("claude")
def test_13_9_a_session_in_the_background_does_not_come_back(terminals):
    here = terminals("claude", "spiral-long")
    watch = here.watch("--all", *KILL).ready()
    here.keys("$AGENT --bg 'fix the test'", "Enter")
    kills = watch.until("kill")
    assert kills[0]["data"]["outcome"] in ("terminated", "interrupted"), watch.told
    is_over(here)
    # Its supervisor would start it again within eleven seconds.
    is_over(here, 0)
    is_over(here, 0)
    is_over(here, 0)


@needs("claude")
def test_13_18_the_state_of_the_client_becomes_events(terminals):
    here = terminals("claude", "permission")
    watch = here.watch().ready()
    here.begin("${AGENT% --dangerously-skip-permissions} --permission-mode default")
    here.say("begin")
    here.see("Do you want to")
    waits = watch.until("waiting", 1)
    from tests.helpers.support import until

    until(lambda: watch.of("waiting")[-1]["data"]["for"] == "permission", 10, "permission")
    here.keys("Enter")
    until(lambda: watch.of("waiting")[-1]["data"]["for"] == "prompt", 20, "the end of the turn")
    assert {"nobody"} <= {each["data"]["for"] for each in watch.of("waiting")}, waits


@needs("codex")
def test_13_4_a_new_thread_of_the_same_terminal_is_followed(terminals):
    here = terminals("codex", "hi-spiral")
    watch = here.watch(*KILL).ready()
    here.keys("$AGENT hello", "Enter")
    here.see("Hi.")
    here.say("/new")
    here.see("Where should the new conversation run?")
    here.keys("Enter")
    here.see("Ask Codex to do anything")
    here.say("fix it")
    (kill,) = watch.until("kill")
    assert kill["data"]["outcome"] == "interrupted", watch.told
    assert kill["session_id"] != watch.of("session_start")[0]["session_id"]
    is_over(here)
