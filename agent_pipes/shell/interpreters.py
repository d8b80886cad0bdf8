"""Shells and interpreters: where their script comes from."""

import re

from agent_pipes.core.tables import names
from agent_pipes.shell.commands import SHELLS, Command
from agent_pipes.shell.options import PROGRAMS
from agent_pipes.shell.words import Word

_SCRIPT_OPTIONS = {name: names(options) for name, options in PROGRAMS["interpreters"].items()}
"""Options that give the script, by interpreter."""

INTERPRETER = re.compile(rf"({'|'.join(_SCRIPT_OPTIONS)})[\d.]*")


def has_own_script(command: Command) -> bool:
    """Return True for a shell or an interpreter whose script does not come from its input."""
    if command.program in SHELLS:
        at, _ = shell_operand(command.words)
        return at < len(command.words) and command.words[at].text != "-"
    match = INTERPRETER.fullmatch(command.program)
    if match is None:
        return False
    given = command.arguments
    return given.has(_SCRIPT_OPTIONS[match[1]]) or any(
        word.text != "-" and at not in given.maybe for at, word in enumerate(given.operands)
    )


def shell_operand(words: tuple[Word, ...]) -> tuple[int, bool]:
    """Return the index of a shell's first operand and True if it is a script.

    The index is `len(words)` if the shell reads its input.
    """
    at, script = 1, False
    while at < len(words) and words[at].text[:1] in ("-", "+") and len(words[at].text) > 1:
        text = words[at].text
        at += 1
        if text == "--":
            break
        joined = text[1:] if text[1] != "-" else ""
        if set("oO") & set(joined) or text in ("--rcfile", "--init-file"):
            at += 1
        script = script or (text[0] == "-" and "c" in joined)
        if "s" in joined and not script:
            at = len(words)
    return at, script
