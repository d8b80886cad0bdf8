"""Assumed prices of models that the table lacks."""

import pytest

from agent_pipes.cost.assumed import assumed_price
from agent_pipes.cost.price_table import PriceTable, built_in

TABLE = PriceTable(built_in())

STAND_INS = {
    "gpt-6.2-sol": "gpt-6-sol",
    "gpt-6.2-astra": "gpt-6-astra",
    "openai/gpt-6.2-astra-2026-12-24": "gpt-6-astra",
    "gpt-7-sol": "gpt-6-astra",
    "codex-auto-review": "gpt-6-astra",
    "gpt-daybreak-green": "gpt-daybreak-red-latest",
    "claude-mythos-6": "claude-mythos-5",
    "claude-newton-1": "claude-fable-5-2",
    "us.anthropic.claude-opus-5-9-v1:0": "claude-opus-5-5",
    "gemini-5-neon": "gemini-4-argon",
    "kimi-k4": "kimi-k3",
    "grok-5": "grok-4.7",
}


@pytest.mark.parametrize("name", STAND_INS)
def test_the_nearest_of_the_series_else_the_dearest_of_the_maker(name):
    assert TABLE.find(name) is None
    assumed = assumed_price(TABLE, name)
    assert assumed and assumed.model == STAND_INS[name]
    assert assumed.price == TABLE.find(STAND_INS[name])


@pytest.mark.parametrize("name", ["foo-9", "", "house-model", "qwen4-coder"])
def test_a_model_of_an_unknown_maker_has_none(name):
    assert assumed_price(TABLE, name) is None


def test_the_current_models_have_prices_and_none_is_tenfold():
    for maker in TABLE.makers:
        for model in TABLE.current_models(maker):
            assert TABLE.find(model) and TABLE.maker_of(model) == maker, model
    assert not any(model.endswith("-pro") for model in TABLE.current_models("openai"))


@pytest.mark.parametrize(
    "name", ["claude-mythos-5", "claude-mythos-5-1", "gpt-daybreak-blue", "gpt-daybreak-red-latest"]
)
def test_the_second_source_fills_in_what_the_first_lacks(name):
    price = TABLE.find(name)
    assert price and not price.estimated
