"""Wording of usage errors: the nearest name, and the command that was probably meant."""

import os
from shlex import join as quote

import click

from agent_pipes.core.strict_json import did_you_mean

SESSION_SUFFIXES = (".json", ".jsonl", ".ndjson")


def message_of(error: click.ClickException) -> str:
    """Return the message of a usage error."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name}{_meant(error)}"
    return error.format_message()


COMMON_MISTAKES = {"-V": "--version", "-?": "--help"}


def _meant(error: click.NoSuchOption) -> str:
    """Return the end of the message: options that begin with the typed one, else the nearest."""
    known = [
        name
        for param in (error.ctx.command.params if error.ctx else ())
        if isinstance(param, click.Option) and not param.hidden
        for name in param.opts
        if name not in getattr(param, "old", ())
    ]
    typed = error.option_name
    if meant := COMMON_MISTAKES.get(typed):
        return f" (did you mean {meant!r}?)"
    longer = [name for name in known if len(typed) > 2 and name.startswith(f"{typed}-")]
    if len(longer) > 1:
        return f"; there are {', '.join(longer)}"
    return did_you_mean(typed, known)


def unexpected_argument(command: str, word: str) -> str:
    """Return the message for an argument of a filter, which takes none."""
    if os.path.exists(word) or word.endswith(SESSION_SUFFIXES):
        meant = f"{quote(['trace-tail', word])} | {command}"
        return f"events are read on standard input; for a file: {meant}"
    if command == "trace-kill" and word.isdigit():
        return f"unexpected argument {word}; to name a process: --pid {word}"
    return f"unexpected argument {word!r}"
