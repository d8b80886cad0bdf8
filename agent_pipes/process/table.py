"""The process table, from /proc on Linux, elsewhere from ps(1) and lsof(8).

PIDs are reused, so that a process is identified by PID and start time.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from agent_pipes.process import proc

HAS_PROC = sys.platform == "linux"
"""True if processes are read from /proc."""

COMMAND_TIMEOUT_S = 10
"""Seconds that ps(1) and lsof(8) may take."""


class Identity(NamedTuple):
    """PID and start time of a process; the start time is in clock ticks since boot on Linux."""

    pid: int
    started: str


class Process(NamedTuple):
    """Row of the process table.

    identity: PID and start time; execve(2) changes neither.
    parent:   PID of the parent; of init or the nearest subreaper once the parent has exited.
    group:    process group ID.
    session:  session ID, which is the PID of the session's leader; 0 if unknown.
    state:    `R` running, `S` sleeping, `D` waiting for a device, `T` and `t` stopped, `Z` zombie.
    dead:     True for a zombie.
    kernel:   True for a kernel thread.
    """

    identity: Identity
    parent: int
    group: int
    session: int
    state: str
    dead: bool
    kernel: bool

    @property
    def pid(self) -> int:
        return self.identity.pid


def is_stopped(pid: int) -> bool:
    """Return True if there is a process `pid` and it is stopped. Raises OSError as `identify`."""
    row = process_at(pid)
    return row is not None and row.state in "Tt"


def identify(pid: int) -> Identity | None:
    """Return the identity of the process `pid`; None for a zombie, a thread, or no process.

    Raises OSError if the table cannot be read (no file descriptor left, no ps).
    """
    process = process_at(pid)
    if process is None or process.dead or thread_group(pid) != pid:
        return None
    return process.identity


def alive(identity: Identity) -> bool:
    """Return True if this very process is alive; a zombie is not. Raises OSError as `identify`."""
    return identify(identity.pid) == identity


def began(identity: Identity) -> float:
    """Return the start time in seconds since the epoch, infinity if it is unknown."""
    try:
        if not HAS_PROC:
            import calendar

            return float(calendar.timegm(time.strptime(identity.started, "%a %b %d %H:%M:%S %Y")))
        with open("/proc/stat", "rb") as file:
            boot = next((line.split()[1] for line in file if line.startswith(b"btime ")), None)
        return (
            int(boot) + int(identity.started) / os.sysconf("SC_CLK_TCK") if boot else float("inf")
        )
    except (OSError, ValueError):
        return float("inf")


def process_at(pid: int) -> Process | None:
    """Return the row of the process (or thread) `pid`, None if there is none or it is hidden."""
    if pid <= 0:
        return None
    if not HAS_PROC:
        return next(_ps("-p", str(pid)), None)
    content = proc.read(f"/proc/{pid}/stat")
    return _row(pid, content) if content else None


def all_processes(*, dead: bool = False) -> dict[int, Process]:
    """Return the process table by PID, with zombies if `dead`.

    Raises OSError if it cannot be read.
    """
    return {row.pid: row for row in rows() if dead or not row.dead}


def rows() -> Iterator[Process]:
    """Yield the rows of the process table while it is read.

    On Linux the latest process comes first, and processes born meanwhile at the end. Raises OSError
    if the table cannot be read.
    """
    return _proc() if HAS_PROC else _ps("-A")


def ancestors(pid: int) -> list[Identity]:
    """Return the parent of `pid`, its parent, and so on to init."""
    found: list[Identity] = []
    row = process_at(pid)
    while row and (row := process_at(row.parent)) and not row.dead and row.identity not in found:
        found.append(row.identity)
    return found


def children(pid: int) -> list[int]:
    """Return the PIDs of a process's children, without a scan of all processes.

    Raises OSError if the kernel has no such list (CONFIG_PROC_CHILDREN).
    """
    os.stat(f"/proc/self/task/{os.getpid()}/children")
    return [
        int(child)
        for task in proc.numbers(f"/proc/{pid}/task")
        for child in proc.read(f"/proc/{pid}/task/{task}/children").split()
    ]


def below(roots: Iterable[int], table: Mapping[int, Process]) -> list[Process]:
    """Return the descendants of `roots` in `table`, parents before their children, each once."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    queue = list(dict.fromkeys(roots))
    seen = set(queue)
    found: list[Process] = []
    for pid in queue:
        for child in children.get(pid, ()):
            if child.pid not in seen:
                seen.add(child.pid)
                queue.append(child.pid)
                found.append(child)
    return found


