"""Naming, finding and looking into processes: real ones, by /proc and by ps(1)."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from agent_pipes.process import table
from agent_pipes.process.open_files import holders, standard_pipe
from agent_pipes.process.table import (
    Identity,
    Process,
    alive,
    all_processes,
    ancestors,
    below,
    command_line,
    cwd,
    environment_value,
    identify,
    namespaces,
    process_at,
    thread_group,
    user,
)
from tests.helpers.planting import descendants
from tests.helpers.support import until
from tests.helpers.trees import Tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@pytest.fixture(params=["proc", "ps"])
def way(request, monkeypatch):
    """Both ways of finding things out: what other systems do, Linux can be asked to do too."""
    if request.param == "ps":
        if not shutil.which("ps"):
            pytest.skip("there is no ps(1) here")
        monkeypatch.setattr(table, "HAS_PROC", False)
    elif sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    return request.param


@pytest.fixture
def plant():
    trees: list[Tree] = []

    def plant(root: dict, **popen) -> Tree:
        trees.append(Tree(root, **popen))
        return trees[-1]

    yield plant
    for tree in trees:
        tree.close()


def test_a_process_is_its_number_and_its_start(way):
    me = identify(os.getpid())
    assert me is not None and me.pid == os.getpid() and me.started
    assert identify(os.getpid()) == me
    assert alive(me)


@linux
def test_the_start_time_is_field_22_of_stat():
    with open("/proc/self/stat") as file:
        assert identify(os.getpid()).started == file.read().rpartition(")")[2].split()[19]


@pytest.mark.parametrize(
    "pid", [0, -1, -os.getpid(), 2**22 + 1], ids=["0", "-1", "our group", "none"]
)
def test_no_process_has_no_identity(way, pid):
    assert identify(pid) is None
    assert process_at(pid) is None
    assert ancestors(pid) == []


def test_a_zombie_is_no_process(way, plant):
    tree = plant({"name": "agent", "children": [{"name": "zombie", "zombie": True}]})
    zombie = tree.hear("zombie")
    assert process_at(zombie).dead
    assert identify(zombie) is None
    assert zombie not in all_processes()
    assert zombie in all_processes(dead=True)
    assert zombie not in [each.pid for each in descendants(tree.pids["agent"])]


@linux
def test_a_threads_number_is_no_process():
    numbers: list[int] = []
    told, leave = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: (numbers.append(threading.get_native_id()), told.set(), leave.wait(20))
    )
    thread.start()
    told.wait(20)
    try:
        assert process_at(numbers[0]) is not None, "its row can be read: that is the trap"
        assert identify(numbers[0]) is None
        assert thread_group(numbers[0]) == os.getpid()
        assert numbers[0] not in all_processes()
    finally:
        leave.set()
        thread.join()


FIRST_THREAD_ENDS = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("ready", flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


@linux
@pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"),
    reason="the number of exit(2) is not known for this machine",
)
def test_a_process_whose_first_thread_has_ended_lives():
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_THREAD_ENDS], stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout.readline() == b"ready\n"
            until(lambda: process_at(child.pid).state == "Z", what="the end of its first thread")
            assert not process_at(child.pid).dead
            assert identify(child.pid) is not None
        finally:
            child.kill()
    assert identify(child.pid) is None


@linux
def test_a_name_with_brackets_and_blanks_hides_nothing(plant):
    name = ") Z 1 1 (x"
    code = (
        f"open('/proc/self/comm', 'w').write({name!r}); "
        "print('ready', flush=True); import signal; signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        row = process_at(child.pid)
        child.kill()
    assert row.parent == os.getpid() and not row.dead and row.identity.started.isdigit()


def test_a_process_that_executes_another_program_stays_the_same(way):
    code = (
        "import os, sys; print(flush=True); sys.stdin.read(1); os.execvp('sleep', ['sleep', '60'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        before = identify(child.pid)
        child.stdin.write(b"x")
        child.stdin.flush()
        until(lambda: command_line(child.pid) == ["sleep", "60"], what="the other program")
        assert identify(child.pid) == before
        child.kill()


def test_another_process_of_the_same_number_is_not_it():
    me = identify(os.getpid())
    assert not alive(Identity(me.pid, "1"))


def test_an_ended_process_is_not_alive(way, plant):
    tree = plant({"name": "agent"})
    agent = identify(tree.pids["agent"])
    assert alive(agent)
    os.kill(agent.pid, signal.SIGKILL)
    until(lambda: not alive(agent), what="its end")


def test_what_stands_above_and_below(way, plant):
    tree = plant(
        {
            "name": "wrapper",
            "children": [
                {
                    "name": "agent",
                    "children": [
                        {"name": "shell", "session": True, "children": [{"name": "tool"}]}
                    ],
                }
            ],
        }
    )
    pids = tree.pids
    assert ancestors(pids["agent"])[0] == identify(pids["wrapper"])
    assert [each.pid for each in descendants(pids["wrapper"])] == [
        pids["agent"],
        pids["shell"],
        pids["tool"],
    ]
    up = [each.pid for each in ancestors(pids["tool"])]
    assert up[:4] == [pids["shell"], pids["agent"], pids["wrapper"], os.getpid()]
    assert [each.pid for each in ancestors(os.getpid())][:1] == (
        [os.getppid()] if os.getppid() else []
    ), "a container has no parent"


def test_an_orphan_is_nobodys_descendant_but_stays_in_its_session(way, plant):
    tree = plant(
        {
            "name": "agent",
            "children": [
                {"name": "shell", "session": True, "children": [{"name": "orphan", "orphan": True}]}
            ],
        }
    )
    orphan = tree.pids["orphan"]
    assert orphan not in [each.pid for each in descendants(tree.pids["agent"])]
    assert process_at(orphan).session == tree.pids["shell"] == process_at(orphan).group


def row(pid: int, above: int) -> Process:
    return Process(Identity(pid, "1"), above, 0, 0, "S", False, False)


def test_below_names_each_once_and_ends_where_a_table_turns_in_circles():
    # A table is not read at one instant: two rows of it may name each other as parents.
    table = {
        each.pid: each
        for each in (row(2, 1), row(3, 2), row(4, 3), row(5, 6), row(6, 5), row(7, 1))
    }
    assert [each.pid for each in below([2], table)] == [3, 4]
    assert [each.pid for each in below([2, 3], table)] == [4]
    assert [each.pid for each in below([5], table)] == [6]
    assert below([99], table) == []


def test_the_table_shows_parents_groups_and_sessions(way):
    table = all_processes()
    me = table[os.getpid()]
    assert (me.parent, me.group, me.session) == (os.getppid(), os.getpgrp(), os.getsid(0))
    assert not me.dead and not me.kernel


@linux
def test_a_thread_of_the_kernel_says_so():
    row = process_at(2)
    if row is None or row.parent != 0:
        pytest.skip("the kernel's threads are not seen from here")
    assert row.kernel


def test_a_stopped_process_stands_still(way, plant):
    tree = plant({"name": "agent", "stopped": True})
    until(lambda: process_at(tree.pids["agent"]).state == "T", what="its standing still")


def test_its_command_line(way):
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import signal; signal.pause()", "two"],
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        words = command_line(child.pid)
        child.kill()
    assert words[0] == sys.executable and words[1] == "-c" and words[-1] == "two"
    assert command_line(2**22 + 1) == []


@linux
def test_a_command_lines_words_are_kept_whole():
    odd = ["a b", "", "über", os.fsdecode(b"\xff"), "--x=y\nz"]
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import signal; signal.pause()", *odd],
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        words = command_line(child.pid)
        child.kill()
    assert words[3:] == odd


def test_its_directory(way, tmp_path):
    if way == "ps" and not shutil.which("lsof"):
        pytest.skip("there is no lsof(8) here")
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import signal; signal.pause()"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as child:
        child.stdout.readline()
        folder = cwd(child.pid)
        child.kill()
    assert folder == os.path.realpath(tmp_path)
    assert cwd(2**22 + 1) == ""


def test_its_user(way):
    assert user(os.getpid()) == os.getuid()
    assert user(2**22 + 1) is None


@linux
def test_a_variable_of_its_environment(plant):
    tree = plant(
        {"name": "agent", "environment": {"SESSION": "a=b", "EMPTY": "", "SESSION_NOT": "x"}}
    )
    agent = tree.pids["agent"]
    assert environment_value(agent, "SESSION") == "a=b"
    assert environment_value(agent, "EMPTY") == ""
    assert environment_value(agent, "SESS") is None
    assert environment_value(2**22 + 1, "SESSION") is None


def test_without_proc_an_environment_is_not_told(monkeypatch):
    monkeypatch.setattr(table, "HAS_PROC", False)
    assert environment_value(os.getpid(), "PATH") is None


def test_who_holds_a_file_open(way, tmp_path):
    if way == "ps" and not shutil.which("lsof"):
        pytest.skip("there is no lsof(8) here")
    file = tmp_path / "rollout.jsonl"
    me = identify(os.getpid())
    file.write_text("")
    assert holders(file) == []
    with open(file) as _:
        assert holders(file) == [me]
        assert holders(file, writing=True) == [], (
            "whoever follows the session reads it: that is not the agent"
        )
        with open(file, "a") as _, open(file, "a") as _:
            assert holders(file, writing=True) == [me]
    with open(file, "r+") as _:
        assert holders(str(file), writing=True) == [me]
    assert holders(file) == []
    assert holders(tmp_path / "nothing") == []


@linux
def test_a_file_is_held_by_whatever_name(tmp_path):
    file, renamed, linked = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    with open(file, "a"):
        file.rename(renamed)
        os.link(renamed, linked)
        assert (
            holders(renamed, writing=True)
            == holders(linked, writing=True)
            == [identify(os.getpid())]
        )


@linux
def test_both_ends_of_a_pipe_have_one_name():
    reading, writing = os.pipe()
    with subprocess.Popen(["sleep", "60"], stdin=reading, stdout=writing) as child:
        name = standard_pipe(child.pid, 0)
        assert name and standard_pipe(child.pid, 1) == name
        assert standard_pipe(child.pid, 9) == ""
        child.kill()
    os.close(reading)
    os.close(writing)
    with open(os.devnull) as null, subprocess.Popen(["sleep", "60"], stdin=null) as child:
        assert standard_pipe(child.pid, 0) == "", "a file is no pipe"
        child.kill()


@linux
def test_we_are_in_our_own_namespace():
    assert namespaces(os.getpid()) == 1


def test_what_cannot_be_told_now_is_not_taken_for_an_end(monkeypatch):
    me = identify(os.getpid())

    def none_left(*arguments, **more):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    monkeypatch.setattr(subprocess, "run", none_left)
    with pytest.raises(OSError, match="Too many"):
        alive(me)
    with pytest.raises(OSError, match="Too many"):
        all_processes()


def test_a_system_without_ps_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(table, "HAS_PROC", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        identify(os.getpid())


def test_a_ps_that_does_not_answer_is_an_error(monkeypatch):
    def never(command, **more):
        raise subprocess.TimeoutExpired(command, 10)

    monkeypatch.setattr(table, "HAS_PROC", False)
    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(TimeoutError, match="ps does not answer"):
        identify(os.getpid())


def test_a_stopped_process_has_pending_signals(way):
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert table.pending_signals(child.pid) == set()
            child.send_signal(signal.SIGSTOP)
            until(lambda: table.is_stopped(child.pid), what="a stopped process")
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGUSR1)
            assert table.pending_signals(child.pid) == {signal.SIGTERM, signal.SIGUSR1}
        finally:
            child.kill()
    assert table.pending_signals(child.pid) == set()
