"""Usage of Claude Code's responses: each once, from the best of the lines that repeat it."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent_pipes.agents.fields import count, objects_in, written
from agent_pipes.core.jsonl import Fields

REMEMBERED = 2_000
"""Responses of a session that may still be corrected; a copy of an evicted one is emitted again."""

SETTLED = 10_000
"""Responses of one model on a pipe whose output counts the run's totals can correct."""

LOST = 8
"""Characters of visible output per recorded token, above which the record is a placeholder.

Versions 2.1.10 to 2.1.49 wrote the count at the start of the stream (1 to 6 tokens); a final count
has three characters per token.
"""

TOKEN = 3
"""Characters of output per token in an estimate: 3.03 over 626 messages with a final count."""


@dataclass(slots=True, eq=False)
class Response:
    """One of the model's responses, as far as it is known.

    rank:     quality of the line that its usage comes from; a line of equal rank replaces it.
    recorded: that line's usage, unchanged.
    blocks:   what of its content was seen already, so that a copy of a line adds nothing.
    size:     characters of its visible output: text, thinking, tool input.
    said:     what was last said of it, and of the request that compacted its context, by their ids.
    """

    id: str
    model: str = ""
    agent: str = ""
    rank: tuple[bool, bool, int] = (False, False, -1)
    recorded: Fields = field(default_factory=dict)
    final: bool = False
    blocks: set[int] = field(default_factory=set)
    size: int = 0
    said: dict[str, Fields] = field(default_factory=dict)

    def new(self, block: Hashable) -> bool:
        """Return True if this block of its content is new."""
        key = hash(block)
        if key in self.blocks:
            return False
        self.blocks.add(key)
        return True


