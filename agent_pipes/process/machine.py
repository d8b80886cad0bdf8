"""Name of the machine on which a PID is valid."""

import os
import sys
from contextlib import suppress
from functools import cache


@cache
def machine_id() -> str:
    """Return a name of this boot and PID namespace: PIDs of processes elsewhere mean nothing here.

    On Linux that is the boot ID and the inode of the PID namespace, on macOS the UUID of the boot
    session, elsewhere the host's name.
    """
    if sys.platform == "linux":
        with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()}:{os.stat('/proc/self/ns/pid').st_ino}"
    elif sys.platform == "darwin":
        import subprocess

        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],
                capture_output=True,
                timeout=5,
                check=True,
            )
            return done.stdout.decode().strip()
    return os.uname().nodename
