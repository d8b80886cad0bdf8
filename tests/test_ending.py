"""Ending an agent: real process trees, shaped as the real agents' are, are ended, and whatever stands beside them is not."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support import until
from test_held import NOBODY, namespaced
from trees import Tree

from agent_pipes import ending as ending_module
from agent_pipes import offspring
from agent_pipes.ending import CONFIRM, PASSES, Ending, Outcome
from agent_pipes.held import Held, become_subreaper, reap_adopted
from agent_pipes.process import Identity, Process, all_processes, command_line, identify, process_at, rows

linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that has this")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
BREAKER = [sys.executable, str(Path(__file__).parent / "breaker.py")]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def plant():
    before = set(os.listdir("/proc/self/fd"))
    trees: list[Tree] = []
    held: list[Held] = []

    def plant(root: dict, **popen) -> Tree:
        tree = Tree(root, **popen)
        trees.append(tree)

        def hold(name: str = "agent") -> Held:
            held.append(Held(tree.pids[name]))
            return held[-1]

        tree.hold = hold
        return tree

    yield plant
    for one in held:
        one.close()
    for tree in trees:
        tree.close()
    assert set(os.listdir("/proc/self/fd")) == before, "a file descriptor was left open"


class Ticking(Clock):
    """Time that passes by being looked at, a millisecond each time: a limit on how often that may be."""

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Unkillable(Held):
    """A process that waits for a device that does not answer: no signal ends it."""

    def send(self, number: int) -> bool:
        return super().send(0)


def lives(tree: Tree, *names: str) -> bool:
    return all(identify(tree.pids[name]) for name in names)


def gone(tree: Tree, *names: str) -> bool:
    return not any(identify(tree.pids[name]) for name in names)


def state(tree: Tree, name: str) -> str:
    return process_at(tree.pids[name]).state


TOOLS = [
    {"name": "shell", "session": True, "children": [{"name": "command"}, {"name": "grouped", "group": True}, {"name": "orphan", "orphan": True}]},
    {"name": "server", "group": True, "children": [{"name": "worker", "orphan": True}]},
]
"""A shell in a session of its own and a server in a group of its own, each with a child whose parent has ended."""


# An agent, and what it has started.


def test_an_agent_ends_on_sigterm_and_its_tools_with_it(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    outcome = Ending(tree.hold()).finish()
    pid = tree.pids["agent"]
    assert (outcome.outcome, outcome.left) == ("terminated", [])
    assert outcome.reason == f"process {pid} and 6 that it had started ended on SIGTERM"
    assert 0 < outcome.waited_ms < 10_000
    assert gone(tree, *tree.pids)
    assert tree.root.wait() == -signal.SIGTERM


def test_an_agent_without_tools_is_told_of_alone(plant):
    tree = plant({"name": "agent"})
    assert Ending(tree.hold()).finish().reason == f"process {tree.pids['agent']} ended on SIGTERM"


def test_it_goes_on_step_by_step_and_is_woken_by_what_ends(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    ending = Ending(tree.hold())
    assert ending.fds() == []
    ending.begin()
    steps = 0
    while (outcome := ending.step()) is None:
        ready = ending_module.select.select(ending.fds(), [], [], 20)[0]
        assert ready, "what is waited for tells that it has ended"
        steps += 1
        assert steps < 50, "what has ended is not waited for again"
    assert outcome.outcome == "terminated"
    assert ending.fds() == []
    assert ending.step() is outcome, "it is over, and stays so"


def test_the_tools_are_let_be_until_the_agent_is_gone(plant):
    """An agent whose tool is killed asks its model what to do next."""
    tree = plant({"name": "agent", "swallow": ["SIGTERM"], "children": TOOLS})
    clock = Clock()
    ending = Ending(tree.hold(), clock=clock, kill_after=10)
    ending.begin()
    for _ in range(20):
        clock.now += 0.4
        assert ending.step() is None
    assert lives(tree, *tree.pids)
    clock.now += 2.1
    outcome = until(ending.step, what="the end, the grace being over")
    assert outcome.outcome == "killed" and gone(tree, *tree.pids)
    assert outcome.reason == f"process {tree.pids['agent']} and 6 that it had started ended on SIGKILL: SIGTERM had not ended it in 10 s"


def test_the_grace_begins_with_the_signal(plant, monkeypatch):
    """Looking for the tools takes its time on a busy machine; the agent has not heard anything yet."""
    tree = plant({"name": "agent", "swallow": ["SIGTERM"]})
    clock = Clock()
    ending = Ending(tree.hold(), kill_after=10, clock=clock)
    look = ending._offspring.look

    def slowly(*found):
        clock.now += 15
        return look(*found)

    monkeypatch.setattr(ending._offspring, "look", slowly)
    ending.begin()
    monkeypatch.setattr(ending._offspring, "look", look)
    assert ending.step() is None
    clock.now += 9
    assert ending.step() is None and lives(tree, "agent")
    clock.now += 2
    assert until(ending.step).outcome == "killed"


def test_an_agent_that_ignores_sigterm_is_killed(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]})
    outcome = Ending(tree.hold(), kill_after=0.1).finish()
    assert outcome.outcome == "killed" and outcome.waited_ms >= 100
    assert gone(tree, "agent", "tool")
    assert tree.root.wait() == -signal.SIGKILL


def test_an_agent_that_is_stopped_is_sent_on_to_its_end(plant):
    tree = plant({"name": "agent", "swallow": ["SIGTERM"], "stopped": True, "children": [{"name": "tool", "session": True, "stopped": True}]})
    until(lambda: state(tree, "agent") == state(tree, "tool") == "T", what="their standing still")
    other = plant({"name": "agent", "stopped": True, "children": [{"name": "tool", "session": True, "stopped": True}]})
    until(lambda: state(other, "agent") == state(other, "tool") == "T", what="their standing still")
    assert Ending(other.hold(), kill_after=20).finish().outcome == "terminated"
    assert gone(other, "agent", "tool")
    assert Ending(tree.hold(), kill_after=0.1).finish().outcome == "killed"
    assert gone(tree, "agent", "tool")


def test_an_agent_that_exits_during_its_grace_is_not_killed(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "after": 0.2, "children": [{"name": "tool", "session": True}]})
    outcome = Ending(tree.hold()).finish()
    assert outcome.outcome == "terminated" and 200 <= outcome.waited_ms < 10_000
    assert tree.root.wait() == 0, "its exit status proves nothing"
    assert gone(tree, "tool")


def test_an_agent_that_becomes_a_zombie_has_ended(plant):
    tree = plant({"name": "wrapper", "children": [{"name": "agent"}]})
    outcome = Ending(tree.hold()).finish()
    assert outcome.outcome == "terminated"
    assert process_at(tree.pids["agent"]).dead and lives(tree, "wrapper")


def test_an_agent_that_executes_itself_again_is_still_the_same(plant):
    again = "import os, signal, sys; signal.signal(15, lambda *_: os.execvp('sleep', ['sleep', '60'])); os.write({fd}, b'set null\\n'); signal.pause()"
    tree = plant({"name": "agent", "exec": [sys.executable, "-c", again]})
    tree.hear("set")
    ending = Ending(tree.hold(), kill_after=0.5)
    ending.begin()
    until(lambda: command_line(tree.pids["agent"]) == ["sleep", "60"], what="the other program")
    assert ending.finish().outcome == "killed"
    assert gone(tree, "agent")


def test_an_agent_that_had_ended_is_not_running(plant):
    tree = plant({"name": "wrapper", "children": [{"name": "agent"}]})
    agent = tree.hold()
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(agent.gone, what="its end")
    outcome = Ending(agent).finish()
    assert (outcome.outcome, outcome.reason) == ("not_running", f"process {tree.pids['agent']} had ended before")
    assert lives(tree, "wrapper")


def test_what_an_ended_agent_had_left_is_ended_by_its_mark(plant):
    mark = {"SESSION_ID": uuid.uuid4().hex}
    tree = plant({"name": "wrapper", "children": [{"name": "agent", "children": [{"name": "tool", "session": True, "environment": mark}]}]})
    agent = tree.hold()
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(agent.gone, what="its end")
    outcome = Ending(agent, marker=("SESSION_ID", mark["SESSION_ID"])).finish()
    assert outcome.outcome == "not_running" and outcome.reason.endswith("had ended before; 1 that it had started ended now")
    assert gone(tree, "tool") and lives(tree, "wrapper")


def test_only_the_very_mark_counts(plant):
    mark = uuid.uuid4().hex
    tree = plant({"name": "beside", "children": [{"name": "agent"}, {"name": "other", "session": True, "environment": {"SESSION_ID": mark + "0"}}]})
    assert Ending(tree.hold(), marker=("SESSION_ID", mark)).finish().outcome == "terminated"
    assert lives(tree, "beside", "other")


def test_tools_that_ignore_sigterm_are_killed_and_the_agent_still_ended_by_itself(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"], "children": [{"name": "below"}]}]})
    clock = Clock()
    ending = Ending(tree.hold(), clock=clock)
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    clock.now += 1
    assert ending.step() is None
    clock.now += 1.9
    assert ending.step() is None and lives(tree, "tool"), "it has a grace of its own"
    clock.now += 0.2
    assert until(ending.step, what="the end, the tools' grace being over").outcome == "terminated"
    assert gone(tree, "tool", "below")


def test_what_a_tool_starts_as_it_ends_is_ended_too(plant):
    last = {"name": "last", "orphan": True, "ignore": ["SIGTERM"]}
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "then": last}]})
    assert Ending(tree.hold(), kill_after=0.3).finish().outcome == "terminated"
    tree.hear("last")
    assert tree.living() == []


def test_what_a_tool_starts_in_its_grace_is_asked_to_end_too(plant):
    later = {"name": "later", "session": True, "children": [{"name": "more"}]}
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "swallow": ["SIGTERM"], "asked": later}]})
    ending = Ending(tree.hold(), kill_after=math.inf)
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    assert ending.step() is None
    signalled(tree, "tool")
    tree.hear("later")
    tree.hear("more")
    assert ending.step() is None
    until(lambda: gone(tree, "later", "more"), what="their end, though nothing is ever killed")
    os.kill(tree.pids["tool"], signal.SIGKILL)
    assert ending.finish().outcome == "terminated"


def test_what_the_agent_starts_during_its_grace_is_ended_too(plant):
    later = "import os, signal, subprocess, sys; signal.signal(15, lambda *_: (subprocess.Popen(['sleep', '60'], start_new_session=True), os.write({fd}, b'started null\\n'))); os.write({fd}, b'set null\\n')\nwhile 1: signal.pause()"
    tree = plant({"name": "agent", "exec": [sys.executable, "-c", later]})
    tree.hear("set")
    ending = Ending(tree.hold(), kill_after=0.3)
    ending.begin()
    tree.hear("started")
    assert ending.finish().outcome == "killed"
    assert tree.living() == []


# What forks while it is killed. All of it is bounded, in number and in time.


def test_a_tool_that_forks_while_it_is_killed_is_ended_whole(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"], "forks": 400, "every": 0.002}]})
    outcome = Ending(tree.hold(), kill_after=0.2).finish()
    assert (outcome.outcome, outcome.left) == ("terminated", [])
    assert tree.living() == []


def test_an_agent_that_forks_while_it_is_killed_is_ended_whole(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "forks": 400, "every": 0.002})
    outcome = Ending(tree.hold(), kill_after=0.2).finish()
    assert (outcome.outcome, outcome.left) == ("killed", [])
    assert tree.living() == []


@pytest.mark.parametrize("attempt", range(3))
def test_daemons_that_run_from_their_parents_are_found_by_their_mark(plant, attempt):
    mark = uuid.uuid4().hex
    hopping = {"name": "daemon", "orphan": True, "session": True, "environment": {"SESSION_ID": mark}, "hops": 600, "every": 0.002, "ignore": ["SIGTERM"]}
    tree = plant({"name": "agent", "children": [hopping, {**hopping, "name": "another"}]})
    outcome = Ending(tree.hold(), kill_after=0.1, marker=("SESSION_ID", mark)).finish()
    assert (outcome.outcome, outcome.left) == ("terminated", [])
    assert tree.living() == []


def test_what_has_ended_before_it_could_be_held_is_looked_for_again(plant, monkeypatch):
    """A daemon that runs from its children is gone when it is found: that pass has found something all the same."""
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    looks: list[int] = []

    def with_a_ghost():
        looks.append(1)
        yield from rows()
        if len(looks) < 9:
            yield Process(Identity(2**22 + len(looks), "1"), 1, 1, tree.pids["tool"], "S", False, False)

    monkeypatch.setattr(offspring, "rows", with_a_ghost)
    assert Ending(tree.hold()).finish().outcome == "terminated"
    assert len(looks) >= 8 + PASSES


def test_what_never_stops_starting_itself_anew_is_told(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    numbers = iter(range(2**22 + 1, 2**31))

    def with_ghosts():
        yield from rows()
        yield Process(Identity(next(numbers), "1"), 1, 1, tree.pids["tool"], "S", False, False)

    monkeypatch.setattr(offspring, "rows", with_ghosts)
    clock = Clock()
    ending = Ending(tree.hold(), clock=clock)
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    while not (outcome := ending.step()):
        clock.now += 1
    assert outcome.outcome == "failed" and outcome.left == []
    assert outcome.reason == "what it had started keeps starting itself anew"


def test_what_is_new_is_held_while_the_table_is_still_being_read(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    family = offspring.Offspring(tree.hold())
    told: list[int] = []
    table = all_processes()
    tool = table.pop(tree.pids["tool"])

    def born_late():
        yield tool
        assert told == [tool.pid], "it may be gone before all of the table has been read"
        yield from table.values()

    monkeypatch.setattr(offspring, "rows", lambda: iter(table.values()))
    assert family.look() == []
    monkeypatch.setattr(offspring, "rows", born_late)
    new = family.look(lambda held: told.append(held.identity.pid))
    assert [held.identity for held in new] == [tool.identity] == list(family.living)
    family.close()


@pytest.fixture
def subreaper():
    if not become_subreaper():
        pytest.skip("this system has no subreapers")
    yield identify(os.getpid())
    import ctypes

    ctypes.CDLL(None).prctl(36, ctypes.c_ulong(0), 0, 0, 0)
    until(lambda: not reap_adopted(set()), what="the last of the orphans")


@linux
@pytest.mark.parametrize("attempt", range(3))
def test_daemons_that_run_from_their_parents_are_found_by_their_subreaper(plant, subreaper, attempt):
    hopping = {"name": "daemon", "orphan": True, "session": True, "hops": 600, "every": 0.002, "ignore": ["SIGTERM"]}
    tree = plant({"name": "agent", "children": [hopping, {**hopping, "name": "another"}]})
    outcome = Ending(tree.hold(), kill_after=0.1, whole_tree=True, extra_roots=(subreaper,)).finish()
    assert (outcome.outcome, outcome.left) == ("terminated", [])
    assert tree.living() == []
    reap_adopted({tree.root.pid})
    assert tree.root.wait() == -signal.SIGTERM, "the command's own status is left to whoever waits for it"


# Wrappers.


def test_a_wrapper_that_swallows_sigterm_ends_by_itself_with_its_child(plant):
    tree = plant({"name": "wrapper", "follow": True, "swallow": ["SIGTERM"], "children": [{"name": "agent", "exit_on": "SIGTERM", "children": TOOLS}]})
    assert Ending(tree.hold("agent")).finish().outcome == "terminated"
    assert tree.root.wait(20) == 0, "it was not signalled: its child's status is its own"
    assert gone(tree, *tree.pids)


WRAPPED = {"name": "wrapper", "follow": True, "swallow": ["SIGTERM"], "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.1, "children": TOOLS}]}


def test_a_command_that_wraps_its_agent_is_ended_with_it(plant):
    tree = plant(WRAPPED, start_new_session=True)
    outcome = Ending(tree.hold("wrapper"), whole_tree=True).finish()
    assert (outcome.outcome, outcome.left) == ("terminated", [])
    assert tree.root.wait(20) == 0, "the wrapper ended by itself"
    assert gone(tree, *tree.pids)


def test_a_wrapper_alone_would_have_left_its_agent_running(plant):
    """What `whole_tree` is for: this wrapper swallows the signal, and its agent never hears of it."""
    tree = plant(WRAPPED)
    ending = Ending(tree.hold("wrapper"), clock=Clock())
    ending.begin()
    assert ending.step() is None and lives(tree, "wrapper", "agent")
    assert ending.finish(hurry=True).outcome == "killed"
    assert gone(tree, *tree.pids)


def test_a_loader_that_dies_at_once_leaves_no_agent_going_on(plant):
    tree = plant({"name": "loader", "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.2, "children": TOOLS}]})
    outcome = Ending(tree.hold("loader"), whole_tree=True).finish()
    assert outcome.outcome == "terminated" and outcome.waited_ms >= 200, "the agent has its grace, the loader being gone or not"
    assert gone(tree, *tree.pids)


def test_a_wrapper_that_would_start_its_agent_again_is_killed_with_it(plant):
    again = "import subprocess, signal; signal.signal(15, lambda *_: None); signal.alarm(60); import os; os.write({fd}, b'set null\\n')\nwhile 1: subprocess.run(['sleep', '60'])"
    tree = plant({"name": "wrapper", "exec": [sys.executable, "-c", again]})
    tree.hear("set")
    outcome = Ending(tree.hold("wrapper"), whole_tree=True, kill_after=0.3).finish()
    assert outcome.outcome == "killed"
    assert tree.living() == []


def test_the_tools_of_a_command_have_sessions_of_their_own_and_are_let_be_at_first(plant):
    tree = plant({"name": "wrapper", "children": [{"name": "agent", "swallow": ["SIGTERM"], "children": [{"name": "tool", "session": True}]}]})
    ending = Ending(tree.hold("wrapper"), whole_tree=True, clock=Clock())
    ending.begin()
    until(lambda: gone(tree, "wrapper"), what="the wrapper's end")
    assert ending.step() is None and lives(tree, "agent", "tool")
    assert ending.finish(hurry=True).outcome == "killed"
    assert gone(tree, *tree.pids)


@linux
def test_an_agent_whose_wrapper_has_died_is_found_by_its_subreaper_and_has_its_grace(plant, subreaper):
    tree = plant({"name": "wrapper", "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.1}]})
    wrapper = tree.hold("wrapper")
    os.kill(tree.pids["wrapper"], signal.SIGKILL)
    until(wrapper.gone, what="the wrapper's end")
    outcome = Ending(wrapper, whole_tree=True, extra_roots=(subreaper,)).finish()
    assert outcome.outcome == "terminated" and outcome.waited_ms >= 100
    assert gone(tree, "agent")


@linux
def test_children_of_ours_with_other_work_are_spared(plant, subreaper):
    tree, beside = plant({"name": "agent"}), plant({"name": "helper"})
    helper = identify(beside.pids["helper"])
    assert Ending(tree.hold(), whole_tree=True, extra_roots=(subreaper,), spared=(helper,)).finish().outcome == "terminated"
    assert identify(helper.pid) == helper


# Other signals.


def test_sigint_for_the_agent_sigterm_for_its_tools(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": [{"name": "tool", "session": True, "ignore": ["SIGINT"]}]})
    outcome = Ending(tree.hold(), signal=signal.SIGINT).finish()
    assert outcome.outcome == "terminated" and outcome.reason.endswith("ended on SIGINT")
    assert tree.root.wait() == -signal.SIGINT
    assert gone(tree, "tool")


def test_sigkill_at_once(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]})
    outcome = Ending(tree.hold(), signal=signal.SIGKILL, kill_after=60, clock=Ticking()).finish()
    assert outcome.outcome == "killed" and outcome.reason.endswith("and 1 that it had started ended on SIGKILL")
    assert outcome.waited_ms < 1000
    assert gone(tree, "agent", "tool")


def test_no_grace_at_all(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]})
    outcome = Ending(tree.hold(), kill_after=0.0, clock=Ticking()).finish()
    assert outcome.outcome == "killed" and outcome.waited_ms < 1000
    assert gone(tree, "agent", "tool")


def test_a_grace_without_end_never_kills(plant):
    tree = plant({"name": "agent", "swallow": ["SIGTERM"], "children": [{"name": "tool", "session": True, "swallow": ["SIGTERM"]}]})
    clock = Clock()
    ending = Ending(tree.hold(), kill_after=math.inf, clock=clock)
    ending.begin()
    for _ in range(3):
        clock.now += 1e9
        assert ending.step() is None
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(lambda: gone(tree, "agent"), what="the agent's end")
    for _ in range(3):
        clock.now += 1e9
        assert ending.step() is None and lives(tree, "tool")
    os.kill(tree.pids["tool"], signal.SIGKILL)
    assert until(ending.step, what="the end").outcome == "terminated"


def test_sigstop_pauses_and_sigcont_sends_on(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    agent = tree.hold()
    outcome = Ending(agent, signal=signal.SIGSTOP, kill_after=0.0).finish()
    assert outcome.outcome == "interrupted" and outcome.left == []
    assert outcome.reason == f"process {agent.identity.pid} and 6 that it had started stand still until SIGCONT"
    assert {state(tree, name) for name in tree.pids} == {"T"}
    outcome = Ending(agent, signal=signal.SIGCONT).finish(hurry=True)
    assert outcome.outcome == "interrupted" and outcome.reason.endswith("6 that it had started were told to go on")
    until(lambda: {state(tree, name) for name in tree.pids} == {"S"}, what="their going on")
    assert Ending(agent, signal=signal.SIGSTOP).finish().outcome == "interrupted"
    assert Ending(agent).finish().outcome == "terminated", "one that is paused can be ended"
    assert Ending(agent, signal=signal.SIGSTOP).finish().outcome == "not_running"


def test_sigtstp_is_sent_and_may_be_taken(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTSTP", "children": [{"name": "tool", "session": True, "exit_on": "SIGTSTP"}]})
    outcome = Ending(tree.hold(), signal=signal.SIGTSTP).finish()
    assert outcome.outcome == "interrupted"
    assert outcome.reason == f"process {tree.pids['agent']} and 1 that it had started were sent SIGTSTP"
    until(lambda: gone(tree, "agent", "tool"), what="what they do on it")


def test_a_pause_leaves_nothing_running_that_forks(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "forks": 300, "every": 0.001}]})
    assert Ending(tree.hold(), signal=signal.SIGSTOP).finish().outcome == "interrupted"
    assert {process_at(pid).state for pid in tree.living()} == {"T"}


def test_what_does_not_stand_still_is_told_and_named(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    clock = Clock()
    agent = Unkillable(tree.pids["agent"])
    ending = Ending(agent, signal=signal.SIGSTOP, clock=clock)
    ending.begin()
    assert ending.step() is None
    until(lambda: state(tree, "tool") == "T", what="the tool's standing still")
    clock.now += CONFIRM
    outcome = ending.step()
    assert outcome.outcome == "failed" and outcome.left == [agent.identity]
    assert outcome.reason == f"process {agent.identity.pid} does not stand still"
    agent.close()


# The breaker is to end itself, or is ended.


@pytest.mark.parametrize("begun", [False, True])
def test_in_a_hurry_nothing_has_any_grace_left(plant, begun):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]})
    ending = Ending(tree.hold(), kill_after=60, clock=Ticking())
    if begun:
        ending.begin()
        assert ending.step() is None
    outcome = ending.finish(hurry=True)
    assert outcome.outcome == "killed" and outcome.waited_ms < 1000
    assert outcome.reason == f"process {tree.pids['agent']} and 1 that it had started ended on SIGKILL"
    assert gone(tree, "agent", "tool")


def test_in_a_hurry_tools_have_no_grace_left_either(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]})
    ending = Ending(tree.hold(), clock=Clock())
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    assert ending.step() is None and lives(tree, "tool")
    assert ending.finish(hurry=True).outcome == "terminated"
    assert gone(tree, "tool")


def breaker(tree: Tree, name: str, *, kill_after: float = 5.0, marker: str = "") -> subprocess.Popen:
    """A breaker beside the tree, armed on its agent."""
    reading = os.open(f"/proc/{os.getpid()}/fd/{tree.said}", os.O_WRONLY)
    child = subprocess.Popen([*BREAKER, str(reading), str(tree.pids["agent"]), name, str(kill_after), marker], pass_fds=(reading,))
    os.close(reading)
    tree.hear(name)
    return child


@linux
def test_a_breaker_that_is_killed_in_the_grace_leaves_an_agent_that_another_can_end(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": TOOLS})
    with breaker(tree, "breaker", kill_after=60) as first:
        first.send_signal(signal.SIGUSR1)
        tree.hear("breaker-began")
        first.kill()
    assert lives(tree, "agent", "command")
    assert Ending(tree.hold(), kill_after=0.1).finish().outcome == "killed"
    assert gone(tree, *[name for name in tree.pids if not name.startswith("breaker")])


@linux
def test_a_breaker_that_is_killed_in_the_grace_has_asked_the_agent_to_end(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "after": 0.3})
    agent = tree.hold()
    with breaker(tree, "breaker", kill_after=60) as first:
        first.send_signal(signal.SIGUSR1)
        tree.hear("breaker-began")
        first.kill()
    until(agent.gone, what="the agent's end")


def test_two_breakers_on_one_agent_both_tell_that_it_ended(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "after": 0.1, "children": TOOLS})
    first, second = Ending(tree.hold()), Ending(tree.hold())
    first.begin()
    second.begin()
    assert [first.finish().outcome, second.finish().outcome] == ["terminated", "terminated"]
    assert gone(tree, *tree.pids)
    assert Ending(second.agent).finish().outcome == "not_running"


# Where the breaker stands: beside the agent, or in its tree.


def hear_outcome(tree: Tree, name: str) -> list[str]:
    return tree.hear(f"{name}-outcome")


def signalled(tree: Tree, *names: str) -> None:
    for name in names:
        os.kill(tree.pids[name], signal.SIGUSR1)


def sh(script: str) -> dict:
    return {"name": "hook", "exec": ["sh", "-c", script]}


@linux
def test_the_agent_as_our_parent(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool"}, {"name": "hook", "exec": [*BREAKER, "{fd}", "{agent}", "breaker", "5", ""]}]})
    assert tree.hear("breaker") == tree.pids["hook"]
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker") == ["terminated", f"process {tree.pids['agent']} and 1 that it had started ended on SIGTERM"]
    assert gone(tree, "agent", "tool") and lives(tree, "breaker")


@linux
def test_our_own_ancestors_below_the_agent_are_spared_and_its_parents(plant):
    hook = {"name": "hook", "children": [{"name": "inner", "exec": [*BREAKER, "{fd}", "{agent}", "breaker", "5", ""]}]}
    tree = plant({"name": "terminal", "children": [{"name": "agent", "children": [{"name": "tool"}, hook]}, {"name": "neighbour"}]})
    tree.hear("breaker")
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool") and lives(tree, "breaker", "hook", "terminal", "neighbour")


@pytest.fixture
def named(tmp_path):
    """A script that is run with programs of telling names, and the numbers of those that run in a tree."""
    for name, program in (("upstream", "sleep"), ("downstream", "cat"), ("beside", "sleep")):
        (tmp_path / name).symlink_to(shutil.which(program))

    def script(text: str) -> dict:
        return sh(text.replace("@", f"{tmp_path}/").replace("BREAKER", f"{BREAKER[0]} {BREAKER[1]} {{fd}} {{agent}} breaker 5"))

    def running(tree: Tree) -> dict[str, int]:
        return {Path(words[0]).name: pid for pid in tree.living() if (words := command_line(pid)) and words[0].startswith(str(tmp_path))}

    return script, running


@linux
@pytest.mark.parametrize("own_group", [False, True], ids=["in the agent's group", "in a group of its own"])
def test_our_own_pipeline_is_spared_where_the_agent_has_started_it(plant, named, own_group):
    script, running = named
    hook = script("@beside 60 & @upstream 60 | BREAKER '' | @downstream") | {"session": own_group}
    tree = plant({"name": "agent", "children": [{"name": "tool"}, {"name": "shell", "session": True}, hook]}, start_new_session=True)
    tree.hear("breaker")
    members = until(lambda: len(found := running(tree)) == 3 and found, what="the whole pipeline")
    assert (process_at(tree.pids["breaker"]).group == tree.pids["agent"]) is not own_group
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool", "shell"), "tools in the agent's own process group too"
    assert lives(tree, "hook", "breaker", "breaker-helper")
    assert identify(members["upstream"]) and identify(members["downstream"])
    assert (identify(members["beside"]) is not None) is own_group, "only a group of its own tells that it is the hook's"


@linux
def test_our_own_pipeline_is_spared_where_its_shell_has_ended(plant, named):
    """A hook has to return: what it starts goes on in the background, and is the agent's only by its mark."""
    script, running = named
    mark = uuid.uuid4().hex
    hook = script(f"@upstream 60 | BREAKER SESSION_ID={mark} | @downstream & true") | {"environment": {"SESSION_ID": mark}}
    tool = {"name": "tool", "orphan": True, "environment": {"SESSION_ID": mark}}
    tree = plant({"name": "agent", "children": [tool, hook]}, start_new_session=True)
    tree.hear("breaker")
    until(lambda: gone(tree, "hook"), what="the hook's end")
    members = until(lambda: len(found := running(tree)) == 2 and found, what="the whole pipeline")
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool")
    assert identify(members["upstream"]) and identify(members["downstream"]) and lives(tree, "breaker", "breaker-helper")


