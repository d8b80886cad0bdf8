"""Denied commands, files and hosts in the forms that agents write, and harmless ones.

Each line of commands.ndjson is a shell command under one policy of policies.json, with what is
wanted: a `violation`; a `warning`, which names the rule that an undecidable command may break; a
`note` of what was not judged; or `nothing` (a note does no harm).
"""

import json
from pathlib import Path

import pytest

from agent_pipes.core.event import make
from agent_pipes.scope.evaluate import SessionScope
from agent_pipes.scope.policy import Policy

HERE = Path(__file__).parent
POLICIES = json.loads((HERE / "policies.json").read_text())
CASES = [json.loads(line) for line in (HERE / "commands.ndjson").read_text().splitlines()]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/dev")
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("secrets", "deploy", "src", "build", "docs", "data"):
        (tmp_path / name).mkdir()


def judge(policy: str, command: str) -> str:
    scope = SessionScope(Policy("policy.json", POLICIES[policy]))
    data = {"tool_name": "Bash", "arguments": {"command": command}}
    evaluation = scope.evaluate(make("tool_call", 1.0, "s", data))
    if evaluation.breaches:
        return "violation"
    if any(gap.rule for gap in evaluation.unjudged):
        return "warning"
    return "note" if evaluation.unjudged else "nothing"


@pytest.mark.parametrize("want", ["violation", "warning", "note", "nothing"])
@pytest.mark.parametrize("policy", POLICIES)
def test_each_form_is_judged_as_wanted(policy, want):
    accepted = (want, "note") if want == "nothing" else (want,)
    wrong = [
        (case["command"], got)
        for case in CASES
        if case["policy"] == policy and case["want"] == want
        if (got := judge(policy, case["command"])) not in accepted
    ]
    assert wrong == []


def test_each_policy_has_cases_of_both_kinds():
    wanted = {(case["policy"], case["want"]) for case in CASES}
    assert {policy for policy, want in wanted if want == "violation"} >= POLICIES.keys() - {
        "wide all"
    }
    assert ("all", "nothing") in wanted and ("network", "nothing") in wanted
