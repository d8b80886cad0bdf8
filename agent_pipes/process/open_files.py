"""Open files of processes, from /proc on Linux, elsewhere from lsof(8)."""

import os
from collections.abc import Iterator
from contextlib import suppress

from agent_pipes.process import proc, table
from agent_pipes.process.table import Identity, identify


def holders(path: str | os.PathLike[str], *, writing: bool = False) -> list[Identity]:
    """Return our user's processes that have the file `path` open, by whatever name.

    With `writing` only those that opened it for writing.
    """
    if not table.HAS_PROC:
        return list(_lsof(os.fspath(path), writing))
    try:
        file = os.stat(path)
    except OSError:
        return []
    found = []
    for pid in proc.numbers("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if any(_is_open(pid, fd, file, writing) for fd in proc.numbers(f"/proc/{pid}/fd")):
                found.append(identify(pid))
    return [holder for holder in found if holder is not None]


def open_files() -> set[tuple[int, int]] | None:
    """Return device and inode of each file that our user's processes have open.

    None on a system where one scan cannot find them.
    """
    if not table.HAS_PROC:
        return None
    found = set()
    for pid in proc.numbers("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            for fd in proc.numbers(f"/proc/{pid}/fd"):
                if proc.link(f"/proc/{pid}/fd/{fd}").startswith("/"):
                    with suppress(OSError):
                        file = os.stat(f"/proc/{pid}/fd/{fd}")
                        found.add((file.st_dev, file.st_ino))
    return found


def _is_open(pid: int, fd: int, file: os.stat_result, writing: bool) -> bool:
    # Sockets and pipes, which are most of the descriptors, have no path and need no stat.
    if not proc.link(f"/proc/{pid}/fd/{fd}").startswith("/"):
        return False
    try:
        if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{fd}"), file):
            return False
    except OSError:
        return False
    flags = proc.field(proc.read(f"/proc/{pid}/fdinfo/{fd}"), "flags")
    return not writing or bool(flags and int(flags[0], 8) & os.O_ACCMODE)


def standard_pipe(pid: int, fd: int) -> str:
    """Return a name of the pipe at descriptor `fd`, the same at both ends; "" if there is none."""
    link = proc.link(f"/proc/{pid}/fd/{fd}") if table.HAS_PROC else ""
    return link if link.startswith("pipe:") else ""


def _lsof(path: str, writing: bool) -> Iterator[Identity]:
    # Lines are "p" with a PID, then "a" with the access of each descriptor: r, w, u for both.
    pid = 0
    yielded: set[int] = set()
    for line in table.output("lsof", "-F", "pa", "--", path).splitlines():
        if line.startswith("p"):
            pid = int(line[1:])
        elif line[:1] == "a" and (not writing or line[1:] in ("w", "u")) and pid not in yielded:
            yielded.add(pid)
            holder = identify(pid)
            if holder is not None:
                yield holder
