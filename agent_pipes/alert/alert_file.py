"""Append-only file of alerts, private to its owner."""

import errno
import os
import stat

from agent_pipes.core.stderr import warn

MAX_LINE_BYTES = 4096


class AlertFile:
    """A file that alerts are appended to, one write per line.

    It is never followed through a symbolic link, and a pipe put in its place is not waited for.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.failed = False

    def write(self, line: bytes) -> None:
        """Append the line. Of several failures in a row only the first is reported."""
        try:
            self._append(truncate_line(line))
        except OSError as error:
            if not self.failed:
                warn(
                    f"cannot write to {self.path}: {error.strerror}; "
                    f"the alert was: {line.decode(errors='replace').rstrip()}"
                )
            self.failed = True
        else:
            self.failed = False

    def _append(self, line: bytes) -> None:
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        try:
            status = os.fstat(fd)
            if stat.S_ISFIFO(status.st_mode):
                raise OSError(errno.EINVAL, "it is a named pipe, which may have no reader")
            size = status.st_size
            # A line that a full disk or a killed writer has cut off is ended first.
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)


def truncate_line(line: bytes) -> bytes:
    """Return the line, cut to MAX_LINE_BYTES with its newline."""
    if len(line) <= MAX_LINE_BYTES:
        return line
    return line[: MAX_LINE_BYTES - 4].decode(errors="ignore").encode() + "…\n".encode()


def default_file() -> str:
    """Return `alerts.log` of the store in use: $AGENT_TRACE_DIR, else .agent-traces here."""
    return os.path.join(os.environ.get("AGENT_TRACE_DIR") or ".agent-traces", "alerts.log")
