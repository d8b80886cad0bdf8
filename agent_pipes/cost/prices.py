"""What tokens cost: the table of prices, the names that models go by in it, and the sum for one response.

Money is a whole number of picodollars (10^-12 of a dollar), so that it adds up without drift. The rules are those of
the makers' price pages: long-context prices hold for the whole request once its prompt is over the threshold, a dated
price holds from midnight UTC of its date, and cached input is billed apart from the rest of the prompt.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from agent_pipes.core.lazy_regex import pattern

if TYPE_CHECKING:
    from fractions import Fraction

DOLLAR = 10**12
"""Picodollars in a dollar."""

BUILT_IN = Path(__file__).parent.parent / "data" / "prices.json"

WEB_SEARCH = 10.0
"""Dollars for a thousand web searches where a model has no price of its own for them: what most makers take."""


class Usage(NamedTuple):
    """The tokens of one request and its response.

    prompt holds the cached parts `read` and `written`, written those that are kept for an hour, `written_1h`; output
    holds `reasoning`.
    """

    prompt: int = 0
    read: int = 0
    written: int = 0
    written_1h: int = 0
    output: int = 0
    reasoning: int = 0
    searches: int = 0


class Rates(NamedTuple):
    """Picodollars for one token of each kind, and for one web search."""

    input: int = 0
    output: int = 0
    read: int = 0
    write: int = 0
    write_1h: int = 0
    search: int = 0

    def cost(self, usage: Usage) -> int:
        """Picodollars for `usage`."""
        prompt, read, written, written_1h, output, _, searches = usage
        plain, out, reading, writing, writing_1h, search = self
        cost = (prompt - read - written) * plain + read * reading + written * writing + output * out
        if written_1h:
            cost += written_1h * (writing_1h - writing)
        return cost + searches * search

    def saved(self, usage: Usage) -> int:
        """Picodollars that caching has saved: what the prompt would have cost without it, less what it did cost."""
        return (
            usage.read * (self.input - self.read)
            - (usage.written - usage.written_1h) * (self.write - self.input)
            - usage.written_1h * (self.write_1h - self.input)
        )


Tiers = tuple[tuple[int, Rates], ...]
"""Rates by the prompt above which they hold, the highest first; the last is for any prompt."""


class Price(NamedTuple):
    """What one model costs in one mode, whenever it is used.

    since:     the tiers, each with the time from which they hold (seconds since the epoch), the latest first.
    hours:     daily hours with prices of their own: from and until, in seconds after midnight UTC, and the tiers.
    estimated: the table does not quite say this: the name or the mode is near to what it has.
    """

    since: tuple[tuple[float, Tiers], ...]
    hours: tuple[tuple[int, int, Tiers], ...] = ()
    estimated: bool = False

    def at(self, time: float, prompt: int) -> Rates:
        """The rates of a request at `time` (seconds since the epoch) with a prompt of so many tokens, cached parts included."""
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
"""For text that no model has made (`<synthetic>`), and for what a router gives away (`:free`)."""

KINDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
MODES = ("fast", "priority", "flex", "batch", "regional")


class Table:
    """Prices by model. Later tables go over earlier ones, model by model."""

    def __init__(self, *tables: Mapping[str, Any]) -> None:
        self.tables = [_Index(table["models"]) for table in reversed(tables)]
        self.source = "; ".join(_source(table) for table in reversed(tables))
        self.defaults: dict[str, Any] = {}
        for table in tables:
            self.defaults |= table.get("defaults", {})
        self.find = lru_cache(maxsize=1000)(self._find)

    def _find(self, name: str, *modes: str) -> Price | None:
        """What the model called `name` costs in `modes` (`fast`, `priority`, `flex`, `batch`, `regional`), None if nobody knows.

        A name is found as makers, clouds and routers spell it. Nothing is guessed from a model's family: a new
        model's price is not its predecessor's.
        """
        if name == "<synthetic>" or name.endswith(":free"):
            return FREE
        for spelling in spellings(name):
            wanted = tuple(
                mode
                for mode in (*modes, *spelling.modes)
                if mode not in ("", "standard", "default", "auto")
            )
            for index in self.tables:
                model = index.get(spelling)
                if model is not None:
                    return _price(
                        model[0], self.defaults.get(model[1], {}), wanted, estimated=spelling.loose
                    )
        for index in self.tables:
            model = index.beginning(name)
            if model is not None:
                return _price(model[0], self.defaults.get(model[1], {}), modes, estimated=True)
        return None

    def names(self) -> Iterator[str]:
        return (name for index in self.tables for name in index.exact)

    def near(self, name: str) -> str:
        """The name in the table that is most like `name`, "" where none is."""
        from difflib import get_close_matches

        return next(iter(get_close_matches(_plain(name), list(self.names()), 1, 0.7)), "")


def _source(table: Mapping[str, Any]) -> str:
    return (
        ", ".join(str(table[key]) for key in ("source", "date") if key in table)
        or "a file of prices"
    )


class _Index:
    """One table by every spelling of its models' names."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        self.exact: dict[str, tuple[Mapping[str, Any], str]] = {}
        self.beginnings: list[tuple[str, tuple[Mapping[str, Any], str]]] = []
        for key, model in models.items():
            provider, _, name = key.rpartition("/")
            entry = (model, provider)
            self.exact.setdefault(_plain(key), entry)
            for spelling in model.get("names", (name,)):
                plain = _plain(spelling)
                if plain[-1:] == "*":
                    plain = plain[:-1]
                    self.beginnings.append((plain, entry))
                self.exact.setdefault(plain, entry)
                if provider:
                    self.exact.setdefault(f"{provider}/{plain}", entry)

    def get(self, spelling: "Spelling") -> tuple[Mapping[str, Any], str] | None:
        for provider in spelling.providers:
            if found := self.exact.get(f"{provider}/{spelling.name}"):
                return found
        return self.exact.get(spelling.name)

    def beginning(self, name: str) -> tuple[Mapping[str, Any], str] | None:
        """The model whose name `name` goes on from, the longest first: a variant that the table does not have by name."""
        plain = _plain(name.rpartition("/")[2])
        found = [
            (len(start), entry)
            for start, entry in self.beginnings
            if plain.startswith(start) and _VARIANT.match(plain, len(start))
        ]
        return max(found, key=lambda each: each[0])[1] if found else None


