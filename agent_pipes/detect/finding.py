"""A detector, and what it finds."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent_pipes.core.event import Event, Level

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call
    from agent_pipes.detect.turns import TurnTracker

CALLS = frozenset({"tool_call", "tool_result", "error"})
"""Types of events that come with a call, see Detector."""

CALLS_AND_PROMPTS = CALLS | {"user_prompt"}


class Finding(NamedTuple):
    """A condition that holds now. A detector may return it with every event: it is raised once.

    key:      names the condition: a new streak of the same command is another condition. The same
              events give the same key, so that a session that is read again raises nothing twice.
    message:  for people: the call and the number of times.
    step:     raised again when it has grown beyond the step that was raised before.
    level:    "warning" is reported and never kills.
    evidence: ids of the events that show it, oldest first.
    seen:     further fields of the violation: `count` or `value`, `limit`, …
    time:     when a limit of time was passed, seconds since the epoch; 0.0 for now.
    """

    key: Hashable
    message: str
    step: int = 1
    level: Level = "critical"
    evidence: tuple[str, ...] = ()
    seen: Mapping[str, Any] = MappingProxyType({})
    time: float = 0.0


class Detector(Protocol):
    """One rule's state for one session or agent. It does no I/O and reads no clock.

    types: types of the events that it is shown. With `tick`, which tells that time has passed, it
           raises while nothing happens.
    """

    @property
    def types(self) -> frozenset[str]: ...

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        """Return the conditions that hold after `event`.

        call: the call that a `tool_call` makes, or that a `tool_result` or `error` answers; None
              for other events, and for a result whose call was not seen. `call.answer` is set once
              it is answered; of a result that came before its call it is set at the `tool_call`.
        now:  the latest time in the session, seconds since the epoch.
        """

    def holding(self, now: float) -> Iterable[Finding]:
        """Return the conditions that still hold: asked when history ends and live begins."""


Rules = Sequence[Callable[["TurnTracker"], Detector]]
"""Constructors of a detector's rules. Each makes the state for one session or agent.

It is given whose turn it is in the session, which the driver follows for all rules.
"""


def seen(count: int, limit: int, option: str, **more: object) -> dict[str, object]:
    """Return the fields of a violation about a number: `count`, `limit` and the `hint`.

    option: raises the limit in `agent-strace watch`; the driver names that of a command alone.
    """
    fields: dict[str, object] = {"count": count, **more}
    if limit:
        fields |= {"limit": limit, "hint": f"raise the limit with {option}"}
    return fields