class Responses:
    """Responses of one session. `recorded`: keep counts as they are, placeholders too."""

    def __init__(self, recorded: bool) -> None:
        self._recorded = recorded
        self._responses: OrderedDict[str, Response] = OrderedDict()
        self._piped: dict[str, list[Response]] = {}

    def of(self, id: str) -> Response:
        """Return the response `id`: one message id is one response, despite other request ids."""
        response = self._responses.get(id)
        if response is None:
            response = self._responses[id] = Response(id)
            if len(self._responses) > REMEMBERED:
                self._responses.popitem(last=False)
        return response

    def single(self, id: str) -> Response:
        """Return a response without an id: each of its lines counts, under the line's id."""
        return Response(id)

    def update(
        self, response: Response, message: Fields, *, agent: str, sidechain: bool, pipe: bool
    ) -> list[Fields]:
        """Return the data of the llm_response events that a line brings, none if nothing is new.

        The main thread's line outranks a sidechain's copy, a line with a stop reason outranks one
        written during the response, and of these the larger count wins.
        """
        recorded = message.get("usage")
        model = message.get("model")
        if type(recorded) is not dict or model == "<synthetic>":
            return []
        final = type(message.get("stop_reason")) is str
        if (
            final
            and response.final
            and response.rank[0] is not sidechain
            and written(recorded) == written(response.recorded)
        ):
            return []
        told: list[Fields] = []
        rank = (not sidechain, final, _total(recorded))
        if rank >= response.rank:
            response.rank = rank
            response.recorded = recorded
            response.model = model if type(model) is str else ""
            response.agent = agent
            response.final = final
            if pipe and not response.said:
                piped = self._piped.setdefault(response.model, [])
                if len(piped) <= SETTLED:
                    piped.append(response)
            for place, iteration in enumerate(_compactions(recorded)):
                # The request that compacted the context is billed; the usage excludes it.
                told += self._say(response, f"{response.id}/compaction{place or ''}", iteration)
        told += self._say(
            response,
            response.id,
            response.recorded,
            estimate=not response.final and not self._recorded,
            pipe=pipe,
        )
        return told

    def finish(self, id: str, usage: Fields) -> list[Fields]:
        """Return the correction by the stream's final counts (`message_delta`)."""
        response = self._responses.get(id)
        if response is None or not response.recorded or response.final:
            return []
        told = {
            key: value for key, value in usage.items() if key not in _COUNTS or count(usage, key)
        }
        message = {
            "usage": {**response.recorded, **told},
            "model": response.model,
            "stop_reason": "told",
        }
        return self.update(
            response, message, agent=response.agent, sidechain=not response.rank[0], pipe=True
        )

    def settle(self, totals: object) -> Iterator[Fields]:
        """Correct estimates by the run's totals per model (`modelUsage` of a `result` line).

        They are used for a model whose requests were all seen, as its prompt tokens show, which are
        right on every line. Its output is distributed over the responses without final counts, by
        their length.
        """
        if type(totals) is not dict:
            return
        for total in totals.values():
            if type(total) is not dict:
                continue
            prompt = tuple(
                count(total, key)
                for key in ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
            )
            for piped in self._piped.values():
                if len(piped) <= SETTLED and prompt == tuple(
                    sum(count(each.recorded, key) for each in piped) for key in _PROMPT
                ):
                    yield from self._share(count(total, "outputTokens"), piped)
                    break

    def _share(self, output: int, responses: list[Response]) -> Iterator[Fields]:
        output -= sum(count(each.recorded, "output_tokens") for each in responses if each.final)
        missing = [each for each in responses if not each.final]
        weight = sum(max(1, each.size) for each in missing)
        for response in missing:
            part = max(1, response.size)
            share = max(0, output * part // weight)
            output -= share
            weight -= part
            response.final = True
            response.rank = (response.rank[0], True, response.rank[2])
            response.recorded = {**response.recorded, "output_tokens": share}
            yield from self._say(response, response.id, response.recorded)

    def _say(
        self,
        response: Response,
        id: str,
        recorded: Fields,
        *,
        estimate: bool = False,
        pipe: bool = False,
    ) -> list[Fields]:
        data: Fields = {"model": response.model, "response_id": id, "usage": usage_of(recorded)}
        for key, usual in _BILLED.items():
            value = recorded.get(key)
            if type(value) is str and value and value not in usual:
                data[key] = value
        server = recorded.get("server_tool_use")
        if type(server) is dict and (searches := count(server, "web_search_requests")):
            data["web_searches"] = searches
        if response.agent:
            data["agent_id"] = response.agent
        if estimate:
            _stand_in(data, response.size, pipe)
        if data == response.said.get(id):
            return []
        response.said[id] = data
        return [data]


_PROMPT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_COUNTS = (*_PROMPT, "output_tokens")


def _total(recorded: Fields) -> int:
    return sum([count(recorded, key) for key in _COUNTS])


_BILLED = {
    "speed": ("standard",),
    "service_tier": ("standard",),
    "inference_geo": ("not_available",),
}
"""Other fields that the price depends on, and their values that change nothing."""


def usage_of(recorded: Fields) -> dict[str, int]:
    """Return a usage of the Messages API by OpenTelemetry names.

    `input_tokens` is the whole prompt, cached parts included. Cache writes without a lifetime count
    as 5-minute ones.
    """
    split = recorded.get("cache_creation")
    hour = count(split, "ephemeral_1h_input_tokens") if type(split) is dict else 0
    minutes = count(split, "ephemeral_5m_input_tokens") if type(split) is dict else 0
    written = max(count(recorded, "cache_creation_input_tokens"), hour + minutes)
    read = count(recorded, "cache_read_input_tokens")
    details = recorded.get("output_tokens_details")
    usage = {
        "input_tokens": count(recorded, "input_tokens") + written + read,
        "output_tokens": count(recorded, "output_tokens"),
    }
    if read:
        usage["cache_read_input_tokens"] = read
    if written:
        usage["cache_creation_input_tokens"] = written
    if hour:
        usage["cache_creation_1h_input_tokens"] = hour
    if type(details) is dict and (thought := count(details, "thinking_tokens")):
        usage["reasoning_output_tokens"] = thought
    return usage


def size_of(value: object) -> int:
    """Return the characters of output in a block: of a text itself, else of its JSON."""
    return len(value) if type(value) is str else len(written(value))


def _stand_in(data: Fields, size: int, pipe: bool) -> None:
    usage: dict[str, Any] = data["usage"]
    recorded: int = usage["output_tokens"]
    if pipe or recorded < size / LOST:
        # On a pipe every line has the count that the stream began with, whatever it says.
        data["estimated"] = True
        data["recorded_output_tokens"] = recorded
        usage["output_tokens"] = max(recorded, size // TOKEN)


def _compactions(recorded: Fields) -> list[Fields]:
    iterations = objects_in(recorded.get("iterations"))
    return [each for each in iterations if each.get("type") == "compaction"]
