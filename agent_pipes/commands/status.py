"""trace-status: a live line on stderr with time, events, dollars and failures, as pv(1) has."""

import os
from collections.abc import Iterable

import click

from agent_pipes.alert.lines import SessionClock
from agent_pipes.core.bounded import remember
from agent_pipes.core.display import escape, plural
from agent_pipes.core.event import OURS, Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.options import DURATION, Option
from agent_pipes.core.stderr import clear_live, end_live, prefix, show_live, write_line

MAX_SESSIONS = 10_000

LIVE_INTERVAL_S = 1.0
"""Time between two redraws on a terminal."""


class SessionStatus:
    """Counts of a session.

    failing: failures since the last success or prompt.
    """

    __slots__ = ("cost", "estimated", "events", "failing", "unpriced")

    def __init__(self) -> None:
        self.events = 0
        self.cost = 0.0
        self.estimated = False
        self.unpriced = False
        self.failing = 0

    def see(self, event: Event) -> None:
        """Count an event."""
        self.events += 1
        kind = event.type
        if kind == "error" and event.data.get("reason") in ("exit", "tool", None):
            self.failing += 1
        elif kind in ("tool_result", "user_prompt"):
            self.failing = 0
        elif kind == "llm_response":
            cost = event.data.get("cost")
            if isinstance(cost, dict):
                total = cost.get("session_usd")
                self.cost = total if isinstance(total, (int, float)) else self.cost
                self.estimated = self.estimated or cost.get("estimated") is True
                self.unpriced = self.unpriced or cost.get("unpriced") is True

    def line(self) -> str:
        """Return the counts as a line."""
        dollars = f"{'~' if self.estimated else ''}${self.cost:.2f}"
        unpriced = " + unpriced" if self.unpriced else ""
        retries = plural(self.failing, "retry", "retries")
        return f"✅ {plural(self.events, 'event')}, {dollars}{unpriced}, {retries}"


class StatusLine:
    """Writes the latest session's line: in place if `live`, else one below the other."""

    def __init__(self, live: bool) -> None:
        self.live = live
        self.clock = SessionClock()
        self.sessions: dict[str, SessionStatus] = {}
        self.latest = ""
        self.now = 0.0

    def see(self, event: Event) -> None:
        """Count an event; the first one of a session is announced."""
        self.clock.see(event)
        self.now = max(self.now, event.time)
        name = event.session
        if event.type in OURS:
            if event.type in ("violation", "kill"):
                clear_live()
        elif name:
            if name not in self.sessions:
                write_line(f"{prefix()}Monitoring session {name}...")
                remember(self.sessions, name, SessionStatus(), MAX_SESSIONS)
            self.sessions[name].see(event)
            self.latest = name

    def show(self) -> None:
        """Write the line, if there is a session."""
        session = self.sessions.get(self.latest)
        if session is None:
            return
        text = f"{prefix()}{self.clock.since(self.latest, self.now)}  {session.line()}"
        if self.live:
            show_live(escape(text))
        else:
            write_line(text)


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
    line = StatusLine(os.isatty(2) if live is None else live)
    interval_s = LIVE_INTERVAL_S if line.live else every or float("inf")
    shown_at = 0.0
    try:
        for event in events:
            line.see(event)
            if event.type == "tick":
                shown_at = shown_at or line.now
                if line.latest and line.now - shown_at >= interval_s:
                    shown_at = line.now
                    line.show()
            yield event
        line.show()
    finally:
        end_live()
    return None


main = status.main
