"""Base of the translators: the events that every agent's lines give, and what pairs them."""

from collections.abc import Hashable, Iterator
from typing import ClassVar, NamedTuple

from agent_pipes.agents.fields import event_fields
from agent_pipes.agents.results import ended, failure, shell_command
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.jsonl import Fields

MAX_SEEN = 200_000
"""Lines, calls and results of a session that are known again when they are written once more."""

MAX_OPEN_CALLS = 10_000
"""Calls of a session that may wait for their result; the oldest is forgotten first."""


class Seen:
    """A set of bounded size, which evicts the oldest keys first. Keys are kept as 64-bit hashes."""

    def __init__(self, limit: int) -> None:
        self._values: BoundedDict[int, int] = BoundedDict(limit)

    def new(self, *key: Hashable) -> bool:
        """Return True if `key` is seen for the first time."""
        return self.changed(key, 0)

    def changed(self, key: Hashable, value: int) -> bool:
        """Return True if `value` is not the last one seen under `key`."""
        hashed = hash(key)
        if self._values.get(hashed) == value:
            return False
        self._values.renew(hashed, value)
        return True


class OpenCall(NamedTuple):
    """A call that waits for its result.

    command: command line of a shell tool.
    kind:    kind of the subagent that it starts.
    """

    name: str
    time: float
    command: str = ""
    kind: str = ""


class BaseTranslator:
    """Translator of one session, to which an agent adds how its lines are read.

    agent:   name of the agent.
    session: id of the session, "" until a line names it.
    """

    agent: ClassVar[str] = ""

    def __init__(self, max_result: int = 4096, recorded: bool = False) -> None:
        """Prepare a translator, see Agent.translator; counts are exact, so `recorded` is moot."""
        self.session = ""
        self._max_result = max_result
        self._number = 0
        self._seen = Seen(MAX_SEEN)
        self._calls: BoundedDict[str, OpenCall] = BoundedDict(MAX_OPEN_CALLS)
        self._end: Fields | None = None

    def end(self) -> Iterator[Fields]:
        """Yield the end of a run on a pipe, which a later line may still replace."""
        if self._end:
            yield self._end
            self._end = None

    def _event(
        self,
        event_type: str,
        time: float,
        key: str,
        data: Fields,
        parent: str = "",
        *,
        agent: str = "",
        since: float | None = None,
    ) -> Fields:
        """Return an event with the id `key`, of the subagent `agent` if there is one."""
        if agent:
            data["agent_id"] = agent
        return event_fields(event_type, time, key, self.session, data, parent, since=since)

    def _started(self, time: float, path: str, cwd: str = "", **more: object) -> Fields:
        data: Fields = {"agent": self.agent, "cwd": cwd, "path": path, **more}
        return self._event("session_start", time, f"{self.session}:start", data)

    def _called(
        self,
        call: str,
        name: str,
        arguments: Fields,
        time: float,
        step: str = "",
        *,
        agent: str = "",
    ) -> Fields:
        """Return a call, which stays open until its result."""
        self._calls[call] = OpenCall(name, time, shell_command(arguments))
        data: Fields = {"tool_name": name, "arguments": arguments}
        if step:
            data["step"] = step
        return self._event("tool_call", time, call, data, agent=agent)

    def _answered(
        self,
        call: str,
        text: str,
        time: float,
        *,
        name: str = "",
        reason: str = "",
        code: int | None = None,
        same: str | None = None,
        agent: str = "",
    ) -> Fields:
        """Return the result of a call; `name` is the tool of one that was never seen to begin.

        reason, code, same: see results.ended().
        """
        opened = self._calls.pop(call, OpenCall(name, time))
        kind, data = ended(
            opened.name,
            text,
            self._max_result,
            reason=reason,
            code=code,
            same=same,
            command=opened.command,
        )
        event = self._event(kind, time, f"{call}:result", data, call, agent=agent)
        if time >= opened.time:
            event["duration_ms"] = round((time - opened.time) * 1000, 3)
        return event

    def _used(
        self,
        time: float,
        model: str,
        response: str,
        usage: Fields,
        *,
        key: str = "",
        agent: str = "",
        more: Fields | None = None,
    ) -> Fields:
        """Return the usage of the request `response`; `key` names an event of another name."""
        data = {"model": model, "response_id": response, "usage": usage, **(more or {})}
        return self._event("llm_response", time, f"{key or response}:usage", data, agent=agent)

    def _failed(
        self,
        time: float,
        key: str,
        text: str,
        reason: str = "api",
        status: object = None,
        *,
        agent: str = "",
    ) -> Fields:
        """Return the error of a failed request, see results.failure()."""
        data = failure(text, self._max_result, reason, status)
        return self._event("error", time, key, data, agent=agent)
