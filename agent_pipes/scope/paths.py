"""Paths of a call as the file system has them."""

import os
import stat
from posixpath import normpath
from typing import NamedTuple

from agent_pipes.shell.commands import MAX_PATH_BYTES


class ResolvedPath(NamedTuple):
    """A normalized absolute path, and the real path behind its symbolic links."""

    path: str
    real: str

    @classmethod
    def of(cls, path: str, root: "ResolvedPath | None" = None) -> "ResolvedPath":
        """Resolve the absolute `path`; `root` is a directory that is resolved already."""
        plain = normpath(path)
        if "/.." in path:
            return cls(plain, real(path))
        # Without `..` the path may be normalized before its links are resolved.
        known = root.path if root and root.path == root.real else ""
        return cls(plain, real(plain, known if plain.startswith(known + "/") else ""))


def absolute(path: str, *directories: str) -> str:
    """Return `path` from the last of `directories`, each relative to the one before."""
    if path.startswith("/"):
        return path
    whole = ""
    for part in (*directories, path):
        if part[:1] == "~":
            part = expand_home(part)
        if part[:1] == "/" or not whole:
            whole = part
        else:
            whole += part if whole[-1] == "/" else f"/{part}"
    return whole


def expand_home(path: str) -> str:
    """Replace a leading `~` or `~user`, if there is such a user."""
    try:
        return os.path.expanduser(path)
    except ValueError:
        return path


def real(path: str, known: str = "") -> str:
    """Resolve the symbolic links in the part of `path` that exists.

    known: a directory that contains it, known to be without symbolic links.
    """
    if len(path) > MAX_PATH_BYTES:
        return normpath(path)  # No system call takes it, so it does not exist.
    try:
        # Most paths have no links, and to find that out takes a third of what realpath does.
        return path if _has_no_link(path, known) else os.path.realpath(path)
    except (OSError, ValueError):
        return normpath(path)


def _has_no_link(path: str, part: str) -> bool:
    """Return True if `path` is absolute, normalized and known to be without symbolic links.

    part: a directory that contains it and has none.
    """
    if not path.startswith("/") or path.startswith("//") or path != normpath(path):
        return False
    for name in path[len(part) + 1 :].split("/"):
        part += "/" + name
        try:
            if stat.S_ISLNK(os.lstat(part).st_mode):
                return False
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
    return True