def thread_group(pid: int) -> int:
    """Return the PID of the process that the thread `pid` belongs to, 0 if there is none."""
    return _number(_status(pid, "Tgid")) if HAS_PROC else pid


def namespaces(pid: int) -> int:
    """Return in how many PID namespaces `pid` is, from ours on: 1, or more in a container."""
    return len(_status(pid, "NSpid")) or 1 if HAS_PROC else 1


def user(pid: int) -> int | None:
    """Return the real user ID of a process, None if it is unknown."""
    if HAS_PROC:
        fields = _status(pid, "Uid")
    else:
        fields = output("ps", "-o", "ruid=", "-p", str(pid)).split()
    return _number(fields) if fields else None


def pending_signals(pid: int) -> set[int]:
    """Return the numbers of the signals that a stopped process has not received yet."""
    if HAS_PROC:
        fields = _status(pid, "ShdPnd")
    else:
        fields = output("ps", "-o", "pending=", "-p", str(pid)).split()
    mask = int(fields[0], 16) if fields else 0
    return {number for number in range(1, mask.bit_length() + 1) if mask >> (number - 1) & 1}


def command_line(pid: int) -> list[str]:
    """Return the program and its arguments, [] if they are unknown.

    A process can overwrite them with anything. Without /proc they are split at blanks.
    """
    if not HAS_PROC:
        return output("ps", "-ww", "-o", "command=", "-p", str(pid)).split()
    content = proc.read(f"/proc/{pid}/cmdline")
    return os.fsdecode(content.removesuffix(b"\0")).split("\0") if content else []


def cwd(pid: int) -> str:
    """Return the working directory, "" if it is unknown (another user's process)."""
    if not HAS_PROC:
        lines = output("lsof", "-a", "-d", "cwd", "-Fn", "-p", str(pid)).splitlines()
        return next((line[1:] for line in lines if line.startswith("n")), "")
    return proc.link(f"/proc/{pid}/cwd")


def environment_value(pid: int, name: str) -> str | None:
    """Return an environment variable as it was when the process executed its program.

    None if it was not set, or is unknown: on other systems, and for other users' processes.
    """
    if not HAS_PROC:
        return None
    head = os.fsencode(name) + b"="
    for entry in proc.read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(head):
            return os.fsdecode(entry[len(head) :])
    return None


def _status(pid: int, name: str) -> list[str]:
    return proc.field(proc.read(f"/proc/{pid}/status"), name)


def _number(fields: list[str]) -> int:
    return int(fields[0]) if fields and fields[0].isdigit() else 0


def _proc() -> Iterator[Process]:
    seen: set[int] = set()
    for _ in range(3):
        new = [pid for pid in proc.numbers("/proc") if pid not in seen]
        seen.update(new)
        # PIDs wrap around, so that those above the last one assigned are the oldest.
        last = _number(proc.read("/proc/loadavg").decode().split()[-1:])
        for pid in sorted(new, key=lambda pid: (pid <= last, pid), reverse=True):
            content = proc.read(f"/proc/{pid}/stat")
            if content:
                yield _row(pid, content)


PF_KTHREAD = 0x00200000
"""Flag of a kernel thread in proc_pid_stat(5)."""


def _row(pid: int, content: bytes) -> Process:
    """Parse /proc/PID/stat, see proc_pid_stat(5).

    The command's name, in brackets, can contain blanks and brackets.
    """
    fields = content[content.rindex(b")") + 2 :].split()
    state, threads, started = fields[0].decode(), int(fields[17]), fields[19].decode()
    return Process(
        Identity(pid, started),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=state,
        # A process whose first thread has exited looks like a zombie while other threads run.
        dead=state in "ZXx" and threads <= 1,
        kernel=bool(int(fields[6]) & PF_KTHREAD),
    )


def _ps(*which: str) -> Iterator[Process]:
    columns = ("pid=", "ppid=", "pgid=", "stat=", "lstart=")
    for line in output(
        "ps", *which, *(word for column in columns for word in ("-o", column))
    ).splitlines():
        pid, above, group, state, *started = line.split()
        yield Process(
            Identity(int(pid), " ".join(started)),
            parent=int(above),
            group=int(group),
            session=_session(int(pid)),
            state=state[0],
            dead=state[0] == "Z",
            kernel=False,
        )


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def output(*command: str) -> str:
    """Return what a command prints in the C locale and in UTC."""
    import subprocess

    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=COMMAND_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} does not answer") from error
    return done.stdout.decode(errors="surrogateescape")
