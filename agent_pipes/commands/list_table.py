"""Table of trace-list: each session is read for its cost, first prompt and state."""

from collections.abc import Iterator

from agent_pipes.agents.base import Session
from agent_pipes.commands.session_status import SessionStatus, State
from agent_pipes.commands.status_view import MARKS
from agent_pipes.core.display import escape, tilde, two_units
from agent_pipes.core.event import Event
from agent_pipes.core.stderr import warn
from agent_pipes.core.style import Style
from agent_pipes.core.table import Column, format_table, short_ids
from agent_pipes.cost.annotate import with_costs
from agent_pipes.cost.meter import Meter
from agent_pipes.sessions.session_reader import read_session

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


def table(listed: list[tuple[Session, Event]], style: Style, now: float) -> Iterator[str]:
    """Yield the lines of the table, the most recent session last."""
    ids = short_ids(session.id for session, _ in listed)
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
        escape(tilde(session.cwd)),
        escape(prompt),
    ]


def _events(session: Session) -> Iterator[Event]:
    """Yield the events of a session; a file that cannot be read has none."""
    try:
        yield from read_session(session)
    except OSError as error:
        warn(f"{session.path}: cannot read ({error.strerror})")
