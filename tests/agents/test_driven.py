"""Recorded runs of the real clients: each problem raises its watcher, healthy work none."""

import json

import pytest

from tests.helpers.support import SHARED, run, shared_files, violations

PROBLEMS = {
    "spiral": ("retry", ["--max-retries", "3"]),
    "loop": ("loop", ["--max-repeats", "3", "--max-retries", "off"]),
    "costly": ("cost", ["--max-cost", "0.5"]),
    "scope": ("scope", []),
}

UNTOLD = {
    # `codex exec --json` names no model, and Copilot tells no usage.
    ("codex", "costly"): [], ("copilot", "costly"): [],
    ("codex-0.171.0-gpt-6-sol", "costly"): [],
    # Gemini reports a failed command as a success on a pipe; its equal results are still seen.
    ("gemini", "spiral"): ["loop"], ("gemini", "loop"): [],
}  # fmt: skip
"""Findings where a client's JSON on a pipe does not tell enough."""

SCENARIOS = {"healthy", "parallel", *PROBLEMS}

RECORDED = [
    path
    for path in shared_files("sessions/driven/*/*.jsonl")
    if path.name.split(".")[0] in SCENARIOS
]

UNPRICED = ["--unpriced-as", "gpt-5.5"]
"""The model that was driven has a name of its own, which is in no price list."""

pytestmark = pytest.mark.skipif(
    not RECORDED, reason=f"no recorded runs in {SHARED.name}/sessions/driven"
)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".agent-scope.json").write_text(
        json.dumps({"files": {"write": {"deny": ["deploy/**"]}}})
    )


@pytest.mark.parametrize(
    "path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name.removesuffix('.jsonl')}"
)
def test_a_recorded_run_raises_what_is_meant_for_it(path):
    client, scenario = path.parent.name, path.name.split(".")[0]
    watcher, limits = PROBLEMS.get(scenario, ("", []))
    expected = [watcher] if watcher else []
    if path.name.endswith(".stream.jsonl"):
        expected = UNTOLD.get((client, scenario), expected)
        done = run("agent-strace", "watch", *limits, "--no-follow", "-", input=path.read_bytes())
        raised = [
            found["watcher"] for found in violations(done.stdout) if found["level"] == "critical"
        ]
    else:
        done = run("agent-strace", "watch", *limits, *UNPRICED, "--no-follow", path)
        raised = [
            found["watcher"]
            for found in violations(done.stdout)
            if watcher == "" or found["level"] == "critical"
        ]
    assert done.returncode == 0, done.stderr
    if scenario == "spiral":
        # The recorded agent went on for fifteen failures: from the fifth on it is a loop, too.
        assert raised[:1] == expected and set(raised) <= {*expected, "loop"}, done.stderr
    else:
        assert list(dict.fromkeys(raised)) == expected, done.stderr
