"""The process of an agent: found by its program among wrappers, shells and hooks."""

import os

from agent_pipes.agents.base import Agent
from agent_pipes.core.jsonl import Fields
from agent_pipes.process.table import Identity, ancestors, command_line, cwd, identify, user


def nearest(agent: Agent) -> Identity | None:
    """Return the nearest of our ancestors that is `agent`, below its wrapper.

    A signal to the wrapper would not reach the agent.
    """
    return next((each for each in ancestors(os.getpid()) if runs(agent, each.pid)), None)


def recorded_process(agent: Agent, record: Fields, directory: str, owner: int) -> Identity | None:
    """Return the process that a record (`pid`, `started`) names, if the record is to be believed.

    Whoever may write the record can write any PID in it. So it counts only if that process runs,
    has that start time, is of the user `owner`, to whom the record belongs, is `agent` by its
    program, and works in `directory` or below.
    """
    pid, started = record.get("pid"), record.get("started")
    if type(pid) is not int or pid <= 1 or type(started) is not str or not os.path.isabs(directory):
        return None
    where, outer = os.path.realpath(cwd(pid) or "/"), os.path.realpath(directory)
    if where != outer and not where.startswith(outer.rstrip("/") + "/"):
        return None
    if user(pid) != owner or not runs(agent, pid):
        return None
    # Looked up last: the start time does not change, so all of the above is of this process.
    identity = identify(pid)
    return identity if identity == Identity(pid, started) else None


def runs(agent: Agent, pid: int) -> bool:
    """Return True if the process `pid` is `agent` and serves one session."""
    arguments = command_line(pid)
    return bool(arguments) and agent.is_program(executable(pid), arguments)


def executable(pid: int) -> str:
    """Return the path of the program that a process runs, "" if it is not known."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""