@linux
def test_the_agent_as_our_sibling_in_one_pipeline(plant, tmp_path):
    """agent | breaker, in one process group, the agent's tools writing to the same pipe."""
    tree = plant({"name": "agent", "children": TOOLS}, stdout=subprocess.PIPE, process_group=0)
    fd = os.open(f"/proc/{os.getpid()}/fd/{tree.said}", os.O_WRONLY)
    command = [*BREAKER, str(fd), str(tree.pids["agent"]), "breaker", "5", ""]
    with (
        subprocess.Popen(command, pass_fds=(fd,), stdin=tree.root.stdout, process_group=tree.root.pid) as breaker,
        subprocess.Popen(["sleep", "60"], process_group=tree.root.pid) as beside,
    ):
        os.close(fd)
        tree.hear("breaker")
        breaker.send_signal(signal.SIGUSR1)
        assert hear_outcome(tree, "breaker") == ["terminated", f"process {tree.pids['agent']} and 6 that it had started ended on SIGTERM"]
        assert gone(tree, "agent", "shell", "command", "grouped", "orphan", "server", "worker")
        assert beside.poll() is None, "the agent's process group is not the agent's"
        beside.kill()
        breaker.kill()


@linux
def test_two_breakers_that_the_agents_hooks_have_started_do_not_end_each_other(plant, tmp_path):
    program = tmp_path / "trace-kill"
    program.symlink_to(BREAKER[1])
    hooks = [{"name": f"hook{n}", "session": True, "exec": [sys.executable, str(program), "{fd}", "{agent}", f"breaker{n}", "5", ""]} for n in (1, 2)]
    tree = plant({"name": "agent", "children": [*hooks, *TOOLS]})
    tree.hear("breaker1")
    tree.hear("breaker2")
    signalled(tree, "breaker1", "breaker2")
    assert [hear_outcome(tree, "breaker1")[0], hear_outcome(tree, "breaker2")[0]] in (["terminated"] * 2, ["terminated", "not_running"], ["not_running", "terminated"])
    assert lives(tree, "breaker1", "breaker2") and gone(tree, "agent", "command", "orphan", "server")


