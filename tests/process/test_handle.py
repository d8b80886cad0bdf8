"""Handles reach their process or none, and refuse what must not be signalled, with the reason."""

import ctypes
import errno
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from agent_pipes.process import handle, table
from agent_pipes.process.handle import (
    NotPermitted,
    ProcessHandle,
    become_subreaper,
    clear_death_signal,
    self_test,
)
from agent_pipes.process.table import Identity, identify, process_at
from tests.helpers.planting import descendants
from tests.helpers.support import ROOT, until
from tests.helpers.trees import Tree

linux = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that has this")
NOBODY = 65534


@pytest.fixture(autouse=True)
def stay_ourselves():
    """A number wrongly let through would end the tests: have that seen as a failure."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    yield
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before, "a file descriptor was left open"


@contextmanager
def tree(root: dict, **popen):
    grown = Tree(root, **popen)
    try:
        yield grown
    finally:
        grown.close()


@contextmanager
def holding(pid: int | Identity, **more):
    one = ProcessHandle(pid, **more)
    try:
        yield one
    finally:
        one.close()


def no_pidfd(monkeypatch, error: int = errno.ENOSYS) -> None:
    def refuse(pid, flags=0):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)


@pytest.fixture(params=["pidfd", "no pidfd"])
def way(request, monkeypatch):
    if request.param == "no pidfd":
        no_pidfd(monkeypatch)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("there are no pidfds here")
    return request.param


# What is refused.


@pytest.mark.parametrize(
    ("pid", "why"),
    [
        (0, "0 is not a PID: a signal to it would reach many processes"),
        (-1, "-1 is not a PID"),
        (-12345, "-12345 is not a PID"),
        (1, "process 1 is init"),
        (2**22 + 1, "there is no process 4194305"),
        (2**80, "there is no process"),
    ],
)
def test_numbers_that_are_no_agent_are_refused(way, pid, why):
    with pytest.raises(NotPermitted, match=f"^{why}"):
        ProcessHandle(pid)
    with pytest.raises(NotPermitted, match=f"^{why}"):
        ProcessHandle(Identity(pid, "1"), allowed=Identity(pid, "1"))


def test_we_ourselves_are_refused(way):
    with pytest.raises(NotPermitted, match="is this breaker itself"):
        ProcessHandle(os.getpid())
    with pytest.raises(NotPermitted, match="is this breaker itself"):
        ProcessHandle(os.getpid(), allowed=identify(os.getpid()))


def as_child(run) -> str:
    """Return the value of `run` in a grandchild of ours, whose parent is nothing but that."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        inner = os.fork()
        if inner == 0:
            try:
                os.write(writing, str(run()).encode())
            finally:
                os._exit(0)
        os.waitpid(inner, 0)
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def attempt(pid, **more) -> str:
    try:
        with holding(pid, **more) as one:
            return "gone" if one.has_exited() else "held"
    except NotPermitted as reason:
        return str(reason)


def test_our_ancestors_are_refused(way):
    assert "is an ancestor of this breaker" in as_child(lambda: attempt(os.getppid()))
    me = os.getpid()
    if me > 1:
        assert as_child(lambda: attempt(me)).startswith(
            f"process {me} is an ancestor of this breaker"
        )


def test_an_ancestor_that_is_the_agent_is_not_refused(way):
    assert as_child(lambda: attempt(os.getppid(), allowed=identify(os.getppid()))) == "held"


def test_an_ancestor_is_refused_where_another_is_the_agent(way):
    assert "is an ancestor of this breaker" in as_child(
        lambda: attempt(os.getppid(), allowed=Identity(os.getppid(), "1"))
    )


def test_another_process_under_the_number_is_refused(way):
    with (
        tree({"name": "agent"}) as grown,
        pytest.raises(NotPermitted, match="has exited, and its PID now belongs to another process"),
    ):
        ProcessHandle(Identity(grown.pids["agent"], "1"))


def test_an_ended_process_is_refused(way):
    with tree({"name": "agent"}) as grown:
        agent = identify(grown.pids["agent"])
        grown.root.kill()
        grown.root.wait()
        with pytest.raises(NotPermitted, match=f"there is no process {agent.pid}"):
            ProcessHandle(agent)


@linux
def test_a_process_that_ends_while_it_is_taken_hold_of_is_refused(way, monkeypatch):
    with tree({"name": "agent"}) as grown:
        agent = identify(grown.pids["agent"])
        reads = iter([process_at(agent.pid), None])
        monkeypatch.setattr(handle, "process_at", lambda pid: next(reads))
        with pytest.raises(NotPermitted, match="has just exited"):
            ProcessHandle(agent)


