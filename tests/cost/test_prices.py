"""Prices by model name and date, in whole picodollars, and price files."""

import json
import time
from fractions import Fraction

import click
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipes.cost.model_names import normalize
from agent_pipes.cost.price_file import load
from agent_pipes.cost.price_table import BUILT_IN, PriceTable, built_in
from agent_pipes.cost.prices import DOLLAR, Rates, Usage
from tests.helpers.support import SHARED

TABLE = PriceTable(built_in())
MILLION = 1_000_000

AUGUST = 1_785_542_400.0  # 2026-08-01T00:00:00Z
JANUARY = 1_767_225_600.0  # 2026-01-01T00:00:00Z
NOVEMBER = 1_795_305_600.0  # 2026-11-22T00:00:00Z
DAY = 86_400.0


def usd(
    model: str, usage: Usage, at: float = NOVEMBER, *modes: str, table: PriceTable = TABLE
) -> float:
    price = table.find(model, *modes)
    assert price, f"{model} has no price"
    return price.at(at, usage.prompt).cost(usage) / DOLLAR


def rate(model: str, at: float = NOVEMBER, *modes: str) -> float:
    """Dollars for a million tokens of a short prompt."""
    price = TABLE.find(model, *modes)
    assert price, f"{model} has no price"
    return price.at(at, 1000).input * MILLION / DOLLAR


def test_the_table_is_small_dated_and_loaded_in_a_moment():
    assert BUILT_IN.stat().st_size < 100_000
    table = built_in()
    assert "genai-prices" in table["source"] and table["date"] >= "2026-11-10"
    best = min(_seconds(lambda: PriceTable(built_in())) for _ in range(20))
    assert best < 0.005


def _seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-5-5",
        "claude-opus-5",
        "claude-opus-4-8",
        "claude-sonnet-5-5",
        "claude-sonnet-5",
        "claude-haiku-5-5",
        "claude-haiku-4-5",
        "claude-fable-5-2",
        "gpt-6.1-sol",
        "gpt-6.1-terra",
        "gpt-6-sol",
        "gpt-6-astra",
        "gpt-6-luna",
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.5",
        "gpt-5.4",
        "gpt-5.3-codex",
        "gemini-4-argon",
        "gemini-3.8-flash",
        "gemini-3.7-flash",
        "gemini-3.6-flash",
        "gemini-3.5-flash",
        "gemini-3.1-pro-preview",
        "gemini-2.5-pro",
    ],
)
def test_no_current_model_of_the_big_three_is_missing(model):
    price = TABLE.find(model)
    assert price and not price.estimated
    assert (
        price.at(NOVEMBER, 1000).input > 0
        and price.at(NOVEMBER, 1000).output > price.at(NOVEMBER, 1000).input
    )


@pytest.mark.parametrize(
    ("name", "dollars"),
    [
        ("claude-opus-4-5-20251101", 5),
        ("claude-opus-4-5@20251101", 5),
        ("claude-opus-4.5", 5),
        ("Claude-Opus-4-5", 5),
        ("claude-opus-4-6[1m]", 5),
        ("anthropic/claude-opus-4.5", 5),
        ("openrouter/anthropic/claude-sonnet-4.5:thinking", 3),
        ("publishers/anthropic/models/claude-haiku-4-5@20251001", 1),
        ("vertex_ai/claude-haiku-4-5@20251001", 1),
        ("claude-4.5-sonnet", 3),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        ("eu.anthropic.claude-opus-4-6-v1", 5.5),
        ("anthropic.claude-opus-5-5", 4.4),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 3),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", 3),
        ("bedrock/us-east-1/anthropic.claude-opus-4-6-v1", 5.5),
        ("openai.gpt-5.4", 2.75),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1",
            5.5,
        ),
        ("openai/gpt-5.5", 5),
        ("gpt-5.5-2026-04-23", 5),
        ("gpt-5-5", 5),
        ("azure/gpt-5.4", 2.5),
        ("gpt-5.1-codex-max", 1.25),
        ("gpt-5.2-codex", 1.75),
        ("models/gemini-2.5-pro", 1.25),
        ("gemini/gemini-2.5-pro", 1.25),
        ("gemini-3-pro-preview-11-2025", 2),
        ("gemini-flash-latest", 0.75),
        ("glm-5.1", 1.4),
        ("GLM-5.1", 1.4),
        ("z-ai/glm-5.1", 1.4),
        ("moonshotai/Kimi-K2.6", 0.95),
        ("MiniMax-M2.5", 0.3),
        ("deepseek-ai/DeepSeek-V3.2", 0.2288),
        ("composer-2.5[fast=true]", 3),
        ("composer-2.5", 0.5),
        ("grok-4.5", 2),
        ("cursor/grok-4.5-fast", 4),
        ("claude-opus-4-8-fast", 10),
        ("claude-fable-5-2-fast[1m]", 16),
    ],
)
def test_a_model_is_known_by_every_spelling_of_its_name(name, dollars):
    assert rate(name) == pytest.approx(dollars, abs=1e-9)
    assert TABLE.find(name).estimated is False


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-7",
        "claude-opus-4-80",
        "claude-sonnet-4-7",
        "claude-sonnet-5-6",
        "claude-sonnet-50",
        "gpt-5.3-codex-spark",
        "foo-bar-1",
        "gpt-7",
        "claude",
        "-",
        "*",
        "",
    ],
)
def test_nothing_is_guessed_from_a_models_family(name):
    assert TABLE.find(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-high",
        "claude-4.5-sonnet-thinking-high",
        "groq/kimi-k2.6",
        "gemini-3.6-flash-experimental",
    ],
)
def test_a_name_that_is_only_near_gives_an_estimate(name):
    assert TABLE.find(name).estimated is True


