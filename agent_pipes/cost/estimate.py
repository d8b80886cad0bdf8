"""What a session must have cost for which no usage was recorded: a guess from what was said in it.

An agent sends the whole conversation again with every request, and most of it is read from the cache. So what counts
is how often it asked, how long the conversation was by then, and that the part nobody sees (system prompt, tools) is
the longest for a while. The figures were measured on recorded sessions that do hold their usage; see trace-cost(1).
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from agent_pipes.core.event import Event
from agent_pipes.cost.prices import Usage

HEARD = frozenset(
    {
        "user_prompt",
        "assistant_response",
        "tool_call",
        "tool_result",
        "error",
        "session_end",
        "llm_response",
    }
)
"""The types of events that a guess is made from."""

HELD = 3
"""Responses that must have come without usage before the session is taken for one that has none: some agents record
it only behind the results of what the response called for."""

AGENTS = 256
"""Subagents of one session that are kept apart."""

CACHE_KEPT = 300.0
"""Seconds for which a prompt stays in the cache."""

COMPACTED_AT, COMPACTED_TO = 400_000, 40_000
"""Characters at which a conversation is taken to have been summed up, and to what."""


class Makers(NamedTuple):
    """Tokens of prompt that nobody sees; characters to a token of prompt, and of output (its reasoning is not seen)."""

    hidden: int
    prompt: float
    output: float


ANTHROPIC = Makers(35_000, 2.5, 3.0)
OTHERS = Makers(12_000, 3.0, 1.6)


class Said(NamedTuple):
    """One request and its response, as far as they can be told from what was said.

    agent:   the subagent's id, "" for the main one.
    number:  which of its responses it is, from 1.
    time:    when the last of it was said, seconds since the epoch.
    trigger: the id of the event that was the last of it.
    before:  characters of the conversation that had been sent before; fresh: that were sent for the first time.
    output:  characters of the response.
    cached:  whether what had been sent before was still in the cache.
    bare:    nothing hidden was sent with it: who recorded this calls the model himself.
    """

    agent: str
    number: int
    time: float
    trigger: str
    before: int
    fresh: int
    output: int
    cached: bool
    bare: bool

    def usage(self, model: str) -> Usage:
        """The tokens that this must have come to, for `model`."""
        makers = ANTHROPIC if "claude" in model.lower() else OTHERS
        hidden = 0 if self.bare else makers.hidden
        before = hidden + round(self.before / makers.prompt)
        prompt = before + round(self.fresh / makers.prompt)
        read = before if self.cached else 0
        return Usage(prompt, read, prompt - read, output=round(self.output / makers.output))


class _Talk:
    """What one agent has said and heard, in characters."""

    __slots__ = ("before", "bare", "fresh", "latest", "number", "output", "sent", "time", "trigger")

    def __init__(self) -> None:
        self.before = self.fresh = self.output = self.number = 0
        self.bare = False
        self.time = self.sent = 0.0
        self.trigger = ""

    def answered(self, agent: str) -> Said:
        """The response is complete: what it was, and the conversation goes on from there."""
        self.number += 1
        cached = self.number > 1 and self.time - self.sent <= CACHE_KEPT
        said = Said(
            agent,
            self.number,
            self.time,
            self.trigger,
            self.before,
            self.fresh,
            self.output,
            cached,
            self.bare,
        )
        self.before += self.fresh + self.output
        if self.before > COMPACTED_AT:
            self.before = COMPACTED_TO
        self.fresh = self.output = 0
        self.sent = self.time
        return said


class Guess:
    """The responses of one session, told from what stands around them."""

    def __init__(self) -> None:
        self.talks: OrderedDict[str, _Talk] = OrderedDict()
        self.held: list[Said] | None = []

    def hear(self, event: Event) -> list[Said]:
        """The responses that are known to be complete by `event`, which is of a type in HEARD."""
        agent = event.agent
        talk = self.talks.get(agent)
        if talk is None:
            talk = self.talks[agent] = _Talk()
            if len(self.talks) > AGENTS:
                self.talks.popitem(last=False)
        kind = event.type
        if kind == "tool_call" or kind == "assistant_response":
            talk.output += _size(event.data, "arguments", "text", "tool_name")
            talk.time, talk.trigger = event.time, event.id
            return []
        if kind == "llm_response":
            talk.bare = True
            talk.output += _size(event.data, "text", "content", "content_preview")
            talk.time, talk.trigger = event.time, event.id
            self.held = None
            return [talk.answered(agent)]
        complete = [talk.answered(agent)] if talk.output else []
        if kind == "session_end":
            return self._let_go(complete) + self.over()
        talk.fresh += _size(event.data, "prompt", "result", "error", "content_preview", "message")
        return self._let_go(complete)

    def _let_go(self, complete: list[Said]) -> list[Said]:
        if self.held is None:
            return complete
        self.held += complete
        return self._freed() if len(self.held) >= HELD else []

    def _freed(self) -> list[Said]:
        held, self.held = self.held or [], None
        return held

    def over(self) -> list[Said]:
        """The session is over: what was held back, and what the agents had begun to say."""
        return self._freed() + [
            talk.answered(agent) for agent, talk in self.talks.items() if talk.output
        ]


def _size(data: Mapping[str, Any], *keys: str) -> int:
    """Characters under `keys`; of a result, all of it, also where the event has only its head."""
    whole = data.get("result_bytes")
    if type(whole) is int and 0 <= whole < 10**9:
        return whole
    return sum(_length(data[key]) for key in keys if key in data)


def _length(value: object) -> int:
    if type(value) is str:
        return len(value)
    if type(value) is not dict and type(value) is not list:
        return 0
    try:
        return len(orjson.dumps(value))
    except (TypeError, ValueError):
        return len(str(value))
