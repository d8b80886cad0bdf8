"""Model names as makers, clouds and routers spell them."""

from collections.abc import Iterator
from typing import NamedTuple

from agent_pipes.core.lazy_regex import pattern


class Spelling(NamedTuple):
    """A name that a model may have in the price table.

    providers: the providers that the name mentions, as the table calls them.
    modes:     the modes that the name mentions (`fast`, `regional`).
    loose:     True if a part was left out of the name that may change the price.
    """

    name: str
    providers: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    loose: bool = False


PROVIDER_ALIASES = {
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
"""The table's name for a provider that is known under several."""

LIST_PRICE_PROVIDERS = frozenset(PROVIDER_ALIASES.values()) | {
    "openrouter",
    "models",
    "publishers",
    "anthropic",
    "openai",
    "cursor",
    "litellm",
    "litellm_proxy",
}
"""Providers that bill a model at its maker's price; others may have prices of their own."""

_BEDROCK = pattern(
    r"(?:(global|us|eu|apac|jp|au|ca|in|us-gov)\.)?"
    r"(anthropic|openai|moonshotai|zai|amazon|meta|mistral|deepseek|qwen|google|nvidia|minimax"
    r"|xai)\.([a-z].*)"
)
_AWS_REGION = pattern(r"[a-z]{2}(-[a-z]+)+-\d|arn:.*")
_SUFFIXES = (
    pattern(r"\[[^\]]*\]$"),
    pattern(r"(?<=[a-z0-9]):[a-z0-9-]+$"),
    pattern(r"-v\d+$"),
    pattern(r"[-@](20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|\d\d-\d\d|latest|default)$"),
)
_EFFORT = pattern(r"(-thinking|-minimal|-low|-medium|-high|-xhigh|-none)+$")
_VERSION_FIRST = pattern(r"claude-(\d[\d.-]*)-([a-z]+)(|-.*)")
"""The form `claude-4.5-sonnet` of `claude-sonnet-4.5`."""


def spellings(name: str) -> Iterator[Spelling]:
    """Yield the names under which the table may have the model `name`, the most exact first.

    Parts are left out one after the other: the router (`openrouter/`, `models/`), the context
    size (`[1m]`), version and date (`-v1:0`, `-20250929`, `@20251101`), `-fast`, the effort
    (`-thinking`, `-high`), and Bedrock's region and maker (`us.anthropic.`), which become a mode.
    """
    *path, last = name.strip().lower().split("/")
    passed = [PROVIDER_ALIASES.get(part, part) for part in path]
    providers = tuple(part for part in passed if part in LIST_PRICE_PROVIDERS)
    unknown_provider = any(
        part not in LIST_PRICE_PROVIDERS and not _AWS_REGION.match(part) for part in passed
    )
    yield Spelling(normalize(name.strip()))
    for shorter in _without_suffixes(last):
        for text, modes, loose in _without_modes(shorter):
            yield Spelling(normalize(text), providers, modes, loose or unknown_provider)
            if bedrock := _BEDROCK.fullmatch(text):
                region, vendor, model = bedrock.groups()
                yield Spelling(normalize(f"{vendor}.{model}"), providers, modes, loose)
                yield Spelling(
                    normalize(model),
                    (PROVIDER_ALIASES.get(vendor, vendor),),
                    modes if region == "global" else (*modes, "regional"),
                    loose,
                )


def _without_suffixes(text: str) -> Iterator[str]:
    yield text
    for suffix in _SUFFIXES:
        if suffix.search(text):
            text = suffix.sub("", text)
            yield text


def _without_modes(text: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield the name without its mode and effort, the mode, and True if the price may differ."""
    yield text, (), False
    if text.endswith("-fast"):
        yield text.removesuffix("-fast"), ("fast",), False
    if swapped := _VERSION_FIRST.fullmatch(text):
        yield "claude-{1}-{0}{2}".format(*swapped.groups()), (), False
    without_effort = _EFFORT.sub("", text)
    if without_effort != text:
        yield from ((name, modes, True) for name, modes, _ in _without_modes(without_effort))


def normalize(name: str) -> str:
    """Return the name as the table's index has it: lower case, 4-5 for 4.5."""
    return name.lower().replace(".", "-")