def test_text_of_no_model_and_what_is_given_away_is_free_and_not_unpriced():
    for name in ("<synthetic>", "qwen/qwen3-coder:free"):
        assert TABLE.find(name).at(NOVEMBER, MILLION) == Rates()


def test_cached_input_is_billed_apart():
    usage = Usage(
        prompt=4 * MILLION, read=MILLION, written=2 * MILLION, written_1h=MILLION, output=MILLION
    )
    assert usd("claude-opus-4-8", usage) == 5 + 0.5 + 6.25 + 10 + 25
    # What a model has no price for costs what other input does.
    assert (
        usd("gpt-5.5-pro", Usage(prompt=1000, read=400, written=300, written_1h=100))
        == 1000 * 30 / MILLION
    )


def test_cache_reads_are_no_fixed_part_of_input():
    assert usd("claude-opus-4-8", Usage(MILLION, MILLION)) == 0.5
    assert usd("claude-opus-5-5", Usage(MILLION, MILLION)) == 0.2
    assert usd("claude-fable-5-2", Usage(MILLION, MILLION)) == 0.2


def test_long_context_is_a_cliff_under_the_whole_request():
    assert usd("claude-sonnet-4-5", Usage(200_000, output=1000)) == 0.615
    assert usd("claude-sonnet-4-5", Usage(200_001, output=1000)) == pytest.approx(1.200006 + 0.0225)
    assert usd("claude-sonnet-4-20250514", Usage(260_000, 250_000, output=1000)) == 0.2325
    assert usd("claude-haiku-5-5", Usage(150_000, output=1000)) == 0.0775
    assert usd("gpt-5.4", Usage(300_000, output=1000)) == 1.5225
    # xAI's threshold is inclusive.
    assert usd("grok-4.6", Usage(199_999)) == 0.399998
    assert usd("grok-4.6", Usage(200_000)) == 0.8


def test_prices_are_those_of_the_day():
    assert usd("claude-opus-4-6", Usage(250_000, output=1000), JANUARY) == 2.5375
    assert usd("claude-opus-4-6", Usage(250_000, output=1000), AUGUST) == 1.275
    changed = 1_785_369_600.0  # 2026-07-30T00:00:00Z
    assert (rate("gpt-5.6-terra", changed - 1), rate("gpt-5.6-terra", changed)) == (2.5, 2)
    assert (rate("gemini-4-argon", NOVEMBER), rate("gemini-4-argon", NOVEMBER + 9 * DAY)) == (2, 4)
    # An event without a time is priced as of old.
    assert rate("gpt-5.6-terra", 0.0) == 2.5


def test_prices_by_the_hour():
    assert [rate("deepseek-v4-pro", NOVEMBER + hour * 3600) for hour in (0, 1, 3.99, 4, 6, 10)] == [
        0.66,
        1.32,
        1.32,
        0.66,
        1.32,
        0.66,
    ]
    over_midnight = PriceTable(
        {
            "models": {
                "m": {
                    "input": 1,
                    "output": 1,
                    "hours": [{"utc": ["22:00", "02:00"], "input": 2, "output": 2}],
                }
            }
        }
    )
    assert [
        over_midnight.find("m").at(NOVEMBER + hour * 3600, 1).input // MILLION
        for hour in (0, 1, 2, 21, 22)
    ] == [2, 2, 1, 1, 2]


