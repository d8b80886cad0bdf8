"""Last stage of watch: one closing line per session that was killed, and a record for a report."""

from collections.abc import Iterable

from agent_pipes.agents.registry import AGENTS, agent
from agent_pipes.alert.lines import Causes, watcher_name
from agent_pipes.commands.session_status import KILLS, SessionStatus
from agent_pipes.commands.status_view import dollars
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import tilde, two_units, unbroken
from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.stderr import warn
from agent_pipes.core.stream import ENDING_SIGNALS, Waiter
from agent_pipes.process.kill_record import record_kill

MAX_SESSIONS = 1000


@filter_command("watch-summary")
def summarize(events: Iterable[Event], waiter: Waiter) -> Events:
    """Pass events on and record kills; at the end say why agents were killed, and how to go on."""
    sessions: BoundedDict[str, SessionStatus] = BoundedDict(MAX_SESSIONS)
    causes = Causes()
    killed: BoundedDict[str, Event] = BoundedDict(MAX_SESSIONS)
    violations: BoundedDict[str, Event] = BoundedDict(MAX_SESSIONS)
    for event in events:
        causes.see(event)
        if event.session:
            if event.session not in sessions:
                sessions[event.session] = SessionStatus(event.session)
            sessions[event.session].see(event)
        if event.type == "violation":
            violations[event.id] = event
        if event.type == "kill" and event.text("outcome") in KILLS:
            killed[event.session] = event
            try:
                record_kill(event, violations.get(event.parent))
            except OSError as error:
                warn(f"cannot record the kill for later reports: {error}")
        yield event
    for name, kill in killed.items():
        if name in sessions:
            warn(closing_line(sessions[name], kill, causes.cause(kill)))
    left = [each for each in sessions.values() if each.is_live and not (each.ended or each.killed)]
    if waiter.signal in ENDING_SIGNALS and left:
        rest = "stays paused" if all(each.paused for each in left) else "goes on"
        warn(f"{ENDING_SIGNALS[waiter.signal]}: nothing is watched now; the agent {rest}")
    return None


def closing_line(session: SessionStatus, kill: Event, cause: tuple[str, str]) -> str:
    """Return the line of a session that was killed: why, after how long, dollars, how to resume."""
    watcher, message = cause
    reason = f"; {watcher_name(watcher)}: {message}" if watcher else ""
    # A session that is resumed is older than its run.
    began = max(session.began, session.run_began)
    facts = [f"after {two_units(kill.time - began)}"] if began else []
    if session.cost:
        facts.append(dollars(session))
    where = f" in {tilde(session.cwd)}" if session.cwd else ""
    resume = resume_command(session)
    return (
        f"{session.agent or 'the agent'}{where} was killed {', '.join(facts)}{reason}"
        f"{f'; to resume: {unbroken(resume)}' if resume else ''}"
    )


def resume_command(session: SessionStatus) -> str:
    """Return the command that resumes a session, "" if its agent has none."""
    if session.agent not in AGENTS:
        return ""
    return agent(session.agent).resume_command.format(id=session.name)
