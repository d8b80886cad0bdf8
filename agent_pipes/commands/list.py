"""trace-list: the sessions that can be read here, and which of them are live."""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import click

from agent_pipes.agents.base import Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.commands.session_status import SessionStatus, State
from agent_pipes.commands.status_view import MARKS
from agent_pipes.core.display import escape, plural, two_units
from agent_pipes.core.event import Event, make
from agent_pipes.core.filter import filter_command
from agent_pipes.core.stderr import warn
from agent_pipes.core.table import Column, Style, format_table, short_path, terminal_style
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.meter import Meter
from agent_pipes.sessions import discovery
from agent_pipes.sessions.session_reader import read_session

MAX_ROWS = 12
"""Rows on a terminal without --all: the most recent sessions, which are read for their cost."""

ID_CHARS = 8
"""Characters of an id at least; more if two sessions begin alike."""

COLUMNS = (
    Column(""),
    Column("ID", gap=" "),
    Column("AGENT", drop=4),
    Column("AGO", "right"),
    Column("TOOK", "right", drop=3),
    Column("$", "right", drop=2),
    Column("DIRECTORY", cut="left"),
    Column("FIRST PROMPT", cut="right", drop=1),
)


def session_event(session: Session) -> Event:
    """Return the session as an event whose time is that of its last change."""
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
            "how": agent_named(session.agent).process_found_by,
        }
    return make("session", session.modified, session.id, data)


def table(listed: list[tuple[Session, Event]], style: Style, now: float) -> Iterator[str]:
    """Yield the lines of the table, the most recent session last."""
    ids = _short_ids(session.id for session, _ in listed)
    rows = [_row(session, event, ids[session.id], style, now) for session, event in listed]
    yield from format_table(COLUMNS, rows, style)


def _row(session: Session, event: Event, short: str, style: Style, now: float) -> list[str]:
    """Return the cells of a session, which is read for its cost, first prompt and state."""
    status = SessionStatus(session.id)
    prompt = ""
    for each in with_costs(_events(session), Meter(), raw=False):
        status.see(each)
        if each.type == "user_prompt" and not prompt:
            prompt = " ".join(each.text("prompt").split())
    state = status.state(now) if event.data["live"] else State.IDLE
    return [
        MARKS[state][style.ascii],
        short,
        session.agent,
        two_units(now - session.modified),
        two_units(session.modified - session.started) if session.started else "",
        f"{'~' if status.estimated else ''}{status.cost:.2f}" if status.cost else "",
        escape(short_path(session.cwd, os.path.expanduser("~"))),
        escape(prompt),
    ]


def _events(session: Session) -> Iterator[Event]:
    """Yield the events of a session; a file that cannot be read has none."""
    try:
        yield from read_session(session)
    except OSError as error:
        warn(f"{session.path}: cannot read ({error.strerror})")


def _short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return the shortest beginning of each id that no other has."""
    every = sorted(set(ids))
    found = {}
    for at, each in enumerate(every):
        near = [*every[max(0, at - 1) : at], *every[at + 1 : at + 2]]
        length = ID_CHARS
        while length < len(each) and any(other.startswith(each[:length]) for other in near):
            length += 1
        found[each] = each[:length]
    return found


@filter_command("trace-list", reads=False)
@click.option("--live", is_flag=True, help="Only sessions that somebody works in now.")
@click.option("--all", "every", is_flag=True, help="Every row, also of many, on a terminal.")
@click.option("--all-dirs", is_flag=True, help="Those of every directory, not only of this one.")
@click.option("--reverse", is_flag=True, help="The most recent first, on a terminal.")
def list_sessions(
    live: bool = False, every: bool = False, all_dirs: bool = False, reverse: bool = False
) -> Iterator[Event]:
    """List the sessions that can be read here: a table on a terminal, else an object for each.

    Objects come newest first; the table ends with the most recent session.
    """
    found = discovery.sessions() if all_dirs else discovery.sessions_here()
    if not os.isatty(1):
        for session in found:
            event = session_event(session)
            if event.data["live"] or not live:
                yield event
        return
    listed = [
        (session, event)
        for session in (found if live or every else found[:MAX_ROWS])
        if (event := session_event(session)).data["live"] or not live
    ]
    style = terminal_style()
    lines = list(table(listed if reverse else listed[::-1], style, time.time())) if listed else []
    click.echo("\n".join([*lines, *_footer(len(listed), len(found), live, all_dirs, style)]))


def _footer(shown: int, total: int, live: bool, all_dirs: bool, style: Style) -> Iterator[str]:
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
        elsewhere = len(discovery.sessions())
        yield (
            f"no session in this directory{style.separator}{elsewhere} elsewhere: "
            "trace-list --all-dirs"
        )


main = list_sessions.main
