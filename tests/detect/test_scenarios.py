"""Scenarios of being stuck from other systems' own tests: each gets its stated verdict."""

import json
from pathlib import Path

import pytest

from tests import scenarios
from tests.helpers.support import ROOT

FILE = Path(__file__).parents[1] / "cases" / "scenarios.ndjson"
ALL = [json.loads(line) for line in FILE.read_text().splitlines()]
OURS = [scenario for scenario in ALL if not scenarios.not_ours(scenario)]


@pytest.fixture(scope="module")
def verdicts():
    return scenarios.judge(OURS)


@pytest.mark.parametrize(
    "scenario",
    [each for each in OURS if "disputed" not in each["tags"]],
    ids=lambda each: each["id"],
)
def test_gets_its_verdict(scenario, verdicts):
    assert scenarios.disagreement(scenario, verdicts[scenario["id"]]) == ""


def test_each_disputed_one_has_its_reason_in_the_page(verdicts):
    page = (ROOT / "man" / "trace-detect-loop.1").read_text()
    for scenario in OURS:
        if "disputed" in scenario["tags"]:
            assert scenario["id"].partition("/")[2] in page, scenario["id"]


def test_what_is_not_ours_makes_sense_only_inside_its_host():
    assert {scenarios.not_ours(scenario) for scenario in ALL} == {"", *scenarios.NOT_OURS.values()}
    assert len(ALL) - len(OURS) == 11


def test_the_runner_ends_with_the_agreement_by_source_and_in_all(capsys):
    assert scenarios.main([str(FILE)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("in all") and last.endswith("100.0 %")
    assert scenarios.main([]) == 2
