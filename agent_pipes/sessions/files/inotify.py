"""inotify(7) through ctypes, and the file systems it cannot report on. OSError elsewhere."""

import errno
import os
import struct
from collections.abc import Hashable, Iterator
from contextlib import suppress
from typing import Any

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = (
    0x2,
    0x4,
    0x40,
    0x80,
    0x100,
    0x200,
    0x400,
    0x800,
)
Q_OVERFLOW, IGNORED, ONLYDIR, ISDIR = 0x4000, 0x8000, 0x1000000, 0x40000000

ENTRIES = CREATE | DELETE | MOVED_FROM | MOVED_TO
"""Changes of the list of a directory's entries."""

OF_FILE = MODIFY | ATTRIB | DELETE_SELF | MOVE_SELF
OF_SESSIONS = ENTRIES | MODIFY | DELETE_SELF | MOVE_SELF | ONLYDIR
"""Changes of a directory's entries and of the files in it."""

OF_DIRECTORY = ENTRIES | ATTRIB | DELETE_SELF | MOVE_SELF | ONLYDIR

_EVENT = struct.Struct("iIII")

_REMOTE = frozenset(
    {
        0x6969,
        0x517B,
        0xFE534D42,
        0xFF534D42,
        0x65735546,
        0x01021997,
        0x00C36400,
        0x5346414F,
        0x6B414653,
        0x73757245,
        0x564C,
        0x47504653,
        0x0BD00BD0,
        0x7461636F,
        0x01161970,
        0x786F4256,
        0xBACBACBC,
        0x7C7C6673,
        0xAAD7AAEA,
        0x61636673,
    }
)
"""statfs(2) types of file systems whose files change without this kernel's knowledge.

NFS, SMB, SMB2, CIFS, FUSE (and virtiofs), 9P, Ceph, AFS twice, Coda, NCP, GPFS, Lustre, OCFS2,
GFS2, vboxsf, vmhgfs, prl_fs, PanFS, ACFS.
"""


def _libc() -> Any:
    # Imported here because it takes milliseconds at the start of every command.
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def remote(path: str) -> bool:
    """Return True if `path` is on a network or FUSE file system. Raises OSError."""
    import ctypes

    buffer = ctypes.create_string_buffer(512)
    _check(_libc().statfs(os.fsencode(path), buffer), path)
    # The first member of struct statfs is the type: a long on all but s390x, always of 32 bits.
    kind: int = struct.unpack_from("l", buffer)[0]
    return kind & 0xFFFFFFFF in _REMOTE


class Watches:
    """One inotify instance and the owners of its watches.

    An owner has one watch at a time; the kernel has one for a file, however many owners it has.
    Raises OSError if no instance is available.
    """

    def __init__(self) -> None:
        self._libc = _libc()
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.fd = _check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")
        self._watch: dict[Hashable, int] = {}
        self._owners: dict[int, set[Hashable]] = {}

    def put(self, owner: Hashable, path: str, mask: int) -> bool:
        """Watch `path` for `owner`, and no other; return True if it is another file than before.

        Watching the same file again is cheap. Raises OSError (ENOSPC: the user has no watches
        left); the owner has no watch then.
        """
        try:
            watch = _check(self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask), path)
        except OSError:
            self.drop(owner)
            raise
        if self._watch.get(owner) == watch:
            return False
        self.drop(owner)
        self._watch[owner] = watch
        self._owners.setdefault(watch, set()).add(owner)
        return True

    def drop(self, owner: Hashable) -> None:
        """Remove the watch of `owner`."""
        watch = self._watch.pop(owner, None)
        owners = self._owners.get(watch) if watch is not None else None
        if watch is not None and owners is not None:
            owners.discard(owner)
            if not owners:
                del self._owners[watch]
                self._libc.inotify_rm_watch(self.fd, watch)

    def events(self) -> Iterator[tuple[Hashable, int, str]]:
        """Yield owner, mask and the entry's name of each event; owner None if the queue overflowed.

        IGNORED in the mask: the watch has ended and must be put again.
        """
        # Bounded, because files may be written faster than the queue is read.
        for _ in range(64):
            try:
                buffer = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return
            at = 0
            while at < len(buffer):
                watch, mask, _, length = _EVENT.unpack_from(buffer, at)
                at += _EVENT.size + length
                if mask & Q_OVERFLOW:
                    yield None, mask, ""
                    continue
                name = os.fsdecode(buffer[at - length : at].rstrip(b"\0")) if length else ""
                for owner in tuple(self._owners.get(watch, ())):
                    yield owner, mask, name

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.fd)
        self.fd = -1
