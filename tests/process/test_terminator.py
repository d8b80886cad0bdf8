"""Terminating an agent: process trees shaped as those of real agents end, and it is said how."""

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
import uuid

import pytest

from agent_pipes.process import terminator as terminator_module
from agent_pipes.process import tree as tree_module
from agent_pipes.process.handle import ProcessHandle
from agent_pipes.process.table import Process, command_line, process_at, rows
from agent_pipes.process.terminator import KILL_TIMEOUT_S, Terminator
from tests.helpers.planting import (
    BREAKER,
    TOOLS,
    Clock,
    Ticking,
    gone,
    hear_outcome,
    lives,
    signalled,
    state,
)
from tests.helpers.support import until
from tests.helpers.trees import Tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that has this")


class Unkillable(ProcessHandle):
    """A process that waits for a device that does not answer: no signal ends it."""

    def send(self, number: int) -> bool:
        return super().send(0)


# An agent, and what it has started.


def test_an_agent_ends_on_sigterm_and_its_tools_with_it(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    outcome = Terminator(tree.hold()).finish()
    pid = tree.pids["agent"]
    assert (outcome.outcome, outcome.survivors) == ("terminated", [])
    assert outcome.reason == f"killed process {pid} and its 6 child processes (SIGTERM)"
    assert 0 < outcome.waited_ms < 10_000
    assert gone(tree, *tree.pids)
    assert tree.root.wait() == -signal.SIGTERM


def test_an_agent_without_tools_is_told_of_alone(plant):
    tree = plant({"name": "agent"})
    assert (
        Terminator(tree.hold()).finish().reason == f"killed process {tree.pids['agent']} (SIGTERM)"
    )


def test_it_goes_on_step_by_step_and_is_woken_by_what_ends(plant):
    tree = plant({"name": "agent", "children": TOOLS})
    terminator = Terminator(tree.hold())
    assert terminator.fds() == []
    terminator.start()
    steps = 0
    while (outcome := terminator.step()) is None:
        ready = terminator_module.select.select(terminator.fds(), [], [], 20)[0]
        assert ready, "what is waited for tells that it has ended"
        steps += 1
        assert steps < 50, "what has ended is not waited for again"
    assert outcome.outcome == "terminated"
    assert terminator.fds() == []
    assert terminator.step() is outcome, "it is over, and stays so"


def test_the_tools_are_let_be_until_the_agent_is_gone(plant):
    """An agent whose tool is killed asks its model what to do next."""
    tree = plant({"name": "agent", "swallow": ["SIGTERM"], "children": TOOLS})
    clock = Clock()
    terminator = Terminator(tree.hold(), clock=clock, kill_after=10)
    terminator.start()
    for _ in range(20):
        clock.now += 0.4
        assert terminator.step() is None
    assert lives(tree, *tree.pids)
    clock.now += 2.1
    outcome = until(terminator.step, what="the end, the grace being over")
    assert outcome.outcome == "killed" and gone(tree, *tree.pids)
    assert (
        outcome.reason == f"killed process {tree.pids['agent']} and its 6 child processes "
        "(SIGKILL; SIGTERM had no effect in 10 s)"
    )


def test_the_grace_begins_with_the_signal(plant, monkeypatch):
    """A scan takes long on a busy machine, and the agent has not been signalled yet."""
    tree = plant({"name": "agent", "swallow": ["SIGTERM"]})
    clock = Clock()
    terminator = Terminator(tree.hold(), kill_after=10, clock=clock)
    scan = tree_module.ProcessTree.scan_children

    def slowly(family):
        clock.now += 15
        return scan(family)

    monkeypatch.setattr(tree_module.ProcessTree, "scan_children", slowly)
    terminator.start()
    assert terminator.step() is None
    clock.now += 9
    assert terminator.step() is None and lives(tree, "agent")
    clock.now += 2
    assert until(terminator.step).outcome == "killed"


def test_an_agent_that_ignores_sigterm_is_killed(plant):
    tree = plant(
        {
            "name": "agent",
            "ignore": ["SIGTERM"],
            "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}],
        }
    )
    outcome = Terminator(tree.hold(), kill_after=0.1).finish()
    assert outcome.outcome == "killed" and outcome.waited_ms >= 100
    assert gone(tree, "agent", "tool")
    assert tree.root.wait() == -signal.SIGKILL


def test_an_agent_that_is_stopped_is_sent_on_to_its_end(plant):
    tree = plant(
        {
            "name": "agent",
            "swallow": ["SIGTERM"],
            "stopped": True,
            "children": [{"name": "tool", "session": True, "stopped": True}],
        }
    )
    until(lambda: state(tree, "agent") == state(tree, "tool") == "T", what="their standing still")
    other = plant(
        {
            "name": "agent",
            "stopped": True,
            "children": [{"name": "tool", "session": True, "stopped": True}],
        }
    )
    until(lambda: state(other, "agent") == state(other, "tool") == "T", what="their standing still")
    assert Terminator(other.hold(), kill_after=20).finish().outcome == "terminated"
    assert gone(other, "agent", "tool")
    assert Terminator(tree.hold(), kill_after=0.1).finish().outcome == "killed"
    assert gone(tree, "agent", "tool")


def test_an_agent_that_exits_during_its_grace_is_not_killed(plant):
    tree = plant(
        {
            "name": "agent",
            "exit_on": "SIGTERM",
            "after": 0.2,
            "children": [{"name": "tool", "session": True}],
        }
    )
    outcome = Terminator(tree.hold()).finish()
    assert outcome.outcome == "terminated" and 200 <= outcome.waited_ms < 10_000
    assert tree.root.wait() == 0, "its exit status proves nothing"
    assert gone(tree, "tool")


def test_an_agent_that_becomes_a_zombie_has_ended(plant):
    tree = plant({"name": "wrapper", "children": [{"name": "agent"}]})
    outcome = Terminator(tree.hold()).finish()
    assert outcome.outcome == "terminated"
    assert process_at(tree.pids["agent"]).dead and lives(tree, "wrapper")


def test_an_agent_that_executes_itself_again_is_still_the_same(plant):
    again = (
        "import os, signal, sys; "
        "signal.signal(15, lambda *_: os.execvp('sleep', ['sleep', '60'])); "
        "os.write({fd}, b'set null\\n'); signal.pause()"
    )
    tree = plant({"name": "agent", "exec": [sys.executable, "-c", again]})
    tree.hear("set")
    terminator = Terminator(tree.hold(), kill_after=0.5)
    terminator.start()
    until(lambda: command_line(tree.pids["agent"]) == ["sleep", "60"], what="the other program")
    assert terminator.finish().outcome == "killed"
    assert gone(tree, "agent")


def test_an_agent_that_had_ended_is_not_running(plant):
    tree = plant({"name": "wrapper", "children": [{"name": "agent"}]})
    agent = tree.hold()
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(agent.has_exited, what="its end")
    outcome = Terminator(agent).finish()
    assert (outcome.outcome, outcome.reason) == (
        "not_running",
        f"process {tree.pids['agent']} had already exited before it could be killed",
    )
    assert lives(tree, "wrapper")


def test_what_an_ended_agent_had_left_is_ended_by_its_mark(plant):
    mark = {"SESSION_ID": uuid.uuid4().hex}
    tree = plant(
        {
            "name": "wrapper",
            "children": [
                {
                    "name": "agent",
                    "children": [{"name": "tool", "session": True, "environment": mark}],
                }
            ],
        }
    )
    agent = tree.hold()
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(agent.has_exited, what="its end")
    outcome = Terminator(agent, marker=("SESSION_ID", mark["SESSION_ID"])).finish()
    assert outcome.outcome == "not_running" and outcome.reason.endswith(
        "before it could be killed; killed 1 that it had left running"
    )
    assert gone(tree, "tool") and lives(tree, "wrapper")


def test_only_the_very_mark_counts(plant):
    mark = uuid.uuid4().hex
    tree = plant(
        {
            "name": "beside",
            "children": [
                {"name": "agent"},
                {"name": "other", "session": True, "environment": {"SESSION_ID": mark + "0"}},
            ],
        }
    )
    assert Terminator(tree.hold(), marker=("SESSION_ID", mark)).finish().outcome == "terminated"
    assert lives(tree, "beside", "other")


def test_tools_that_ignore_sigterm_are_killed_and_the_agent_still_ended_by_itself(plant):
    tree = plant(
        {
            "name": "agent",
            "children": [
                {
                    "name": "tool",
                    "session": True,
                    "ignore": ["SIGTERM"],
                    "children": [{"name": "below"}],
                }
            ],
        }
    )
    clock = Clock()
    terminator = Terminator(tree.hold(), clock=clock)
    terminator.start()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    clock.now += 1
    assert terminator.step() is None
    clock.now += 1.9
    assert terminator.step() is None and lives(tree, "tool"), "it has a grace of its own"
    clock.now += 0.2
    assert (
        until(terminator.step, what="the end, the tools' grace being over").outcome == "terminated"
    )
    assert gone(tree, "tool", "below")


def test_what_a_tool_starts_as_it_ends_is_ended_too(plant):
    last = {"name": "last", "orphan": True, "ignore": ["SIGTERM"]}
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True, "then": last}]})
    assert Terminator(tree.hold(), kill_after=0.3).finish().outcome == "terminated"
    tree.hear("last")
    assert tree.living() == []


