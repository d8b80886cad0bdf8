"""Price table: prices by model name, built in or from a file."""

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.cost.model_names import Spelling, normalize, spellings
from agent_pipes.cost.prices import FREE, Price, price_of

BUILT_IN = Path(__file__).parent.parent / "data" / "prices.json"

MAX_CACHED_PRICES = 1000

_NO_MODE = ("", "standard", "default", "auto")

Entry = tuple[Mapping[str, Any], str]
"""A model's entry in a table, and its provider."""


@cache
def built_in_prices() -> "PriceTable":
    """Return the built-in prices, read once: `backtest` has a meter for each session."""
    return PriceTable(built_in())


def built_in() -> dict[str, Any]:
    """Return the table that is part of this program: `models`, `defaults`, `source`, `date`."""
    table: dict[str, Any] = orjson.loads(BUILT_IN.read_bytes())
    return table


class PriceTable:
    """Prices by model. A model in a later table replaces that model in an earlier one."""

    def __init__(self, *tables: Mapping[str, Any]) -> None:
        self.indexes = [_Index(table["models"]) for table in reversed(tables)]
        self.source = "; ".join(_source(table) for table in reversed(tables))
        self.date = str(tables[0].get("date", "")) if tables else ""
        self.defaults: dict[str, Any] = {}
        for table in tables:
            self.defaults |= table.get("defaults", {})
        self.makers: dict[str, Any] = {}
        for table in tables:
            self.makers |= table.get("makers", {})
        self.find = lru_cache(maxsize=MAX_CACHED_PRICES)(self._find)

    def _find(self, name: str, *modes: str) -> Price | None:
        """Return the price of the model `name` in `modes`, or None if the table has none.

        Modes are `fast`, `priority`, `flex`, `batch` and `regional`. No price is derived from a
        model's family, because a new model's price is not its predecessor's.
        """
        if name == "<synthetic>" or name.endswith(":free"):
            return FREE
        for spelling in spellings(name):
            wanted = tuple(mode for mode in (*modes, *spelling.modes) if mode not in _NO_MODE)
            for index in self.indexes:
                if entry := index.get(spelling):
                    return self._price(entry, wanted, estimated=spelling.loose)
        for index in self.indexes:
            if entry := index.get_by_prefix(name):
                return self._price(entry, modes, estimated=True)
        return None

    def _price(self, entry: Entry, modes: tuple[str, ...], *, estimated: bool) -> Price:
        model, provider = entry
        return price_of(model, self.defaults.get(provider, {}), modes, estimated)

    def maker_of(self, name: str) -> str:
        """Return the maker of a model by the first word of its name, "" if it is unknown."""
        family = name.partition("-")[0]
        return next((maker for maker, own in self.makers.items() if family in own["families"]), "")

    def models_of(self, maker: str) -> list[str]:
        """Return the maker's models in the table."""
        return [
            key.partition("/")[2]
            for index in self.indexes
            for key in index.keys
            if key.startswith(f"{maker}/")
        ]

    def current_models(self, maker: str) -> list[str]:
        """Return the maker's models that a new one may resemble in price."""
        return list(self.makers[maker]["current"])

    def names(self) -> Iterator[str]:
        """Yield every name in the table."""
        return (name for index in self.indexes for name in index.exact)

    def nearest_name(self, name: str) -> str:
        """Return the name in the table that is spelt most like `name`, or ""."""
        from difflib import get_close_matches

        return next(iter(get_close_matches(normalize(name), list(self.names()), 1, 0.7)), "")


def _source(table: Mapping[str, Any]) -> str:
    parts = [str(table[key]) for key in ("source", "date") if key in table]
    return ", ".join(parts) or "a file of prices"


class _Index:
    """One table by every spelling of its models' names."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.keys = list(models)
        self.exact: dict[str, Entry] = {}
        self.prefixes: list[tuple[str, Entry]] = []
        for key, model in models.items():
            provider, _, name = key.rpartition("/")
            entry = (model, provider)
            self.exact.setdefault(normalize(key), entry)
            for spelling in model.get("names", (name,)):
                plain = normalize(spelling)
                if plain[-1:] == "*":
                    plain = plain[:-1]
                    self.prefixes.append((plain, entry))
                self.exact.setdefault(plain, entry)
                if provider:
                    self.exact.setdefault(f"{provider}/{plain}", entry)

    def get(self, spelling: Spelling) -> Entry | None:
        for provider in spelling.providers:
            if found := self.exact.get(f"{provider}/{spelling.name}"):
                return found
        return self.exact.get(spelling.name)

    def get_by_prefix(self, name: str) -> Entry | None:
        """Return the entry with the longest prefix of `name`: the table lacks this variant."""
        plain = normalize(name.rpartition("/")[2])
        found = [
            (len(prefix), entry)
            for prefix, entry in self.prefixes
            if plain.startswith(prefix) and _VARIANT.match(plain, len(prefix))
        ]
        return max(found, key=lambda each: each[0])[1] if found else None


_VARIANT = pattern(r"[-@:\[](?!\d{1,2}(?!\d))")
"""The start of a variant's suffix; opus-4-8 is no variant of opus-4."""
