"""A process that is held: what is signalled by it is that process or nothing, whoever gets its number later."""

import os
import pwd
import resource
import select
import signal
import sys

from agent_pipes.process import helpers
from agent_pipes.process.table import (
    Identity,
    all_processes,
    ancestors,
    identify,
    namespaces,
    process_at,
    thread_group,
    user,
)

SPARE_FDS = 64
"""File descriptors left for other things: a process found when there are no more of them is held by its start time."""


class Refused(Exception):
    """A process that must not be signalled. The message says why, in a sentence for people."""


class Held:
    """One process, held so that a number given to another process is never hit.

    On Linux that is a pidfd, taken out first and compared after; where there is none (other systems, a sandbox that
    forbids it, no descriptors left), the start time is compared immediately before each signal.

    identity: the process.
    session:  the number of its session when it was taken hold of, 0 where that is not told.
    group:    the number of its process group then.
    user:     the number of its user then, None where that is not told.
    above:    whether it was an ancestor of ours then: its hooks have started us.
    fd:       can be read once the process has ended; -1 where there is no pidfd.
    """

    def __init__(
        self, process: Identity | int, *, allowed: Identity | None = None, nested: bool = False
    ) -> None:
        """Take hold of `process`, or of the one that has that number now.

        Our own ancestors are refused but for `allowed`: the agent that we were given, which may have started us.
        A process in a PID namespace below ours (a container, a sandbox) is refused unless `nested`: the number that
        we were told is probably one that only means something in there.

        Raises Refused, and OSError where the process table cannot be read.
        """
        self.fd = -1
        self.identity = _allowed(process, allowed, nested)
        self.fd = _pidfd(self.identity.pid)
        try:
            # Read it now that the number is held: if it still is the same, it stays the same.
            row = process_at(self.identity.pid)
            if row is None or row.identity != self.identity or not self.send(0):
                raise Refused(f"process {self.identity.pid} has just ended")
            self.session, self.group, self.user = row.session, row.group, user(row.pid)
            self.above = self.identity == allowed and self.identity in ancestors(os.getpid())
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self.fd

    def gone(self) -> bool:
        """Whether it has ended. One that is only waited for (a zombie) has; that a signal was delivered proves nothing."""
        if self.fd < 0:
            return self._left_the_table()
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def _left_the_table(self) -> bool:
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
        """Send it the signal `number`; 0 sends none and only asks. False: it has ended. Raises Refused if we may not."""
        try:
            if self.fd >= 0:
                signal.pidfd_send_signal(self.fd, number)
            elif self._left_the_table():
                return False
            else:
                os.kill(self.identity.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            raise Refused(_another_users(self.identity.pid)) from None
        return True

    def close(self) -> None:
        """Let go of it. It can be asked and signalled still, as where there is no pidfd."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __repr__(self) -> str:
        return f"<Held {self.identity.pid} started {self.identity.started} fd {self.fd}>"


def _allowed(process: Identity | int, allowed: Identity | None, nested: bool) -> Identity:
    """The process that is meant, if it may be signalled at all. Raises Refused."""
    pid = process if isinstance(process, int) else process.pid
    if pid <= 0:
        raise Refused(f"{pid} is not the number of a process: a signal to it would go to many")
    if pid == os.getpid():
        raise Refused(f"process {pid} is this breaker itself")
    if pid == 1:
        raise Refused("process 1 is the system's own, and everything ends with it")
    if not _own_proc():
        raise Refused(
            "/proc here numbers the processes of another PID namespace: none can be told by its number"
        )
    row = process_at(pid)
    if row is None:
        raise Refused(_unseen(pid))
    if thread_group(pid) not in (0, pid):
        raise Refused(
            f"{pid} is the number of a thread, not of a process: it belongs to process {thread_group(pid)}"
        )
    if isinstance(process, Identity) and row.identity != process:
        raise Refused(f"process {pid} has ended: its number is another process's now")
    if row.dead:
        raise Refused(
            f"process {pid} has ended already (it is a zombie: only its parent has not noticed)"
        )
    if row.kernel:
        raise Refused(f"process {pid} is a thread of the kernel")
    if not nested and namespaces(pid) > 1:
        raise Refused(
            f"process {pid} is in a PID namespace of its own (a container): run the breaker in there, or name its outermost process"
        )
    if row.identity != allowed and row.identity in ancestors(os.getpid()):
        raise Refused(
            f"process {pid} has started this breaker (it is an ancestor of ours), and it is not the agent that was named"
        )
    return row.identity


def _own_proc() -> bool:
    """Whether the numbers in /proc are those that the system calls take: not so in a PID namespace that has not mounted its own."""
    try:
        return sys.platform != "linux" or os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def _unseen(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return _another_users(pid)
    except (ProcessLookupError, OverflowError):
        return f"there is no process {pid}"
    return f"process {pid} cannot be looked at"


def _another_users(pid: int) -> str:
    owner = user(pid)
    whose = f"{user_name(owner)}'s" if owner is not None else "another user's"
    return f"process {pid} is {whose}: we are {user_name(os.geteuid())}, and may not signal it"


def user_name(number: int) -> str:
    """The user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _pidfd(pid: int) -> int:
    """A pidfd that can be used here, or -1."""
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    try:
        signal.pidfd_send_signal(fd, 0)
    except ProcessLookupError:
        pass
    except (AttributeError, OSError):
        # A sandbox may forbid this call and not kill(2), which also tells whether it is only that we may not.
        os.close(fd)
        return -1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and fd >= max(limit - SPARE_FDS, limit // 2):
        os.close(fd)
        return -1
    return fd


def self_test() -> str | None:
    """What is missing here to end a process, in a sentence for people; None where nothing is.

    A breaker that finds out when it is needed is none: a sandbox can forbid a call that no other code path makes.
    """
    if not _own_proc():
        return "/proc is not mounted, or numbers the processes of another PID namespace: no process can be told from another"
    try:
        if os.getpid() not in all_processes():
            return (
                "the process table does not show this process: no process can be told from another"
            )
        ancestors(os.getpid())
    except OSError as error:
        return f"the process table cannot be read ({error}): no process can be told from another"
    fd = _pidfd(os.getpid())
    if fd >= 0:
        os.close(fd)
        return None
    try:
        os.kill(os.getpid(), 0)
    except OSError as error:
        return f"signals cannot be sent from here ({error})"
    return None


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def become_subreaper() -> bool:
    """Have orphans of what we start become our children, so that daemons are found too. False: not on this system."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def clear_death_signal() -> bool:
    """Outlive our parent. An agent may have asked that what it starts be signalled when it ends: a breaker has work then."""
    return _prctl(_PR_SET_PDEATHSIG, 0)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)) == 0
    except (OSError, AttributeError):
        return False


def reap_adopted(own: set[int]) -> list[int]:
    """Take away the ended processes that we inherited as a subreaper; returns their numbers.

    `own` are the children that we started ourselves, beside errands: their status belongs to whoever waits for them, and is left.
    """
    reaped = []
    ended = [
        row
        for row in all_processes(dead=True).values()
        if row.dead and row.parent == os.getpid() and row.pid not in own
    ]
    with helpers.lock:
        for row in ended:
            if row.pid in helpers.begun:
                continue
            try:
                reaped.append(os.waitpid(row.pid, os.WNOHANG)[0])
            except ChildProcessError:
                continue
    return [pid for pid in reaped if pid]
