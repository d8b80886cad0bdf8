"""Price files: this suite's own form, whole or partial, or the one that LiteLLM publishes."""

import math
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from agent_pipes.core.lazy_regex import pattern
from agent_pipes.cost.prices import KINDS, MODES

Prices = dict[str, Any]

MAX_SHOWN_CHARS = 60
"""Characters of a wrong value that a message shows."""

_RATES = (*KINDS, "web_search")
_TOP = ("models", "defaults", "makers", "source", "date", "unit")
_MODEL = (*_RATES, *MODES, "names", "above", "changes", "hours", "estimated")
_MODE = (*_RATES, "above", "factor", "estimated")


@lru_cache(maxsize=8)
def load(path: str) -> Prices:
    """Return the price table in the file at `path`.

    Raises click.UsageError, which names the file, the key and what was expected.
    """
    try:
        content: object = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"{path}: not JSON: {error}") from None
    if (
        isinstance(content, dict)
        and "models" not in content
        and any(
            isinstance(entry, dict) and "litellm_provider" in entry for entry in content.values()
        )
    ):
        return from_litellm(path, content)
    return _checked(path, content)


class _Checker:
    """Checks values, and reports file, key and what was expected."""

    def __init__(self, path: str) -> None:
        self.path = path

    def fail(self, key: str, expected: str, value: object) -> NoReturn:
        found = orjson.dumps(value, default=str).decode()
        if len(found) > MAX_SHOWN_CHARS:
            found = found[: MAX_SHOWN_CHARS - 3] + "..."
        raise click.UsageError(f"{self.path}: {key}: expected {expected}, found {found}")

    def mapping(self, key: str, value: object, known: tuple[str, ...] = ()) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(key, "an object", value)
        for name in value if known else ():
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
                raise click.UsageError(f"{self.path}: {key}: unknown key {name!r}{hint}")
        return value

    def number(self, key: str, value: object) -> None:
        if (
            not isinstance(value, (int, float))
            or isinstance(value, bool)
            or not math.isfinite(value)
            or not 0 <= value <= 10**6
        ):
            self.fail(key, "a number of dollars, 0 or more", value)

    def rates(self, key: str, value: object, known: tuple[str, ...]) -> None:
        rates = self.mapping(key, value, known)
        for kind in _RATES:
            if kind in rates:
                self.number(f"{key}.{kind}", rates[kind])
        for start, above in self.mapping(f"{key}.above", rates.get("above", {})).items():
            if not re.fullmatch(r"\d{1,9}", start):
                self.fail(f"{key}.above", "a number of tokens as the key", start)
            self.rates(f"{key}.above.{start}", above, _RATES)

    def mode(self, key: str, value: object) -> None:
        if isinstance(value, dict):
            self.rates(key, value, _MODE)
            value = value.get("factor", 1)
        self.number(key, value)

    def model(self, key: str, value: object) -> None:
        self.rates(key, value, _MODEL)
        model = self.mapping(key, value)
        if not model.keys() & {"input", "output"}:
            self.fail(key, "a price for input and output", value)
        names = model.get("names", [])
        if not isinstance(names, list) or not all(
            isinstance(name, str) and name.strip("*") for name in names
        ):
            self.fail(f"{key}.names", "an array of names", names)
        for mode in MODES:
            if mode in model:
                self.mode(f"{key}.{mode}", model[mode])
        for change in self.array(f"{key}.changes", model.get("changes", [])):
            self.rates(f"{key}.changes", change, (*_RATES, "above", "from"))
            if not _is_date(change.get("from")):
                self.fail(f"{key}.changes.from", "a date such as 2026-03-13", change.get("from"))
        for hour in self.array(f"{key}.hours", model.get("hours", [])):
            self.rates(f"{key}.hours", hour, (*_RATES, "above", "utc"))
            utc = hour.get("utc")
            if (
                not isinstance(utc, list)
                or len(utc) != 2
                or not all(
                    isinstance(time, str) and re.fullmatch(r"[012]\d:[0-5]\d", time) for time in utc
                )
            ):
                self.fail(f"{key}.hours.utc", 'two times such as ["01:00", "04:00"]', utc)

    def array(self, key: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            self.fail(key, "an array", value)
        return value


def _is_date(text: object) -> bool:
    try:
        return bool(date.fromisoformat(text)) if isinstance(text, str) else False
    except ValueError:
        return False


def _checked(path: str, content: object) -> Prices:
    check = _Checker(path)
    table = check.mapping("the file", content, _TOP)
    models = check.mapping("models", table.get("models"))
    for name, model in models.items():
        check.model(f"models.{name}", model)
    for provider, modes in check.mapping("defaults", table.get("defaults", {})).items():
        for mode, change in check.mapping(f"defaults.{provider}", modes, MODES).items():
            check.mode(f"defaults.{provider}.{mode}", change)
    return dict(table)


_LITELLM = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
}
_LITELLM_KEY = pattern(
    rf"({'|'.join(sorted(_LITELLM, key=len, reverse=True))})"
    r"(?:_above_(\d+)k_tokens)?(?:_(priority|flex|batches))?"
)


