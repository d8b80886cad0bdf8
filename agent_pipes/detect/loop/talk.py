"""An agent that only talks: messages without a call and without a person between."""

from collections.abc import Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, is_person
from agent_pipes.core.lazy_regex import pattern
from agent_pipes.detect.calls import Call
from agent_pipes.detect.finding import CALLS_AND_PROMPTS, Finding, seen

WARN_AT = 5
"""Messages in a row from which a warning is raised, below the limit."""

MAX_TASKS = 256
"""Background tasks whose notification is remembered."""

_TASK_ID = pattern(r"<task-id>\s*([^<\s]+)")


class OnlyTalk:
    """Counts the messages of one agent since its last call.

    A hook, an autopilot or a notification that sends the agent on begins no new count, unless it
    is the first notification of a background task.
    """

    types = CALLS_AND_PROMPTS | {"assistant_response"}

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.messages: list[str] = []
        self.count = 0
        self.begun: str | int = ""
        self.tasks: BoundedDict[str, None] = BoundedDict(MAX_TASKS)

    def see(self, event: Event, call: Call | None, now: float) -> Iterable[Finding]:
        """Return the row of messages, if it is long enough."""
        kind = event.type
        ends = kind in ("tool_call", "tool_result", "error") or is_person(event)
        if ends or (kind == "user_prompt" and self._is_new_task(event)):
            self._start_over()
        elif kind == "assistant_response" and event.data.get("delta") is not True:
            self.count += 1
            if self.count == 1:
                self.begun = event.id or str(event.time)
            self.messages = [*self.messages[1 - 2 * max(self.limit, 1) :], event.id]
            return self.holding(now)
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the row of messages, if it is long enough."""
        limit = self.limit
        if not limit or self.count < min(WARN_AT, max(2, limit - 1)):
            return ()
        critical = self.count >= limit
        found = Finding(
            ("talk", self.begun),
            f"{self.count} messages in a row without a tool call or a user's prompt",
            2 if critical else 1,
            "critical" if critical else "warning",
            tuple(filter(None, self.messages)),
            seen(self.count, limit, "--max-talk"),
        )
        return (found,)

    def _start_over(self) -> None:
        if self.count:
            self.count, self.messages = 0, []

    def _is_new_task(self, event: Event) -> bool:
        task = event.text("task_id")
        if not task and (found := _TASK_ID.search(event.text("prompt"), 0, 4000)):
            task = found[1]
        if not task or task in self.tasks:
            return False
        self.tasks[task] = None
        return True
