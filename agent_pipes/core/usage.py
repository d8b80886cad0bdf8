"""Wording of usage errors: the nearest name, and the command that was probably meant."""

import os

import click

from agent_pipes.core.display import unbroken
from agent_pipes.core.strict_json import did_you_mean

SESSION_SUFFIXES = (".json", ".jsonl", ".ndjson")

MAX_NAMED = 5
"""Options that begin with the typed one and are all named."""


def message_of(error: click.ClickException) -> str:
    """Return the message of a usage error."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name}{_meant(error)}"
    if isinstance(error, click.BadOptionUsage):
        return f"{error.option_name}: a value is missing"
    if isinstance(error, click.MissingParameter) and error.param:
        return f"{_name(error)} is missing"
    if isinstance(error, click.BadParameter) and error.param:
        return f"{_name(error)}: {error.message.removesuffix('.')}"
    return error.format_message().removesuffix(".")


def _name(error: click.BadParameter) -> str:
    """Return an option's first long name, the placeholder of an argument."""
    param = error.param
    if isinstance(param, click.Option):
        return next((name for name in param.opts if name.startswith("--")), param.opts[0])
    return param.make_metavar(error.ctx) if param and error.ctx else ""


COMMON_MISTAKES = {
    "-V": "--version",
    "-?": "--help",
    "--timeout": "--max-duration",
    "--max-time": "--max-duration",
    "--budget": "--max-cost",
}
"""Options of other programs by what they mean here."""


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
    if (meant := COMMON_MISTAKES.get(typed)) in (*known, "--help"):
        return f" (did you mean {meant!r}?)"
    longer = [name for name in known if len(typed) > 2 and name.startswith(f"{typed}-")]
    if len(longer) > MAX_NAMED:
        return f"; {len(longer)} options begin with it, such as {longer[0]}"
    if len(longer) > 1:
        return f"; there are {', '.join(longer)}"
    return did_you_mean(typed, known)


def unexpected_argument(command: str, word: str) -> str:
    """Return the message for an argument of a filter, which takes none."""
    if os.path.exists(word) or word.endswith(SESSION_SUFFIXES):
        import shlex

        meant = unbroken(f"{shlex.join(['trace-tail', '--no-follow', word])} | {command}")
        return f"events are read on standard input; for a file: {meant}"
    if command == "trace-kill" and word.isdigit():
        return f"unexpected argument {word}; to name a process: --pid {word}"
    return f"unexpected argument {word!r}"
