"""The one reader of shell commands, for everyone who compares or judges them.

    normalize("cd app && CI=1 pytest -q 2>&1 | tail -20")   →   "pytest -q"
    parse("cd deploy && rm -rf x > log")                    →   cd deploy · rm -rf x (in deploy, >
    log)

No shell is run, nothing is expanded, and no text makes these functions raise. They take time linear
in the text.
"""

import re
import shlex
from posixpath import basename

from agent_pipes.shell.commands import SHELLS, Command, Unresolved
from agent_pipes.shell.kinds import (
    command_kind,
    is_known_to_change,
    is_polling,
    may_change,
    only_sleeps,
    subject,
)
from agent_pipes.shell.normalize import normalize
from agent_pipes.shell.parser import parse
from agent_pipes.shell.patch import patched_files
from agent_pipes.shell.words import Redirect, Word

__all__ = [
    "Command",
    "Redirect",
    "Unresolved",
    "Word",
    "command_kind",
    "command_line",
    "is_known_to_change",
    "is_polling",
    "may_change",
    "normalize",
    "only_sleeps",
    "parse",
    "patched_files",
    "subject",
]


def command_line(value: object) -> str:
    """Return the command line given to a shell tool, "" for none; a list of arguments is quoted."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        return ""
    if len(value) == 3 and basename(value[0]) in SHELLS and re.fullmatch(r"-[a-z]*c", value[1]):
        return str(value[2])
    return shlex.join(value)
