"""Pausing an agent: it and everything that it has started stands still, and continues."""

import signal

from agent_pipes.process.handle import ProcessHandle
from agent_pipes.process.pauser import STOP_TIMEOUT_S, Pauser
from agent_pipes.process.table import process_at
from agent_pipes.process.terminator import Terminator
from tests.helpers.planting import TOOLS, Clock, gone, state
from tests.helpers.support import until


class Unkillable(ProcessHandle):
    """A process that waits for a device that does not answer: no signal has an effect."""

    def send(self, number: int) -> bool:
        return super().send(0)


def test_sigstop_pauses_and_sigcont_sends_on(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    agent = tree.hold()
    outcome = Pauser(agent, signal=signal.SIGSTOP).finish()
    assert outcome.outcome == "paused" and outcome.survivors == []
    assert outcome.reason == f"paused process {agent.identity.pid} and its 6 child processes"
    assert {state(tree, name) for name in tree.pids} == {"T"}
    outcome = Pauser(agent, signal=signal.SIGCONT).finish(hurry=True)
    assert outcome.outcome == "continued" and "its 6 child processes" in outcome.reason
    until(lambda: {state(tree, name) for name in tree.pids} == {"S"}, what="their going on")
    assert Pauser(agent, signal=signal.SIGSTOP).finish().outcome == "paused"
    assert Terminator(agent).finish().outcome == "terminated", "one that is paused can be ended"
    assert Pauser(agent, signal=signal.SIGSTOP).finish().outcome == "not_running"


def test_sigtstp_is_sent_and_may_be_taken(plant):
    tree = plant(
        {
            "name": "agent",
            "exit_on": "SIGTSTP",
            "children": [{"name": "tool", "session": True, "exit_on": "SIGTSTP"}],
        }
    )
    outcome = Pauser(tree.hold(), signal=signal.SIGTSTP).finish()
    assert outcome.outcome == "interrupted"
    assert outcome.reason == f"interrupted process {tree.pids['agent']} and its 1 child process"
    until(lambda: gone(tree, "agent", "tool"), what="what they do on it")


def test_a_pause_leaves_nothing_running_that_forks(plant):
    tree = plant(
        {
            "name": "agent",
            "children": [{"name": "tool", "session": True, "forks": 300, "every": 0.001}],
        }
    )
    assert Pauser(tree.hold(), signal=signal.SIGSTOP).finish().outcome == "paused"
    assert {process_at(pid).state for pid in tree.living()} == {"T"}


def test_what_does_not_stand_still_is_told_and_named(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    clock = Clock()
    agent = Unkillable(tree.pids["agent"])
    pauser = Pauser(agent, signal=signal.SIGSTOP, clock=clock)
    pauser.start()
    assert pauser.step() is None
    until(lambda: state(tree, "tool") == "T", what="the tool's standing still")
    clock.now += STOP_TIMEOUT_S
    outcome = pauser.step()
    assert outcome.outcome == "failed" and outcome.survivors == [agent.identity]
    assert outcome.reason == f"process {agent.identity.pid} does not stop"
    agent.close()
