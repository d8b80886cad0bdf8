"""Wording of usage errors: the nearest name, and the command that was probably meant."""

import os
from shlex import join as quote

import click

from agent_pipes.core.strict_json import did_you_mean


def message_of(error: click.ClickException) -> str:
    """Return the message of a usage error."""
    if isinstance(error, click.NoSuchOption):
        known = [
            name
            for param in (error.ctx.command.params if error.ctx else ())
            if isinstance(param, click.Option) and not param.hidden
            for name in param.opts
        ]
        return f"no such option {error.option_name}{did_you_mean(error.option_name, known)}"
    return error.format_message()


def unexpected_argument(command: str, word: str) -> str:
    """Return the message for an argument of a filter, which takes none."""
    if os.path.exists(word):
        meant = f"{quote(['trace-tail', word])} | {command}"
        return f"events are read on standard input; for a file: {meant}"
    if command == "trace-kill" and word.isdigit():
        return f"unexpected argument {word}; to name a process: --pid {word}"
    return f"unexpected argument {word!r}"
