"""Paths of a call as the file system has them."""

import os
import stat
from posixpath import join, normpath
from typing import NamedTuple

from agent_pipes.shell.commands import MAX_PATH_BYTES


class ResolvedPath(NamedTuple):
    """A normalized absolute path, and the real path behind its symbolic links."""

    path: str
    real: str

    @classmethod
    def of(cls, path: str) -> "ResolvedPath":
        """Resolve the absolute `path`."""
        return cls(normpath(path), real(path))


def absolute(path: str, *directories: str) -> str:
    """Return `path` from the last of `directories`, each relative to the one before."""
    if path.startswith("/"):
        return path
    whole = ""
    for part in (*directories, path):
        whole = join(whole, expand_home(part) if part.startswith("~") else part)
    return whole


def expand_home(path: str) -> str:
    """Replace a leading `~` or `~user`, if there is such a user."""
    try:
        return os.path.expanduser(path)
    except ValueError:
        return path


def real(path: str) -> str:
    """Resolve the symbolic links in the part of `path` that exists."""
    if len(path) > MAX_PATH_BYTES:
        return normpath(path)  # No system call takes it, so it does not exist.
    try:
        # Most paths have no links, and to find that out takes a third of what realpath does.
        return path if _has_no_link(path) else os.path.realpath(path)
    except (OSError, ValueError):
        return normpath(path)


def _has_no_link(path: str) -> bool:
    """Return True if `path` is absolute, normalized and known to be without symbolic links."""
    if not path.startswith("/") or path.startswith("//") or path != normpath(path):
        return False
    part = ""
    for name in path[1:].split("/"):
        part += "/" + name
        try:
            if stat.S_ISLNK(os.lstat(part).st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
    return True
