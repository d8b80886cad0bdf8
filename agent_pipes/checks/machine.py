"""Checks of the machine: killing processes, following files, output."""

import os
import platform
import re
import select
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

from agent_pipes import __version__
from agent_pipes.checks import Check, Status
from agent_pipes.core.installed import advice, older_program
from agent_pipes.process.handle import (
    NotPermitted,
    ProcessHandle,
    become_subreaper,
    reap_adopted,
    self_test,
)
from agent_pipes.process.table import Identity
from agent_pipes.process.terminator import Terminator
from agent_pipes.sessions.files.path_watcher import POLL_INTERVAL_S, PathWatcher

NEEDED = {"click": (8, 1), "orjson": (3, 9)}
"""The oldest versions of other packages that are tried."""

_FIRST_PID_NAMESPACE = "pid:[4026531836]"
"""That of the system itself, whose number is always this.

PROC_PID_INIT_INO in the kernel's proc_ns.h.
"""

_LIMITS = Path("/proc/sys/fs/inotify")


def versions() -> Iterator[Check]:
    """Check the versions of what runs here."""
    found = {"agent-pipes": __version__, "python": platform.python_version()}
    old = []
    for package, needed in NEEDED.items():
        with suppress(PackageNotFoundError):
            found[package] = version(package)
            if tuple(int(number) for number in re.findall(r"\d+", found[package])[:2]) < needed:
                least = ".".join(map(str, needed))
                old.append(f"{package} is older than {least}, the oldest that is tested")
    said = (
        ", ".join(f"{name} {number}" for name, number in found.items())
        + f", on {platform.system()} {platform.release()}"
    )
    yield Check(
        "versions", "warning" if old else "ok", "; ".join([said, *old]), {"versions": found}
    )


def installed() -> Iterator[Check]:
    """Check that `agent-strace` in PATH is not the older project's, which installs one, too."""
    if older := older_program():
        said = advice(older, os.path.abspath(sys.argv[0]))
        yield Check("PATH", "warning", said, {"program": older})


def kill() -> Iterator[Check]:
    """Check that a process and its children can be killed, with a process of our own."""
    missing = self_test()
    if missing:
        yield Check("kill", "problem", f"would not work: {missing}")
        return
    subreaper = become_subreaper()
    try:
        outcome, reason, milliseconds, pidfd = trial()
    except (OSError, NotPermitted) as error:
        yield Check("kill", "problem", f"would not work: {error}")
        return
    more = {"outcome": outcome, "waited_ms": milliseconds, "pidfd": pidfd, "subreaper": subreaper}
    if outcome != "terminated":
        yield Check("kill", "problem", f"does not work: {reason}", more)
        return
    notes = [] if pidfd else ["no pidfd here: the start time is compared before each signal"]
    if not subreaper:
        notes.append("no subreaper here: a daemon that an agent leaves behind may be missed")
    status: Status = "ok" if pidfd or sys.platform != "linux" else "warning"
    said = f"works: a test process was killed with its child in {milliseconds:.0f} ms"
    yield Check(
        "kill", status, "; ".join([said + (", through a pidfd" if pidfd else ""), *notes]), more
    )


_AGENT = ["sh", "-c", "sleep 5 & echo; wait"]
"""A process that has started another, as an agent starts a tool.

Both end by themselves in a while.
"""


def trial() -> tuple[str, str, float, bool]:
    """Kill a process of our own and its child; return outcome, reason, time and method.

    The time is in milliseconds, the method True for a pidfd.

    Raises OSError or NotPermitted where it cannot even be begun.
    """
    with Popen(_AGENT, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL) as agent:
        assert agent.stdout
        try:
            # It says so when both have begun.
            agent.stdout.read(1)
            held = ProcessHandle(agent.pid)
            try:
                came_to = Terminator(held, kill_after=1.0).finish()
                outcome, reason, pidfd = str(came_to.outcome), came_to.reason, held.fd >= 0
            finally:
                held.close()
            # The pipe ends with the last process that has it.
            if not select.select([agent.stdout], [], [], 0.5)[0] and outcome != "failed":
                outcome, reason = "failed", "its child is still alive"
            return outcome, reason, came_to.waited_ms, pidfd
        finally:
            agent.kill()
            agent.wait()
            reap_adopted(set())