_VARIANT = pattern(r"[-@:\[](?!\d{1,2}(?!\d))")
"""How a name goes on that is a variant's; opus-4-8 is not a variant of opus-4."""


class Spelling(NamedTuple):
    """A name that a model may have in the table.

    providers: whose model it is, as far as the name said so.
    modes:     what the name said of how the model was used.
    loose:     something was left out of the name that may matter.
    """

    name: str
    providers: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    loose: bool = False


_SAME = {
    "google-vertex": "google",
    "gemini": "google",
    "vertex": "google",
    "vertex_ai": "google",
    "bedrock": "aws",
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "bedrock_converse": "aws",
    "azure_ai": "azure",
    "github_copilot": "github-copilot",
    "moonshot": "moonshotai",
    "z-ai": "zai",
    "zai-org": "zai",
    "xai": "x-ai",
    "mistralai": "mistral",
    "deepseek-ai": "deepseek",
    "minimaxai": "minimax",
}
_PASSING = frozenset(_SAME.values()) | {
    "openrouter",
    "models",
    "publishers",
    "anthropic",
    "openai",
    "cursor",
    "litellm",
    "litellm_proxy",
}
"""Those that bill a model at its maker's price. Who else stands before a model's name may have prices of his own."""

_BEDROCK = pattern(
    r"(?:(global|us|eu|apac|jp|au|ca|in|us-gov)\.)?"
    r"(anthropic|openai|moonshotai|zai|amazon|meta|mistral|deepseek|qwen|google|nvidia|minimax|xai)\.([a-z].*)"
)
_AWS_REGION = pattern(r"[a-z]{2}(-[a-z]+)+-\d|arn:.*")
_ENDINGS = (
    pattern(r"\[[^\]]*\]$"),
    pattern(r"(?<=[a-z0-9]):[a-z0-9-]+$"),
    pattern(r"-v\d+$"),
    pattern(r"[-@](20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|\d\d-\d\d|latest|default)$"),
)
_EFFORT = pattern(r"(-thinking|-minimal|-low|-medium|-high|-xhigh|-none)+$")
_SWAPPED = pattern(r"claude-(\d[\d.-]*)-([a-z]+)(|-.*)")
"""claude-4.5-sonnet, which is claude-sonnet-4.5."""


def spellings(name: str) -> Iterator[Spelling]:
    """The names under which the model called `name` may stand in the table, the most exact first.

    Left out one after the other: who passes it on (`openrouter/`, `models/`), the context's size (`[1m]`), the
    version and the date (`-v1:0`, `-20250929`, `@20251101`), `-fast`, how hard the model was to think (`-thinking`,
    `-high`), and Bedrock's region and maker (`us.anthropic.`): there it costs what its region costs.
    """
    *path, last = name.strip().lower().split("/")
    passed = [_SAME.get(part, part) for part in path]
    providers = tuple(part for part in passed if part in _PASSING)
    stranger = any(part not in _PASSING and not _AWS_REGION.match(part) for part in passed)
    yield Spelling(_plain(name.strip()))
    for shorter in _shortened(last):
        for text, modes, loose in _uses(shorter):
            yield Spelling(_plain(text), providers, modes, loose or stranger)
            if bedrock := _BEDROCK.fullmatch(text):
                region, vendor, model = bedrock.groups()
                yield Spelling(_plain(f"{vendor}.{model}"), providers, modes, loose)
                yield Spelling(
                    _plain(model),
                    (_SAME.get(vendor, vendor),),
                    modes if region == "global" else (*modes, "regional"),
                    loose,
                )


