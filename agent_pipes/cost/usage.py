"""Reading of recorded usage: the tokens that an event records, and the mode it was billed in."""

from collections.abc import Mapping
from typing import Any

from agent_pipes.core.event import Event
from agent_pipes.cost.prices import Usage

MAX_TOKENS = 10**12
"""A count above this is cut: no session has so many."""


def may_have_usage(event: Event) -> bool:
    """Return True if the event, of a type in RECORDING, may record usage."""
    return event.type != "assistant_response" or "usage" in event.data


def usage_of(event: Event, recorded: bool) -> Usage | None:
    """Return the tokens that the event records, or None if it records none.

    This suite and OpenTelemetry include the cached parts in `input_tokens`. Anthropic's own form,
    which an imported transcript has, does not; a prompt smaller than its cached parts shows it.

    recorded: use the recorded output of a response whose output was estimated by the reader.
    """
    data = event.data
    given = data.get("usage")
    get = given.get if type(given) is dict else data.get
    prompt = _count(get("input_tokens") or get("prompt_tokens"))
    output = _count(get("output_tokens") or get("completion_tokens"))
    read = _count(get("cache_read_input_tokens"))
    written = _count(get("cache_creation_input_tokens"))
    written_1h = _count(get("cache_creation_1h_input_tokens"))
    searches = _count(data.get("web_searches"))
    if recorded and "recorded_output_tokens" in data:
        output = _count(data["recorded_output_tokens"])
    imported = event.type == "assistant_response"
    if imported:
        written_1h = _count_in(get("cache_creation"), "ephemeral_1h_input_tokens")
        searches = _count_in(get("server_tool_use"), "web_search_requests")
    if imported or prompt < read + written:
        prompt += read + written
    if not (prompt or output or searches):
        return None
    return Usage(
        prompt,
        read,
        written,
        min(written_1h, written),
        output,
        _count(get("reasoning_output_tokens")),
        searches,
    )


def _count_in(fields: object, key: str) -> int:
    return _count(fields.get(key)) if isinstance(fields, dict) else 0


def _count(value: object) -> int:
    if type(value) is int:
        return min(max(value, 0), MAX_TOKENS)
    return int(min(value, MAX_TOKENS)) if type(value) is float and value > 0 else 0


def modes_of(event: Event) -> tuple[str, ...]:
    """Return the modes that change the response's price: `fast`, a service tier, `regional`."""
    data: Mapping[str, Any] = event.data
    if event.type == "assistant_response" and type(data.get("usage")) is dict:
        data = data["usage"]
    speed, tier, place = data.get("speed"), data.get("service_tier"), data.get("inference_geo")
    modes = ("fast",) if speed == "fast" else (tier,) if type(tier) is str else ()
    return (*modes, "regional") if place == "us" else modes