def test_the_agents_neighbours_are_let_be(plant):
    """A process group or a session is shared with others: the terminal's shell, the rest of its pipeline."""
    tree = plant({"name": "shell", "session": False, "children": [{"name": "agent", "children": TOOLS[1:]}, {"name": "tee"}, {"name": "editor", "group": True}]})
    assert Ending(tree.hold()).finish().outcome == "terminated"
    assert lives(tree, "shell", "tee", "editor") and gone(tree, "agent", "server", "worker")


# What is another user's, and what is in a container.


@root
def test_a_tool_of_another_user_is_left_and_told(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}, {"name": "foreign", "session": True, "user": NOBODY}]})
    foreign = identify(tree.pids["foreign"])
    outcome = Ending(tree.hold()).finish()
    assert outcome.outcome == "failed" and outcome.left == [foreign]
    assert outcome.reason == f"process {foreign.pid}, which it had started, is nobody's and lives on"
    assert gone(tree, "agent", "tool") and lives(tree, "foreign")


@root
def test_a_mark_on_another_users_process_proves_nothing(plant):
    mark = uuid.uuid4().hex
    other = {"name": "foreign", "session": True, "children": [{"name": "child", "environment": {"SESSION_ID": mark}}]}
    tree = plant({"name": "beside", "children": [{"name": "agent"}, other]})
    become = f"import os, signal; os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); os.write({{fd}}, b'ready null\\n'); signal.pause()"
    faker = plant({"name": "faker", "environment": {"SESSION_ID": mark}, "exec": [sys.executable, "-c", become]})
    faker.hear("ready")
    outcome = Ending(tree.hold(), marker=("SESSION_ID", mark)).finish()
    assert outcome.outcome == "terminated" and lives(faker, "faker")
    assert gone(tree, "child") and lives(tree, "foreign", "beside")