@linux
def test_a_number_that_changes_hands_while_it_is_taken_hold_of_is_refused(way, monkeypatch):
    with tree({"name": "agent"}) as grown:
        row = process_at(grown.pids["agent"])
        # The row of before, then the pidfd of whoever has the number, then the row of that one.
        former = row._replace(identity=Identity(row.pid, "7"))
        reads = iter([former, row])
        monkeypatch.setattr(handle, "process_at", lambda pid: next(reads))
        with pytest.raises(NotPermitted, match="has just exited"):
            ProcessHandle(row.pid)
        assert identify(row.pid) == row.identity


def test_a_zombie_is_refused(way):
    with (
        tree({"name": "agent", "children": [{"name": "zombie", "zombie": True}]}) as grown,
        pytest.raises(NotPermitted, match="has already exited"),
    ):
        ProcessHandle(grown.hear("zombie"))


THREADS = (
    "import threading, time; "
    "threading.Thread(target=time.sleep, args=(60,)).start(); print(flush=True)"
)


@linux
def test_a_threads_number_is_refused(way):
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        threads = sorted(map(int, os.listdir(f"/proc/{child.pid}/task")))
        with pytest.raises(
            NotPermitted,
            match=f"^{threads[1]} is the ID of a thread, not of a process: "
            f"the thread belongs to process {child.pid}",
        ):
            ProcessHandle(threads[1])
        child.kill()


@linux
def test_a_thread_of_the_kernel_is_refused(way):
    row = process_at(2)
    if row is None or not row.kernel:
        pytest.skip("the kernel's threads are not seen from here")
    with pytest.raises(NotPermitted, match="process 2 is a kernel thread"):
        ProcessHandle(2)


def as_nobody(run) -> str:
    """Return the value of `run` in a process of another user."""
    return as_child(lambda: (os.setgroups([]), os.setresuid(NOBODY, NOBODY, NOBODY), run())[-1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_is_refused_and_whose_it_is_said(way):
    with tree({"name": "agent"}) as grown:
        agent = grown.pids["agent"]
        said = as_nobody(lambda: attempt(agent))
        assert identify(agent)
    assert said == f"process {agent} belongs to root; this user (nobody) may not signal it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_signal_that_is_not_allowed_is_refused(way):
    """A process may have become another user's since its handle was taken."""

    def refusal() -> str:
        try:
            one.send(signal.SIGKILL)
        except NotPermitted as reason:
            return str(reason)
        return "sent"

    with tree({"name": "agent"}) as grown, holding(grown.pids["agent"]) as one:
        assert (
            as_nobody(refusal)
            == f"process {one.identity.pid} belongs to root; this user (nobody) may not signal it"
        )
        assert not one.has_exited()


def test_a_user_without_a_name_has_a_number():
    assert handle.user_name(987654321) == "user 987654321"


# PID namespaces.


def namespaced(*command: str) -> list[str]:
    """`command` as the first process of a new PID namespace; skips where there can be none."""
    unshare = ["unshare", "--fork", "--pid", "--kill-child"]
    if os.geteuid() != 0:
        unshare += ["--user", "--map-root-user"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, "true"], capture_output=True).returncode
    ):
        pytest.skip("no PID namespace can be made here")
    return [*unshare, *command]


@linux
def test_a_process_in_a_container_is_refused_unless_it_was_found_there(way):
    with subprocess.Popen(
        namespaced("sh", "-c", "echo; exec sleep 60"), stdout=subprocess.PIPE
    ) as outside:
        outside.stdout.readline()
        inside = descendants(outside.pid)[0].pid
        assert table.namespaces(inside) == 2
        with pytest.raises(
            NotPermitted, match=f"process {inside} is in a PID namespace of its own"
        ):
            ProcessHandle(inside)
        with holding(inside, nested=True) as one:
            assert one.send(signal.SIGKILL)
            until(one.has_exited, what="its end")


