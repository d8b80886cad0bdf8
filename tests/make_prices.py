"""Make agent_pipes/data/prices.json anew from the installed genai-prices, and print what has changed.

Kept are the makers of models and the clouds that agents reach them through; left out is what no agent works with
(speech, pictures, embeddings) and what another entry says already.
"""

import json
import re
import sys
from datetime import date, time
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from genai_prices import data, types

from agent_pipes.cost.model_names import spellings
from agent_pipes.cost.price_table import BUILT_IN

PROVIDERS = (
    "anthropic",
    "openai",
    "google",
    "x-ai",
    "deepseek",
    "moonshotai",
    "zai",
    "minimax",
    "mistral",
    "github-copilot",
    "cursor",
    "azure",
    "aws",
)
"""In the order in which a name without a provider is looked for."""

LEFT_OUT = re.compile(
    r"embed|tts|image|audio|realtime|transcribe|[-.]live|robotics|sonic|omni|voxtral|banana|davinci|curie|babbage|^ada$|text-|titan|pixtral|ocr"
    r"|gpt-3\.5|gpt-4-32k|vision|wizardlm|palmyra|claude-v1|claude-2|llama3|instruct-v0|gemini-(1|pro|flash-1)|computer-use|^ft:"
)

DEFAULTS = {
    "anthropic": {"batch": 0.5, "priority": 1, "regional": 1.1},
    "openai": {"batch": 0.5, "regional": 1.1},
    "google": {"batch": 0.5},
    "mistral": {"batch": 0.5},
    "moonshotai": {"regional": 1.1},
    "zai": {"regional": 1.1},
}
"""What holds for all of a provider's models: batches at half the price, Anthropic's priority tier at the list price (it
is paid for in advance), a tenth more where the request must stay in a region (inference_geo, regional Bedrock)."""

ADDED: dict[str, dict[str, Any]] = {
    "anthropic/claude-sonnet-4-0": {
        "above": {
            "200000": {
                "input": 6,
                "output": 22.5,
                "cache_read": 0.6,
                "cache_write": 7.5,
                "cache_write_1h": 12,
            }
        }
    },
    "anthropic/claude-opus-4-6": {"fast": {"factor": 6, "estimated": True}},
    "anthropic/claude-opus-4-7": {"fast": {"factor": 6, "estimated": True}},
}
"""What price pages no longer say, and old sessions need: Sonnet 4 had a long-context price, and fast mode cost six times
the price when it was introduced."""

MODES = ("fast", "priority", "flex", "batch")

KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "web_search": "web_searches_kcount",
}


def number(value: Any) -> float:
    return int(value) if value == int(value) else float(value)


def rates(prices: types.ModelPrice) -> dict[str, Any]:
    """The prices, those above a threshold under `above`."""
    found: dict[str, Any] = {}
    above: dict[str, dict[str, float]] = {}
    for kind, attribute in KINDS.items():
        price = getattr(prices, attribute)
        if isinstance(price, types.TieredPrices):
            for tier in price.tiers:
                above.setdefault(str(tier.start), {})[kind] = number(tier.price)
            price = price.base
        if price is not None:
            found[kind] = number(price)
    return found | ({"above": above} if above else {})


def names(match: Any) -> list[str]:
    """The names that a match rule stands for; one that goes on ends in `*`. Dates and the like are found without a rule."""
    if isinstance(match, types.ClauseOr):
        return [name for clause in match.or_ for name in names(clause)]
    if isinstance(match, types.ClauseAnd):
        return [name for clause in match.and_ for name in names(clause)]
    if isinstance(match, types.ClauseEquals):
        return [match.equals]
    if isinstance(match, types.ClauseStartsWith):
        start = match.starts_with
        return (
            [start.removesuffix("@")]
            if start.endswith("@")
            else []
            if re.search(r"-20\d\d$", start)
            else [start.rstrip("-") + "*"]
        )
    if isinstance(match, types.ClauseContains):
        return [match.contains.rstrip("-@")]
    if isinstance(match, types.ClauseEndsWith):
        return [match.ends_with.lstrip("/")]
    text = (
        match.regex.removeprefix("^")
        .removesuffix("$")
        .replace("\\[", "[")
        .replace("\\]", "]")
        .replace("\\.", ".")
    )
    return [text] if re.fullmatch(r"[\w.=\[\]-]+", text) else []