def test_what_a_tool_starts_in_its_grace_is_asked_to_end_too(plant):
    later = {"name": "later", "session": True, "children": [{"name": "more"}]}
    tree = plant(
        {
            "name": "agent",
            "children": [{"name": "tool", "session": True, "swallow": ["SIGTERM"], "asked": later}],
        }
    )
    terminator = Terminator(tree.hold(), kill_after=math.inf)
    terminator.start()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    assert terminator.step() is None
    signalled(tree, "tool")
    tree.hear("later")
    tree.hear("more")
    assert terminator.step() is None
    until(lambda: gone(tree, "later", "more"), what="their end, though nothing is ever killed")
    os.kill(tree.pids["tool"], signal.SIGKILL)
    assert terminator.finish().outcome == "terminated"


def test_what_the_agent_starts_during_its_grace_is_ended_too(plant):
    later = (
        "import os, signal, subprocess, sys; signal.signal(15, lambda *_: ("
        "subprocess.Popen(['sleep', '60'], start_new_session=True), "
        "os.write({fd}, b'started null\\n'))); "
        "os.write({fd}, b'set null\\n')\nwhile 1: signal.pause()"
    )
    tree = plant({"name": "agent", "exec": [sys.executable, "-c", later]})
    tree.hear("set")
    terminator = Terminator(tree.hold(), kill_after=0.3)
    terminator.start()
    tree.hear("started")
    assert terminator.finish().outcome == "killed"
    assert tree.living() == []


