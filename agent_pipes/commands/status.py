"""trace-status: a live view on stderr of how sessions do and how near they are to their limits."""

from collections.abc import Iterable
from typing import NamedTuple

import click

from agent_pipes.core.display import format_duration
from agent_pipes.core.event import Event
from agent_pipes.core.exit_status import ExitStatus
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import COUNT, DOLLARS, DURATION, Option
from agent_pipes.core.stderr import is_drawable
from agent_pipes.core.stream import Waiter

DURATIONS = ("duration", "stall")

LIMIT_TYPES = {"cost": DOLLARS, "duration": DURATION, "stall": DURATION, "retry": COUNT}


class Limit(NamedTuple):
    """Limit of a detector: the watcher's name and the value in its unit."""

    name: str
    value: float

    def __str__(self) -> str:
        value = format_duration(self.value) if self.name in DURATIONS else f"{self.value:g}"
        return f"{self.name}={value}"


class LimitType(click.ParamType):  # type: ignore[type-arg]
    """Limit of a detector, NAME=VALUE, whose nearness is shown."""

    name = "NAME=LIMIT"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Limit:
        """Return the limit in the detector's unit."""
        if isinstance(value, Limit):
            return value
        name, _, text = value.partition("=")
        if name not in LIMIT_TYPES or not text:
            names = ", ".join(LIMIT_TYPES)
            self.fail(f"expected one of {names}, with its limit: cost=10 or duration=30m.")
        return Limit(name, LIMIT_TYPES[name].convert(text, param, ctx))


@filter_command("trace-status")
@click.option(
    "--every",
    cls=Option,
    flag="--every",
    type=DURATION,
    default="30s",
    show_default=True,
    help="Time between two lines, if stderr is not a terminal.",
)
@click.option(
    "--live/--no-live",
    default=None,
    help="Rewrite the line in place, once a second.  [default: if stderr is a terminal]",
)
@click.option("--all", "table", is_flag=True, help="Show a table with a row for each session.")
@click.option(
    "--limit",
    "limits",
    cls=Option,
    type=LimitType(),
    multiple=True,
    help="Show how near a session is to this limit of the pipeline; repeatable.",
)
@click.option(
    "--once",
    is_flag=True,
    help="Read the events recorded so far, print the table on stdout, then exit.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "tmux", "claude"]),
    help="Print the state once, in this format, then exit; tmux and claude are status bars.",
)
@click.option("--json", "as_objects", is_flag=True, help="The same as --format json.")
def status(
    events: Iterable[Event],
    waiter: Waiter,
    every: float = 30.0,
    live: bool | None = None,
    table: bool = False,
    limits: tuple[Limit, ...] = (),
    once: bool = False,
    form: str | None = None,
    as_objects: bool = False,
    kills: bool = False,
) -> Events:
    """Show the state of sessions on stderr: time, events, dollars, retries, nearest limits.

    On a terminal one line is updated each second, or with --all a table of all sessions, which the
    key q ends. Elsewhere a line is printed every 30 seconds and at the end.
    """
    from agent_pipes.commands.status_screen import StatusView, print_once, show

    form = "json" if as_objects else form or ("table" if once else None)
    view = StatusView(
        is_drawable() if live is None else live, dict(limits), table or form is not None, kills
    )
    if form:
        print_once(events, view, form, tuple(LIMIT_TYPES))
        return ExitStatus.OK
    yield from show(events, view, every, waiter)
    return None


main = status.main
