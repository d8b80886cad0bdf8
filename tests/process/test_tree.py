"""The agent's tree is found, whatever it does to get away, and what is beside it is let be."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from agent_pipes.process import tree as tree_module
from agent_pipes.process.handle import ProcessHandle, reap_adopted
from agent_pipes.process.table import (
    Identity,
    Process,
    all_processes,
    command_line,
    identify,
    process_at,
    rows,
)
from agent_pipes.process.terminator import Terminator
from tests.helpers.planting import BREAKER, TOOLS, Clock, gone, hear_outcome, lives, signalled
from tests.helpers.support import until
from tests.helpers.trees import Tree
from tests.process.test_handle import NOBODY, namespaced

linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that has this")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


# What cannot be seen at once.


def test_a_tool_that_could_not_be_looked_at_is_looked_at_again(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    failures = iter([True])

    def sometimes(pid):
        if next(failures, False):
            raise OSError(errno.EMFILE, "Too many open files")
        return command_line(pid)

    monkeypatch.setattr(tree_module, "command_line", sometimes)
    terminator = Terminator(tree.hold(), kill_after=60)
    terminator.start()
    until(lambda: gone(tree, "agent"), what="the agent's end, after which the tool is nobody's")
    assert lives(tree, "tool")
    assert terminator.finish().outcome == "terminated"
    assert gone(tree, "tool")


def test_a_number_that_was_a_tools_leads_to_nobody_when_it_is_anothers(plant, monkeypatch):
    """A reused PID does not make its children, nor its session, the agent's."""
    tree = plant(
        {"name": "agent", "swallow": ["SIGTERM"], "children": [{"name": "tool", "session": True}]}
    )
    beside = plant(
        {"name": "user", "session": True, "children": [{"name": "work", "session": True}]},
        start_new_session=False,
    )
    tool, user, work = tree.pids["tool"], beside.pids["user"], beside.pids["work"]
    terminator = Terminator(tree.hold(), kill_after=0.2)
    terminator.start()

    def reused():
        """The table as it would be if the user's shell had been given the tool's number."""
        table = all_processes()
        table.pop(tool, None)
        shell, child = table.pop(user, None), table.pop(work, None)
        if shell and child:
            table[tool] = Process(
                Identity(tool, "another"), shell.parent, tool, tool, "S", False, False
            )
            table[work] = Process(child.identity, tool, work, tool, "S", False, False)
        return iter(table.values())

    os.kill(tool, signal.SIGKILL)
    monkeypatch.setattr(tree_module, "rows", reused)
    assert terminator.finish().outcome == "killed"
    assert lives(beside, "user", "work")


# What forks while it is killed. All of it is bounded, in number and in time.


def test_a_tool_that_forks_while_it_is_killed_is_ended_whole(plant):
    tree = plant(
        {
            "name": "agent",
            "children": [
                {
                    "name": "tool",
                    "session": True,
                    "ignore": ["SIGTERM"],
                    "forks": 400,
                    "every": 0.002,
                }
            ],
        }
    )
    outcome = Terminator(tree.hold(), kill_after=0.2).finish()
    assert (outcome.outcome, outcome.survivors) == ("terminated", [])
    assert tree.living() == []


def test_an_agent_that_forks_while_it_is_killed_is_ended_whole(plant):
    tree = plant({"name": "agent", "ignore": ["SIGTERM"], "forks": 400, "every": 0.002})
    outcome = Terminator(tree.hold(), kill_after=0.2).finish()
    assert (outcome.outcome, outcome.survivors) == ("killed", [])
    assert tree.living() == []


@pytest.mark.parametrize("attempt", range(3))
def test_daemons_that_run_from_their_parents_are_found_by_their_mark(plant, attempt):
    mark = uuid.uuid4().hex
    hopping = {
        "name": "daemon",
        "orphan": True,
        "session": True,
        "environment": {"SESSION_ID": mark},
        "hops": 600,
        "every": 0.002,
        "ignore": ["SIGTERM"],
    }
    tree = plant({"name": "agent", "children": [hopping, {**hopping, "name": "another"}]})
    outcome = Terminator(tree.hold(), kill_after=0.1, marker=("SESSION_ID", mark)).finish()
    assert (outcome.outcome, outcome.survivors) == ("terminated", [])
    assert tree.living() == []


