"""Process trees of any shape: agents, wrappers and tools as real stand-in processes.

A member is what its description says:

    name        what it announces itself as, with its number, once it is what it is to be
    children    the descriptions of what it starts, before it announces itself
    session     it begins a session of its own (as the shells of most agents do); `group`: only a process group
    orphan      its parent has ended before it began
    ignore      the signals that it ignores; `swallow`: those that it takes and does nothing about
    exit_on     a signal on which it exits, by itself, with status 0; `after` seconds
    follow      it ends when its first child does, as a wrapper
    environment variables that it is executed with; `user`: the number of the user that it becomes
    zombie      it has ended, and its parent does not wait for it
    stopped     it stands still
    exec        the command that it becomes, with {NAME} for the number of that one of its ancestors, {fd} for where to announce
    hops        it forks and exits, a session each, so often; `forks`: it forks and stays, so often; a fork `every` seconds
    then        what it starts when it gets SIGTERM, before it ends; `asked`: what it starts on SIGUSR1
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

LIFE = 60
"""Seconds after which every member ends by itself, whatever became of the test."""


class Tree:
    """A tree, started, and all of its members announced. Names are looked up in `pids`."""

    def __init__(self, root: dict, **popen) -> None:
        self.mark = uuid.uuid4().hex
        self.said, fd = os.pipe()
        environment = {**os.environ, "STAND_IN": self.mark}
        command = [sys.executable, "-I", "-S", __file__, str(fd), json.dumps({}), json.dumps(root)]
        self.root = subprocess.Popen(command, pass_fds=(fd,), env=environment, **popen)
        os.close(fd)
        self.pids: dict[str, int] = {}
        self._carry = b""
        for name in names(root):
            self.hear(name)

    def hear(self, name: str, seconds: float = 20.0):
        """Wait until `name` is announced; its number, or what else was said of it."""
        deadline = time.monotonic() + seconds
        while name not in self.pids:
            assert select.select([self.said], [], [], max(0.0, deadline - time.monotonic()))[0], (
                f"{name} was not announced: {self.pids}"
            )
            chunk = os.read(self.said, 65536)
            assert chunk, f"{name} was not announced, and nobody is left to: {self.pids}"
            *lines, self._carry = (self._carry + chunk).split(b"\n")
            for line in lines:
                who, _, what = line.decode().partition(" ")
                self.pids[who] = json.loads(what)
        return self.pids[name]

    def living(self) -> list[int]:
        """Every process that came of it and runs, announced or not."""
        mark = f"STAND_IN={self.mark}".encode()
        return [
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if mark in environment(pid)
        ]

    def close(self) -> None:
        """End whatever is left, also what was never announced."""
        for _ in range(20):
            marked = self.living()
            for pid in marked:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not marked:
                break
        self.root.kill()
        self.root.wait()
        os.close(self.said)
        for stream in (self.root.stdin, self.root.stdout, self.root.stderr):
            if stream:
                stream.close()


def environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def names(member: dict) -> list[str]:
    own = [] if member.get("zombie") else [member["name"]]
    return own + [name for child in member.get("children", ()) for name in names(child)]


def live(fd: int, above: dict[str, int], member: dict) -> None:
    """Be `member`: never returns. `above` are its ancestors."""
    signal.alarm(LIFE)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for name in member.get("ignore", ()):
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    for name in member.get("swallow", ()):
        signal.signal(signal.Signals[name], lambda number, frame: None)
    if member.pop("session", False):
        os.setsid()
    if member.pop("group", False):
        os.setpgid(0, 0)
    if "environment" in member:
        variables = {**os.environ, **member.pop("environment")}
        os.execve(
            sys.executable,
            [sys.executable, "-I", "-S", __file__, str(fd), json.dumps(above), json.dumps(member)],
            variables,
        )
    if "user" in member:
        os.setresuid(*[member["user"]] * 3)
    above = {**above, member["name"]: os.getpid()}
    children = [start(fd, above, child) for child in member.get("children", ())]
    if "exit_on" in member:
        signal.signal(signal.Signals[member["exit_on"]], lambda number, frame: leave(member))
    if "then" in member:
        signal.signal(
            signal.SIGTERM, lambda number, frame: (start(fd, above, member["then"]), os._exit(0))
        )
    if "asked" in member:
        signal.signal(signal.SIGUSR1, lambda number, frame: start(fd, above, member["asked"]))
    announce(fd, member["name"], os.getpid())
    if "exec" in member:
        values = {**above, "fd": fd}
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvp(member["exec"][0], [word.format(**values) for word in member["exec"]])
    if member.get("stopped"):
        os.kill(os.getpid(), signal.SIGSTOP)
    multiply(member)
    if member.get("follow"):
        _, status = os.waitpid(children[0], 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    while True:
        signal.pause()


def leave(member: dict) -> None:
    time.sleep(member.get("after", 0))
    os._exit(0)


def multiply(member: dict) -> None:
    """Fork, with a budget: bounded in number, and in time by what each is born with."""
    for _ in range(member.get("forks", 0)):
        if os.fork() == 0:
            signal.alarm(LIFE)
            break
        time.sleep(member["every"])
    for _ in range(member.get("hops", 0)):
        if os.fork():
            os._exit(0)
        os.setsid()
        signal.alarm(LIFE)
        time.sleep(member["every"])


def start(fd: int, above: dict[str, int], member: dict) -> int:
    ready, go = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ready)
        if member.get("orphan"):
            # It goes on once its parent, this middle one, has been waited for.
            os.waitpid(pid, 0)
        if member.get("zombie"):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            announce(fd, member["name"], pid)
        os.close(go)
        return pid
    os.close(go)
    if member.get("zombie"):
        os._exit(0)
    if member.get("orphan") and os.fork():
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    try:
        live(fd, above, member)
    finally:
        os._exit(70)


def announce(fd: int, name: str, what: object) -> None:
    os.write(fd, f"{name} {json.dumps(what)}\n".encode())


if __name__ == "__main__":
    live(int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))
