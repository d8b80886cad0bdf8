"""trace-status: a live line on stderr: time, events, dollars, failures, as pv(1) shows a pipe."""

import os
from collections.abc import Iterable

import click

from agent_pipes.commands.alert import Started
from agent_pipes.core.bounded import remember
from agent_pipes.core.event import OURS, Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import DURATION, Option
from agent_pipes.core.stderr import say, shown, to_people, warning_head

SESSIONS = 10_000
"""Sessions of which it is known what to say."""

SECOND = 1.0
"""Between two lines on a terminal, where each replaces the last."""


class Session:
    """What the line says of a session."""

    __slots__ = ("cost", "estimated", "events", "failing", "unpriced")

    def __init__(self) -> None:
        self.events = 0
        self.cost = 0.0
        self.estimated = False
        self.unpriced = False
        self.failing = 0

    def see(self, event: Event) -> None:
        self.events += 1
        kind = event.type
        if kind == "error" and event.data.get("reason") in ("exit", "tool", None):
            self.failing += 1
        elif kind == "tool_result" or kind == "user_prompt":
            self.failing = 0
        elif kind == "llm_response":
            cost = event.data.get("cost")
            if isinstance(cost, dict):
                total = cost.get("session_usd")
                self.cost = total if isinstance(total, (int, float)) else self.cost
                self.estimated = self.estimated or cost.get("estimated") is True
                self.unpriced = self.unpriced or cost.get("unpriced") is True

    def line(self) -> str:
        retries = f"{self.failing} {'retry' if self.failing == 1 else 'retries'}"
        dollars = f"{'~' if self.estimated else ''}${self.cost:.2f}{' + unpriced' if self.unpriced else ''}"
        return f"✅ {self.events} {'event' if self.events == 1 else 'events'}, {dollars}, {retries}"


class Line:
    """A line on stderr: `live` rewrites the last one, else each stands below the other."""

    def __init__(self, live: bool) -> None:
        self.live = live
        self.shown = False

    def show(self, text: str) -> None:
        if not self.live:
            say(text)
            return
        self.shown = True
        to_people(f"\r{shown(text)}\x1b[K".encode())

    def clear(self) -> None:
        """Make room for somebody else's line."""
        if self.shown:
            self.shown = False
            to_people(b"\r\x1b[K")

    def end(self) -> None:
        if self.shown:
            self.shown = False
            to_people(b"\n")


@filter_command("trace-status")
@click.option(
    "--every",
    cls=Option,
    type=DURATION,
    default="30s",
    show_default=True,
    help="Time between two lines, where stderr is no terminal.",
)
@click.option(
    "--live/--no-live",
    default=None,
    help="One line that is rewritten each second. [default: where stderr is a terminal]",
)
def status(events: Iterable[Event], every: float = 30.0, live: bool | None = None) -> Events:
    """Say on stderr how a session does, while it is silent too, and once at the end: time, events, dollars, retries."""
    started = Started()
    sessions: dict[str, Session] = {}
    latest = ""
    now = said = 0.0
    line = Line(os.isatty(2) if live is None else live)
    pause = SECOND if line.live else every or float("inf")
    try:
        for event in events:
            started.see(event)
            if event.time > now:
                now = event.time
            kind, name = event.type, event.session
            if kind not in OURS:
                if name not in sessions and name:
                    line.clear()
                    say(f"{warning_head()}Monitoring session {name}...")
                    remember(sessions, name, Session(), SESSIONS)
                if name:
                    sessions[name].see(event)
                    latest = name
            elif kind == "tick":
                said = said or now
                if latest and now - said >= pause:
                    said = now
                    line.show(
                        f"{warning_head()}{started.since(latest, now)}  {sessions[latest].line()}"
                    )
            elif kind == "violation" or kind == "kill":
                line.clear()
            yield event
        if latest and latest in sessions:
            line.show(f"{warning_head()}{started.since(latest, now)}  {sessions[latest].line()}")
    finally:
        line.end()
    return None


main = status.main
