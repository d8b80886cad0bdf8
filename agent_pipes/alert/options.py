"""Options of trace-alert, with their flags in `watch` and their keys in the config file."""

from pathlib import Path
from typing import Any

import click

from agent_pipes.core.options import DURATION, Option

SINKS = ("terminal", "file", "webhook", "exec")

FORMATS = ("json", "slack", "discord", "teams", "pagerduty")
"""Formats of a webhook's body; `formats` makes them."""


class ProgramCommand(click.ParamType):  # type: ignore[type-arg]
    """Command line of a program that exists, so that a missing one is found at the start."""

    name = "CMD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        from agent_pipes.alert.exec_sink import split_command

        try:
            split_command(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return value


ALERT_OPTIONS: tuple[Option, ...] = (
    Option(
        ["--to"],
        flag="--alert",
        multiple=True,
        type=click.Choice(SINKS),
        help="Tell it here; may be given again. [default: terminal]",
    ),
    Option(
        ["--file", "file"],
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file of `--to file`. [default: alerts.log in the store]",
    ),
    Option(
        ["--webhook"],
        flag="--webhook",
        key="webhook.url",
        envvar="AGENT_PIPES_WEBHOOK",
        help="The URL of `--to webhook`; a secret: better in $AGENT_PIPES_WEBHOOK.",
    ),
    Option(
        ["--format", "form"],
        flag="--webhook-format",
        key="webhook.format",
        type=click.Choice(FORMATS),
        help="What the webhook takes. [default: told by the URL's host, else json]",
    ),
    Option(
        ["--every"],
        flag="--webhook-every",
        key="webhook.every",
        type=DURATION,
        default="off",
        help="Join what comes within this time into one message to the webhook. [default: off]",
    ),
    Option(
        ["--exec", "program"],
        flag="--alert-exec",
        type=ProgramCommand(),
        help="Run this with each alert on its stdin, without a shell: `--to exec`.",
    ),
    Option(
        ["--allow-http"],
        is_flag=True,
        help="Let the URL be http: also where it is not this machine.",
    ),
    Option(
        ["--watcher", "watchers"],
        key="webhook.events",
        multiple=True,
        help="Only violations of this watcher go to the webhook; may be given again.",
    ),
    Option(
        ["--drain"],
        type=DURATION,
        default="10s",
        show_default=True,
        help="How long to go on delivering at the end.",
    ),
    Option(
        ["--kills"],
        is_flag=True,
        help="Say of a violation that it ends the session: a trace-kill stands in this pipeline.",
    ),
)


def option(name: str) -> Option:
    """Return the option whose value the filter takes as `name`."""
    return next(each for each in ALERT_OPTIONS if each.name == name)


def add_options(function: Any) -> Any:
    """Declare the options on the filter."""
    # click reads the list from its end.
    function.__click_params__ = [*reversed(ALERT_OPTIONS)]
    return function
