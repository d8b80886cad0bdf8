"""Pairs the results of one session with its calls, once for all detectors."""

from posixpath import basename

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.detect.calls import Call, ticket_of

MAX_OPEN_CALLS = 256
"""Calls of one session that wait for their result; the oldest is given up."""

MAX_EARLY_RESULTS = 64
"""Results of one session that wait for their call: some agents write fast results first."""

MAX_RUNNING_COMMANDS = 64
"""Commands of one session that go on after their call was answered."""


class CallTracker:
    """Pairs by the call's id, else by the id that both carry, else by agent and tool.

    A script that made other calls which are seen is no call that ends.

    A result that comes before its call is kept, and answers the call as soon as that is made. A
    call that is made or answered again is paired once.
    """

    __slots__ = ("_answered", "_early", "_logs", "_open", "_running")

    def __init__(self) -> None:
        self._open: BoundedDict[str, Call] = BoundedDict(MAX_OPEN_CALLS)
        self._early: BoundedDict[str, Event] = BoundedDict(MAX_EARLY_RESULTS)
        self._answered: BoundedDict[str, None] = BoundedDict(MAX_EARLY_RESULTS)
        self._running: BoundedDict[str, Call] = BoundedDict(MAX_RUNNING_COMMANDS)
        self._logs: BoundedDict[str, Call] = BoundedDict(MAX_RUNNING_COMMANDS)

    def see(self, event: Event) -> Call | None:
        """Return the call that `event` makes or answers; None if it does neither."""
        kind = event.type
        if kind == "tool_call":
            return self._opened(event)
        if kind == "tool_result" or kind == "error":
            return self._answer(event)
        return None

    def _opened(self, event: Event) -> Call | None:
        call = Call(event)
        name = call.id or call.ticket
        if name and name in self._open:
            return None
        if self._logs:
            # The first look at a log tells how the command ended that wrote it.
            call.writer = self._logs.pop(basename(call.shown_log), None)
        if log := basename(call.written_log):
            self._logs[log] = call
        early = self._early.pop(name, None) if self._early else None
        if early is not None:
            self._end(call, early)
        else:
            self._open[name] = call
        return call

    def _answer(self, event: Event) -> Call | None:
        call = self._open.pop(event.parent, None)
        if call is None and not event.parent:
            call = self._without_parent(event)
        if call is not None and event.data.get("inner_calls"):
            return None
        if call is None:
            if event.parent and event.parent not in self._answered:
                self._early[event.parent] = event
            return None
        self._end(call, event)
        return call

    def _without_parent(self, event: Event) -> Call | None:
        """Return the oldest open call that a result which names no call may answer."""
        ticket, tool, agent = ticket_of(event.data), event.data.get("tool_name"), event.agent
        for name, call in self._open.items():
            if call.agent == agent and (call.ticket == ticket if ticket else call.tool == tool):
                return self._open.pop(name)
        return None

    def _end(self, call: Call, answer: Event) -> None:
        call.answer = answer
        if call.id:
            self._answered[call.id] = None
        data = answer.data
        if data.get("running") is True:
            if "started_by" not in data:
                self._running[call.id] = call
        elif type(data.get("exit_code")) is int:
            started_by = data.get("started_by")
            if type(started_by) is str:
                call.started_by = self._running.pop(started_by, None)
