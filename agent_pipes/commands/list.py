"""trace-list: the sessions that can be read here, and which of them are live."""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from agent_pipes.core.display import fold, plural
from agent_pipes.core.event import Event, make
from agent_pipes.core.filter import filter_command
from agent_pipes.core.stderr import warn

if TYPE_CHECKING:
    from agent_pipes.agents.base import Session
    from agent_pipes.core.style import Style

MAX_ROWS = 12
"""Rows on a terminal without --all: the most recent sessions, which are read for their cost."""


def session_event(session: "Session") -> Event:
    """Return the session as an event whose time is that of its last change."""
    from agent_pipes.agents.registry import agent
    from agent_pipes.sessions import discovery

    process = discovery.process_of(session)
    data: dict[str, Any] = {
        "agent": session.agent,
        "cwd": session.cwd,
        "path": str(session.path),
        "started": session.started,
        "modified": session.modified,
        "live": process is not None or discovery.is_active(session),
    }
    if process:
        data |= {
            "pid": process.pid,
            "process_started": process.started,
            "how": agent(session.agent).process_found_by,
        }
    return make("session", session.modified, session.id, data)


@filter_command("trace-list", reads=False)
@click.option("--live", is_flag=True, help="List only live sessions.")
@click.option(
    "--all", "every", is_flag=True, help="On a terminal: print all rows, not only twelve."
)
@click.option(
    "--all-dirs", is_flag=True, help="List the sessions of all directories, not only of this one."
)
@click.option("--json", "objects", is_flag=True, help="On a terminal: print JSON objects.")
@click.option("--reverse", is_flag=True, help="On a terminal: print the newest session first.")
def list_sessions(
    live: bool = False,
    every: bool = False,
    all_dirs: bool = False,
    objects: bool = False,
    reverse: bool = False,
) -> Iterator[Event]:
    """List the sessions of agents: on a terminal a table, elsewhere one JSON object per session.

    Objects are listed newest first; the table ends with the most recent session.
    """
    from agent_pipes.sessions import discovery

    found = discovery.sessions() if all_dirs else discovery.sessions_here()
    if objects or not os.isatty(1):
        for session in found:
            event = session_event(session)
            if event.data["live"] or not live:
                yield event
        if not (found or all_dirs):
            warn(_elsewhere("; "))
        return
    listed = [
        (session, event)
        for session in (found if live or every else found[:MAX_ROWS])
        if (event := session_event(session)).data["live"] or not live
    ]
    # Reading the sessions takes half of the program, which a list of objects does not need.
    from agent_pipes.commands.list_table import table
    from agent_pipes.core.style import terminal_style

    style = terminal_style()
    lines = list(table(listed if reverse else listed[::-1], style, time.time())) if listed else []
    footer = _footer(len(listed), len(found), live, all_dirs, style)
    folded = (row for text in footer for row in fold(text, style.width - 1))
    click.echo("\n".join([*lines, *folded]))


def _footer(shown: int, total: int, live: bool, all_dirs: bool, style: "Style") -> Iterator[str]:
    """Yield what is below the table: how many sessions there are, and how to list the others."""
    if shown:
        yield style.rule()
    if live:
        yield f"{plural(shown, 'live session')} of {total}"
    elif shown < total:
        rest = f"{shown} of {total} sessions{style.separator}trace-list --all for the rest"
        yield rest
    elif shown:
        yield plural(shown, "session")
    if not shown and not all_dirs:
        yield _elsewhere(style.separator)


def _elsewhere(separator: str) -> str:
    """Return the message for a directory without sessions."""
    from agent_pipes.sessions import discovery

    elsewhere = len(discovery.sessions())
    return f"no session in this directory{separator}{elsewhere} elsewhere: trace-list --all-dirs"


main = list_sessions.main