# Wrappers.


def test_a_wrapper_that_swallows_sigterm_ends_by_itself_with_its_child(plant):
    tree = plant(
        {
            "name": "wrapper",
            "follow": True,
            "swallow": ["SIGTERM"],
            "children": [{"name": "agent", "exit_on": "SIGTERM", "children": TOOLS}],
        }
    )
    assert Terminator(tree.hold("agent")).finish().outcome == "terminated"
    assert tree.root.wait(20) == 0, "it was not signalled: its child's status is its own"
    assert gone(tree, *tree.pids)


WRAPPED = {
    "name": "wrapper",
    "follow": True,
    "swallow": ["SIGTERM"],
    "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.1, "children": TOOLS}],
}


def test_a_command_that_wraps_its_agent_is_ended_with_it(plant):
    tree = plant(WRAPPED, start_new_session=True)
    outcome = Terminator(tree.hold("wrapper"), whole_tree=True).finish()
    assert (outcome.outcome, outcome.survivors) == ("terminated", [])
    assert tree.root.wait(20) == 0, "the wrapper ended by itself"
    assert gone(tree, *tree.pids)


def test_a_wrapper_alone_would_have_left_its_agent_running(plant):
    """Without `whole_tree` a wrapper swallows the signal, and its agent never hears of it."""
    tree = plant(WRAPPED)
    terminator = Terminator(tree.hold("wrapper"), clock=Clock())
    terminator.start()
    assert terminator.step() is None and lives(tree, "wrapper", "agent")
    assert terminator.finish(hurry=True).outcome == "killed"
    assert gone(tree, *tree.pids)