def plain(name: str) -> str:
    return name.lower().replace(".", "-")


def distinct(model: types.ModelInfo) -> list[str]:
    """The model's names without those that are found by leaving something out of them."""
    kept: list[str] = []
    given = {name.lower() for name in names(model.match)} | (
        {model.id.lower()} if re.fullmatch(r"[\w.-]+", model.id) else set()
    )
    every = sorted(given, key=lambda name: (name.endswith("*"), name != model.id, len(name), name))
    beginnings = {plain(name) for name in every if name.endswith("*")}
    for name in every:
        if plain(name) + "*" in beginnings:
            continue
        known = {plain(other).rstrip("*") for other in kept}
        if plain(name).rstrip("*") in known or any(
            each.name in known
            for each in spellings(name.rstrip("*"))
            if not each.loose and not each.modes
        ):
            continue
        kept.append(name)
    return sorted(kept)


def ratio(way: dict[str, Any], base: dict[str, Any]) -> float | None:
    """By what the mode's prices differ from the base, if it is one short number for all of them."""
    pairs = [
        (way.get(kind), base[kind]) for kind in base if kind not in ("above", "web_search", "from")
    ]
    for start, prices in base.get("above", {}).items():
        pairs += [
            (way.get("above", {}).get(start, {}).get(kind), price) for kind, price in prices.items()
        ]
    if any(price is None for price, of in pairs):
        return None
    factor, *others = {Fraction(str(price)) / Fraction(str(of)) for price, of in pairs if of}
    return None if others or (factor * 100).denominator != 1 else number(float(factor))


def way(variants: list[types.PriceVariant], changes: list[dict[str, Any]], today: date) -> Any:
    """A mode's price: by what it differs from the base, as long as it does so evenly, else its own prices today."""
    since = [
        variant.constraint.start_date if variant.constraint else date.min for variant in variants
    ]
    active = next((position for position, start in enumerate(since) if start <= today), -1)
    base = [
        change
        for change in changes
        if str(change.get("from", "")) <= str(max(since[active], today))
    ][-1]
    prices = rates(variants[active].prices)
    factor = ratio(prices, base)
    return prices if factor is None else factor


def model_entry(model: types.ModelInfo, today: date) -> dict[str, Any]:
    conditional = (
        model.prices
        if isinstance(model.prices, list)
        else [types.ConditionalPrice(prices=model.prices)]
    )
    changes: list[dict[str, Any]] = []
    hours: list[dict[str, Any]] = []
    for each in conditional:
        if isinstance(each.constraint, types.TimeOfDateConstraint):
            hours.append(
                {
                    "utc": [clock(each.constraint.start_time), clock(each.constraint.end_time)],
                    **rates(each.prices),
                }
            )
        else:
            dated = {"from": str(each.constraint.start_date)} if each.constraint else {}
            changes.append({**dated, **rates(each.prices)})
    entry = {"names": distinct(model), **changes[0]}
    entry.pop("from", None)
    if changes[1:]:
        entry["changes"] = changes[1:]
    if hours:
        entry["hours"] = hours
    by_mode: dict[str, list[types.PriceVariant]] = {}
    for variant in model.price_variants or []:
        mode = next(iter(variant.when.values()))
        if mode in MODES and rates(variant.prices):
            by_mode.setdefault(mode, []).append(variant)
    for mode, variants in sorted(by_mode.items()):
        entry[mode] = way(variants, changes, today)
    if entry.get("fast") is not None and entry.get("fast") == entry.get("priority"):
        del entry["fast"]
    return entry


def clock(moment: time) -> str:
    return moment.strftime("%H:%M")