def _shortened(text: str) -> Iterator[str]:
    yield text
    for ending in _ENDINGS:
        if ending.search(text):
            text = ending.sub("", text)
            yield text


def _uses(text: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """The name, and what it is without that which says how the model was used; whether that was a guess."""
    yield text, (), False
    if text.endswith("-fast"):
        yield text.removesuffix("-fast"), ("fast",), False
    if swapped := _SWAPPED.fullmatch(text):
        yield "claude-{1}-{0}{2}".format(*swapped.groups()), (), False
    plain = _EFFORT.sub("", text)
    if plain != text:
        yield from ((name, modes, True) for name, modes, _ in _uses(plain))


def _plain(name: str) -> str:
    """A name as the index has it: 4.5 and 4-5 are the same."""
    return name.lower().replace(".", "-")


def _price(
    model: Mapping[str, Any], defaults: Mapping[str, Any], modes: Iterable[str], estimated: bool
) -> Price:
    """What `model` costs in `modes`. A mode of which the table says nothing leaves the price as it is: an estimate."""
    estimated = estimated or bool(model.get("estimated"))
    ways: list[Mapping[str, Any]] = []
    for mode in dict.fromkeys(modes):
        way = model.get(mode, defaults.get(mode))
        if mode == "fast" and way is None:
            way = model.get("priority")
        if way is None:
            estimated = True
        else:
            ways.append(way if isinstance(way, Mapping) else {"factor": way})
            estimated = estimated or bool(ways[-1].get("estimated"))
    changes = [model, *sorted(model.get("changes", ()), key=lambda change: str(change["from"]))]
    since = tuple(
        (_midnight(change.get("from")), _tiers(change, ways)) for change in reversed(changes)
    )
    hours = tuple((*_seconds(hour["utc"]), _tiers(hour, ways)) for hour in model.get("hours", ()))
    return Price(since, hours, estimated)


def _tiers(prices: Mapping[str, Any], ways: list[Mapping[str, Any]]) -> Tiers:
    for way in ways:
        prices = _in_mode(prices, way)
    tiers = [
        (int(start), _rates({**prices, **rates}))
        for start, rates in prices.get("above", {}).items()
    ]
    return (*sorted(tiers, reverse=True), (-1, _rates(prices)))


def _in_mode(prices: Mapping[str, Any], way: Mapping[str, Any]) -> Mapping[str, Any]:
    """`prices` in another mode: times its factor, but what it has a price of its own for costs that, at any length."""
    from fractions import Fraction

    factor = Fraction(str(way.get("factor", 1)))
    own = {kind: way[kind] for kind in KINDS if kind in way}

    def changed(rates: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **rates,
            **{kind: Fraction(str(rates[kind])) * factor for kind in KINDS if kind in rates},
            **own,
        }

    above, own_above = prices.get("above", {}), way.get("above", {})
    starts = above.keys() | own_above.keys()
    return {
        **changed(prices),
        "above": {
            start: {**changed(above.get(start, {})), **own_above.get(start, {})} for start in starts
        },
    }


def _rates(prices: Mapping[str, Any]) -> Rates:
    """Rates from dollars a million tokens. What is cached costs as much as other input where nothing else is said."""
    read, write, output = (
        _whole(prices.get(kind, prices.get("input", 0) if kind != "output" else 0))
        for kind in ("cache_read", "cache_write", "output")
    )
    write_1h = _whole(prices["cache_write_1h"]) if "cache_write_1h" in prices else write
    return Rates(
        _whole(prices.get("input", 0)),
        output,
        read,
        write,
        write_1h,
        _whole(prices.get("web_search", WEB_SEARCH) * 1000),
    )


def _whole(dollars_a_million: "float | Fraction") -> int:
    """Picodollars a token, rounded from the price as it is written, in decimals."""
    near = round(dollars_a_million * 10**6)
    if near < 10**14 and near / 10**6 == dollars_a_million:
        # It has six decimals at most, as nearly every price does: then it need not be worked out in fractions.
        return near
    from fractions import Fraction

    return round(Fraction(str(dollars_a_million)) * 10**6)


def _midnight(day: object) -> float:
    return datetime.fromisoformat(str(day)).replace(tzinfo=UTC).timestamp() if day else 0.0


def _seconds(hours: tuple[str, str]) -> tuple[int, int]:
    begin, end = (
        int(hour) * 3600 + int(minute) * 60
        for hour, _, minute in (text.partition(":") for text in hours)
    )
    return begin, end


def built_in() -> dict[str, Any]:
    """The prices that come with this program: `models`, `defaults` by provider, and where and when they were got."""
    table: dict[str, Any] = orjson.loads(BUILT_IN.read_bytes())
    return table
