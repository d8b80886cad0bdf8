"""Handles of processes: a signal sent through one reaches that process or none."""

import os
import pwd
import resource
import select
import signal
import sys

from agent_pipes.process import helpers
from agent_pipes.process.table import (
    Identity,
    Process,
    all_processes,
    ancestors,
    identify,
    namespaces,
    process_at,
    thread_group,
    user,
)

SPARE_FDS = 64
"""File descriptors kept free for other uses; beyond this, handles have no pidfd."""


class NotPermitted(Exception):
    """A process that must not be signalled; the message gives the reason."""


class ProcessHandle:
    """Handle of one process, which never reaches a later process with the same PID.

    On Linux the handle is a pidfd, opened first and compared with the process table afterwards.
    Without pidfds (other systems, a sandbox, no descriptors left) the start time is compared
    immediately before each signal.

    identity:    PID and start time.
    session:     session ID when the handle was opened, 0 if unknown.
    group:       process group ID at that time.
    user:        user ID at that time, None if unknown.
    is_ancestor: True if the process was an ancestor of ours (its hooks have started us).
    fd:          readable once the process has exited; -1 without a pidfd.
    """

    def __init__(
        self, process: Identity | int, *, allowed: Identity | None = None, nested: bool = False
    ) -> None:
        """Open a handle of `process`, or of the process that has this PID now.

        Ancestors of ours are refused, except `allowed`: the agent to watch may have started us.
        A process in a nested PID namespace (a container, a sandbox) is refused unless `nested`:
        the PID that was given probably belongs to that namespace.

        Raises NotPermitted, and OSError if the process table cannot be read.
        """
        self.fd = -1
        self.identity = _permitted(process, allowed, nested)
        self.fd = _pidfd(self.identity.pid)
        try:
            # The PID cannot be reused while the pidfd is open, so that this comparison stays true.
            row = process_at(self.identity.pid)
            if row is None or row.identity != self.identity or not self.send(0):
                raise NotPermitted(f"process {self.identity.pid} has just exited")
            self.session, self.group, self.user = row.session, row.group, user(row.pid)
            self.is_ancestor = self.identity == allowed and self.identity in ancestors(os.getpid())
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self.fd

    def has_exited(self) -> bool:
        """Return True if the process has exited; a zombie has.

        A signal that was delivered proves nothing, because it can be sent to a zombie.
        """
        if self.fd < 0:
            return self._has_left_table()
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def _has_left_table(self) -> bool:
        try:
            os.kill(self.identity.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        try:
            return identify(self.identity.pid) != self.identity
        except OSError:
            return False

    def send(self, number: int) -> bool:
        """Send signal `number`; 0 only checks. Return False if the process has exited.

        Raises NotPermitted if the kernel refuses the signal.
        """
        try:
            if self.fd >= 0:
                signal.pidfd_send_signal(self.fd, number)
            elif self._has_left_table():
                return False
            else:
                os.kill(self.identity.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            raise NotPermitted(_foreign_user(self.identity.pid)) from None
        return True

    def close(self) -> None:
        """Close the pidfd. The handle can still be used, by comparing start times."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __repr__(self) -> str:
        return f"<ProcessHandle {self.identity.pid} started {self.identity.started} fd {self.fd}>"


def _permitted(process: Identity | int, allowed: Identity | None, nested: bool) -> Identity:
    """Return the identity of `process` if it may be signalled, else raise NotPermitted."""
    pid = process if isinstance(process, int) else process.pid
    if reason := _unusable_pid(pid):
        raise NotPermitted(reason)
    row = process_at(pid)
    if row is None:
        raise NotPermitted(_invisible(pid))
    if isinstance(process, Identity) and row.identity != process and thread_group(pid) in (0, pid):
        raise NotPermitted(f"process {pid} has exited, and its PID now belongs to another process")
    if reason := _unusable_process(row, nested):
        raise NotPermitted(reason)
    if row.identity != allowed and row.identity in ancestors(os.getpid()):
        raise NotPermitted(
            f"process {pid} is an ancestor of this breaker, and not the agent that was named"
        )
    return row.identity


def _unusable_pid(pid: int) -> str:
    """Return why no process may be signalled by this number, "" if one may."""
    if pid <= 0:
        return f"{pid} is not a PID: a signal to it would reach many processes"
    if pid == os.getpid():
        return f"process {pid} is this breaker itself"
    if pid == 1:
        return "process 1 is init: all other processes would end with it"
    if not _proc_is_ours():
        return (
            "/proc shows the PIDs of another PID namespace: no process can be identified by its PID"
        )
    return ""


def _unusable_process(row: Process, nested: bool) -> str:
    """Return why this process must not be signalled, "" if it may be."""
    pid = row.pid
    if thread_group(pid) not in (0, pid):
        owner = thread_group(pid)
        return (
            f"{pid} is the ID of a thread, not of a process: the thread belongs to process {owner}"
        )
    if row.dead:
        return f"process {pid} has already exited (zombie: its parent has not waited for it)"
    if row.kernel:
        return f"process {pid} is a kernel thread"
    if not nested and namespaces(pid) > 1:
        return (
            f"process {pid} is in a PID namespace of its own (a container): "
            "run the breaker in the container, or pass the PID of its outermost process"
        )
    return ""


def _proc_is_ours() -> bool:
    """Return True if /proc has the PIDs of our PID namespace.

    A new PID namespace without a /proc of its own shows the PIDs of the outer one.
    """
    try:
        return sys.platform != "linux" or os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _invisible(pid: int) -> str:
    """Return why the process table has no row for `pid`."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return _foreign_user(pid)
    except (ProcessLookupError, OverflowError):
        return f"there is no process {pid}"
    return f"process {pid} cannot be inspected"


def _foreign_user(pid: int) -> str:
    owner = user(pid)
    name = user_name(owner) if owner is not None else "another user"
    me = user_name(os.geteuid())
    return f"process {pid} belongs to {name}; this user ({me}) may not signal it"


def user_name(uid: int) -> str:
    """Return the user's name, or "user UID" if the user has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _pidfd(pid: int) -> int:
    """Return a pidfd that accepts signals, or -1."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    try:
        signal.pidfd_send_signal(fd, 0)
    except ProcessLookupError:
        pass
    except (AttributeError, OSError):
        # A sandbox may forbid this call but not kill(2), which also reports missing permission.
        os.close(fd)
        return -1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and fd >= max(limit - SPARE_FDS, limit // 2):
        os.close(fd)
        return -1
    return fd


def self_test() -> str | None:
    """Return what prevents processes from being killed here, None if nothing does.

    A sandbox can forbid a call that only the killing makes, so that it is tried at the start.
    """
    if not _proc_is_ours():
        return (
            "/proc is not mounted, or shows the PIDs of another PID namespace: "
            "processes cannot be identified"
        )
    try:
        if os.getpid() not in all_processes():
            return "the process table lacks this process: processes cannot be identified"
        ancestors(os.getpid())
    except OSError as error:
        return f"the process table cannot be read ({error}): processes cannot be identified"
    fd = _pidfd(os.getpid())
    if fd >= 0:
        os.close(fd)
        return None
    try:
        os.kill(os.getpid(), 0)
    except OSError as error:
        return f"signals cannot be sent from here ({error})"
    return None


PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def become_subreaper() -> bool:
    """Make orphans of our descendants our children; return False if the system cannot."""
    return _prctl(PR_SET_CHILD_SUBREAPER, 1)


def clear_death_signal() -> bool:
    """Outlive our parent: an agent may have asked the kernel to signal what it starts.

    Returns False if the system has no such signal.
    """
    return _prctl(PR_SET_PDEATHSIG, 0)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def reap_adopted(own: set[int]) -> list[int]:
    """Wait for the exited processes that we inherited as a subreaper; return their PIDs.

    `own` are the children that we started ourselves, besides helpers; others wait for these.
    """
    reaped = []
    exited = [
        row
        for row in all_processes(dead=True).values()
        if row.dead and row.parent == os.getpid() and row.pid not in own
    ]
    with helpers.lock:
        for row in exited:
            if row.pid in helpers.running:
                continue
            try:
                reaped.append(os.waitpid(row.pid, os.WNOHANG)[0])
            except ChildProcessError:
                continue
    return [pid for pid in reaped if pid]
