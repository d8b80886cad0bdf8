"""Make agent_pipes/data/prices.json from genai-prices and LiteLLM's price file, and print changes.

genai-prices comes first, because it has dates and modes. LiteLLM fills in models that it lacks, and
the prices in which both differ are listed.

Kept are the makers of models and the clouds that agents reach them through. Left out are models
that no agent works with (speech, pictures, embeddings), and what another entry says already.

    python tests/make_prices.py [LITELLM_JSON]
"""

import json
import re
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, time
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
from genai_prices import data, types

from agent_pipes.cost import price_file
from agent_pipes.cost.model_names import spellings
from agent_pipes.cost.price_table import BUILT_IN, PriceTable
from agent_pipes.cost.prices import Price, Rates

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
"""Modes of all of a provider's models: batches cost half, Anthropic's priority tier costs the list
price because it is paid for in advance, and a request that must stay in a region (inference_geo,
regional Bedrock) costs a tenth more."""

MAKERS: dict[str, dict[str, list[str]]] = {
    "anthropic": {
        "families": ["claude"],
        "current": [
            "claude-fable-5-2",
            "claude-mythos-5-2",
            "claude-opus-5-5",
            "claude-sonnet-5-5",
        ],
    },
    "openai": {
        "families": ["gpt", "codex", "chatgpt", "o1", "o3", "o4", "o5"],
        "current": ["gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra"],
    },
    "google": {"families": ["gemini"], "current": ["gemini-4-argon", "gemini-3.1-pro-preview"]},
    "x-ai": {"families": ["grok"], "current": ["grok-4.7", "grok-build-0.1"]},
    "deepseek": {"families": ["deepseek"], "current": ["deepseek-v4-pro"]},
    "moonshotai": {"families": ["kimi"], "current": ["kimi-k3"]},
    "zai": {"families": ["glm"], "current": ["glm-5.3"]},
    "minimax": {"families": ["minimax"], "current": ["minimax-m3"]},
    "mistral": {
        "families": ["mistral", "devstral", "codestral", "magistral", "ministral"],
        "current": ["mistral-medium-3-5", "devstral-2512"],
    },
}
"""First words of each maker's model names, and its current models, no `-pro` and none retired: a
limit in dollars counts a model of a new series at the dearest of them."""

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
"""Prices that the makers' pages no longer have and old sessions need: the long-context price of
Sonnet 4, and fast mode at six times the price when it was introduced."""

MODES = ("fast", "priority", "flex", "batch")

LITELLM_NAME = "model_prices_and_context_window_backup.json"
LITELLM_PROVIDERS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "gemini": "google",
    "xai": "x-ai",
    "deepseek": "deepseek",
    "moonshot": "moonshotai",
    "zai": "zai",
    "minimax": "minimax",
    "mistral": "mistral",
}
"""LiteLLM's names of the makers."""

CHAT_MODES = ("chat", "responses")

MORE_NAMES = ("daybreak-",)
"""Beginnings of OpenAI's model names that are no family of their own."""

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
    """Return the names that a match rule covers; a prefix ends in `*`. Dates need no rule."""
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
    """Return a mode's price: its factor if it is the same for all kinds, else its prices today."""
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
        "unit": "US dollars per million tokens; web_search: per thousand searches; "
        "a mode is a factor, or prices of its own",
        "defaults": DEFAULTS,
        "makers": MAKERS,
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


def litellm_file() -> Path | None:
    """Return LiteLLM's price file: the argument, or that of the installed package."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("litellm") or ():
            if file.name == LITELLM_NAME:
                return Path(str(file.locate()))
    return None


def fill_from_litellm(table: dict[str, Any], path: Path) -> list[str]:
    """Add the makers' models that only LiteLLM has; return the prices in which both differ."""
    ours = PriceTable(table)
    differences = []
    for name, entry in json.loads(path.read_text()).items():
        maker = LITELLM_PROVIDERS.get(entry.get("litellm_provider", ""))
        if not maker or "/" in name or LEFT_OUT.search(name) or entry.get("mode") not in CHAT_MODES:
            continue
        if ours.maker_of(plain(name)) != maker and not name.startswith(MORE_NAMES):
            continue
        try:
            theirs = price_file.from_litellm(str(path), {name: entry})["models"]
        except click.UsageError:
            continue
        price = ours.find(name)
        if price is None or (price.estimated and exact_only(name)):
            names = sorted({name, name.removesuffix("-latest")})
            table["models"][f"{maker}/{name}"] = simplified(theirs[name] | {"names": names}, maker)
        elif price and theirs and not price.estimated:
            differences += difference(name, price, PriceTable({"models": theirs}).find(name))
    return differences


def exact_only(name: str) -> bool:
    """Return True for a name that our table finds only as a variant of another model."""
    return name.startswith(MORE_NAMES)


def simplified(entry: dict[str, Any], maker: str) -> dict[str, Any]:
    """Leave out the modes that the maker's defaults give already."""
    kept = {kind: price for kind, price in entry.items() if price != {}}
    for mode, default in DEFAULTS.get(maker, {}).items():
        own = kept.get(mode)
        if own == default or (isinstance(own, dict) and ratio(own, _base(kept)) == default):
            del kept[mode]
    return kept


def _base(entry: dict[str, Any]) -> dict[str, Any]:
    return {kind: entry[kind] for kind in KINDS if kind in entry and kind in ("input", "output")}


def difference(name: str, ours: Price, theirs: Price | None) -> list[str]:
    """Return the kinds of tokens whose price of a short request today differs."""
    now = datetime.now(UTC).timestamp()
    if theirs is None:
        return []
    pairs = zip(Rates._fields, ours.at(now, 1), theirs.at(now, 1), strict=True)
    return [
        f"{name}: {kind}: genai-prices {mine / 1e6:g}, LiteLLM {other / 1e6:g}"
        for kind, mine, other in pairs
        if mine != other and kind in ("input", "output", "read", "write")
    ]


def flattened(table: dict[str, Any]) -> dict[str, str]:
    return {
        f"{key}: {kind}": json.dumps(value)
        for key, entry in table["models"].items()
        for kind, value in entry.items()
    }


def main() -> None:
    old = json.loads(BUILT_IN.read_text()) if BUILT_IN.exists() else {"models": {}}
    table = make()
    if path := litellm_file():
        for line in fill_from_litellm(table, path):
            print(f"differs: {line}")
        version = metadata.version("litellm") if len(sys.argv) == 1 else path.name
        table["source"] += f"; models that it lacks: LiteLLM {version}, MIT licence, Berri AI"
        order = {name: place for place, name in enumerate(PROVIDERS)}
        table["models"] = dict(
            sorted(table["models"].items(), key=lambda each: order[each[0].partition("/")[0]])
        )
    else:
        print("no LiteLLM price file: pip install --no-deps litellm, or name the file")
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
        f"{BUILT_IN.name}: {len(table['models'])} models, {BUILT_IN.stat().st_size} bytes, "
        f"from {table['source']}, {table['date']}"
    )


if __name__ == "__main__":
    main()