def test_what_has_ended_before_it_could_be_held_is_looked_for_again(plant, monkeypatch):
    """A daemon that forks and exits is gone when it is found: the scan has found something."""
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    looks: list[int] = []

    def with_a_ghost():
        looks.append(1)
        yield from rows()
        if len(looks) < 9:
            yield Process(
                Identity(2**22 + len(looks), "1"), 1, 1, tree.pids["tool"], "S", False, False
            )

    monkeypatch.setattr(tree_module, "rows", with_a_ghost)
    assert Terminator(tree.hold()).finish().outcome == "terminated"
    assert len(looks) > 8, "it was scanned until nothing new was found"


def test_what_never_stops_starting_itself_anew_is_told(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    numbers = iter(range(2**22 + 1, 2**31))

    def with_ghosts():
        yield from rows()
        yield Process(Identity(next(numbers), "1"), 1, 1, tree.pids["tool"], "S", False, False)

    monkeypatch.setattr(tree_module, "rows", with_ghosts)
    clock = Clock()
    terminator = Terminator(tree.hold(), clock=clock)
    terminator.start()
    until(lambda: gone(tree, "agent"), what="the agent's end")
    while not (outcome := terminator.step()):
        clock.now += 1
    assert outcome.outcome == "failed" and outcome.survivors == []
    assert outcome.reason == "its child processes keep starting new ones"


def test_what_is_new_is_held_while_the_table_is_still_being_read(plant, monkeypatch):
    tree = plant({"name": "agent", "children": [{"name": "tool", "session": True}]})
    family = tree_module.ProcessTree(tree.hold())
    told: list[int] = []
    table = all_processes()
    tool = table.pop(tree.pids["tool"])

    def born_late():
        yield tool
        assert told == [tool.pid], "it may be gone before all of the table has been read"
        yield from table.values()

    monkeypatch.setattr(tree_module, "rows", lambda: iter(table.values()))
    assert family.scan() == []
    monkeypatch.setattr(tree_module, "rows", born_late)
    new = family.scan(lambda handle: told.append(handle.identity.pid))
    assert [handle.identity for handle in new] == [tool.identity] == list(family.live)
    family.close()


@linux
@pytest.mark.parametrize("attempt", range(3))
def test_daemons_that_run_from_their_parents_are_found_by_their_subreaper(
    plant, subreaper, attempt
):
    hopping = {
        "name": "daemon",
        "orphan": True,
        "session": True,
        "hops": 600,
        "every": 0.002,
        "ignore": ["SIGTERM"],
    }
    tree = plant({"name": "agent", "children": [hopping, {**hopping, "name": "another"}]})
    outcome = Terminator(
        tree.hold(), kill_after=0.1, whole_tree=True, extra_roots=(subreaper,)
    ).finish()
    assert (outcome.outcome, outcome.survivors) == ("terminated", [])
    assert tree.living() == []
    reap_adopted({tree.root.pid})
    assert tree.root.wait() == -signal.SIGTERM, (
        "the command's own status is left to whoever waits for it"
    )


# Where the breaker stands: beside the agent, or in its tree.


def sh(script: str) -> dict:
    return {"name": "hook", "exec": ["sh", "-c", script]}


@linux
def test_the_agent_as_our_parent(plant):
    tree = plant(
        {
            "name": "agent",
            "children": [
                {"name": "tool"},
                {"name": "hook", "exec": [*BREAKER, "{fd}", "{agent}", "breaker", "5", ""]},
            ],
        }
    )
    assert tree.hear("breaker") == tree.pids["hook"]
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker") == [
        "terminated",
        f"killed process {tree.pids['agent']} and its 1 child process (SIGTERM)",
    ]
    assert gone(tree, "agent", "tool") and lives(tree, "breaker")


@linux
def test_our_own_ancestors_below_the_agent_are_spared_and_its_parents(plant):
    hook = {
        "name": "hook",
        "children": [{"name": "inner", "exec": [*BREAKER, "{fd}", "{agent}", "breaker", "5", ""]}],
    }
    tree = plant(
        {
            "name": "terminal",
            "children": [
                {"name": "agent", "children": [{"name": "tool"}, hook]},
                {"name": "neighbour"},
            ],
        }
    )
    tree.hear("breaker")
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool") and lives(tree, "breaker", "hook", "terminal", "neighbour")


@pytest.fixture
def named(tmp_path):
    """A script that is run by programs of telling names, and the PIDs of those in a tree."""
    for name, program in (("upstream", "sleep"), ("downstream", "cat"), ("beside", "sleep")):
        (tmp_path / name).symlink_to(shutil.which(program))

    def script(text: str) -> dict:
        return sh(
            text.replace("@", f"{tmp_path}/").replace(
                "BREAKER", f"{BREAKER[0]} {BREAKER[1]} {{fd}} {{agent}} breaker 5"
            )
        )

    def running(tree: Tree) -> dict[str, int]:
        return {
            Path(words[0]).name: pid
            for pid in tree.living()
            if (words := command_line(pid)) and words[0].startswith(str(tmp_path))
        }

    return script, running


