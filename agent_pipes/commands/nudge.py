"""trace-nudge: leave a hint for the agent where its hook finds it."""

import time
from collections.abc import Callable, Iterable

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.core.filter import Events, filter_command
from agent_pipes.core.runtime_dir import write_state
from agent_pipes.core.stderr import warn

MAX_NUDGES = 2
"""Hints of one watcher in one session: an agent that follows neither follows no third."""

NUDGE_INTERVAL_S = 60
"""Seconds between two hints of one watcher, in which the agent can follow the first."""

MAX_SESSIONS = 10_000

MAX_MESSAGE_CHARS = 600

ADVICE = {
    "retry": "Stop repeating it: state what you believe is wrong, then try something else, or ask.",
    "loop": "Stop repeating it: state what you believe is wrong, then try something else, or ask.",
    "cost": "Stop soon: finish the step that you are at, and list what is left to do.",
    "duration": "Stop soon: finish the step that you are at, and list what is left to do.",
    "scope": "Do only what the policy allows: find another way, or ask.",
}
"""Advice by watcher, as a sentence that the model can act on."""

OTHER_ADVICE = "Stop, state what you believe is wrong, then try something else, or ask."


@filter_command("trace-nudge")
def nudge(events: Iterable[Event]) -> Events:
    """Leave a hint for the agent on a violation.

    The agent's hook (agent-strace setup) passes it to the model with the next call. Warnings, and
    violations whose actions do not contain nudge, leave no hint.
    """
    hints = Hints()
    for event in events:
        # The hint is there before a kill further down could end the agent that reads it.
        hints.see(event)
        yield event
    return None


class Hints:
    """The hints that were left, by session and watcher.

    clock: seconds since the epoch; the hook compares with the time of its call.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._left: BoundedDict[tuple[str, str], list[float]] = BoundedDict(MAX_SESSIONS)
        self._warned: BoundedDict[str, None] = BoundedDict(MAX_SESSIONS)

    def see(self, event: Event) -> None:
        """Leave a hint for a violation that calls for one."""
        if event.type == "process":
            if event.data.get("hooked") is False:
                self._warn(event.session)
        elif event.type == "violation" and _calls_for_nudge(event):
            self._leave(event)

    def _leave(self, event: Event) -> None:
        session, watcher = event.session, event.text("watcher")
        times = self._left.get((session, watcher), [])
        if len(times) >= MAX_NUDGES or (times and event.time - times[-1] < NUDGE_INTERVAL_S):
            return
        hint = {"id": event.id, "text": text_of(event), "time": self.clock()}
        try:
            write_state("nudge", session, hint)
        except OSError as error:
            warn(f"session {session}: no hint can be left for the agent: {error}")
            return
        self._left[session, watcher] = [*times, event.time]
        warn(f"session {session}: left a hint for the agent ({event.text('message')[:200]})")

    def _warn(self, session: str) -> None:
        if session not in self._warned:
            self._warned[session] = None
            warn(
                f"session {session}: the agent has no hook that could give it a hint: "
                "the step nudge is skipped; see agent-strace setup"
            )


def text_of(event: Event) -> str:
    """Return the text for the model about a violation."""
    # How to raise the limit, the violation's `hint`, is for people, not for the agent.
    message = event.text("message")[:MAX_MESSAGE_CHARS]
    return f"{message}. {ADVICE.get(event.text('watcher'), OTHER_ADVICE)}"


def _calls_for_nudge(event: Event) -> bool:
    if event.data.get("level") == "warning":
        return False
    actions = event.data.get("actions")
    return "nudge" in actions if isinstance(actions, list) and actions else True


main = nudge.main
