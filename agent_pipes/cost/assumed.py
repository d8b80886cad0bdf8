"""Assumed prices of models that the price table lacks, so that a limit in dollars still holds."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from agent_pipes.cost.model_names import normalize, spellings
from agent_pipes.cost.price_table import MAX_CACHED_PRICES, PriceTable
from agent_pipes.cost.prices import Price

MIN_COMMON_SEGMENTS = 2
"""Segments of the name (`gpt-6`, `claude-opus`) that two models of one series have in common."""


class AssumedPrice(NamedTuple):
    """The price of another model, `model`, for one without a price."""

    model: str
    price: Price


@lru_cache(maxsize=MAX_CACHED_PRICES)
def assumed_price(table: PriceTable, name: str, modes: tuple[str, ...] = ()) -> AssumedPrice | None:
    """Return the price to assume for the model `name`, None if its maker is unknown.

    It is that of the model whose name has the longest prefix in common, at least two segments; of
    several, of the one that ends alike, then of the dearest. A model of a new series costs as the
    dearest of its maker's current models, which data/prices.json lists.
    """
    names = [each.name for each in spellings(name) if table.maker_of(each.name)]
    if not names:
        return None
    shortest = min(names, key=len)
    maker = table.maker_of(shortest)
    near = _nearest(table, shortest, maker) or _dearest(table, table.current_models(maker))
    price = table.find(near, *modes)
    return AssumedPrice(near, price) if price else None


def _nearest(table: PriceTable, name: str, maker: str) -> str:
    """Return the maker's model with the longest common prefix, "" if none is of its series."""
    found: dict[tuple[int, int], list[str]] = {}
    for other in table.models_of(maker):
        plain = normalize(other)
        if _common_segments(name, plain) >= MIN_COMMON_SEGMENTS:
            alike = _common_length(name, plain), _common_length(name[::-1], plain[::-1])
            found.setdefault(alike, []).append(other)
    return _dearest(table, found[max(found)]) if found else ""


def _common_length(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _common_segments(one: str, other: str) -> int:
    pairs = zip(one.split("-"), other.split("-"), strict=False)
    shortest = min(one.count("-"), other.count("-")) + 1
    return next((at for at, (a, b) in enumerate(pairs) if a != b), shortest)


def _dearest(table: PriceTable, models: list[str]) -> str:
    return max(models, key=lambda model: _dollars(table, model), default="")


def _dollars(table: PriceTable, model: str) -> int:
    """Return the model's latest price of a token in and a token out, in picodollars."""
    price = table.find(model)
    rates: Iterator[int] = (
        tiers[-1][1].input + tiers[-1][1].output for _, tiers in (price.since if price else ())
    )
    return next(rates, 0)
