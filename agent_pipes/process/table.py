"""A process that can be named, watched and looked into without mistaking it for another.

A number is no name: it is given to another process as soon as it is free. A number and a start time are one. On
Linux what is said here is read from /proc; elsewhere from ps(1), and from lsof(8) what ps does not tell.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

_LINUX = sys.platform == "linux"


class Identity(NamedTuple):
    """One process, and no later one of the same number. `started` is its start time: on Linux clock ticks since boot."""

    pid: int
    started: str


class Process(NamedTuple):
    """A row of the process table.

    identity: its number and start time. It keeps both when it executes another program.
    parent:   the number of its parent; that of init, or of the nearest subreaper, once its own parent has ended.
    group:    the number of its process group.
    session:  the number of its session, which is that of the process that began it; 0 where that is not told.
    state:    what it does: `R` runs, `S` sleeps, `D` waits for a device, `T` and `t` stand still, `Z` has ended, …
    dead:     it has ended and is only waited for (a zombie).
    kernel:   it is a thread of the kernel.
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


def identify(pid: int) -> Identity | None:
    """The process that has the number `pid` now. None: no process, one that has ended (a zombie), or a thread's number.

    Raises OSError where that cannot be told now (no file descriptor left, no ps).
    """
    process = process_at(pid)
    if process is None or process.dead or thread_group(pid) != pid:
        return None
    return process.identity


def alive(identity: Identity) -> bool:
    """Whether this very process still runs; one that is only waited for does not. Raises OSError as `identify` does."""
    return identify(identity.pid) == identity


def began(identity: Identity) -> float:
    """When a process began, in seconds since the epoch; infinity where that is not told."""
    try:
        if not _LINUX:
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
    """The row of the process (or thread) `pid`, None where there is none that we may see."""
    if pid <= 0:
        return None
    if not _LINUX:
        return next(_ps("-p", str(pid)), None)
    content = _read(f"/proc/{pid}/stat")
    return _row(pid, content) if content else None


def all_processes(*, dead: bool = False) -> dict[int, Process]:
    """The process table, read once, by number; with those that have ended and are only waited for if `dead`.

    Raises OSError where it cannot be read.
    """
    return {row.pid: row for row in rows() if dead or not row.dead}


def rows() -> Iterator[Process]:
    """The rows of the process table one by one, while it is read: on Linux the latest process first, and at the end those
    that have been born meanwhile. Raises OSError where it cannot be read.
    """
    return _proc() if _LINUX else _ps("-A")


def ancestors(pid: int) -> list[Identity]:
    """The parent of `pid`, that one's parent, and so on to init."""
    found: list[Identity] = []
    row = process_at(pid)
    while row and (row := process_at(row.parent)) and not row.dead and row.identity not in found:
        found.append(row.identity)
    return found


def descendants(pid: int) -> list[Identity]:
    """What `pid` has started, and what that has started: parents before their children, the dead left out.

    A process whose own parent has ended is not among them: it is init's, or the nearest subreaper's.
    """
    return [process.identity for process in below({pid}, all_processes())]


def children(pid: int) -> list[int]:
    """The numbers of a process's children, as Linux names them at once, without a look at all processes. Raises OSError
    where the system does not (CONFIG_PROC_CHILDREN)."""
    os.stat(f"/proc/self/task/{os.getpid()}/children")
    return [
        int(child)
        for task in _numbers(f"/proc/{pid}/task")
        for child in _read(f"/proc/{pid}/task/{task}/children").split()
    ]


def below(roots: Iterable[int], table: Mapping[int, Process]) -> list[Process]:
    """The descendants that the processes `roots` have in `table`, parents before their children, each once."""
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
    """The process that `pid` is a thread of: itself, unless it is the number of another thread. 0: there is none."""
    return _number(_status(pid, "Tgid")) if _LINUX else pid


def namespaces(pid: int) -> int:
    """In how many PID namespaces, from ours on down, `pid` has a number: 1 for a process in ours, more in a container."""
    return len(_status(pid, "NSpid")) or 1 if _LINUX else 1


def user(pid: int) -> int | None:
    """The number of the user whose process it is (the real one, whatever a set-user-ID program may do). None: not told."""
    fields = _status(pid, "Uid") if _LINUX else _output("ps", "-o", "ruid=", "-p", str(pid)).split()
    return _number(fields) if fields else None


def command_line(pid: int) -> list[str]:
    """The program and its arguments, as its process tells them (it may tell anything); [] where that is not told.

    Without /proc they are parted at blanks.
    """
    if not _LINUX:
        return _output("ps", "-ww", "-o", "command=", "-p", str(pid)).split()
    content = _read(f"/proc/{pid}/cmdline")
    return os.fsdecode(content.removesuffix(b"\0")).split("\0") if content else []


def cwd(pid: int) -> str:
    """The directory it works in, "" where that is not told (another user's process)."""
    if not _LINUX:
        lines = _output("lsof", "-a", "-d", "cwd", "-Fn", "-p", str(pid)).splitlines()
        return next((line[1:] for line in lines if line.startswith("n")), "")
    return _link(f"/proc/{pid}/cwd")


