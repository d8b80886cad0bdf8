"""trace-detect-spawn: agents that start agents."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent_pipes.agents.tools import kind_of
from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event, Level
from agent_pipes.core.options import COUNT, limit
from agent_pipes.detect.detector import detector
from agent_pipes.detect.finding import CALLS, Finding, Rules

if TYPE_CHECKING:
    from agent_pipes.detect.calls import Call

MAX_TRACKED_AGENTS = 10_000
"""Subagents of one session whose depth is kept."""

WARN_SHARE = 0.5
"""Share of the limit of living subagents at which a warning is raised."""


class Spawned:
    """Subagents of a session that are alive, and how deep they are nested."""

    types = CALLS | {"subagent_start", "subagent_stop"}

    __slots__ = ("alive", "callers", "depth", "depth_limit", "limit")

    def __init__(self, limit: int, depth_limit: int) -> None:
        self.limit = limit
        self.depth_limit = depth_limit
        self.alive: BoundedDict[str, str] = BoundedDict(MAX_TRACKED_AGENTS)
        self.depth: BoundedDict[str, int] = BoundedDict(MAX_TRACKED_AGENTS)
        self.callers: BoundedDict[str, str] = BoundedDict(MAX_TRACKED_AGENTS)

    def see(self, event: Event, call: "Call | None", now: float) -> Iterable[Finding]:
        if event.type == "tool_call":
            if call and kind_of(call.tool) == "subagent":
                self.callers[call.id] = call.agent
        elif event.type == "subagent_start" and event.agent:
            return self._start(event)
        elif event.type == "subagent_stop":
            self.alive.pop(event.agent, None)
        elif call and call.id in self.callers and event.data.get("running") is not True:
            for name in [name for name, started in self.alive.items() if started == call.id]:
                del self.alive[name]
        return ()

    def holding(self, now: float) -> Iterable[Finding]:
        return [*self._many(()), *self._deep(max(map(self._depth_of, self.alive), default=0), ())]

    def _start(self, event: Event) -> Iterable[Finding]:
        parent = event.text("parent_agent_id") or self.callers.get(event.parent, "")
        told = event.number("depth")
        depth = int(told) if told and told < MAX_TRACKED_AGENTS else self._depth_of(parent) + 1
        self.depth[event.agent] = depth
        self.alive[event.agent] = event.parent
        evidence = (event.id,) if event.id else ()
        return [*self._many(evidence), *self._deep(depth, evidence)]

    def _depth_of(self, agent: str) -> int:
        """Return the depth of a subagent, 0 for the main agent."""
        return self.depth.get(agent, 1) if agent else 0

    def _many(self, evidence: tuple[str, ...]) -> Iterable[Finding]:
        alive, allowed = len(self.alive), self.limit
        if allowed and alive >= allowed * WARN_SHARE:
            level: Level = "critical" if alive >= allowed else "warning"
            yield Finding(
                "alive",
                f"{alive} subagents at once ({_of(level, allowed)})",
                2 if level == "critical" else 1,
                level,
                evidence,
                {
                    "count": alive,
                    "limit": allowed,
                    "hint": "raise the limit with --max-spawn",
                },
            )

    def _deep(self, depth: int, evidence: tuple[str, ...]) -> Iterable[Finding]:
        allowed = self.depth_limit
        if allowed and depth >= max(2, allowed - 1):
            level: Level = "critical" if depth >= allowed else "warning"
            yield Finding(
                "depth",
                f"subagents nested {depth} deep ({_of(level, allowed)})",
                2 if level == "critical" else 1,
                level,
                evidence,
                {
                    "count": depth,
                    "limit": allowed,
                    "rule": "depth",
                    "hint": "raise the limit with --max-depth",
                },
            )


def _of(level: Level, limit: int) -> str:
    """Return the limit as a message has it: a warning comes before it is reached."""
    return f"threshold: {limit}" if level == "critical" else f"near the threshold of {limit}"


@detector("spawn", guards=True, thresholds=(5, 10, 20, 50))
@limit(
    "--max",
    type=COUNT,
    flag="--max-spawn",
    key="spawn.max",
    default=20,
    help="Limit on subagents alive at once.",
)
@limit(
    "--depth",
    type=COUNT,
    flag="--max-depth",
    key="spawn.depth",
    default=3,
    help="Limit on the depth of nested subagents.",
)
def detect_spawn(max: int, depth: int) -> Rules:
    """Raise a violation when an agent has too many subagents, or nests them too deeply.

    A subagent counts as ended once its end is recorded, or the call that started it has returned.
    """
    return [lambda _: Spawned(max, depth)]


main = detect_spawn.main