@linux
@pytest.mark.parametrize(
    "own_group", [False, True], ids=["in the agent's group", "in a group of its own"]
)
def test_our_own_pipeline_is_spared_where_the_agent_has_started_it(plant, named, own_group):
    script, running = named
    hook = script("@beside 60 & @upstream 60 | BREAKER '' | @downstream") | {"session": own_group}
    tree = plant(
        {"name": "agent", "children": [{"name": "tool"}, {"name": "shell", "session": True}, hook]},
        start_new_session=True,
    )
    tree.hear("breaker")
    members = until(lambda: len(found := running(tree)) == 3 and found, what="the whole pipeline")
    assert (process_at(tree.pids["breaker"]).group == tree.pids["agent"]) is not own_group
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool", "shell"), "tools in the agent's own process group too"
    assert lives(tree, "hook", "breaker", "breaker-helper")
    assert identify(members["upstream"]) and identify(members["downstream"])
    assert (identify(members["beside"]) is not None) is own_group, (
        "only a group of its own tells that it is the hook's"
    )


@linux
def test_our_own_pipeline_is_spared_where_its_shell_has_ended(plant, named):
    """A hook's child runs on in the background, and is the agent's only by its marker."""
    script, running = named
    mark = uuid.uuid4().hex
    hook = script(f"@upstream 60 | BREAKER SESSION_ID={mark} | @downstream & true") | {
        "environment": {"SESSION_ID": mark}
    }
    tool = {"name": "tool", "orphan": True, "environment": {"SESSION_ID": mark}}
    tree = plant({"name": "agent", "children": [tool, hook]}, start_new_session=True)
    tree.hear("breaker")
    until(lambda: gone(tree, "hook"), what="the hook's end")
    members = until(lambda: len(found := running(tree)) == 2 and found, what="the whole pipeline")
    signalled(tree, "breaker")
    assert hear_outcome(tree, "breaker")[0] == "terminated"
    assert gone(tree, "agent", "tool")
    assert (
        identify(members["upstream"])
        and identify(members["downstream"])
        and lives(tree, "breaker", "breaker-helper")
    )


@linux
def test_the_agent_as_our_sibling_in_one_pipeline(plant, tmp_path):
    """agent | breaker, in one process group, the agent's tools writing to the same pipe."""
    tree = plant({"name": "agent", "children": TOOLS}, stdout=subprocess.PIPE, process_group=0)
    fd = os.open(f"/proc/{os.getpid()}/fd/{tree.said}", os.O_WRONLY)
    command = [*BREAKER, str(fd), str(tree.pids["agent"]), "breaker", "5", ""]
    with (
        subprocess.Popen(
            command, pass_fds=(fd,), stdin=tree.root.stdout, process_group=tree.root.pid
        ) as breaker,
        subprocess.Popen(["sleep", "60"], process_group=tree.root.pid) as beside,
    ):
        os.close(fd)
        tree.hear("breaker")
        breaker.send_signal(signal.SIGUSR1)
        assert hear_outcome(tree, "breaker") == [
            "terminated",
            f"killed process {tree.pids['agent']} and its 6 child processes (SIGTERM)",
        ]
        assert gone(tree, "agent", "shell", "command", "grouped", "orphan", "server", "worker")
        assert beside.poll() is None, "the agent's process group is not the agent's"
        beside.kill()
        breaker.kill()


@linux
def test_two_breakers_that_the_agents_hooks_have_started_do_not_end_each_other(plant, tmp_path):
    program = tmp_path / "trace-kill"
    program.symlink_to(BREAKER[1])
    hooks = [
        {
            "name": f"hook{n}",
            "session": True,
            "exec": [sys.executable, str(program), "{fd}", "{agent}", f"breaker{n}", "5", ""],
        }
        for n in (1, 2)
    ]
    tree = plant({"name": "agent", "children": [*hooks, *TOOLS]})
    tree.hear("breaker1")
    tree.hear("breaker2")
    signalled(tree, "breaker1", "breaker2")
    assert [hear_outcome(tree, "breaker1")[0], hear_outcome(tree, "breaker2")[0]] in (
        ["terminated"] * 2,
        ["terminated", "not_running"],
        ["not_running", "terminated"],
    )
    assert lives(tree, "breaker1", "breaker2") and gone(
        tree, "agent", "command", "orphan", "server"
    )


