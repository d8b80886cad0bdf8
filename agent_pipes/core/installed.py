"""Programs in PATH that have a name of this suite: an older project installs `agent-strace`."""

import os

HEAD_BYTES = 4096
"""Bytes of an entry point in which it imports its package."""

OLDER_PACKAGE = b"agent_trace."
"""Package of the older project, as its entry point imports it. A shim names no package."""


def older_program() -> str:
    """Return the path of `agent-strace` in PATH if that is the older project's, else ""."""
    for folder in os.get_exec_path():
        path = os.path.join(folder or ".", "agent-strace")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path if _is_older(path) else ""
    return ""


def _is_older(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return OLDER_PACKAGE in file.read(HEAD_BYTES)
    except OSError:
        return False


def advice(older: str, ours: str) -> str:
    """Return a sentence on how to call this suite beside the older program."""
    whose = "which belongs to an older project"
    return f"agent-strace in PATH is {older}, {whose}; run this one as {ours}"