def test_a_loader_that_dies_at_once_leaves_no_agent_going_on(plant):
    tree = plant(
        {
            "name": "loader",
            "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.2, "children": TOOLS}],
        }
    )
    outcome = Terminator(tree.hold("loader"), whole_tree=True).finish()
    assert outcome.outcome == "terminated" and outcome.waited_ms >= 200, (
        "the agent has its grace, the loader being gone or not"
    )
    assert gone(tree, *tree.pids)


def test_a_wrapper_that_would_start_its_agent_again_is_killed_with_it(plant):
    again = (
        "import os, subprocess, signal; signal.signal(15, lambda *_: None); signal.alarm(60); "
        "os.write({fd}, b'set null\\n')\nwhile 1: subprocess.run(['sleep', '60'])"
    )
    tree = plant({"name": "wrapper", "exec": [sys.executable, "-c", again]})
    tree.hear("set")
    outcome = Terminator(tree.hold("wrapper"), whole_tree=True, kill_after=0.3).finish()
    assert outcome.outcome == "killed"
    assert tree.living() == []


def test_the_tools_of_a_command_have_sessions_of_their_own_and_are_let_be_at_first(plant):
    tree = plant(
        {
            "name": "wrapper",
            "children": [
                {
                    "name": "agent",
                    "swallow": ["SIGTERM"],
                    "children": [{"name": "tool", "session": True}],
                }
            ],
        }
    )
    terminator = Terminator(tree.hold("wrapper"), whole_tree=True, clock=Clock())
    terminator.start()
    until(lambda: gone(tree, "wrapper"), what="the wrapper's end")
    assert terminator.step() is None and lives(tree, "agent", "tool")
    assert terminator.finish(hurry=True).outcome == "killed"
    assert gone(tree, *tree.pids)


@linux
def test_an_agent_whose_wrapper_has_died_is_found_by_its_subreaper_and_has_its_grace(
    plant, subreaper
):
    tree = plant(
        {"name": "wrapper", "children": [{"name": "agent", "exit_on": "SIGTERM", "after": 0.1}]}
    )
    wrapper = tree.hold("wrapper")
    os.kill(tree.pids["wrapper"], signal.SIGKILL)
    until(wrapper.has_exited, what="the wrapper's end")
    outcome = Terminator(wrapper, whole_tree=True, extra_roots=(subreaper,)).finish()
    assert outcome.outcome == "terminated" and outcome.waited_ms >= 100
    assert gone(tree, "agent")


# Other signals.


def test_sigint_for_the_agent_sigterm_for_its_tools(plant):
    tree = plant(
        {
            "name": "agent",
            "ignore": ["SIGTERM"],
            "children": [{"name": "tool", "session": True, "ignore": ["SIGINT"]}],
        }
    )
    outcome = Terminator(tree.hold(), signal=signal.SIGINT).finish()
    assert outcome.outcome == "terminated" and outcome.reason.endswith("(SIGINT)")
    assert tree.root.wait() == -signal.SIGINT
    assert gone(tree, "tool")


def test_sigkill_at_once(plant):
    tree = plant(
        {
            "name": "agent",
            "exit_on": "SIGTERM",
            "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}],
        }
    )
    outcome = Terminator(
        tree.hold(), signal=signal.SIGKILL, kill_after=60, clock=Ticking()
    ).finish()
    assert outcome.outcome == "killed" and outcome.reason.endswith(
        "and its 1 child process (SIGKILL)"
    )
    assert outcome.waited_ms < 1000
    assert gone(tree, "agent", "tool")


