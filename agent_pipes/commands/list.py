"""trace-list: the sessions that can be read here, newest first, and which of them are live."""

import os
import time
from collections.abc import Iterator
from typing import Any

import click

from agent_pipes.agents.base import Session
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.core.display import escape, format_duration
from agent_pipes.core.event import Event, make
from agent_pipes.core.filter import filter_command
from agent_pipes.sessions import discovery


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


def row(event: Event, now: float) -> str:
    """Return the session as a line for a terminal."""
    pid = event.data.get("pid")
    age = format_duration(max(0, round(now - event.time)))
    live = f"live, {pid}" if pid else "live" if event.data.get("live") else ""
    return (
        f"{event.text('agent'):8} {event.session[:36]:36} {age:>10} ago  {live:14} "
        f"{escape(event.text('cwd'))}"
    )


@filter_command("trace-list", reads=False)
@click.option("--live", is_flag=True, help="Only sessions that somebody works in now.")
@click.option("--all-dirs", is_flag=True, help="Those of every directory, not only of this one.")
def list_sessions(live: bool = False, all_dirs: bool = False) -> Iterator[Event]:
    """List the sessions that can be read here, newest first: a line for each on a terminal, else an object."""
    on_terminal, now = os.isatty(1), time.time()
    for session in discovery.sessions() if all_dirs else discovery.sessions_here():
        event = session_event(session)
        if live and not event.data["live"]:
            continue
        if on_terminal:
            click.echo(row(event, now))
        else:
            yield event


main = list_sessions.main