@linux
def test_what_the_agent_has_started_in_a_container_is_ended_too(plant):
    inside = "import os, signal, subprocess; signal.signal(15, signal.SIG_IGN); os.write({fd}, b'ready null\\n'); subprocess.run(['sleep', '60'])"
    command = [word for word in namespaced(sys.executable, "-c", inside) if word != "--kill-child"]
    tree = plant({"name": "agent", "children": [{"name": "sandbox", "session": True, "exec": command}]})
    tree.hear("ready")
    assert Ending(tree.hold(), kill_after=0.2).finish().outcome == "terminated"
    assert tree.living() == []


# What goes wrong.


def test_what_does_not_end_is_told_and_named(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    clock = Clock()
    agent = Unkillable(tree.pids["agent"])
    ending = Ending(agent, clock=clock)
    ending.begin()
    clock.now += 10
    assert ending.step() is None and ending.step() is None and lives(tree, "tool"), "killed, but not gone yet"
    clock.now += CONFIRM + 0.1
    assert ending.step() is None
    until(lambda: gone(tree, "tool"), what="the tools' end: they are ended all the same")
    clock.now += 2.1
    assert ending.step() is None
    clock.now += CONFIRM + 0.1
    outcome = ending.step()
    assert outcome.outcome == "failed" and outcome.left == [agent.identity]
    assert outcome.reason == f"process {agent.identity.pid} lives on after SIGKILL"
    agent.close()


def test_a_device_that_does_not_answer_is_named(plant, monkeypatch):
    tree = plant({"name": "agent"})
    agent = Unkillable(tree.pids["agent"])
    row = process_at(agent.identity.pid)
    monkeypatch.setattr(ending_module, "process_at", lambda pid: Process(row.identity, 1, 1, 1, "D", False, False))
    clock = Clock()
    ending = Ending(agent, clock=clock, kill_after=0)
    ending.begin()
    for _ in range(4):
        ending.step()
        clock.now += CONFIRM + 0.1
    assert ending.step().reason == f"process {agent.identity.pid} lives on after SIGKILL (it waits for a device)"
    agent.close()


def test_a_process_table_that_cannot_be_read_keeps_no_signal_from_the_agent(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    agent = tree.hold()

    def unreadable():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(offspring, "rows", unreadable)
    clock = Clock()
    ending = Ending(agent, clock=clock)
    ending.begin()
    until(agent.gone, what="the agent's end")
    while not (outcome := ending.step()):
        clock.now += CONFIRM / 2
    assert outcome.outcome == "failed" and outcome.left == []
    assert outcome.reason == "the process table cannot be read ([Errno 24] Too many open files)"
    assert lives(tree, "tool"), "and so it is not said to be ended"


def test_a_process_table_that_can_be_read_again_is_looked_at_again(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    agent = tree.hold()
    failures = iter([True, False, True, True])

    def sometimes():
        if next(failures, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return rows()

    ending = Ending(agent, kill_after=0.5)
    ending.begin()
    monkeypatch.setattr(offspring, "rows", sometimes)
    assert ending.finish().outcome == "terminated"
    assert gone(tree, *tree.pids)


def test_a_tool_that_could_not_be_looked_at_is_looked_at_again(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    failures = iter([True])

    def sometimes(pid):
        if next(failures, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return command_line(pid)

    monkeypatch.setattr(offspring, "command_line", sometimes)
    ending = Ending(tree.hold(), kill_after=60)
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end, after which the tool is nobody's")
    assert lives(tree, "tool")
    assert ending.finish().outcome == "terminated"
    assert gone(tree, "tool")


def test_without_pidfds_everything_is_ended_all_the_same(plant, monkeypatch):
    def refuse(pid, flags=0):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": TOOLS})
    ending = Ending(tree.hold(), kill_after=0.1)
    ending.begin()
    assert ending.fds() == []
    outcome = ending.finish()
    assert (outcome.outcome, outcome.left) == ("killed", [])
    assert gone(tree, *tree.pids)


def test_a_number_that_was_a_tools_leads_to_nobody_when_it_is_anothers(plant, monkeypatch):
    """The children of a process, and the members of a session, that have the number of an ended tool are others."""
    tree = plant({"name": "agent", "swallow": ["SIGTERM"], "children": [{"name": "tool", "session": True}]})
    beside = plant({"name": "user", "session": True, "children": [{"name": "work", "session": True}]}, start_new_session=False)
    tool, user, work = tree.pids["tool"], beside.pids["user"], beside.pids["work"]
    ending = Ending(tree.hold(), kill_after=0.2)
    ending.begin()

    def reused():
        """The table as it would be if the user's shell had been given the tool's number."""
        table = all_processes()
        table.pop(tool, None)
        shell, child = table.pop(user, None), table.pop(work, None)
        if shell and child:
            table[tool] = Process(Identity(tool, "another"), shell.parent, tool, tool, "S", False, False)
            table[work] = Process(child.identity, tool, work, tool, "S", False, False)
        return iter(table.values())

    os.kill(tool, signal.SIGKILL)
    monkeypatch.setattr(offspring, "rows", reused)
    assert ending.finish().outcome == "killed"
    assert lives(beside, "user", "work")


def test_the_passes_after_the_last_find_are_counted(plant, monkeypatch):
    tree = plant({"name": "agent"})
    looks = []
    ending = Ending(tree.hold())
    ending.begin()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    look = ending._offspring.look
    monkeypatch.setattr(ending._offspring, "look", lambda *found: looks.append(1) or look(*found))
    assert ending.step().outcome == "terminated"
    assert PASSES == 5 and len(looks) == PASSES + 1, "one that finds the agent gone, and those that find nothing more"


def test_an_outcome_is_what_the_kill_event_says():
    outcome = Outcome("killed", "why", 1.5)
    assert outcome.left == [] and json.dumps(outcome.outcome) == '"killed"'


@linux
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_first_signal_is_sent_before_anything_is_written(plant):
    """Nothing that a full disk or a slow reader could hold up comes before the signal."""
    tree = plant({"name": "agent", "children": TOOLS})
    trace = ["strace", "-f", "-qq", "-e", "trace=write,sendto,pidfd_send_signal", "-o", "/dev/stderr"]
    fd = os.open(f"/proc/{os.getpid()}/fd/{tree.said}", os.O_WRONLY)
    command = [*trace, *BREAKER, str(fd), str(tree.pids["agent"]), "breaker", "5", ""]
    with subprocess.Popen(command, pass_fds=(fd,), stderr=subprocess.PIPE, text=True) as child:
        os.close(fd)
        if "ptrace" in (first := child.stderr.readline()):
            pytest.skip("strace may not trace here")
        pid = tree.hear("breaker")
        os.kill(pid, signal.SIGUSR1)
        assert hear_outcome(tree, "breaker")[0] == "terminated"
        os.kill(pid, signal.SIGUSR1)
        said = (first + child.stderr.read()).splitlines()
    armed = next(number for number, line in enumerate(said) if '"breaker ' in line)
    after = [line for line in said[armed + 1 :] if "SIGUSR1" not in line and "resumed" not in line]
    signals = [number for number, line in enumerate(after) if "SIGTERM" in line]
    assert signals and not any("write(" in line or "sendto(" in line for line in after[: signals[0]])