def from_litellm(path: str, content: Mapping[str, Any]) -> Prices:
    """Return the prices of LiteLLM's model_prices_and_context_window.json.

    It has dollars per token, a key for each kind, threshold and service tier, and no dates.
    Off-peak prices are left out, which makes the price an estimate.
    """
    check = _Checker(path)
    models: Prices = {}
    for name, entry in content.items():
        if name == "sample_spec" or not isinstance(entry, dict):
            continue
        model: Prices = {"names": []}
        for key, value in entry.items():
            if (match := _LITELLM_KEY.fullmatch(key)) and value is not None:
                kind, above, mode = match.groups()
                _place(model, mode, above)[_LITELLM[kind]] = _per_million(
                    check, f"{name}.{key}", value
                )
        model |= _litellm_extras(check, name, entry)
        if model.keys() & {"input", "output"}:
            models[name] = model
    if not models:
        raise click.UsageError(f"{path}: no model in it has a price")
    return {"models": models, "source": path}


def _place(model: Prices, mode: str | None, above: str | None) -> Prices:
    place: Prices = model.setdefault({"batches": "batch"}.get(mode, mode), {}) if mode else model
    found: Prices = place.setdefault("above", {}).setdefault(f"{above}000", {}) if above else place
    return found


def _per_million(check: _Checker, key: str, value: object) -> float:
    check.number(key, value)
    return round(value * 10**6, 9)  # type: ignore[operator]


def _litellm_extras(check: _Checker, name: str, entry: Mapping[str, Any]) -> Prices:
    extras: Prices = {}
    specific = entry.get("provider_specific_entry")
    if isinstance(specific, dict):
        for key, mode in (("fast", "fast"), ("us", "regional")):
            if key in specific:
                check.number(f"{name}.provider_specific_entry.{key}", specific[key])
                extras[mode] = specific[key]
    search = entry.get("search_context_cost_per_query")
    if isinstance(search, dict) and "search_context_size_medium" in search:
        check.number(f"{name}.search_context_cost_per_query", search["search_context_size_medium"])
        extras["web_search"] = search["search_context_size_medium"] * 1000
    ranges = entry.get("tiered_pricing")
    if isinstance(ranges, list) and all(
        isinstance(each, dict) and isinstance(each.get("range"), list) and each["range"]
        for each in ranges
    ):
        above: Prices = {}
        for each in ranges:
            rates = {
                kind: _per_million(check, f"{name}.tiered_pricing.{key}", each[key])
                for key, kind in _LITELLM.items()
                if key in each
            }
            start = each["range"][0]
            check.number(f"{name}.tiered_pricing.range", start)
            extras, above = (
                (extras | rates, above)
                if start == 0
                else (extras, above | {str(int(start)): rates})
            )
        extras["above"] = above
    if "off_peak_pricing" in entry:
        extras["estimated"] = True
    if entry.get("litellm_provider") == "anthropic":
        extras["priority"] = 1
    return extras
