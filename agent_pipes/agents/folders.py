"""Listings of folders, in which thousands of sessions may be."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from agent_pipes.core.bounded import BoundedDict

Found = TypeVar("Found")

SETTLED_S = 5.0
"""Seconds after which the times of a folder are sure to show its next change."""

MAX_FOLDERS = 20_000


def entries_of(folder: Path | str) -> "list[os.DirEntry[str]]":
    """Return the entries of a folder; none if it does not exist or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


class FolderCache(Generic[Found]):
    """Returns what `take` finds in a folder, which is called again only after a change."""

    def __init__(self, take: Callable[[Path], list[Found]]) -> None:
        self._take = take
        self._found: BoundedDict[Path, tuple[int, list[Found]]] = BoundedDict(MAX_FOLDERS)

    def __call__(self, folder: Path) -> list[Found]:
        try:
            changed = folder.stat().st_mtime_ns
        except OSError:
            return []
        if folder in self._found and self._found[folder][0] == changed:
            return self._found[folder][1]
        found = self._take(folder)
        # A folder that changed just now may change again within the same tick of its clock.
        if time.time() - changed / 1e9 > SETTLED_S:
            self._found[folder] = changed, found
        return found
