"""Estimate of a session's cost for sessions that record no usage, from the text that was exchanged.

An agent sends the whole conversation again with every request, most of it read from the cache. The
cost therefore depends on the number of requests, the length of the conversation at each, and the
hidden part of the prompt (system prompt, tools). The figures were measured on recorded sessions
that do have their usage; see trace-cost(1).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from agent_pipes.core.bounded import BoundedDict
from agent_pipes.core.event import Event
from agent_pipes.cost.prices import Usage

ESTIMATE_INPUTS = frozenset(
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
"""Types of the events that an estimate is made from."""

MIN_UNRECORDED_RESPONSES = 3
"""Responses without usage after which a session is taken to record none.

Some agents record the usage of a response only after the results of the calls in it.
"""

MAX_SEEN_EVENTS = 10_000
"""Events of one session that are not counted when they come a second time."""

MAX_CONVERSATIONS = 256
"""Subagents of one session that are estimated apart."""

CACHE_LIFETIME_S = 300.0

COMPACTION_CHARS, COMPACTED_CHARS = 400_000, 40_000
"""Length at which a conversation is taken to have been compacted, and its length afterwards."""

MAX_RESULT_BYTES = 10**9
"""A `result_bytes` from here on is not believed."""


class TokenRatios(NamedTuple):
    """Hidden tokens of a prompt, and characters per token of prompt and of visible output."""

    hidden: int
    prompt: float
    output: float


ANTHROPIC = TokenRatios(35_000, 2.5, 3.0)
OTHERS = TokenRatios(12_000, 3.0, 1.6)


class EstimatedResponse(NamedTuple):
    """One request and its response, as far as the events show them.

    agent:       the subagent's id, "" for the main agent.
    number:      its place among this agent's responses, from 1.
    time:        time of its last event, seconds since the epoch.
    trigger:     id of its last event.
    sent_before: characters of the conversation that an earlier request had sent.
    sent_first:  characters of the conversation that this request sent first.
    output:      characters of the response.
    cached:      True if `sent_before` was still in the cache.
    nothing_hidden: True if the caller records its own requests, which have no hidden prompt.
    """

    agent: str
    number: int
    time: float
    trigger: str
    sent_before: int
    sent_first: int
    output: int
    cached: bool
    nothing_hidden: bool

    def usage(self, model: str) -> Usage:
        """Return the estimated tokens for `model`."""
        ratios = ANTHROPIC if "claude" in model.lower() else OTHERS
        hidden = 0 if self.nothing_hidden else ratios.hidden
        before = hidden + round(self.sent_before / ratios.prompt)
        prompt = before + round(self.sent_first / ratios.prompt)
        read = before if self.cached else 0
        return Usage(prompt, read, prompt - read, output=round(self.output / ratios.output))


class _Conversation:
    """Lengths, in characters, of what one agent has sent and received."""

    def __init__(self) -> None:
        self.sent_before = self.sent_first = self.output = self.number = 0
        self.nothing_hidden = False
        self.time = self.last_request = 0.0
        self.trigger = ""

    def speak(self, event: Event, *keys: str) -> None:
        """Add the event's text to the response."""
        self.output += _length_of(event.data, *keys)
        self.time, self.trigger = event.time, event.id

    def complete(self, agent: str) -> EstimatedResponse:
        """Return the response that is complete now; the conversation goes on from there."""
        self.number += 1
        cached = self.number > 1 and self.time - self.last_request <= CACHE_LIFETIME_S
        response = EstimatedResponse(
            agent,
            self.number,
            self.time,
            self.trigger,
            self.sent_before,
            self.sent_first,
            self.output,
            cached,
            self.nothing_hidden,
        )
        self.sent_before += self.sent_first + self.output
        if self.sent_before > COMPACTION_CHARS:
            self.sent_before = COMPACTED_CHARS
        self.sent_first = self.output = 0
        self.last_request = self.time
        return response


class Estimator:
    """Finds the responses of one session that records none."""

    def __init__(self) -> None:
        self.conversations: BoundedDict[str, _Conversation] = BoundedDict(MAX_CONVERSATIONS)
        self.seen: BoundedDict[str, None] = BoundedDict(MAX_SEEN_EVENTS)
        self.held: list[EstimatedResponse] | None = []

    def see(self, event: Event) -> list[EstimatedResponse]:
        """Return the responses that `event`, of a type in ESTIMATE_INPUTS, shows to be complete."""
        if event.id:
            if event.id in self.seen:
                return []
            self.seen[event.id] = None
        agent = event.agent
        conversation = self.conversations.get(agent)
        if conversation is None:
            conversation = self.conversations[agent] = _Conversation()
        if event.type in ("tool_call", "assistant_response"):
            conversation.speak(event, "arguments", "text", "tool_name")
            return []
        if event.type == "llm_response":
            conversation.nothing_hidden = True
            conversation.speak(event, "text", "content", "content_preview")
            self.held = None
            return [conversation.complete(agent)]
        complete = [conversation.complete(agent)] if conversation.output else []
        if event.type == "session_end":
            return self._release(complete) + self.finish()
        conversation.sent_first += _length_of(
            event.data, "prompt", "result", "error", "content_preview", "message"
        )
        return self._release(complete)

    def _release(self, complete: list[EstimatedResponse]) -> list[EstimatedResponse]:
        if self.held is None:
            return complete
        self.held += complete
        return self._release_all() if len(self.held) >= MIN_UNRECORDED_RESPONSES else []

    def _release_all(self) -> list[EstimatedResponse]:
        held, self.held = self.held or [], None
        return held

    def finish(self) -> list[EstimatedResponse]:
        """Return the responses that were held back or not complete when the session ended."""
        return self._release_all() + [
            conversation.complete(agent)
            for agent, conversation in self.conversations.items()
            if conversation.output
        ]


def _length_of(data: Mapping[str, Any], *keys: str) -> int:
    """Return the characters under `keys`, or the size of the whole result where it was cut."""
    whole = data.get("result_bytes")
    if type(whole) is int and 0 <= whole < MAX_RESULT_BYTES:
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
