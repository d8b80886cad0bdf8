"""Status line of Claude Code: the setting that makes the client run trace-status."""

import os
import shlex
from pathlib import Path

from agent_pipes.core.jsonl import Fields

COMMAND = ("trace-status", "--format", "claude")


def wanted(program: str) -> Fields:
    """Return the setting; `program` is the path of agent-strace, beside which trace-status is."""
    beside = Path(program).with_name(COMMAND[0])
    name = str(beside) if beside.is_absolute() and beside.exists() else COMMAND[0]
    return {"statusLine": {"type": "command", "command": shlex.join([name, *COMMAND[1:]])}}


def others(settings: Fields) -> str:
    """Return the command of a status line that is not ours, "" if there is none."""
    present = settings.get("statusLine")
    if not present:
        return ""
    command = present.get("command") if isinstance(present, dict) else None
    command = command if isinstance(command, str) else str(present)
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    ours = bool(words) and [os.path.basename(words[0]), *words[1:3]] == [*COMMAND]
    return "" if ours else command
