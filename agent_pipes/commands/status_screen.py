"""The sessions of a stream as trace-status writes them: a live line, lines, a table."""

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

import click

from agent_pipes.alert.lines import SHORT_ID_CHARS, SessionClock, calls_for_kill
from agent_pipes.commands.session_status import SessionStatus, State
from agent_pipes.commands.status_json import as_json
from agent_pipes.commands.status_keys import Keyboard
from agent_pipes.commands.status_table import table, tmux
from agent_pipes.commands.status_view import claude, counts, line
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import escape, fit, terminal_size, tilde, two_units
from agent_pipes.core.event import STAND_IN_PREFIX, Event
from agent_pipes.core.filter import Events
from agent_pipes.core.stderr import (
    clear_live,
    end_live,
    forget_live,
    prefix,
    show_live,
    write_line,
)
from agent_pipes.core.stream import UnreadableInputError, Waiter
from agent_pipes.core.style import Style, default_style

MAX_SESSIONS = 10_000

LIVE_INTERVAL_S = 0.9
"""Time between two redraws on a terminal: a little less than a second, the time between ticks."""

MAX_DRAWING_SHARE = 0.005
"""Share of a core that drawing may take: a long table is drawn less often."""


class StatusView:
    """The sessions of the stream, and how they are written.

    live:   rewrite in place, on a terminal; else write one line below the other.
    kills:  a trace-kill is in the pipeline.
    limits: limits whose nearness is shown.
    every:  show all sessions as a table, also if there is only one.
    """

    def __init__(
        self, live: bool, limits: Mapping[str, float], every: bool, kills: bool = False
    ) -> None:
        self.live = live
        self.kills = kills
        self.limits = limits
        self.every = every
        self.style = default_style(colour=True) if live else Style()
        self.clock = SessionClock()
        self.sessions: BoundedDict[str, SessionStatus] = BoundedDict(MAX_SESSIONS)
        self.latest = ""
        self._unannounced: BoundedDict[str, SessionStatus] = BoundedDict(MAX_SESSIONS)
        self.now = 0.0

    def see(self, event: Event) -> None:
        """Count an event; the first one of a session is announced."""
        self.clock.see(event)
        self.now = max(self.now, event.time)
        name = event.session
        if self.every and event.type in ("violation", "kill"):
            # Another program of the pipeline may write about it next, below the table.
            clear_live()
        if not name:
            return
        session = self.sessions.get(name)
        if session is None:
            if event.type in ("tick", "unbelieved"):
                return
            session = self.sessions[name] = SessionStatus(name)
            if not self.every and not name.startswith(STAND_IN_PREFIX):
                self._unannounced[name] = session
        session.see(event)
        if event.type == "violation" and event.data.get("level") != "warning":
            session.is_ending = calls_for_kill(event, self.kills)
        if self._unannounced and event.type not in ("session_start", "process"):
            self._announce(event)
        if event.type not in ("tick", "process", "history_start", "history_end"):
            self.latest = name

    def _announce(self, event: Event) -> None:
        """Write a line for each new session whose names are known: after its history."""
        urgent = event.type in ("violation", "kill", "session_end")
        for name in list(self._unannounced) if urgent else [event.session]:
            session = self._unannounced.get(name)
            if session and (urgent or (session.events and not session.in_history)):
                del self._unannounced[name]
                write_line(f"{prefix()}Monitoring session {introduction(session, self.now)}")

    def finish(self) -> None:
        """Announce the sessions that were not yet, and write the last line."""
        for session in self._unannounced.values():
            write_line(f"{prefix()}Monitoring session {introduction(session, self.now)}")
        self._unannounced.clear()
        latest = self.sessions.get(self.latest)
        if self.kills and latest and latest.killed:
            clear_live()  # The closing line of watch follows.
        else:
            self.show()

    def show(self) -> None:
        """Write the present state."""
        session = self.sessions.get(self.latest)
        if session is None:
            return
        width, height = terminal_size(2)
        if self.every:
            if not self.live:
                height = len(self.sessions) + 4
            drawn = table(self.sessions.values(), self.limits, self.now, width, height, self.style)
            if self.live:
                show_live(*drawn)
            else:
                for text in drawn:
                    write_line(text)
            return
        if not self.live:
            if session.is_ending or session.killed:
                return  # A tick after an alert that says "killing session" would be wrong.
            since = self.clock.since(self.latest, self.now)
            write_line(f"{prefix()}{since}  ✅ {counts(session)}")
            return
        alive = self._alive()
        shown = alive[0] if len(alive) > 1 else session
        head = f"{prefix()}{f'{len(alive)} sessions, ' if len(alive) > 1 else ''}"
        since = self.clock.since(shown.name, self.now)
        show_live(line(shown, self.limits, self.now, since, width, self.style, escape(head)))

    def has_caught_up(self) -> bool:
        """Return True if sessions go on from here, and the past of none is still being read."""
        known = self.sessions.values()
        return any(each.is_live for each in known) and not any(each.in_history for each in known)

    def _alive(self) -> list[SessionStatus]:
        """Return the sessions that have not ended, the one nearest a limit first."""
        alive = [each for each in self.sessions.values() if not (each.ended or each.killed)]
        if len(alive) < 2:
            return alive

        def nearness(session: SessionStatus) -> float:
            progress = session.progress(self.limits, self.now)
            state = session.state(self.now, self.limits.get("stall", 0.0))
            return progress[0].part if progress and state < State.PAUSED else -1.0

        return sorted(alive, key=nearness, reverse=True)

    def summary(self, form: str) -> list[str]:
        """Return the lines of `--once` in the format `form`."""
        sessions = list(self.sessions.values())
        if form == "json":
            return [as_json(each, self.limits, self.now) for each in sessions]
        plain = default_style(colour=False)
        if form == "tmux":
            return [tmux(sessions, self.limits, self.now, plain)]
        if form == "claude":
            latest = self.sessions.get(self.latest)
            today = sum(each.cost for each in sessions if is_today(each.last, self.now))
            return [claude(latest, today, self.limits, self.now, plain)] if latest else []
        width = terminal_size(1, 2)[0]
        style = default_style(colour=os.isatty(1))
        return table(sessions, self.limits, self.now, width, len(sessions) + 4, style)