def test_fast_batch_priority_flex_and_regional_use():
    assert (
        rate("claude-opus-4-8", NOVEMBER, "fast") == 10
        and rate("claude-opus-5-5", NOVEMBER, "fast") == 8
    )
    assert usd("claude-opus-5-5", Usage(MILLION, MILLION), NOVEMBER, "fast") == 0.4
    assert rate("claude-opus-4-8", AUGUST, "batch") == 2.5
    assert rate("claude-opus-4-8", AUGUST, "regional") == 5.5
    assert rate("claude-opus-4-8", AUGUST, "batch", "regional") == 2.75
    assert rate("claude-opus-4-8", AUGUST, "priority") == 5
    assert [
        rate("gpt-5.5", NOVEMBER, mode)
        for mode in ("", "default", "standard", "priority", "fast", "flex", "batch")
    ] == [5, 5, 5, 12.5, 12.5, 2.5, 2.5]
    assert rate("gpt-5.6-luna", JANUARY, "flex") == 0.5
    assert usd("gpt-5.4", Usage(300_000), NOVEMBER, "priority") == 1.5
    assert usd("gpt-5.4", Usage(300_000), NOVEMBER, "batch") == 0.75
    assert usd("gemini-2.5-pro", Usage(MILLION, MILLION), NOVEMBER, "batch") == 0.25


def test_a_mode_without_a_price_of_its_own_gives_an_estimate():
    assert TABLE.find("claude-opus-4-8", "fast").estimated is False
    assert (
        TABLE.find("claude-opus-4-6", "fast").estimated is True
        and rate("claude-opus-4-6", AUGUST, "fast") == 30
    )
    assert (
        TABLE.find("claude-haiku-4-5", "fast").estimated is True
        and rate("claude-haiku-4-5", AUGUST, "fast") == 1
    )
    assert TABLE.find("gpt-5.5", "something new").estimated is True


def test_web_searches_are_billed_by_the_thousand():
    assert usd("claude-opus-4-8", Usage(MILLION, searches=10)) == 5.1
    assert (
        usd("gemini-2.5-pro", Usage(searches=1000)) == 35
        and usd("gemini-3.8-flash", Usage(searches=1000)) == 14
    )
    assert usd("claude-opus-4-8", Usage(MILLION, searches=10), NOVEMBER, "batch") == 2.6


def test_what_caching_has_saved():
    rates = TABLE.find("claude-opus-4-8").at(NOVEMBER, MILLION)
    assert rates.saved(Usage(MILLION, MILLION)) == 4.5 * DOLLAR
    assert rates.saved(Usage(MILLION, 0, MILLION)) == -1.25 * DOLLAR
    assert rates.saved(Usage(MILLION, 0, MILLION, MILLION)) == -5 * DOLLAR


COUNTS = st.integers(0, 10**7)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
def test_caching_saves_what_the_prompt_would_have_cost_without_it(
    plain, read, written, hour, output
):
    rates = TABLE.find("claude-opus-4-8").at(NOVEMBER, 1)
    usage = Usage(plain + read + written + hour, read, written + hour, hour, output)
    assert rates.cost(usage) + rates.saved(usage) == rates.cost(Usage(usage.prompt, output=output))


def test_money_adds_up_without_drift():
    tenth_of_a_cent = TABLE.find("claude-opus-4-8").at(NOVEMBER, 1).cost(Usage(200))
    total = 0
    for _ in range(MILLION):
        total += tenth_of_a_cent
    assert total / DOLLAR == 1000.0


def test_every_price_of_the_table_is_whole_and_every_model_is_found_by_its_own_names():
    table = built_in()
    for key, model in table["models"].items():
        for name in (key, *model["names"]):
            price = TABLE.find(name.rstrip("*"))
            assert price, name
            for _, tiers in price.since:
                for _, rates in tiers:
                    assert all(type(rate) is int and rate >= 0 for rate in rates), name


PRICES = st.one_of(
    st.floats(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 10**10).map(lambda number: number / 10**6),
    st.integers(0, 10**10).map(lambda number: number / 10**7),
)


