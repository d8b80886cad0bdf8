"""Options of trace-alert, with their flags in `watch` and their keys in the config file."""

from typing import Any

import click

from agent_pipes.core.options import DURATION, Option

SINKS = ("terminal", "file", "webhook", "exec")

FORMATS = ("json", "slack", "discord", "teams", "pagerduty", "ntfy")
"""Formats of a webhook's body; `formats` makes them."""

OCCASIONS = ("violation", "waiting")
"""Things that are reported: violations with their kills, and waits for the user."""

SECRET_VARIABLES = ("AGENT_PIPES_WEBHOOK", "AGENT_PIPES_PAGERDUTY_KEY")
"""Environment variables that no program we start inherits."""


def split_command(command: str) -> list[str]:
    """Split a command line as a shell does, without expansions. Raises ValueError."""
    import shlex
    import shutil

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{error}".lower()) from None
    if not words:
        raise ValueError("a command is expected")
    if not shutil.which(words[0]):
        raise ValueError(f"{words[0]!r} was not found, or cannot be executed")
    return words


class ProgramCommand(click.ParamType):  # type: ignore[type-arg]
    """Command line of a program that exists, so that a missing one is found at the start."""

    name = "CMD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        try:
            split_command(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return value


class Occasions(click.ParamType):  # type: ignore[type-arg]
    """Occasions separated by commas: `waiting,violation`."""

    name = "violation,waiting"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, if it names occasions only."""
        text = str(value).replace(" ", "").lower()
        if unknown := [each for each in text.split(",") if each not in OCCASIONS]:
            self.fail(f"expected violation, waiting or both, not {unknown[0]!r}", param, ctx)
        return text


class SinkChoice(click.Choice):  # type: ignore[type-arg]
    """Sink of alerts; a word that is none is answered with the option that was meant."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the sink."""
        flag = param.opts[0] if param else "--to"
        if value == "kill":
            meant = "--on-violation kill" if flag == "--alert" else "a trace-kill in the pipeline"
            self.fail(f"'kill' is not a sink; to kill the agent: {meant}", param, ctx)
        if value in FORMATS:
            form = "--webhook-format" if flag == "--alert" else "--format"
            self.fail(f"{value!r} is not a sink; use {flag} webhook {form} {value}", param, ctx)
        return str(super().convert(value, param, ctx))


ALERT_OPTIONS: tuple[Option, ...] = (
    Option(
        ["--to"],
        flag="--alert",
        multiple=True,
        type=SinkChoice(SINKS),
        help="Where to send alerts; repeatable.  [default: terminal]",
    ),
    Option(
        ["--on"],
        flag="--alert-on",
        key="webhook.on",
        multiple=True,
        type=Occasions(),
        help="What to report: violations and kills, waits for the user, or both. "
        "[default: violation]",
    ),
    Option(
        ["--file", "file"],
        type=click.Path(dir_okay=False),
        help="File that --to file appends to.  [default: alerts.log in the store]",
    ),
    Option(
        ["--webhook"],
        flag="--webhook",
        key="webhook.url",
        envvar="AGENT_PIPES_WEBHOOK",
        metavar="URL",
        help="URL for alerts, used without a proxy. Prefer $AGENT_PIPES_WEBHOOK: other users can "
        "read command lines.",
    ),
    Option(
        ["--format", "form"],
        flag="--webhook-format",
        key="webhook.format",
        type=click.Choice(FORMATS),
        help="Format of the webhook's messages.  [default: by the URL's host, else json]",
    ),
    Option(
        ["--every"],
        flag="--webhook-every",
        key="webhook.every",
        type=DURATION,
        default="off",
        help="Send the alerts of this time as one message to the webhook.  [default: off]",
    ),
    Option(
        ["--exec", "program"],
        flag="--alert-exec",
        type=ProgramCommand(),
        help="Run this program, without a shell, with each alert on its stdin.",
    ),
    Option(
        ["--allow-http"],
        is_flag=True,
        help="Allow an http: URL for another machine.",
    ),
    Option(
        ["--watcher", "watchers"],
        metavar="WATCHER",
        key="webhook.events",
        multiple=True,
        help="Send only this watcher's violations to the webhook; repeatable.",
    ),
    Option(
        ["--drain"],
        type=DURATION,
        default="10s",
        show_default=True,
        help="Time allowed for pending deliveries at exit.",
    ),
    Option(
        ["--kills"],
        is_flag=True,
        help='Word alerts as "killing session": for pipelines with trace-kill.',
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