@linux
def test_where_proc_is_another_namespaces_nothing_is_held_and_the_self_test_says_so():
    code = f"""if True:
        import sys; sys.path.insert(0, {str(ROOT)!r})
        from agent_pipes.process.handle import *
        print(self_test())
        try: ProcessHandle(3)
        except NotPermitted as reason: print(reason)
    """
    done = subprocess.run(
        namespaced(sys.executable, "-c", code), capture_output=True, text=True, timeout=30
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("/proc is not mounted, or shows the PIDs of another PID namespace")
    assert second.startswith("/proc shows the PIDs of another PID namespace")


REUSED = f"""if True:
    import json, os, signal, sys, time
    sys.path.insert(0, {str(ROOT)!r})
    from agent_pipes.process.handle import *
    from agent_pipes.process.table import *

    def child():
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            signal.pause()
        return pid

    first = child()
    was = identify(first)
    by_pidfd = ProcessHandle(first)
    def none(pid):
        raise OSError(38, "Function not implemented")

    pidfd_open, os.pidfd_open = os.pidfd_open, none
    by_start = ProcessHandle(first)
    os.pidfd_open = pidfd_open
    # A start time is told in hundredths of a second: a later one is another.
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    while time.clock_gettime(time.CLOCK_BOOTTIME) < began + 0.02:
        pass
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(first - 1))
    second = child()
    said = {{"same number": second == first, "fds": [by_pidfd.fd >= 0, by_start.fd]}}
    said["sent"] = [by_pidfd.send(signal.SIGKILL), by_start.send(signal.SIGKILL)]
    said["gone"] = [by_pidfd.has_exited(), by_start.has_exited()]
    try:
        ProcessHandle(was)
    except NotPermitted as reason:
        said["refused"] = str(reason)
    said["lives"] = identify(second) is not None and os.waitpid(second, os.WNOHANG) == (0, 0)
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)
    print(json.dumps(said))
"""


@linux
def test_a_number_that_is_given_to_another_process_hits_nobody():
    if not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK):
        pytest.skip("the next process's number cannot be chosen here")
    done = subprocess.run(
        [*namespaced("--mount-proc", sys.executable, "-c", REUSED)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    if "ns_last_pid" in done.stderr:
        pytest.skip("the next process's number cannot be chosen here")
    said = json.loads(done.stdout)
    assert said["same number"], "the kernel was asked for the same number"
    assert said["fds"] == [True, -1]
    assert said["sent"] == [False, False]
    assert said["gone"] == [True, True]
    assert said["refused"].endswith("its PID now belongs to another process")
    assert said["lives"]


def test_without_a_pidfd_the_start_time_is_compared_before_each_signal(monkeypatch):
    no_pidfd(monkeypatch)
    with tree({"name": "agent"}) as grown, holding(grown.pids["agent"]) as one:
        agent = one.identity
        one.identity = Identity(agent.pid, "1")
        assert not one.send(signal.SIGKILL)
        assert one.has_exited()
        assert identify(agent.pid) == agent


# What is held.


def test_a_process_that_is_held_can_be_asked_signalled_and_waited_for(way):
    with tree({"name": "agent", "session": True}) as grown, holding(grown.pids["agent"]) as agent:
        assert agent.identity == identify(grown.pids["agent"])
        assert agent.session == agent.group == grown.pids["agent"]
        assert agent.user == os.getuid()
        assert not agent.has_exited()
        assert agent.send(0) and agent.send(signal.SIGTERM)
        if way == "pidfd":
            assert agent.fileno() == agent.fd >= 0
            assert select.select([agent], [], [], 20)[0]
        else:
            assert agent.fileno() == agent.fd == -1
            until(agent.has_exited, what="its end")
        assert agent.has_exited(), "its parent has not waited for it yet: a zombie has ended"
        grown.root.wait()
        assert agent.has_exited()
        assert not agent.send(signal.SIGKILL)


def test_a_process_stays_held_when_it_executes_another_program(way):
    with (
        tree({"name": "agent", "exec": ["sleep", "60"]}) as grown,
        holding(grown.pids["agent"]) as agent,
    ):
        until(
            lambda: table.command_line(agent.identity.pid) == ["sleep", "60"],
            what="the other program",
        )
        assert not agent.has_exited()
        assert agent.send(signal.SIGTERM)
        until(agent.has_exited, what="its end")


@linux
@pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"),
    reason="the number of exit(2) is not known for this machine",
)
def test_a_process_has_not_ended_with_its_first_thread(way):
    leave = (
        "; import ctypes, platform; "
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)"
    )
    with subprocess.Popen([sys.executable, "-c", THREADS + leave], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        until(lambda: process_at(child.pid).state == "Z", what="the end of its first thread")
        with holding(child.pid) as agent:
            assert not agent.has_exited()
            assert agent.send(signal.SIGKILL)
            until(agent.has_exited, what="its end")


def test_letting_go_twice_is_no_mistake_and_asks_on_by_the_start_time(way):
    with tree({"name": "agent"}) as grown:
        agent = ProcessHandle(grown.pids["agent"])
        agent.close()
        agent.close()
        assert agent.fd == -1 and not agent.has_exited() and agent.send(0)


@linux
def test_a_sandbox_that_forbids_only_the_sending_is_noticed_when_it_is_held(monkeypatch):
    def forbidden(fd, number):
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(signal, "pidfd_send_signal", forbidden)
    with tree({"name": "agent"}) as grown, holding(grown.pids["agent"]) as agent:
        assert agent.fd == -1
        assert agent.send(signal.SIGKILL)
        until(agent.has_exited, what="its end")


@linux
def test_with_few_descriptors_left_no_pidfd_is_taken(monkeypatch):
    """/proc cannot be read without a descriptor: a thousand handles must leave some."""
    with tree({"name": "agent"}) as grown:
        monkeypatch.setattr(resource, "getrlimit", lambda what: (8, 8))
        with holding(grown.pids["agent"]) as agent:
            assert agent.fd == -1
            assert agent.send(0)


def test_what_cannot_be_told_now_is_not_taken_for_an_end(monkeypatch):
    no_pidfd(monkeypatch)
    with tree({"name": "agent"}) as grown, holding(grown.pids["agent"]) as agent:

        def unreadable(pid):
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(handle, "identify", unreadable)
        assert not agent.has_exited()


# What is tested before a breaker says that it is armed.


def test_nothing_is_missing_here(way):
    assert self_test() is None


def test_a_process_table_that_cannot_be_read_is_missed(monkeypatch):
    def unreadable():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(handle, "all_processes", unreadable)
    assert (
        self_test() == "the process table cannot be read ([Errno 24] Too many open files): "
        "processes cannot be identified"
    )


def test_a_process_table_without_ourselves_is_missed(monkeypatch):
    monkeypatch.setattr(handle, "all_processes", dict)
    assert self_test().startswith("the process table lacks this process")


def test_signals_that_cannot_be_sent_are_missed(monkeypatch):
    def forbidden(pid, number):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    no_pidfd(monkeypatch, errno.EPERM)
    monkeypatch.setattr(os, "kill", forbidden)
    assert self_test() == "signals cannot be sent from here ([Errno 1] Operation not permitted)"


@linux
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_kernel_without_pidfds_is_no_obstacle():
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from agent_pipes.process.handle import *; "
        "print(self_test(), ProcessHandle(int(sys.argv[1])).fd)"
    )
    with tree({"name": "agent"}) as grown:
        command = [
            "strace",
            "-f",
            "-qq",
            "-o",
            os.devnull,
            "-e",
            "inject=pidfd_open:error=ENOSYS",
            sys.executable,
            "-c",
            code,
            str(grown.pids["agent"]),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.stdout == "None -1\n"


# Outliving the agent, and inheriting its orphans.

PR_GET_PDEATHSIG = 2


def death_signal() -> int:
    number = ctypes.c_int(-1)
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return number.value


@linux
def test_the_signal_for_our_parents_end_is_cleared():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
            os.write(writing, f"{death_signal()} {clear_death_signal()} {death_signal()}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        assert file.read() == f"{int(signal.SIGTERM)} True 0"
    os.waitpid(child, 0)


def test_other_systems_have_neither(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert clear_death_signal() is False
    assert become_subreaper() is False


SUBREAPER = f"""if True:
    import json, os, signal, sys
    sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
    from tests.helpers.trees import Tree
    from tests.helpers.support import until
    from agent_pipes.process.handle import *
    from agent_pipes.process.table import *
    become_subreaper()
    orphan = {{"name": "daemon", "session": True, "orphan": True}}
    grown = Tree({{"name": "command", "children": [orphan]}})
    daemon, command = grown.pids["daemon"], grown.pids["command"]
    said = {{"adopted": process_at(daemon).parent == os.getpid()}}
    said["living"] = reap_adopted({{command}})
    os.kill(daemon, signal.SIGKILL)
    os.kill(command, signal.SIGTERM)
    until(lambda: process_at(daemon).dead and process_at(command).dead)
    said["reaped"] = reap_adopted({{command}}) == [daemon]
    said["again"] = reap_adopted({{command}})
    said["status"] = grown.root.wait()
    grown.close()
    print(json.dumps(said))
"""


@linux
def test_orphans_come_to_us_and_the_commands_own_status_is_left_to_whoever_waits_for_it():
    done = subprocess.run(
        [sys.executable, "-c", SUBREAPER], capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout or done.stderr) == {
        "adopted": True,
        "living": [],
        "reaped": True,
        "again": [],
        "status": -signal.SIGTERM,
    }
