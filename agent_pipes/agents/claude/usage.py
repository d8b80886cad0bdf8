"""What Claude Code's responses used: each response once, however many lines repeat it, and as the best of them has it."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any

from agent_pipes.agents.fields import written
from agent_pipes.core.jsonl import Fields

REMEMBERED = 2_000
"""Responses of a session that may still be corrected. A later copy of one forgotten comes out again, under its old id."""

SETTLED = 10_000
"""Responses of one model on a pipe whose output counts can be settled when the run's totals are told."""

LOST = 8
"""Characters of visible output for one recorded token, beyond which the record is a placeholder. Versions 2.1.10 to
2.1.49 wrote the count that the stream begins with (1 to 6 tokens); a real count stands at three characters a token."""

LARGEST = 1 << 53
"""A count that is no longer believed: every number below it is exact also where it is read as a float."""

TOKEN = 3
"""Characters of output that stand in for one token: 3.03 were measured over 626 messages with a final count."""


class Response:
    """One of the model's responses, as far as it is known.

    rank:     how good the line is that its usage was taken from; a line that ranks no lower replaces it whole.
    recorded: that line's usage, as it stands there.
    blocks:   what of its content was seen already, so that a copy of a line adds nothing.
    size:     characters of its visible output: text, thinking, tool input.
    said:     what was last said of it, and of the request that compacted its context, by their ids.
    """

    __slots__ = ("id", "model", "agent", "rank", "recorded", "final", "blocks", "size", "said")

    def __init__(self, id: str) -> None:
        self.id = id
        self.model = ""
        self.agent = ""
        self.rank: tuple[bool, bool, int] = (False, False, -1)
        self.recorded: Fields = {}
        self.final = False
        self.blocks: set[int] = set()
        self.size = 0
        self.said: dict[str, Fields] = {}

    def new(self, block: Hashable) -> bool:
        """Whether this block of its content was not seen before."""
        key = hash(block)
        if key in self.blocks:
            return False
        self.blocks.add(key)
        return True


class Responses:
    """The responses of one session. `recorded`: counts are left as they stand, also where they are placeholders."""

    def __init__(self, recorded: bool) -> None:
        self._recorded = recorded
        self._responses: OrderedDict[str, Response] = OrderedDict()
        self._piped: dict[str, list[Response]] = {}

    def of(self, id: str) -> Response:
        """The response called `id`. One message id is one response, whatever request ids its lines have."""
        response = self._responses.get(id)
        if response is None:
            response = self._responses[id] = Response(id)
            if len(self._responses) > REMEMBERED:
                self._responses.popitem(last=False)
        return response

    def single(self, id: str) -> Response:
        """A response without an id of its own: each of its lines counts, under the line's."""
        return Response(id)

    def update(
        self, response: Response, message: Fields, *, agent: str, sidechain: bool, pipe: bool
    ) -> list[Fields]:
        """What a line of the response tells anew: the data of its llm_response, none where nothing has changed.

        The main thread's line is better than a sidechain's copy of it, one with the reason why the model stopped is
        better than one written while it still spoke, and among these the larger count.
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
                # The request that compacted the context is billed, and the usage around it leaves it out.
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
        """The stream itself tells the response's final counts (`message_delta`)."""
        response = self._responses.get(id)
        if response is None or not response.recorded or response.final:
            return []
        told = {
            key: value for key, value in usage.items() if key not in _COUNTS or _count(usage, key)
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
        """The run's totals by model (`modelUsage` of a `result` line, since the process began) correct what was estimated.

        They are believed for a model of which we saw every request, which its prompt tokens show: they are right on
        every line. Its output is then shared out over the responses whose counts are still missing, by their length.
        """
        if type(totals) is not dict:
            return
        for total in totals.values():
            if type(total) is not dict:
                continue
            prompt = tuple(
                _count(total, key)
                for key in ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
            )
            for piped in self._piped.values():
                if len(piped) <= SETTLED and prompt == tuple(
                    sum(_count(each.recorded, key) for each in piped) for key in _PROMPT
                ):
                    yield from self._share(_count(total, "outputTokens"), piped)
                    break

    def _share(self, output: int, responses: list[Response]) -> Iterator[Fields]:
        output -= sum(_count(each.recorded, "output_tokens") for each in responses if each.final)
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
        if type(server) is dict and (searches := _count(server, "web_search_requests")):
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
    return sum([_count(recorded, key) for key in _COUNTS])


_BILLED = {
    "speed": ("standard",),
    "service_tier": ("standard",),
    "inference_geo": ("not_available",),
}
"""What else the price depends on, and the values that change nothing."""


def usage_of(recorded: Fields) -> dict[str, int]:
    """A usage of the Messages API under OpenTelemetry's names: `input_tokens` is the whole prompt, cached parts included.

    Cache writes that the split by lifetime does not account for are in the total, and so count as 5-minute ones.
    """
    split = recorded.get("cache_creation")
    hour = _count(split, "ephemeral_1h_input_tokens") if type(split) is dict else 0
    minutes = _count(split, "ephemeral_5m_input_tokens") if type(split) is dict else 0
    written = max(_count(recorded, "cache_creation_input_tokens"), hour + minutes)
    read = _count(recorded, "cache_read_input_tokens")
    details = recorded.get("output_tokens_details")
    usage = {
        "input_tokens": _count(recorded, "input_tokens") + written + read,
        "output_tokens": _count(recorded, "output_tokens"),
    }
    if read:
        usage["cache_read_input_tokens"] = read
    if written:
        usage["cache_creation_input_tokens"] = written
    if hour:
        usage["cache_creation_1h_input_tokens"] = hour
    if type(details) is dict and (thought := _count(details, "thinking_tokens")):
        usage["reasoning_output_tokens"] = thought
    return usage


def size_of(value: object) -> int:
    """How many characters of output a block's content is: a text's own, of anything else its JSON's."""
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
    iterations = recorded.get("iterations")
    return (
        [each for each in iterations if type(each) is dict and each.get("type") == "compaction"]
        if type(iterations) is list
        else []
    )


def _count(fields: Fields, key: str) -> int:
    value = fields.get(key)
    return value if type(value) is int and 0 <= value < LARGEST else 0
