"""Briefing of whoever goes on after a trip: why, the last calls, dollars, files, how to resume."""

from collections import deque
from typing import Any

from agent_pipes.agents.registry import AGENTS
from agent_pipes.agents.registry import agent as agent_named
from agent_pipes.agents.tools import kind_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.display import truncate
from agent_pipes.core.event import Event
from agent_pipes.core.jsonl import Fields
from agent_pipes.detect.runs import RunTracker
from agent_pipes.shell.patch import patched_files

MAX_SESSIONS = 10_000

MAX_CALLS = 10
"""Calls of a run that a briefing contains: the latest."""

MAX_FILES = 1_000
"""Files of a run that a briefing contains: those written first are dropped."""

MAX_TEXT_CHARS = 400
"""Characters of an argument or a result in a briefing."""

PATH_ARGUMENTS = ("file_path", "path", "absolute_path", "notebook_path", "filePath")
"""Arguments in which tools that write name the file."""


class Briefing:
    """One session's part of a briefing: see `Briefings.of` for the fields."""

    def __init__(self) -> None:
        self.agent = self.cwd = ""
        self.dollars: float | None = None
        self.calls: deque[Fields] = deque(maxlen=MAX_CALLS)
        self.files: BoundedDict[str, None] = BoundedDict(MAX_FILES)
        self._runs = RunTracker()

    def see(self, event: Event) -> None:
        """Note an event of the session."""
        kind, data = event.type, event.data
        if self._runs.begins(event):
            self.calls.clear()
            self.files.clear()
        if kind == "session_start":
            self.agent, self.cwd = event.text("agent") or self.agent, event.text("cwd") or self.cwd
        elif kind == "tool_call":
            self._call(event)
        elif kind in ("tool_result", "error"):
            self._answer(event)
        elif kind == "file_write":
            self._write(event.text("path"))
        elif isinstance(cost := data.get("cost"), dict):
            usd = cost.get("session_usd")
            self.dollars = float(usd) if isinstance(usd, (int, float)) else self.dollars

    def _call(self, event: Event) -> None:
        tool = event.text("tool_name")
        arguments = event.data.get("arguments")
        arguments = arguments if isinstance(arguments, dict) else {}
        call = {
            "id": event.id,
            "tool": tool,
            "arguments": {
                key: truncate(value, MAX_TEXT_CHARS) if isinstance(value, str) else value
                for key, value in arguments.items()
            },
        }
        self.calls.append(call)
        if kind_of(tool) in ("write", "edit"):
            for name in PATH_ARGUMENTS:
                self._write(arguments.get(name))
            for value in arguments.values():
                if isinstance(value, str) and ("*** " in value or "+++ " in value):
                    for path in patched_files(value):
                        self._write(path)

    def _answer(self, event: Event) -> None:
        for call in self.calls:
            if call["id"] == event.parent:
                failed = event.type == "error"
                text = event.text("error") if failed else event.text("result")
                call["outcome"] = "failed" if failed else "ok"
                call["result"] = truncate(text, MAX_TEXT_CHARS)

    def _write(self, path: Any) -> None:
        if isinstance(path, str) and path:
            self.files.renew(path, None)


class Briefings:
    """The briefings of all sessions of a stream."""

    def __init__(self) -> None:
        self._sessions: BoundedDict[str, Briefing] = BoundedDict(MAX_SESSIONS)

    def see(self, event: Event) -> None:
        """Note an event."""
        if not event.session:
            return
        briefing = self._sessions.get(event.session)
        if briefing is None:
            briefing = self._sessions[event.session] = Briefing()
        briefing.see(event)

    def of(self, kill: Event, trigger: Event | None) -> Fields:
        """Return the briefing after a `kill` event.

        session, agent, cwd: the session.
        violation:           the data of the violation that called for the kill.
        kill:                the data of the kill.
        calls:               the latest calls, with `tool`, `arguments`, `outcome`, `result`.
        usd:                 dollars of the session, null if they are not in the stream.
        files:               files that this run has written, by its calls.
        resume:              the command that continues the session, "" if there is none.
        """
        session = kill.session
        briefing = self._sessions.get(session) or Briefing()
        return {
            "session": session,
            "agent": briefing.agent,
            "cwd": briefing.cwd,
            "violation": trigger.data if trigger else {},
            "kill": kill.data,
            "calls": [
                {key: value for key, value in call.items() if key != "id"}
                for call in briefing.calls
            ],
            "usd": briefing.dollars,
            "files": list(briefing.files),
            "resume": _resume_command(briefing.agent, session, kill.text("outcome")),
        }


def _resume_command(agent: str, session: str, outcome: str) -> str:
    if outcome == "paused":
        return f"agent-strace resume {session}"
    if agent not in AGENTS:
        return ""
    return agent_named(agent).resume_command.replace("{id}", session)
