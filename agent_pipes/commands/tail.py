"""trace-tail: the events of an agent's session, from its start, then as it grows."""

import os
from typing import Any

import click

from agent_pipes.agents.registry import NAMES
from agent_pipes.commands.completion import complete_session
from agent_pipes.core.display import unbroken
from agent_pipes.core.event import KNOWN
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import POINT_IN_TIME, SIZE
from agent_pipes.core.stream import Waiter
from agent_pipes.core.strict_json import did_you_mean


def _refuse_lines(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Refuse `-n N`: a detector needs a session from its start."""
    if value is not None:
        raise click.UsageError(
            "-n: events come from the session's start, as detectors need them; for the last ones: "
            + unbroken(f"trace-tail --no-follow | tail -n {value}"),
            ctx,
        )


class EventTypes(click.ParamType):  # type: ignore[type-arg]
    """Types of events, separated by commas."""

    name = "TYPE,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the types; unknown ones are refused, with the nearest known one."""
        if isinstance(value, tuple):
            return value
        types = tuple(each.strip() for each in value.split(",") if each.strip())
        for each in types:
            if each not in KNOWN:
                self.fail(f"no event has the type {each!r}{did_you_mean(each, KNOWN)}", param, ctx)
        return types


@filter_command("trace-tail", reads=False)
@click.argument(
    "session", required=False, metavar="[SESSION|FILE|-]", shell_complete=complete_session
)
@click.option("-f", "--follow", is_flag=True, hidden=True, help="Follow the session: the default.")
@click.option(
    "-n", "lines", hidden=True, callback=_refuse_lines, expose_value=False, help="See tail -n."
)
@click.option("--no-follow", is_flag=True, help="Print the events recorded so far, then exit.")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Print all live sessions of this machine, and new ones; with --no-follow, all recorded.",
)
@click.option("--wait", is_flag=True, help="Wait for a session of this directory if none is live.")
@click.option(
    "--since",
    type=POINT_IN_TIME,
    help="With --no-follow --all: only sessions changed since (7d, yesterday, 2026-11-20).",
)
@click.option(
    "--pid",
    type=click.IntRange(min=2),
    metavar="PID",
    help="PID of the agent, for trace-kill; exit when it has exited.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(NAMES),
    help="Read this format, without detection.",
)
@click.option(
    "--max-result",
    type=SIZE,
    default="4096",
    show_default=True,
    help="Cut each result to this size.",
)
@click.option(
    "--max-argument",
    type=SIZE,
    help="Cut the arguments of each call to this size, such as 64k; by default they are not cut.",
)
@click.option(
    "--max-line",
    type=SIZE,
    default="64M",
    show_default=True,
    help="Skip and report lines longer than this.",
)
@click.option(
    "--recorded",
    is_flag=True,
    help="Do not correct token counts, even known placeholders.",
)
@click.option(
    "--only",
    type=EventTypes(),
    help="Print only events of these types, and those that delimit sessions and turns.",
)
@click.option(
    "--catch-up",
    is_flag=True,
    help="With -: read events, and mark those from before the start as history.",
)
@click.option(
    "--add-host", is_flag=True, help="Add the names of this host and of its user to each event."
)
@click.option("--host-name", metavar="NAME", help="The host's name; implies --add-host.")
@click.option(
    "--poll",
    is_flag=True,
    help="Read the files twenty times a second instead of waiting for changes.",
)
def tail(
    waiter: Waiter,
    max_argument: int | None = None,
    add_host: bool = False,
    host_name: str | None = None,
    catch_up: bool = False,
    **options: Any,
) -> Events:
    """Print the events of an agent's session so far, then each new one.

    Without an argument: every live session of this directory, else its newest session. SESSION is
    the beginning of a session's id, or an agent's name; FILE is a session's file or directory; -
    reads an agent's own JSON output from standard input.
    """
    from agent_pipes.commands.tail_events import events_of, read_stream
    from agent_pipes.sessions.outgoing import add_origin, changed, cut_arguments, user_name

    changes = []
    if max_argument:
        changes.append(cut_arguments(max_argument))
    if add_host or host_name:
        changes.append(add_origin(host_name or os.uname().nodename, user_name()))
    if catch_up and options.get("session") != "-":
        raise click.UsageError("--catch-up reads a stream of events: trace-tail --catch-up -")
    events = read_stream(waiter) if catch_up else events_of(waiter, **options)
    return (yield from changed(events, changes) if changes else events)


main = tail.main