def test_no_grace_at_all(plant):
    tree = plant(
        {
            "name": "agent",
            "ignore": ["SIGTERM"],
            "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}],
        }
    )
    outcome = Terminator(tree.hold(), kill_after=0.0, clock=Ticking()).finish()
    assert outcome.outcome == "killed" and outcome.waited_ms < 1000
    assert gone(tree, "agent", "tool")


def test_a_grace_without_end_never_kills(plant):
    tree = plant(
        {
            "name": "agent",
            "swallow": ["SIGTERM"],
            "children": [{"name": "tool", "session": True, "swallow": ["SIGTERM"]}],
        }
    )
    clock = Clock()
    terminator = Terminator(tree.hold(), kill_after=math.inf, clock=clock)
    terminator.start()
    for _ in range(3):
        clock.now += 1e9
        assert terminator.step() is None
    os.kill(tree.pids["agent"], signal.SIGKILL)
    until(lambda: gone(tree, "agent"), what="the agent's end")
    for _ in range(3):
        clock.now += 1e9
        assert terminator.step() is None and lives(tree, "tool")
    os.kill(tree.pids["tool"], signal.SIGKILL)
    assert until(terminator.step, what="the end").outcome == "terminated"


# The breaker is to end itself, or is ended.


@pytest.mark.parametrize("begun", [False, True])
def test_in_a_hurry_nothing_has_any_grace_left(plant, begun):
    tree = plant(
        {
            "name": "agent",
            "ignore": ["SIGTERM"],
            "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}],
        }
    )
    terminator = Terminator(tree.hold(), kill_after=60, clock=Ticking())
    if begun:
        terminator.start()
        assert terminator.step() is None
    outcome = terminator.finish(hurry=True)
    assert outcome.outcome == "killed" and outcome.waited_ms < 1000
    assert (
        outcome.reason == f"killed process {tree.pids['agent']} and its 1 child process (SIGKILL)"
    )
    assert gone(tree, "agent", "tool")


def test_in_a_hurry_tools_have_no_grace_left_either(plant):
    tree = plant(
        {"name": "agent", "children": [{"name": "tool", "session": True, "ignore": ["SIGTERM"]}]}
    )
    terminator = Terminator(tree.hold(), clock=Clock())
    terminator.start()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    assert terminator.step() is None and lives(tree, "tool")
    assert terminator.finish(hurry=True).outcome == "terminated"
    assert gone(tree, "tool")


def breaker(
    tree: Tree, name: str, *, kill_after: float = 5.0, marker: str = ""
) -> subprocess.Popen:
    """A breaker beside the tree, armed on its agent."""
    reading = os.open(f"/proc/{os.getpid()}/fd/{tree.said}", os.O_WRONLY)
    child = subprocess.Popen(
        [*BREAKER, str(reading), str(tree.pids["agent"]), name, str(kill_after), marker],
        pass_fds=(reading,),
    )
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
    assert Terminator(tree.hold(), kill_after=0.1).finish().outcome == "killed"
    assert gone(tree, *[name for name in tree.pids if not name.startswith("breaker")])


@linux
def test_a_breaker_that_is_killed_in_the_grace_has_asked_the_agent_to_end(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "after": 0.3})
    agent = tree.hold()
    with breaker(tree, "breaker", kill_after=60) as first:
        first.send_signal(signal.SIGUSR1)
        tree.hear("breaker-began")
        first.kill()
    until(agent.has_exited, what="the agent's end")


def test_two_breakers_on_one_agent_both_tell_that_it_ended(plant):
    tree = plant({"name": "agent", "exit_on": "SIGTERM", "after": 0.1, "children": TOOLS})
    first, second = Terminator(tree.hold()), Terminator(tree.hold())
    first.start()
    second.start()
    assert [first.finish().outcome, second.finish().outcome] == ["terminated", "terminated"]
    assert gone(tree, *tree.pids)
    assert Terminator(second.agent).finish().outcome == "not_running"