@given(PRICES)
def test_a_price_is_rounded_from_its_decimals_as_they_are_written(price):
    rates = PriceTable({"models": {"a/b": {"input": price, "output": 0}}}).find("b").at(NOVEMBER, 1)
    assert rates.input == round(Fraction(str(price)) * 10**6)


def test_makers_come_before_those_who_sell_on():
    providers = [key.partition("/")[0] for key in built_in()["models"]]
    assert providers.index("anthropic") < providers.index("aws") and providers.index(
        "openai"
    ) < providers.index("azure")


@pytest.fixture
def file(tmp_path):
    def write(content) -> str:
        path = tmp_path / "prices.json"
        path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
        return str(path)

    return write


def test_a_file_of_ones_own_goes_over_the_table(file):
    own = load(
        file(
            {
                "models": {
                    "anthropic/claude-opus-4-8": {"input": 1, "output": 2},
                    "house-model": {"names": ["house-*"], "input": 3, "output": 4, "fast": 2},
                }
            }
        )
    )
    table = PriceTable(built_in(), own)
    assert (
        usd("claude-opus-4-8", Usage(MILLION), NOVEMBER, table=table)
        == usd("us.anthropic.claude-opus-4-8", Usage(MILLION), NOVEMBER, table=table) / 1.1
        == 1
    )
    assert usd("house-model", Usage(MILLION, output=MILLION), NOVEMBER, table=table) == 7
    assert usd("house-model", Usage(MILLION), NOVEMBER, "fast", table=table) == 6
    assert usd("gpt-5.5", Usage(MILLION), NOVEMBER, table=table) == 10


LITELLM = {
    "sample_spec": {"input_cost_per_token": 0.0, "litellm_provider": "one of …"},
    "claude-opus-9": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 5e-06,
        "output_cost_per_token": 2.5e-05,
        "cache_read_input_token_cost": 5e-07,
        "cache_creation_input_token_cost": 6.25e-06,
        "cache_creation_input_token_cost_above_1hr": 1e-05,
        "input_cost_per_token_batches": 2.5e-06,
        "provider_specific_entry": {"us": 1.1, "fast": 2.0},
        "search_context_cost_per_query": {"search_context_size_medium": 0.01},
    },
    "gpt-9": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1.5e-05,
        "input_cost_per_token_above_272k_tokens": 5e-06,
        "output_cost_per_token_above_272k_tokens": 2.25e-05,
        "input_cost_per_token_priority": 5e-06,
        "input_cost_per_token_flex": 1.25e-06,
        "input_cost_per_token_above_272k_tokens_flex": 2.5e-06,
    },
    "dashscope/qwen-9": {
        "litellm_provider": "dashscope",
        "tiered_pricing": [
            {"range": [0, 32000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06},
            {"range": [32000.0, 1e6], "input_cost_per_token": 2e-06},
        ],
    },
    "deepseek-9": {
        "litellm_provider": "deepseek",
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 2e-06,
        "off_peak_pricing": {"input_cost_per_token": 5e-07},
    },
    "speaker": {"litellm_provider": "openai", "output_cost_per_second": 1.0},
}


def test_a_file_in_litellms_form(file):
    table = PriceTable(built_in(), load(file(LITELLM)))
    usage = Usage(
        prompt=4 * MILLION,
        read=MILLION,
        written=2 * MILLION,
        written_1h=MILLION,
        output=MILLION,
        searches=100,
    )
    assert usd("claude-opus-9", usage, table=table) == 5 + 0.5 + 6.25 + 10 + 25 + 1
    assert [
        usd("claude-opus-9", Usage(MILLION), NOVEMBER, mode, table=table)
        for mode in ("fast", "regional", "batch", "priority")
    ] == [10, 5.5, 2.5, 5]
    assert usd("gpt-9", Usage(272_000, output=1000), table=table) == pytest.approx(0.68 + 0.015)
    assert usd("gpt-9", Usage(300_000, output=1000), table=table) == pytest.approx(1.5 + 0.0225)
    assert [
        usd("gpt-9", Usage(100_000), NOVEMBER, mode, table=table) for mode in ("priority", "flex")
    ] == [0.5, 0.125]
    assert usd("gpt-9", Usage(300_000), NOVEMBER, "flex", table=table) == 0.75
    assert (
        usd("dashscope/qwen-9", Usage(30_000, output=1000), table=table) == 0.035
        and usd("dashscope/qwen-9", Usage(40_000, output=1000), table=table) == 0.085
    )
    assert table.find("deepseek-9").estimated is True
    assert table.find("speaker") is None and table.find("sample_spec") is None
    assert usd("claude-opus-4-8", Usage(MILLION), table=table) == 5