def test_the_agents_neighbours_are_let_be(plant):
    """A process group or session is shared with the terminal's shell and its pipeline."""
    tree = plant(
        {
            "name": "shell",
            "session": False,
            "children": [
                {"name": "agent", "children": TOOLS[1:]},
                {"name": "tee"},
                {"name": "editor", "group": True},
            ],
        }
    )
    assert Terminator(tree.hold()).finish().outcome == "terminated"
    assert lives(tree, "shell", "tee", "editor") and gone(tree, "agent", "server", "worker")


# What is another user's, and what is in a container.


@root
def test_a_tool_of_another_user_is_left_and_told(plant):
    tree = plant(
        {
            "name": "agent",
            "children": [
                {"name": "tool", "session": True},
                {"name": "foreign", "session": True, "user": NOBODY},
            ],
        }
    )
    foreign = identify(tree.pids["foreign"])
    outcome = Terminator(tree.hold()).finish()
    assert outcome.outcome == "failed" and outcome.survivors == [foreign]
    assert outcome.reason == f"its child process {foreign.pid} belongs to nobody and is still alive"
    assert gone(tree, "agent", "tool") and lives(tree, "foreign")


@root
def test_a_mark_on_another_users_process_proves_nothing(plant):
    mark = uuid.uuid4().hex
    other = {
        "name": "foreign",
        "session": True,
        "children": [{"name": "child", "environment": {"SESSION_ID": mark}}],
    }
    tree = plant({"name": "beside", "children": [{"name": "agent"}, other]})
    become = (
        f"import os, signal; os.setresuid({NOBODY}, {NOBODY}, {NOBODY}); "
        "os.write({fd}, b'ready null\\n'); signal.pause()"
    )
    faker = plant(
        {
            "name": "faker",
            "environment": {"SESSION_ID": mark},
            "exec": [sys.executable, "-c", become],
        }
    )
    faker.hear("ready")
    outcome = Terminator(tree.hold(), marker=("SESSION_ID", mark)).finish()
    assert outcome.outcome == "terminated" and lives(faker, "faker")
    assert gone(tree, "child") and lives(tree, "foreign", "beside")


@linux
def test_what_the_agent_has_started_in_a_container_is_ended_too(plant):
    inside = (
        "import os, signal, subprocess; signal.signal(15, signal.SIG_IGN); "
        "os.write({fd}, b'ready null\\n'); subprocess.run(['sleep', '60'])"
    )
    command = [word for word in namespaced(sys.executable, "-c", inside) if word != "--kill-child"]
    tree = plant(
        {"name": "agent", "children": [{"name": "sandbox", "session": True, "exec": command}]}
    )
    tree.hear("ready")
    assert Terminator(tree.hold(), kill_after=0.2).finish().outcome == "terminated"
    assert tree.living() == []


@linux
def test_the_first_signal_goes_out_before_all_processes_are_looked_at_and_what_was_started_is_held(
    plant, monkeypatch
):
    tools = [
        {"name": "tool", "children": [{"name": "grandchild"}]},
        {"name": "other", "session": True},
    ]
    tree = plant({"name": "agent", "children": tools})
    order = []
    send = ProcessHandle.send
    monkeypatch.setattr(tree_module, "rows", lambda: order.append("table") or rows())
    monkeypatch.setattr(
        ProcessHandle,
        "send",
        lambda held, number: (number and order.append(number)) or send(held, number),
    )
    terminator = Terminator(tree.hold(), kill_after=60)
    terminator.start()
    assert order[0] == signal.SIGTERM and "table" not in order
    assert terminator.finish().outcome == "terminated"
    assert (
        gone(tree, "agent")
        and gone(tree, "tool")
        and gone(tree, "grandchild")
        and gone(tree, "other")
    )


@linux
def test_where_the_kernel_does_not_name_children_all_processes_are_looked_at_first(
    plant, monkeypatch
):
    tree = plant({"name": "agent", "children": [{"name": "tool"}]})
    stat = os.stat

    def without(path, *rest, **more):
        if str(path).endswith("/children"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return stat(path, *rest, **more)

    monkeypatch.setattr(os, "stat", without)
    terminator = Terminator(tree.hold(), kill_after=60)
    terminator.start()
    assert terminator.finish().outcome == "terminated" and gone(tree, "tool")