# What goes wrong.


def test_what_does_not_end_is_told_and_named(plant):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    clock = Clock()
    agent = Unkillable(tree.pids["agent"])
    terminator = Terminator(agent, clock=clock)
    terminator.start()
    clock.now += 10
    assert terminator.step() is None and terminator.step() is None and lives(tree, "tool"), (
        "killed, but not gone yet"
    )
    clock.now += KILL_TIMEOUT_S + 0.1
    assert terminator.step() is None
    until(lambda: gone(tree, "tool"), what="the tools' end: they are ended all the same")
    clock.now += 2.1
    assert terminator.step() is None
    clock.now += KILL_TIMEOUT_S + 0.1
    outcome = terminator.step()
    assert outcome.outcome == "failed" and outcome.survivors == [agent.identity]
    assert outcome.reason == f"process {agent.identity.pid} is still alive after SIGKILL"
    agent.close()


def test_a_device_that_does_not_answer_is_named(plant, monkeypatch):
    tree = plant({"name": "agent"})
    agent = Unkillable(tree.pids["agent"])
    row = process_at(agent.identity.pid)
    monkeypatch.setattr(
        terminator_module,
        "process_at",
        lambda pid: Process(row.identity, 1, 1, 1, "D", False, False),
    )
    clock = Clock()
    terminator = Terminator(agent, clock=clock, kill_after=0)
    terminator.start()
    for _ in range(4):
        terminator.step()
        clock.now += KILL_TIMEOUT_S + 0.1
    assert (
        terminator.step().reason
        == f"process {agent.identity.pid} is still alive after SIGKILL (it waits for a device)"
    )
    agent.close()


def test_a_process_table_that_cannot_be_read_keeps_no_signal_from_the_agent(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    agent = tree.hold()

    def unreadable():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(tree_module, "rows", unreadable)
    clock = Clock()
    terminator = Terminator(agent, clock=clock)
    terminator.start()
    until(agent.has_exited, what="the agent's end")
    if sys.platform == "linux":
        # What the kernel names as its child is ended; whether there is more cannot be said.
        until(lambda: terminator.step() or gone(tree, "tool"), what="the tool's end")
    while not (outcome := terminator.step()):
        clock.now += KILL_TIMEOUT_S / 2
    assert outcome.outcome == "failed" and outcome.survivors == []
    assert outcome.reason == "the process table cannot be read ([Errno 24] Too many open files)"
    assert sys.platform == "linux" or lives(tree, "tool"), "and so it is not said to be ended"


def test_a_process_table_that_can_be_read_again_is_looked_at_again(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    agent = tree.hold()
    failures = iter([True, False, True, True])

    def sometimes():
        if next(failures, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return rows()

    terminator = Terminator(agent, kill_after=0.5)
    terminator.start()
    monkeypatch.setattr(tree_module, "rows", sometimes)
    assert terminator.finish().outcome == "terminated"
    assert gone(tree, *tree.pids)


def test_without_pidfds_everything_is_ended_all_the_same(plant, monkeypatch):
    def refuse(pid, flags=0):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "children": TOOLS})
    terminator = Terminator(tree.hold(), kill_after=0.1)
    terminator.start()
    assert terminator.fds() == []
    outcome = terminator.finish()
    assert (outcome.outcome, outcome.survivors) == ("killed", [])
    assert gone(tree, *tree.pids)


@linux
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_first_signal_is_sent_before_anything_is_written(plant):
    """Nothing that a full disk or a slow reader could hold up comes before the signal."""
    tree = plant({"name": "agent", "children": TOOLS})
    trace = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=write,sendto,pidfd_send_signal",
        "-o",
        "/dev/stderr",
    ]
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
    assert signals and not any(
        "write(" in line or "sendto(" in line for line in after[: signals[0]]
    )