def environment_value(pid: int, name: str) -> str | None:
    """What the environment variable `name` was when the process began its program; None: not set, or not told.

    It is told on Linux only, and of processes of our own user.
    """
    if not _LINUX:
        return None
    head = os.fsencode(name) + b"="
    for entry in _read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(head):
            return os.fsdecode(entry[len(head) :])
    return None


def holders(path: str | os.PathLike[str], *, writing: bool = False) -> list[Identity]:
    """The processes of ours that hold the file `path` open, under whatever name; only those that may write it if `writing`."""
    if not _LINUX:
        return list(_lsof(os.fspath(path), writing))
    try:
        file = os.stat(path)
    except OSError:
        return []
    found = []
    for pid in _numbers("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if any(_is_open(pid, fd, file, writing) for fd in _numbers(f"/proc/{pid}/fd")):
                found.append(identify(pid))
    return [holder for holder in found if holder is not None]


def open_files() -> set[tuple[int, int]] | None:
    """Device and inode of each file that a process of ours holds open, found in one look at all of them; None where that
    cannot be told in one.
    """
    if not _LINUX:
        return None
    found = set()
    for pid in _numbers("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for fd in _numbers(f"/proc/{pid}/fd"):
                if _link(f"/proc/{pid}/fd/{fd}").startswith("/"):
                    with suppress(OSError):
                        file = os.stat(f"/proc/{pid}/fd/{fd}")
                        found.add((file.st_dev, file.st_ino))
    return found


def _is_open(pid: int, fd: int, file: os.stat_result, writing: bool) -> bool:
    # Only files have a path here. Sockets and pipes are most of what a process holds, and need no stat.
    if not _link(f"/proc/{pid}/fd/{fd}").startswith("/"):
        return False
    try:
        if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), file):
            return False
    except OSError:
        return False
    flags = _field(_read(f"/proc/{pid}/fdinfo/{fd}"), "flags")
    return not writing or bool(flags and int(flags[0], 8) & os.O_ACCMODE)


def standard_pipe(pid: int, fd: int) -> str:
    """A name for the pipe that `pid` has as its file descriptor `fd`, the same at both ends; "" where it has none there."""
    link = _link(f"/proc/{pid}/fd/{fd}") if _LINUX else ""
    return link if link.startswith("pipe:") else ""


def _read(path: str) -> bytes:
    """What a file of /proc says, b"" where its process has gone or may not be looked into; other errors are raised."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    try:
        content = chunk = os.read(fd, 1 << 14)
        while chunk:
            chunk = os.read(fd, 1 << 16)
            content += chunk
        return content
    except (ProcessLookupError, PermissionError):
        return b""
    finally:
        os.close(fd)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _numbers(folder: str) -> list[int]:
    return [int(name) for name in os.listdir(folder) if name.isascii() and name.isdigit()]


def _status(pid: int, name: str) -> list[str]:
    return _field(_read(f"/proc/{pid}/status"), name)


def _field(content: bytes, name: str) -> list[str]:
    """The values of the line `name:` of a file of /proc."""
    head = name.encode() + b":"
    return next(
        (
            line[len(head) :].decode().split()
            for line in content.splitlines()
            if line.startswith(head)
        ),
        [],
    )


def _number(fields: list[str]) -> int:
    return int(fields[0]) if fields and fields[0].isdigit() else 0


def _proc() -> Iterator[Process]:
    seen: set[int] = set()
    for _ in range(3):
        new = [pid for pid in _numbers("/proc") if pid not in seen]
        seen.update(new)
        # The numbers go round: those beyond the last one given are the oldest.
        last = _number(_read("/proc/loadavg").decode().split()[-1:])
        for pid in sorted(new, key=lambda pid: (pid <= last, pid), reverse=True):
            content = _read(f"/proc/{pid}/stat")
            if content:
                yield _row(pid, content)


_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, among the flags of proc_pid_stat(5)."""


def _row(pid: int, content: bytes) -> Process:
    """The row that /proc/PID/stat says: proc_pid_stat(5). The command's name, in brackets, may hold blanks and brackets."""
    fields = content[content.rindex(b")") + 2 :].split()
    state, threads, started = fields[0].decode(), int(fields[17]), fields[19].decode()
    return Process(
        Identity(pid, started),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=state,
        # A process whose first thread has ended looks like a zombie while the others run on.
        dead=state in "ZXx" and threads <= 1,
        kernel=bool(int(fields[6]) & _KERNEL_THREAD),
    )


def _ps(*which: str) -> Iterator[Process]:
    columns = ("pid=", "ppid=", "pgid=", "stat=", "lstart=")
    for line in _output(
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


def _lsof(path: str, writing: bool) -> Iterator[Identity]:
    # One line a field: "p" and the process, then "a" and the access of each of its descriptors: r, w, or u for both.
    pid = 0
    told: set[int] = set()
    for line in _output("lsof", "-F", "pa", "--", path).splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line[:1] == "a" and (not writing or line[1:] in ("w", "u")) and pid not in told:
            told.add(pid)
            holder = identify(pid)
            if holder is not None:
                yield holder


def _output(*command: str) -> str:
    """What a command prints, in the words and the time zone that do not change with the user's settings."""
    import subprocess

    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=10,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} does not answer") from error
    return done.stdout.decode(errors="surrogateescape")