RATES = {"input": 1, "output": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not JSON"),
        (b"[1]", "the file: expected an object"),
        ({"modles": {}}, "did you mean 'models'"),
        ({}, "models: expected an object"),
        ({"models": {"m": {"imput": 1}}}, "models.m: unknown key 'imput'; did you mean 'input'"),
        ({"models": {"m": {"names": ["x"]}}}, "a price for input and output"),
        (
            {"models": {"m": {"input": -1, "output": 1}}},
            "models.m.input: expected a number of dollars",
        ),
        ({"models": {"m": {"input": "5"}}}, "models.m.input"),
        ({"models": {"m": {"input": True}}}, "models.m.input"),
        ({"models": {"m": 5}}, "models.m: expected an object"),
        ({"models": {"m": {**RATES, "above": {"200k": RATES}}}}, "models.m.above"),
        ({"models": {"m": {**RATES, "names": "m"}}}, "models.m.names"),
        ({"models": {"m": {**RATES, "changes": [{"input": 1}]}}}, "models.m.changes.from"),
        ({"models": {"m": {**RATES, "changes": {}}}}, "expected an array"),
        (
            {"models": {"m": {**RATES, "hours": [{"utc": "night", "input": 1}]}}},
            "models.m.hours.utc",
        ),
        ({"models": {"m": {**RATES, "fast": "twice"}}}, "models.m.fast"),
        ({"models": {"m": {**RATES, "changes": [5]}}}, "models.m.changes: expected an object"),
        (
            {"defaults": {"openai": {"bach": 0.5}}, "models": {}},
            "defaults.openai: unknown key 'bach'",
        ),
        (
            {"x": {"litellm_provider": "x", "input_cost_per_token": "dear"}},
            "x.input_cost_per_token",
        ),
        ({"x": {"litellm_provider": "x"}}, "no model in it has a price"),
    ],
)
def test_a_bad_file_is_refused_with_file_key_and_what_was_expected(file, content, told):
    path = file(content)
    load.cache_clear()
    with pytest.raises(click.UsageError) as refused:
        load(path)
    assert refused.value.message.startswith(f"{path}: ") and told in refused.value.message


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(click.UsageError, match="No such file"):
        load(str(tmp_path / "none.json"))


def test_the_built_in_table_passes_its_own_check():
    assert load(str(BUILT_IN))["models"] == built_in()["models"]


@pytest.mark.skipif(
    not (SHARED / "prices" / "litellm-trimmed.json").exists(),
    reason="LiteLLM's prices are not beside the project",
)
def test_the_table_agrees_with_litellm():
    theirs = json.loads((SHARED / "prices" / "litellm-trimmed.json").read_text())["models"]
    agreed, differ = 0, set()
    for name, entry in theirs.items():
        if entry.get("provider") not in ("anthropic", "openai") or not name.startswith(
            ("claude-", "gpt-5", "gpt-6", "o3", "o4")
        ):
            continue
        price = TABLE.find(name)
        if price is None or price.estimated:
            continue
        rates = price.at(NOVEMBER, 1000)
        ours = {
            "input": rates.input,
            "output": rates.output,
            "cache_read": rates.read,
            "cache_write_5m": rates.write,
            "cache_write_1h": rates.write_1h,
        }
        for kind, amount in ours.items():
            # Nothing, and zero, stand for "costs what other input does".
            if entry.get(kind):
                same = amount == round(entry[kind] * MILLION)
                agreed += same
                differ |= set() if same else {(name, kind)}
    assert differ == set()
    assert agreed > 150


def test_a_name_with_a_slip_is_recognised_as_one():
    assert TABLE.nearest_name("claude-opus-4.88") == "claude-opus-4-8"
    assert TABLE.nearest_name("nothing like it at all") == ""


def test_no_model_has_two_prices_under_one_spelling():
    seen: dict[str, tuple[str, object]] = {}
    for key, model in built_in()["models"].items():
        provider = key.partition("/")[0]
        for name in model["names"]:
            spelled = f"{provider}/{normalize(name)}"
            assert seen.setdefault(spelled, (key, model))[0] == key
