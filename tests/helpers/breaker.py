"""A breaker with nothing around it: holds an agent, and ends it on SIGUSR1.

breaker.py FD PID NAME KILL_AFTER MARKER: announces itself on FD as NAME when it is armed, a child of its own as
NAME-helper, then what came of it as NAME-outcome, as tests/trees.py does, and stays until SIGUSR1 comes again.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agent_pipes.process.handle import NotPermitted, ProcessHandle
from agent_pipes.process.table import identify
from agent_pipes.process.terminator import Terminator

fd, pid, name, kill_after, marker = (
    int(sys.argv[1]),
    int(sys.argv[2]),
    sys.argv[3],
    float(sys.argv[4]),
    sys.argv[5],
)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
signal.alarm(60)


def say(who: str, what: object) -> None:
    os.write(fd, f"{who} {json.dumps(what)}\n".encode())


try:
    agent = ProcessHandle(pid, allowed=identify(pid))
except NotPermitted as reason:
    say(name, str(reason))
    sys.exit(125)
helper = subprocess.Popen(["sleep", "60"], process_group=0)
say(f"{name}-helper", helper.pid)
say(name, os.getpid())
signal.sigwait({signal.SIGUSR1})
terminator = Terminator(
    agent,
    kill_after=kill_after,
    marker=(marker.partition("=")[0], marker.partition("=")[2]) if marker else None,
)
terminator.start()
say(f"{name}-began", terminator.fds() != [])
outcome = terminator.finish()
say(f"{name}-outcome", [outcome.outcome, outcome.reason])
signal.sigwait({signal.SIGUSR1})
helper.kill()
helper.wait()
