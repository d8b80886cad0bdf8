"""Files of /proc, whose process may exit while they are read."""

import os


def read(path: str) -> bytes:
    """Return the content of a file of /proc, b"" if its process has exited or may not be read.

    Other errors are raised.
    """
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


def link(path: str) -> str:
    """Return the target of a link, "" if there is none or it may not be read."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def numbers(folder: str) -> list[int]:
    """Return the numbers among the names in a folder: PIDs, threads or descriptors."""
    return [int(name) for name in os.listdir(folder) if name.isascii() and name.isdigit()]


def field(content: bytes, name: str) -> list[str]:
    """Return the values in the line `name:` of a file of /proc."""
    head = name.encode() + b":"
    return next(
        (
            line[len(head) :].decode().split()
            for line in content.splitlines()
            if line.startswith(head)
        ),
        [],
    )