def make() -> dict[str, Any]:
    version = metadata.version("genai-prices")
    today = date.today()
    providers = {provider.id: provider for provider in data.providers}
    models: dict[str, dict[str, Any]] = {}
    for name in PROVIDERS:
        for model in providers[name].models:
            if LEFT_OUT.search(model.id.lower()) or (
                name in ("aws", "google") and "claude" in model.id
            ):
                continue
            key = f"{name}/{model.id.lower()}"
            entry = model_entry(model, today) | ADDED.get(key, {})
            if name == "aws":
                entry["names"] = [
                    each for each in entry["names"] if re.match(r"[a-z-]+\.[a-z]", each)
                ]
            if not entry.keys() & {"input", "output"} or not entry["names"]:
                continue
            for mode, default in DEFAULTS.get(name, {}).items():
                if entry.get(mode) == default:
                    del entry[mode]
            models[key] = entry
    regional(models, providers["aws"].models)
    drop_repeated(models)
    return {
        "source": f"genai-prices {version}, MIT licence, Pydantic Services Inc.",
        "date": str(today),
        "unit": "US dollars per million tokens; web_search: per thousand searches; a mode is a factor, or prices of its own",
        "defaults": DEFAULTS,
        "models": models,
    }


def regional(models: dict[str, dict[str, Any]], bedrock: list[types.ModelInfo]) -> None:
    """Note the models that cost no more in a region of Bedrock than elsewhere."""
    keys = {
        plain(name).rstrip("*"): key
        for key, entry in models.items()
        if key.startswith("anthropic/")
        for name in entry["names"]
    }
    for model in bedrock:
        prefix, _, name = model.id.partition("regional.anthropic.")
        key = (
            next((keys[each.name] for each in spellings(name) if each.name in keys), None)
            if name and not prefix
            else None
        )
        if (
            key
            and rates(model.prices[-1].prices if isinstance(model.prices, list) else model.prices)[
                "input"
            ]
            == models[key]["input"]
        ):
            models[key]["regional"] = 1


def drop_repeated(models: dict[str, dict[str, Any]]) -> None:
    """Leave out what a reseller asks no other price for than the maker."""
    makers = {
        key.split("/")[1].replace(".", "-"): entry
        for key, entry in models.items()
        if key.split("/")[0] in PROVIDERS[:9]
    }
    for key in [
        key for key in models if key.split("/")[0] in ("github-copilot", "cursor", "azure")
    ]:
        maker = makers.get(key.split("/")[1].replace(".", "-"))
        if (
            maker
            and all(
                models[key].get(kind) == maker.get(kind)
                for kind in ("input", "output", "cache_read", "above")
            )
            and "changes" not in maker
        ):
            del models[key]


def flattened(table: dict[str, Any]) -> dict[str, str]:
    return {
        f"{key}: {kind}": json.dumps(value)
        for key, entry in table["models"].items()
        for kind, value in entry.items()
    }


def main() -> None:
    old = json.loads(BUILT_IN.read_text()) if BUILT_IN.exists() else {"models": {}}
    table = make()
    if table["source"] == old.get("source") and table["models"] == old["models"]:
        table["date"] = old["date"]
    models = ",\n".join(
        f"{json.dumps(key)}:{json.dumps(entry, separators=(',', ':'))}"
        for key, entry in table.pop("models").items()
    )
    head = json.dumps(table, indent=1, ensure_ascii=False).removesuffix("\n}")
    BUILT_IN.write_text(f'{head},\n "models": {{\n{models}\n}}}}\n')
    table = json.loads(BUILT_IN.read_text())
    before, after = flattened(old), flattened(table)
    for what in sorted(before.keys() | after.keys()):
        if before.get(what) != after.get(what):
            print(f"{what}: {before.get(what, 'none')} -> {after.get(what, 'none')}")
    print(
        f"{BUILT_IN.name}: {len(table['models'])} models, {BUILT_IN.stat().st_size} bytes, from {table['source']}, {table['date']}"
    )


if __name__ == "__main__":
    main()
