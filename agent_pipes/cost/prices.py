"""Prices of tokens, and the cost of one response.

Money is a whole number of picodollars (10^-12 dollars), so that sums are exact. The rules are
those of the makers' price pages: a long-context price applies to the whole request once its prompt
exceeds the threshold, a dated price applies from midnight UTC, and cached input is billed apart
from the rest of the prompt.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fractions import Fraction

DOLLAR = 10**12
"""Picodollars in a dollar."""

WEB_SEARCH_USD_PER_1K = 10.0
"""Price of web searches of models that have none in the table: that of most makers."""

KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
MODES = ("fast", "priority", "flex", "batch", "regional")


class Usage(NamedTuple):
    """Tokens of one request and its response.

    `prompt` includes the cached parts `read` and `written`; `written` includes `written_1h`, which
    is kept for an hour; `output` includes `reasoning`.
    """

    prompt: int = 0
    read: int = 0
    written: int = 0
    written_1h: int = 0
    output: int = 0
    reasoning: int = 0
    searches: int = 0


class Rates(NamedTuple):
    """Picodollars per token of each kind, and per web search."""

    input: int = 0
    output: int = 0
    read: int = 0
    write: int = 0
    write_1h: int = 0
    search: int = 0

    def cost(self, usage: Usage) -> int:
        """Return the cost of `usage` in picodollars."""
        prompt, read, written, written_1h, output, _, searches = usage
        return (
            (prompt - read - written) * self.input
            + read * self.read
            + (written - written_1h) * self.write
            + written_1h * self.write_1h
            + output * self.output
            + searches * self.search
        )

    def saved(self, usage: Usage) -> int:
        """Return picodollars saved by caching: the prompt's cost without it, less its cost."""
        return (
            usage.read * (self.input - self.read)
            - (usage.written - usage.written_1h) * (self.write - self.input)
            - usage.written_1h * (self.write_1h - self.input)
        )


Tiers = tuple[tuple[int, Rates], ...]
"""Rates by the prompt above which they apply, the highest first; the last applies to any prompt."""


class Price(NamedTuple):
    """Price of one model in one mode at any time.

    since:     tiers, each with the time from which they apply (seconds since the epoch), latest
               first.
    hours:     daily hours with their own tiers: begin and end in seconds after midnight UTC.
    estimated: True if the table has the model or the mode only under a similar name.
    """

    since: tuple[tuple[float, Tiers], ...]
    hours: tuple[tuple[int, int, Tiers], ...] = ()
    estimated: bool = False

    def at(self, time: float, prompt: int) -> Rates:
        """Return the rates at `time` of a request with `prompt` tokens, cached ones included."""
        tiers = self._hourly(time) if self.hours else ()
        if not tiers:
            for since, tiers in self.since:  # noqa: B007
                if time >= since:
                    break
        for above, rates in tiers:
            if prompt > above:
                return rates
        return Rates()

    def _hourly(self, time: float) -> Tiers:
        second = time % 86400
        for begin, end, tiers in reversed(self.hours):
            if begin <= second < end or (end < begin and not end <= second < begin):
                return tiers
        return ()


FREE = Price(((0.0, ((-1, Rates()),)),))
"""Price of text that no model wrote (`<synthetic>`) and of a router's free models (`:free`)."""


def price_of(
    model: Mapping[str, Any], defaults: Mapping[str, Any], modes: Iterable[str], estimated: bool
) -> Price:
    """Return the price of a table's entry in `modes`.

    A mode that neither the entry nor its provider's `defaults` mention leaves the price as it is
    and makes it an estimate.
    """
    estimated = estimated or bool(model.get("estimated"))
    changes_by_mode: list[Mapping[str, Any]] = []
    for mode in dict.fromkeys(modes):
        change = model.get(mode, defaults.get(mode))
        if mode == "fast" and change is None:
            change = model.get("priority")
        if change is None:
            estimated = True
        else:
            changes_by_mode.append(change if isinstance(change, Mapping) else {"factor": change})
            estimated = estimated or bool(changes_by_mode[-1].get("estimated"))
    dated = [model, *sorted(model.get("changes", ()), key=lambda change: str(change["from"]))]
    since = tuple(
        (_midnight(change.get("from")), _tiers(change, changes_by_mode))
        for change in reversed(dated)
    )
    hours = tuple(
        (*_seconds(hour["utc"]), _tiers(hour, changes_by_mode)) for hour in model.get("hours", ())
    )
    return Price(since, hours, estimated)


def _tiers(prices: Mapping[str, Any], changes_by_mode: list[Mapping[str, Any]]) -> Tiers:
    for change in changes_by_mode:
        prices = _in_mode(prices, change)
    tiers = [
        (int(start), _rates({**prices, **rates}))
        for start, rates in prices.get("above", {}).items()
    ]
    return (*sorted(tiers, reverse=True), (-1, _rates(prices)))


def _in_mode(prices: Mapping[str, Any], change: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `prices` in a mode: multiplied by its factor, or replaced by the mode's own price."""
    from fractions import Fraction

    factor = Fraction(str(change.get("factor", 1)))
    own = {kind: change[kind] for kind in KINDS if kind in change}

    def changed(rates: Mapping[str, Any]) -> dict[str, Any]:
        scaled = {kind: Fraction(str(rates[kind])) * factor for kind in KINDS if kind in rates}
        return {**rates, **scaled, **own}

    above, own_above = prices.get("above", {}), change.get("above", {})
    starts = above.keys() | own_above.keys()
    return {
        **changed(prices),
        "above": {
            start: {**changed(above.get(start, {})), **own_above.get(start, {})} for start in starts
        },
    }


def _rates(prices: Mapping[str, Any]) -> Rates:
    """Return rates from dollars per million tokens. Cached input without a price costs as input."""
    plain = prices.get("input", 0)
    write = _picodollars(prices.get("cache_write", plain))
    return Rates(
        _picodollars(plain),
        _picodollars(prices.get("output", 0)),
        _picodollars(prices.get("cache_read", plain)),
        write,
        _picodollars(prices["cache_write_1h"]) if "cache_write_1h" in prices else write,
        _picodollars(prices.get("web_search", WEB_SEARCH_USD_PER_1K) * 1000),
    )


def _picodollars(dollars_per_million: "float | Fraction") -> int:
    """Return picodollars per token, rounded from the price as it is written in decimals."""
    from fractions import Fraction

    return round(Fraction(str(dollars_per_million)) * 10**6)


def _midnight(day: object) -> float:
    return datetime.fromisoformat(str(day)).replace(tzinfo=UTC).timestamp() if day else 0.0


def _seconds(hours: tuple[str, str]) -> tuple[int, int]:
    begin, end = (
        int(hour) * 3600 + int(minute) * 60
        for hour, _, minute in (text.partition(":") for text in hours)
    )
    return begin, end