def introduction(session: SessionStatus, now: float) -> str:
    """Return `4e19aab4... claude in ~/proj, pid 4711, live, running for 12m 03s`."""
    where = f" in {tilde(session.cwd)}" if session.cwd else ""
    facts = [f"{session.agent or 'an agent'}{where}"] if session.agent or where else []
    if session.pid:
        facts.append(f"pid {session.pid}")
    if session.is_live:
        facts.append("live")
        if session.began and now - session.began >= 1:
            facts.append(f"running for {two_units(now - session.began)}")
    return " ".join([f"{session.name[:SHORT_ID_CHARS]}...", *([", ".join(facts)] if facts else [])])


def is_today(then: float, now: float) -> bool:
    """Return True if both times are on the same day, local time."""
    return time.localtime(then)[:3] == time.localtime(now)[:3]


def print_once(
    events: Iterable[Event], view: StatusView, form: str, watchers: tuple[str, ...]
) -> None:
    """Print the sessions at the end of input, or as soon as those that go on have caught up.

    watchers: those whose limits a status line shows.
    """
    try:
        for event in events:
            view.see(event)
            if event.type == "tick" and view.has_caught_up():
                break
    except UnreadableInputError as error:
        from agent_pipes.commands.statusline import is_request, status_line

        if form != "claude" or not is_request(error.record):
            raise
        click.echo(status_line(error.record, view.limits, watchers))
        return
    for text in view.summary(form):
        click.echo(text)


def show(events: Iterable[Event], view: StatusView, every: float, waiter: Waiter) -> Events:
    """Pass the events on, and draw the view meanwhile."""
    shown_at = drawn_at = 0.0
    interval_s = LIVE_INTERVAL_S
    with ExitStack() as stack:
        stack.callback(end_live)
        keyboard = stack.enter_context(Keyboard(waiter)) if view.live and view.every else None
        if view.live and signal.getsignal(signal.SIGCONT) == signal.SIG_DFL:
            signal.signal(signal.SIGCONT, lambda *_: forget_live())
        if view.live and view.every:
            show_live(fit("no session yet (q or Ctrl-C ends this)", terminal_size(2)[0] - 1))
        if keyboard:
            keyboard.quits()  # From here on the keys are read.
        for event in events:
            view.see(event)
            if view.live:
                # A busy session has no ticks, and a silent one has no events.
                due = time.monotonic() - drawn_at >= interval_s
                if due:
                    drawn_at, used_s = time.monotonic(), time.process_time()
                    view.show()
                    used_s = time.process_time() - used_s
                    interval_s = max(LIVE_INTERVAL_S, used_s / MAX_DRAWING_SHARE)
                if keyboard and (due or event.type == "tick") and keyboard.quits():
                    return None
            elif event.type == "tick":
                shown_at = shown_at or view.now
                if every and view.now - shown_at >= every:
                    shown_at = view.now
                    view.show()
            yield event
        view.finish()
    return None