def processes(mounts: Path = Path("/proc/self/mounts")) -> Iterator[Check]:
    """Check which processes are visible: others cannot be killed."""
    if sys.platform != "linux":
        yield Check("processes", "ok", "seen through ps(1)")
        return
    hidden = _hidepid(mounts)
    container = ""
    with suppress(OSError):
        container = os.readlink("/proc/self/ns/pid")
    inside = bool(container) and container != _FIRST_PID_NAMESPACE
    more = {"hidepid": hidden, "container": inside}
    said = ["this is a container: processes outside it are not seen"] if inside else []
    if hidden and os.geteuid():
        said.append(
            f"/proc hides those of other users (hidepid={hidden}): "
            "agents of other users are not seen"
        )
    status: Status = "warning" if hidden and os.geteuid() else "ok"
    yield Check("processes", status, "; ".join(said) or "all are seen", more)


def _hidepid(mounts: Path) -> str:
    """Return how /proc hides other users' processes, "" if it does not: proc(5)."""
    with suppress(OSError):
        for line in mounts.read_text(errors="replace").splitlines():
            _, place, kind, options, *_ = [*line.split(" "), "", "", "", ""]
            found = re.search(r"(?:^|,)hidepid=(\w+)", options)
            if place == "/proc" and kind == "proc" and found and found[1] not in ("0", "off"):
                return found[1]
    return ""


def following(directories: Iterable[Path]) -> Iterator[Check]:
    """Check whether inotify reports growing sessions, or they must be polled."""
    heard: list[str] = []
    looked_at: list[str] = []
    for directory in map(str, directories):
        watcher = PathWatcher(False, heard.append)
        try:
            watcher.list_directory(directory)
            if watcher.interval == POLL_INTERVAL_S:
                looked_at.append(directory)
        finally:
            watcher.close()
    limits = {}
    for name in ("max_user_instances", "max_user_watches"):
        with suppress(OSError, ValueError):
            limits[name] = int((_LIMITS / name).read_text())
    more = {"polls": bool(looked_at), "looked_at": looked_at, **limits}
    status: Status = "ok"
    if heard:
        status, said = "warning", heard[0]
    elif not looked_at:
        watches = limits.get("max_user_watches", "an unknown number of")
        said = f"inotify reports each change ({watches} watches per user)"
    else:
        status = "warning" if sys.platform == "linux" else "ok"
        why = f"inotify does not report changes in {', '.join(looked_at)}"
        often = f"files are read {1 / POLL_INTERVAL_S:.0f} times a second instead"
        said = f"{why} (a network file system?): {often}"
    yield Check("following", status, said, more)


def terminal() -> Iterator[Check]:
    """Check what the terminal will show."""
    kind = os.environ.get("TERM", "")
    variables = ("LC_ALL", "LC_CTYPE", "LANG")
    charset = next(filter(None, map(os.environ.get, variables)), "")
    more = {"stdout": os.isatty(1), "stderr": os.isatty(2), "term": kind, "locale": charset}
    status: Status = "ok"
    named = kind or "of an unknown kind"
    if not os.isatty(2):
        said = "stderr is not a terminal: status is printed line by line"
    elif re.search(r"utf-?8", charset, re.IGNORECASE):
        said = f"{named}, {charset}"
        said += ", no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else ""
    else:
        status = "warning"
        why = charset or "LANG is not set"
        said = f"{named}, without UTF-8 ({why}): plain characters are used"
    yield Check("terminal", status, said, more)


PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def webhook(has_url: bool) -> Iterator[Check]:
    """Check whether a webhook is configured beside a proxy, which alerts do not use."""
    proxies = [name for name in os.environ if name.lower() in PROXY_VARIABLES]
    if has_url and proxies:
        names = " and ".join(sorted(proxies))
        said = f"{names} set: alerts do not use a proxy, and are sent to the webhook directly"
        yield Check("webhook", "warning", said, {"proxies": sorted(proxies)})


def reachable(identity: Identity) -> str:
    """Return why a signal would not reach the process, "" if it would. None is sent."""
    try:
        ProcessHandle(identity, allowed=identity).close()
    except NotPermitted as reason:
        return str(reason)
    except OSError as error:
        return f"the process table cannot be read ({error})"
    return ""
